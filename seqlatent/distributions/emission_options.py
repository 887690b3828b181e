"""Options of p(x_t | h_t), shared by every model that has an emission."""

from dataclasses import dataclass, field

from seqlatent.distributions.coupling import ORDERS

CHANNELS = ("auto", "independent", "autoregressive", "coupling")


@dataclass(frozen=True)
class EmissionOptions:
    """How a value is distributed, and how the channels of a step depend on one another."""

    emission: str = field(
        default="auto",
        metadata={
            "help": "distribution of a value; auto: chosen by the data; mixed: each column as it "
            "would be alone ('seqlatent models' lists all)"
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
            "coupling, all at once by layers that move half of them (invertible emissions); auto: "
            "autoregressive where there are several",
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
