"""The emission heads by name, and the choice among them by the data.

A new head is a family of laws and a line in `FAMILIES`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import ChannelDescription, DataDescription
from seqlatent.distributions.autoregressive import AutoregressiveHead
from seqlatent.distributions.bijections import SinhArcsinh, Spline
from seqlatent.distributions.counts import (
    NegativeBinomial,
    Poisson,
    ZeroInflatedNegativeBinomial,
)
from seqlatent.distributions.coupling import ORDERS, CouplingHead
from seqlatent.distributions.covariance import CovarianceHead
from seqlatent.distributions.families import (
    Bernoulli,
    Categorical,
    Family,
    Mixture,
    Ordinal,
    StudentT,
)
from seqlatent.distributions.flows import Flow
from seqlatent.distributions.heads import Head
from seqlatent.distributions.mixed import Mixed
from seqlatent.distributions.subset import SubsetHead
from seqlatent.errors import InputError, did_you_mean

StepHead = Head | AutoregressiveHead | CouplingHead | SubsetHead | CovarianceHead
CHANNELS = ("auto", "independent", "autoregressive", "coupling")
COUNT_LIMIT = 100.0  # counts with a larger mean are as good as continuous
# From here on a step is read as the set of its active channels, if these are few.
SUBSET_CHANNELS, SUBSET_SHARE = 16, 0.25


@dataclass(frozen=True)
class EmissionOptions:
    """Options of p(x_t | h_t), shared by every model that has a head."""

    emission: str = field(
        default="auto",
        metadata={
            "help": "law of a value: auto, normal, student-t, mixture (of normals), "
            "covariance-mixture (of all channels at once), sinh-arcsinh, spline, "
            "sinh-arcsinh-spline, bernoulli, subset (of the channels that are 1), categorical, "
            "ordinal (codes 0, 1, ... in an order that matters), poisson, negative-binomial, "
            "zero-inflated (negative binomial), mixed (each column as it would be alone)"
        },
    )
    num_components: int = field(
        default=6, metadata={"help": "parts of a mixture", "min": 1, "max": 1000}
    )
    covariance_rank: int | None = field(
        default=None,
        metadata={
            "help": "rank of a covariance-mixture's covariances, besides a diagonal (default: full "
            "for eight channels or fewer, else 8)",
            "min": 1,
        },
    )
    num_bins: int = field(default=8, metadata={"help": "pieces of a spline", "min": 2, "max": 1000})
    channels: str = field(
        default="auto",
        metadata={
            "help": "independent given the features; autoregressive, one channel after another; or "
            "coupling, all at once by layers that move half of them (emissions that are maps); "
            "auto: autoregressive where there are several",
            "choices": CHANNELS,
        },
    )
    coupling_order: str = field(
        default=ORDERS[0],
        metadata={
            "help": "how coupling layers choose their half: alternating, or after a learned mixing "
            "of the channels",
            "choices": ORDERS,
        },
    )
    channel_dim: int | None = field(
        default=None,
        metadata={
            "help": "hidden units of a channel's law given those before it, or of a coupling layer "
            "(default: 32, and 256 for subset)",
            "min": 1,
        },
    )
    channel_dropout: float = field(
        default=0.0,
        metadata={"help": "share of these units dropped in training", "min": 0, "below": 1},
    )


# Of the data, the options, and the size of a scaled unit of each channel in data units.
FAMILIES: dict[str, Callable[[DataDescription, EmissionOptions, Sequence[float]], Family]] = {
    "normal": lambda data, options, units: Flow(data.channels, units),
    "covariance-mixture": lambda data, options, units: Mixture(
        data.channels, units, options.num_components
    ),
    "student-t": lambda data, options, units: StudentT(data.channels, units),
    "mixture": lambda data, options, units: Mixture(data.channels, units, options.num_components),
    "sinh-arcsinh": lambda data, options, units: Flow(data.channels, units, SinhArcsinh()),
    "spline": lambda data, options, units: Flow(data.channels, units, Spline(options.num_bins)),
    "sinh-arcsinh-spline": lambda data, options, units: Flow(
        data.channels, units, SinhArcsinh(), Spline(options.num_bins)
    ),
    "bernoulli": lambda data, options, units: Bernoulli(),
    "subset": lambda data, options, units: Bernoulli(),  # its values; see `build_head`
    "categorical": lambda data, options, units: Categorical(_num_classes(data)),
    "ordinal": lambda data, options, units: Ordinal(_num_classes(data)),
    "poisson": lambda data, options, units: Poisson(data.channels),
    "negative-binomial": lambda data, options, units: NegativeBinomial(data.channels),
    "zero-inflated": lambda data, options, units: ZeroInflatedNegativeBinomial(data.channels),
    "mixed": lambda data, options, units: _mixed(data, options, units),
}


def choose_emission(
    data: DataDescription, allowed: Sequence[str] = tuple(FAMILIES)
) -> tuple[str, str]:
    """The emission for a data set, and the reason in a few words.

    Args:
        data: what the values are like.
        allowed: the emissions of the model; where there is only one, there is no choice.
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


def _mixed(data: DataDescription, options: EmissionOptions, units: Sequence[float]) -> Mixed:
    alone = [replace(data, channels=(c,)) for c in data.channels]
    names = [choose_emission(one)[0] for one in alone]
    laws = [
        build_family(one, replace(options, emission=name), [unit])
        for one, name, unit in zip(alone, names, units, strict=True)
    ]
    return Mixed(names, laws)


def build_family(data: DataDescription, options: EmissionOptions, units: Sequence[float]) -> Family:
    """The law of one channel's values; `options.emission` is a name, not `auto`.

    Args:
        data: the training data's channels.
        options: of the emission.
        units: (D,) size of a unit of the scaled values in data units, which floors are put in.

    Raises:
        InputError: for an unknown name, or values that the emission cannot hold.
    """
    name = options.emission
    if name not in FAMILIES:
        raise InputError(f"unknown emission '{name}'{did_you_mean(name, [*FAMILIES, 'auto'])}")
    check_support(name, data)
    return FAMILIES[name](data, options, units)


def build_head(
    family: Family, num_channels: int, options: EmissionOptions, in_dim: int
) -> StepHead:
    """The head of D channels for features of size `in_dim`.

    Raises:
        InputError: for coupling layers of a law that is not a map of a normal variable.
    """
    size, dropout = options.channel_dim, options.channel_dropout
    if options.channels == "coupling" and not isinstance(family, Flow):
        raise InputError(
            f"channels=coupling needs an emission that is an invertible map, such as sinh-arcsinh "
            f"or spline, not {options.emission}"
        )
    if num_channels == 1:
        return Head(family, in_dim, num_channels)
    if options.channels == "coupling":
        assert isinstance(family, Flow)
        return CouplingHead(family, in_dim, num_channels, options.coupling_order, size or 32)
    if options.emission == "covariance-mixture":
        assert isinstance(family, Mixture)
        return CovarianceHead(family, in_dim, num_channels, options.covariance_rank or 8)
    if options.emission == "subset":
        return SubsetHead(in_dim, num_channels, size or 256, dropout)
    if options.channels == "independent":
        return Head(family, in_dim, num_channels)
    return AutoregressiveHead(family, in_dim, num_channels, size or 32, dropout)


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


def check_values(law: Family, data: SequenceDataset) -> None:
    """Refuse values to which a law that has been built gives no probability.

    Raises:
        InputError: naming the series or the column.
    """
    if isinstance(law, Mixed):
        description = DataDescription.of(data)
        for name, c in zip(law.names, description.channels, strict=True):
            check_support(name, replace(description, channels=(c,)))
    law.check(data)


def _num_classes(data: DataDescription) -> int:
    return max(
        len(data.categories[c.name]) if c.name in data.categories else int(c.maximum) + 1
        for c in data.channels
    )
