"""Which emission suits a data set, and which values each emission can have."""

from collections.abc import Sequence
from dataclasses import replace

from seqlatent.data.description import ChannelDescription, DataDescription
from seqlatent.errors import InputError

COUNT_LIMIT = 100.0  # counts with a larger mean are as good as continuous


# From here on a step is read as the set of its active channels, if these are few.
SUBSET_CHANNELS, SUBSET_SHARE = 16, 0.25


def choose_emission(data: DataDescription, allowed: Sequence[str] = ()) -> tuple[str, str]:
    """The emission for a data set, and the reason in a few words.

    Args:
        data: what the values are like.
        allowed: the emissions of the model, if not all; where there is only one, there is no
            choice.
    """
    if len(allowed) == 1:
        return allowed[0], "the model has no other"
    seen = [c for c in data.channels if c.num_observed] or list(data.channels)
    kinds = {c.name: _kind(data, c) for c in seen if c.minimum < c.maximum}
    kinds = kinds or {c.name: _kind(data, c) for c in seen}
    # A constant column, such as a piano key that nobody touches, goes with the others if it can.
    first = next(iter(kinds.values()))
    kinds |= {c.name: _kind(data, c) for c in seen if not _holds(first, c, data)}
    if len(set(kinds.values())) > 1:
        words = [f"{name}: {kind}" for name, kind in kinds.items()]
        shown = ", ".join(words[:4]) + (", ..." if len(words) > 4 else "")
        return "mixed", f"columns of different kinds: {shown}"
    kind = next(iter(kinds.values()))
    low, high = min(c.minimum for c in seen), max(c.maximum for c in seen)
    if kind == "categorical":
        return kind, "the values are labels"
    if kind == "bernoulli":
        active = sum(c.loc for c in seen)
        if data.num_channels >= SUBSET_CHANNELS and active < SUBSET_SHARE * data.num_channels:
            return "subset", f"0 or 1, and on average {active:.1f} of {data.num_channels} are 1"
        return kind, "every value is 0 or 1"
    if kind == "negative-binomial":
        return kind, f"whole numbers from {low:g} to {high:g}"
    if all(c.integer for c in seen) and low >= 0 and high > 1:
        return "mixture", f"whole numbers, but large (up to {high:g}): as good as continuous"
    return "mixture", "real values"


def _kind(data: DataDescription, c: ChannelDescription) -> str:
    """The emission for one channel by itself."""
    if c.name in data.categories:
        return "categorical"
    if c.integer and c.minimum >= 0 and c.maximum == 1:
        return "bernoulli"
    if c.integer and c.minimum >= 0 and c.maximum > 1 and c.loc < COUNT_LIMIT:
        return "negative-binomial"
    return "mixture"


def _holds(name: str, c: ChannelDescription, data: DataDescription) -> bool:
    try:
        check_support(name, replace(data, channels=(c,)))
    except InputError:
        return False
    return (name == "categorical") == (c.name in data.categories)


def check_support(name: str, data: DataDescription) -> None:
    """Refuse, before training, values to which the emission gives no probability."""
    for c in data.channels:
        labelled = c.name in data.categories
        if c.num_observed == 0 or name == "mixed":  # nothing to refuse
            continue
        if labelled and name != "categorical":
            raise InputError(
                f"column '{c.name}' holds labels, which emission={name} cannot; use "
                "emission=categorical, or emission=mixed where there are numbers too"
            )
        if name in ("bernoulli", "subset") and not (
            c.integer and c.minimum >= 0 and c.maximum <= 1
        ):
            wrong = c.minimum if c.minimum < 0 else c.maximum
            raise InputError(
                f"column '{c.name}' holds values such as {wrong:g}: emission={name} needs 0 or 1"
            )
        counts = ("poisson", "negative-binomial", "zero-inflated")
        if name in counts and not (c.integer and c.minimum >= 0):
            raise InputError(
                f"column '{c.name}' holds values that are not counts (its range is {c.minimum:g} "
                f"to {c.maximum:g}): emission={name} needs 0, 1, 2, ..."
            )
        codes = labelled or (c.integer and c.minimum >= 0 and c.maximum < 1000)
        if name in ("categorical", "ordinal") and not codes:
            raise InputError(
                f"column '{c.name}' holds values in {c.minimum:g} to {c.maximum:g}: "
                f"emission={name} needs {'labels or ' * (name == 'categorical')}codes 0, 1, ... "
                "under 1000"
            )
