"""Which emission suits a data set, and which values each emission supports."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from seqlatent.data.description import ChannelDescription, DataDescription
from seqlatent.distributions.emission import EMISSIONS
from seqlatent.errors import InputError

COUNT_LIMIT = 100.0  # counts with a larger mean are treated as continuous
MAX_CODE = 1000
FEW_LABELS = 10  # which may be new in every other row
# `subset` is chosen from this many channels on, if at most this share of them is active on average.
SUBSET_CHANNELS, SUBSET_SHARE = 16, 0.25

# The default emission of each kind of data.
DEFAULTS = {
    "real": "mixture",
    "count": "negative-binomial",
    "binary": "bernoulli",
    "category": "categorical",
}


@dataclass(frozen=True)
class Kind:
    """A kind of data.

    Attributes:
        holds: whether a channel of numbers is of this kind.
        needs: the values that it allows, in words.
        labels: whether it also allows labels.
    """

    holds: Callable[[ChannelDescription], bool]
    needs: str
    labels: bool = False


KINDS = {
    "real": Kind(lambda c: True, "numbers"),
    "count": Kind(lambda c: c.integer and c.minimum >= 0, "counts 0, 1, 2, ..."),
    "binary": Kind(lambda c: c.integer and c.minimum >= 0 and c.maximum <= 1, "0 or 1"),
    "category": Kind(
        lambda c: c.integer and c.minimum >= 0 and c.maximum < MAX_CODE,
        f"labels or codes 0, 1, ... under {MAX_CODE}",
        labels=True,
    ),
    "code": Kind(
        lambda c: c.integer and c.minimum >= 0 and c.maximum < MAX_CODE,
        f"codes 0, 1, ... under {MAX_CODE}",
    ),
    "any": Kind(lambda c: True, "numbers or labels", labels=True),
}


def choose_emission(data: DataDescription) -> tuple[str, str]:
    """The emission for a data set, and the reason in a few words.

    Raises:
        InputError: naming a column of texts that hardly repeat.
    """
    for c in data.channels:
        labels = len(data.categories.get(c.name, ()))
        if labels > FEW_LABELS and labels > c.num_observed / 2:
            raise InputError(
                f"column '{c.name}' holds texts that hardly repeat, {labels} different ones in "
                f"{c.num_observed} rows, and so no categories; name the columns to model "
                "(--targets), or choose emission=categorical all the same"
            )
    seen = [c for c in data.channels if c.num_observed] or list(data.channels)
    kinds = {c.name: _kind(data, c) for c in seen if c.minimum < c.maximum}
    kinds = kinds or {c.name: _kind(data, c) for c in seen}
    # A constant column, such as a piano key that is never played, takes the kind of the others if
    # it can.
    first = next(iter(kinds.values()))
    kinds |= {c.name: _kind(data, c) for c in seen if not _is_of(first, c, data)}
    if len(set(kinds.values())) > 1:
        words = [f"{name}: {DEFAULTS[kind]}" for name, kind in kinds.items()]
        shown = ", ".join(words[:4]) + (", ..." if len(words) > 4 else "")
        return "mixed", f"columns of different kinds: {shown}"
    kind = next(iter(kinds.values()))
    low, high = min(c.minimum for c in seen), max(c.maximum for c in seen)
    if kind == "category":
        reason = "the values are labels"
    elif kind == "binary":
        active = sum(c.loc for c in seen)
        if data.num_channels >= SUBSET_CHANNELS and active < SUBSET_SHARE * data.num_channels:
            return "subset", f"0 or 1, and on average {active:.1f} of {data.num_channels} are 1"
        reason = "every value is 0 or 1"
    elif kind == "count":
        reason = f"whole numbers from {low:g} to {high:g}"
    elif all(c.integer for c in seen) and low >= 0 and high > 1:
        reason = f"whole numbers, but large (up to {high:g}): treated as continuous"
    else:
        reason = "real values"
    return DEFAULTS[kind], reason


def _kind(data: DataDescription, c: ChannelDescription) -> str:
    """The kind of a single channel."""
    if c.name in data.categories:
        return "category"
    if c.minimum == c.maximum and c.minimum > 1:  # one value does not show that it counts
        return "real"
    if KINDS["binary"].holds(c) and c.maximum == 1:
        return "binary"
    if KINDS["count"].holds(c) and c.maximum > 1 and c.loc < COUNT_LIMIT:
        return "count"
    return "real"


def _is_of(kind: str, c: ChannelDescription, data: DataDescription) -> bool:
    labelled = c.name in data.categories
    return KINDS[kind].holds(c) and labelled == (kind == "category")


def check_support(name: str, data: DataDescription) -> None:
    """Refuse, before training, values outside the emission's support.

    Raises:
        InputError: naming the column.
    """
    kind = KINDS[EMISSIONS[name].kind]
    for c in data.channels:
        if c.num_observed == 0:
            continue
        if c.name in data.categories:
            if not kind.labels:
                raise InputError(
                    f"column '{c.name}' holds labels, which emission={name} does not support; use "
                    "emission=categorical, or emission=mixed if other columns hold numbers"
                )
        elif not kind.holds(c):
            raise InputError(
                f"column '{c.name}' holds values from {c.minimum:g} to {c.maximum:g}"
                f"{'' if c.integer else ', not all of them whole'}: emission={name} needs "
                f"{kind.needs}"
            )


def each_alone(data: DataDescription) -> list[DataDescription]:
    """A description of each channel as a data set of its own."""
    return [replace(data, channels=(c,)) for c in data.channels]
