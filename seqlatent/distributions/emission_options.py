"""Options of p(x_t | h_t), shared by every model that has an emission."""

from dataclasses import dataclass, field

from seqlatent.distributions.coupling import ORDERS

CHANNELS = ("auto", "independent", "autoregressive", "coupling")


@dataclass(frozen=True)
class EmissionOptions:
    """Options of the emission and of how the channels of a step depend on each other."""

    emission: str = field(
        default="auto",
        metadata={
            "help": "distribution of a value ('seqlatent models' lists all); auto: chosen to suit "
            "the data; mixed: for each column the emission it would have alone"
        },
    )
    num_components: int = field(
        default=6,
        metadata={"help": "components of a mixture emission", "min": 1, "max": 1000},
    )
    covariance_rank: int | None = field(
        default=None,
        metadata={
            "help": "rank of the covariances of emission=covariance-mixture, to which a diagonal "
            "is added (default: 8, or full for eight channels or fewer)",
            "min": 1,
        },
    )
    num_bins: int = field(
        default=8, metadata={"help": "pieces of a spline emission", "min": 2, "max": 1000}
    )
    channels: str = field(
        default="auto",
        metadata={
            "help": "how the channels of a step depend on each other: independent given the past; "
            "autoregressive, each given those before it; coupling, jointly by coupling layers (for "
            "invertible emissions); auto: autoregressive if there are several channels",
            "choices": CHANNELS,
        },
    )
    coupling_order: str = field(
        default=ORDERS[0],
        metadata={
            "help": "how each coupling layer chooses the half of the channels that it transforms: "
            "alternating, or after a learned mixing of the channels",
            "choices": ORDERS,
        },
    )
    channel_dim: int | None = field(
        default=None,
        metadata={
            "help": "hidden units of each channel's conditional distribution given the channels "
            "before it, or of each coupling layer (default: 32; 256 for emission=subset)",
            "min": 1,
        },
    )
    channel_dropout: float = field(
        default=0.0,
        metadata={
            "help": "share of the hidden units of channel_dim dropped in training",
            "min": 0,
            "below": 1,
        },
    )
