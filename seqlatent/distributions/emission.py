"""The emission heads by name, and the choice among them by the data.

A new head is a family of distributions and a line in `FAMILIES`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.distributions.autoregressive import AutoregressiveHead
from seqlatent.distributions.bijections import SinhArcsinh, Spline
from seqlatent.distributions.categorical import Bernoulli, Categorical, Ordinal
from seqlatent.distributions.choice import check_support, choose_emission
from seqlatent.distributions.counts import NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial
from seqlatent.distributions.coupling import ORDERS, CouplingHead
from seqlatent.distributions.covariance import CovarianceHead
from seqlatent.distributions.families import Family, Mixture, StudentT
from seqlatent.distributions.heads import Head
from seqlatent.distributions.mixed import Mixed
from seqlatent.distributions.subset import SubsetHead
from seqlatent.distributions.transformed import Transformed
from seqlatent.errors import InputError, did_you_mean

StepHead = Head | AutoregressiveHead | CouplingHead | SubsetHead | CovarianceHead
CHANNELS = ("auto", "independent", "autoregressive", "coupling")


@dataclass(frozen=True)
class EmissionOptions:
    """Options of p(x_t | h_t), shared by every model that has a head."""

    emission: str = field(
        default="auto",
        metadata={
            "help": "distribution of a value: auto, normal, student-t, mixture (of normals), "
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
            "help": "hidden units of the distribution of a channel given those before it, or of a "
            "coupling layer (default: 32, and 256 for subset)",
            "min": 1,
        },
    )
    channel_dropout: float = field(
        default=0.0,
        metadata={"help": "share of these units dropped in training", "min": 0, "below": 1},
    )


# Of the data, the options, and the size of a scaled unit of each channel in data units.
FAMILIES: dict[str, Callable[[DataDescription, EmissionOptions, Sequence[float]], Family]] = {
    "normal": lambda data, options, units: Transformed(data.channels, units),
    "covariance-mixture": lambda data, options, units: Mixture(
        data.channels, units, options.num_components
    ),
    "student-t": lambda data, options, units: StudentT(data.channels, units),
    "mixture": lambda data, options, units: Mixture(data.channels, units, options.num_components),
    "sinh-arcsinh": lambda data, options, units: Transformed(data.channels, units, SinhArcsinh()),
    "spline": lambda data, options, units: Transformed(
        data.channels, units, Spline(options.num_bins)
    ),
    "sinh-arcsinh-spline": lambda data, options, units: Transformed(
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


def _mixed(data: DataDescription, options: EmissionOptions, units: Sequence[float]) -> Mixed:
    alone = [replace(data, channels=(c,)) for c in data.channels]
    names = [choose_emission(one)[0] for one in alone]
    distributions = [
        build_family(one, replace(options, emission=name), [unit])
        for one, name, unit in zip(alone, names, units, strict=True)
    ]
    return Mixed(names, distributions)


def build_family(data: DataDescription, options: EmissionOptions, units: Sequence[float]) -> Family:
    """The distribution of one channel's values; `options.emission` is a name, not `auto`.

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
        InputError: for coupling layers of a distribution that is not a map of a normal variable.
    """
    size, dropout = options.channel_dim, options.channel_dropout
    if options.channels == "coupling" and not isinstance(family, Transformed):
        raise InputError(
            f"channels=coupling needs an emission that is an invertible map, such as sinh-arcsinh "
            f"or spline, not {options.emission}"
        )
    if num_channels == 1:
        return Head(family, in_dim, num_channels)
    if options.channels == "coupling":
        assert isinstance(family, Transformed)
        return CouplingHead(family, in_dim, num_channels, options.coupling_order, size or 32)
    if options.emission == "covariance-mixture":
        assert isinstance(family, Mixture)
        return CovarianceHead(family, in_dim, num_channels, options.covariance_rank or 8)
    if options.emission == "subset":
        return SubsetHead(in_dim, num_channels, size or 256, dropout)
    if options.channels == "independent":
        return Head(family, in_dim, num_channels)
    return AutoregressiveHead(family, in_dim, num_channels, size or 32, dropout)


def check_values(distribution: Family, data: SequenceDataset) -> None:
    """Refuse values to which a distribution that has been built gives no probability.

    Raises:
        InputError: naming the series or the column.
    """
    if isinstance(distribution, Mixed):
        description = DataDescription.of(data)
        for name, c in zip(distribution.names, description.channels, strict=True):
            check_support(name, replace(description, channels=(c,)))
    distribution.check(data)


def _num_classes(data: DataDescription) -> int:
    return max(
        len(data.categories[c.name]) if c.name in data.categories else int(c.maximum) + 1
        for c in data.channels
    )
