"""The emissions p(x_t | h_t) by name: the data that each is for, and how it is built.

A new emission is a `Family` (or its own head) and an entry in this table. Other packages add theirs
with `register_emission` or an entry point of the group `seqlatent.emissions`.
"""

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass

from seqlatent.data.description import DataDescription
from seqlatent.distributions.bijections import SinhArcsinh, Spline
from seqlatent.distributions.categorical import Bernoulli, Categorical, Ordinal
from seqlatent.distributions.counts import NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial
from seqlatent.distributions.covariance import CovarianceHead
from seqlatent.distributions.emission_options import EmissionOptions
from seqlatent.distributions.families import Family, Mixture, StudentT
from seqlatent.distributions.heads import Head
from seqlatent.distributions.subset import SubsetHead
from seqlatent.distributions.transformed import Transformed
from seqlatent.registry import Registry

# Arguments: the data, the options, and the size of a scaled unit of each channel in data units.
BuildFamily = Callable[[DataDescription, EmissionOptions, Sequence[float]], Family]
# Arguments: the family, the size of h_t, the number of channels, and the options.
BuildHead = Callable[[Family, int, int, EmissionOptions], Head]


@dataclass(frozen=True)
class Emission:
    """An emission: a family of distributions of a value, or of a whole step.

    Attributes:
        name: the value of the option `emission` that selects it.
        kind: the values it is for: `real`, `count` (0, 1, 2, ...), `binary` (0 and 1), `category`
            (labels or codes 0, 1, ...), `code` (codes only), or `any`.
        help: what it is, in a few words.
        family: builds the family of one channel's distributions.
        head: builds a joint head for several channels; by default channels are independent or
            modelled one after another, as the option `channels` says.
        options: fields of `EmissionOptions` that it uses, besides those about channels.
        invertible: whether it is an invertible map of a normal variable, which a flow needs.
        zero_is_nothing: whether 0 stands for the absence of something, so that a training sequence
            may be shifted along its channels.
    """

    name: str
    kind: str
    help: str
    family: BuildFamily
    _: KW_ONLY
    head: BuildHead | None = None
    options: tuple[str, ...] = ()
    invertible: bool = False
    zero_is_nothing: bool = False


EMISSIONS: Registry[Emission] = Registry("emission", "seqlatent.emissions")


def register_emission(emission: Emission) -> Emission:
    """Add an emission to the table.

    Raises:
        InputError: if another emission has that name.
    """
    return EMISSIONS.add(emission.name, emission)


def _num_classes(data: DataDescription) -> list[int]:
    return [
        len(data.categories[c.name]) if c.name in data.categories else int(c.maximum) + 1
        for c in data.channels
    ]


def _covariance_head(family: Family, in_dim: int, num_channels: int, o: EmissionOptions) -> Head:
    assert isinstance(family, Mixture)
    return CovarianceHead(family, in_dim, num_channels, o.covariance_rank or 8)


for _emission in (
    Emission(
        "mixture", "real", "mixture of normals",
        lambda data, o, units: Mixture(data.channels, units, o.num_components),
        options=("num_components",),
    ),
    Emission(
        "normal", "real", "normal",
        lambda data, o, units: Transformed(data.channels, units), invertible=True,
    ),
    Emission(
        "student-t", "real", "Student's t, with heavy tails",
        lambda data, o, units: StudentT(data.channels, units),
    ),
    Emission(
        "sinh-arcsinh", "real", "normal with learned tails and skew",
        lambda data, o, units: Transformed(data.channels, units, SinhArcsinh()), invertible=True,
    ),
    Emission(
        "spline", "real", "normal transformed by a spline: any shape, several modes",
        lambda data, o, units: Transformed(data.channels, units, Spline(o.num_bins)),
        options=("num_bins",), invertible=True,
    ),
    Emission(
        "sinh-arcsinh-spline", "real", "spline with learned tails and skew",
        lambda data, o, units: Transformed(
            data.channels, units, SinhArcsinh(), Spline(o.num_bins)
        ),
        options=("num_bins",), invertible=True,
    ),
    Emission(
        "covariance-mixture", "real", "mixture of normals with covariances between channels",
        lambda data, o, units: Mixture(data.channels, units, o.num_components),
        head=_covariance_head, options=("num_components", "covariance_rank"),
    ),
    Emission(
        "negative-binomial", "count", "counts with more variance than a Poisson distribution",
        lambda data, o, units: NegativeBinomial(data.channels), zero_is_nothing=True,
    ),
    Emission(
        "poisson", "count", "Poisson",
        lambda data, o, units: Poisson(data.channels), zero_is_nothing=True,
    ),
    Emission(
        "zero-inflated", "count", "negative binomial with extra zeros, as in intermittent demand",
        lambda data, o, units: ZeroInflatedNegativeBinomial(data.channels), zero_is_nothing=True,
    ),
    Emission(
        "bernoulli", "binary", "0 or 1",
        lambda data, o, units: Bernoulli(), zero_is_nothing=True,
    ),
    Emission(
        "subset", "binary", "the set of the channels that are 1",
        lambda data, o, units: Bernoulli(),
        head=lambda family, in_dim, num_channels, o: SubsetHead(
            in_dim, num_channels, o.channel_dim or 256, o.channel_dropout
        ),
        options=("channel_dim", "channel_dropout"), zero_is_nothing=True,
    ),
    Emission(
        "categorical", "category", "labels",
        lambda data, o, units: Categorical(_num_classes(data)),
    ),
    Emission(
        "ordinal", "code", "codes 0, 1, ... whose order matters",
        lambda data, o, units: Ordinal(_num_classes(data)),
    ),
):  # fmt: skip
    register_emission(_emission)
