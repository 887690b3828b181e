"""From the name of an emission to its family and the head of a step."""

from collections.abc import Sequence
from dataclasses import replace

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.distributions.autoregressive import AutoregressiveHead
from seqlatent.distributions.choice import check_support, choose_emission, each_alone
from seqlatent.distributions.coupling import CouplingHead
from seqlatent.distributions.emission import EMISSIONS, Emission, register_emission
from seqlatent.distributions.emission_options import EmissionOptions
from seqlatent.distributions.families import Family
from seqlatent.distributions.heads import Head, IndependentHead
from seqlatent.distributions.mixed import Mixed
from seqlatent.distributions.transformed import Transformed
from seqlatent.errors import InputError


def build_family(data: DataDescription, options: EmissionOptions, units: Sequence[float]) -> Family:
    """The family of the values' distributions; `options.emission` is a name, not `auto`.

    Args:
        data: description of the training data.
        options: of the emission.
        units: (D,) size, in data units, of one unit of the scaled values; floors of scales depend
            on it.

    Raises:
        InputError: for an unknown name, or values outside the emission's support.
    """
    emission = EMISSIONS[options.emission]
    check_support(emission.name, data)
    return emission.family(data, options, units)


def build_head(family: Family, num_channels: int, options: EmissionOptions, in_dim: int) -> Head:
    """The head of D channels for features of size `in_dim`.

    Raises:
        InputError: for `channels=coupling` with an emission that is not invertible.
    """
    emission, size = EMISSIONS[options.emission], options.channel_dim or 32
    if options.channels == "coupling" and not emission.invertible:
        raise InputError(
            f"channels=coupling needs an emission that is an invertible map, such as sinh-arcsinh "
            f"or spline, not {emission.name}"
        )
    if num_channels == 1:
        return IndependentHead(family, in_dim, num_channels)
    if options.channels == "coupling":
        assert isinstance(family, Transformed)
        return CouplingHead(family, in_dim, num_channels, options.coupling_order, size)
    if emission.head is not None:
        return emission.head(family, in_dim, num_channels, options)
    if options.channels == "independent":
        return IndependentHead(family, in_dim, num_channels)
    return AutoregressiveHead(family, in_dim, num_channels, size, options.channel_dropout)


def unused_emission_options(options: EmissionOptions) -> dict[str, str]:
    """Options that have no effect with this emission, and what each applies to."""
    emission, channels = EMISSIONS[options.emission], options.channels
    users = {
        name: [e.name for e in EMISSIONS.loaded().values() if name in e.options]
        for name in ("num_components", "covariance_rank", "num_bins")
    }
    unused = {
        name: f"emission={' or '.join(by)}"
        for name, by in users.items()
        if name not in emission.options
    }
    own = emission.head is not None
    if own:
        unused["channels"] = "emissions of one channel at a time"
    if channels != "coupling":
        unused["coupling_order"] = "channels=coupling"
    if "channel_dim" not in emission.options and (own or channels == "independent"):
        unused["channel_dim"] = "channels=autoregressive or coupling"
    if "channel_dropout" not in emission.options and (
        own or channels in ("independent", "coupling")
    ):
        unused["channel_dropout"] = "channels=autoregressive"
    return unused


def check_values(family: Family, data: SequenceDataset) -> None:
    """Refuse values outside the support of a family.

    Raises:
        InputError: naming the series or the column.
    """
    if isinstance(family, Mixed):
        columns = each_alone(DataDescription.of(data, spreads=False))
        for name, column in zip(family.names, columns, strict=True):
            check_support(name, column)
    family.check(data)


def _mixed(data: DataDescription, options: EmissionOptions, units: Sequence[float]) -> Mixed:
    columns = each_alone(data)
    names = [choose_emission(column)[0] for column in columns]
    families = [
        build_family(column, replace(options, emission=name), [unit])
        for column, name, unit in zip(columns, names, units, strict=True)
    ]
    return Mixed(names, families)


register_emission(
    Emission(
        "mixed",
        "any",
        "for each column the emission it would have alone",
        _mixed,
        options=("num_components",),
    )
)
