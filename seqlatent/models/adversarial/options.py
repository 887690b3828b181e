"""Options of `gan` and `wgan`."""

from dataclasses import dataclass, field

from seqlatent.models.base import ModelOptions


@dataclass(frozen=True)
class AdversarialOptions(ModelOptions):
    hidden_dim: int = field(
        default=64, metadata={"help": "size of the generator's state and hidden layers", "min": 1}
    )
    noise_dim: int | None = field(
        default=None,
        metadata={"help": "noise of each step (default: the number of channels and 4 more)",
                  "min": 1},
    )  # fmt: skip
    critic_dim: int = field(default=32, metadata={"help": "width of the critic", "min": 1})
    critic_window: int | None = field(
        default=None,
        metadata={
            "help": "steps of the windows that the critic judges, which the generator makes from "
            "its own values (default: two seasons, at least 12 and at most 24; 16 without "
            "a season)",
            "min": 2,
        },
    )
    energy_weight: float = field(
        default=1.0,
        metadata={
            "help": "weight of the energy score of one step ahead beside the critic's verdict (0: "
            "the critic alone)",
            "min": 0,
        },
    )
    start_steps: int = field(
        default=300,
        metadata={
            "help": "first training steps, by that energy score alone (0: the critic judges from "
            "the first step on)",
            "min": 0,
        },
    )
    critic_steps: int = field(
        default=1,
        metadata={"help": "steps of the critic for each of the generator", "min": 1},
    )
    spectral_norm: bool = field(
        default=False,
        metadata={"help": "divide the critic's weights by their largest singular values"},
    )
    penalty_weight: float = field(
        default=0.1,
        metadata={
            "help": "weight of the squared gradients of the critic at real windows",
            "min": 0,
        },
    )


@dataclass(frozen=True)
class WassersteinOptions(AdversarialOptions):
    # The verdict of a Wasserstein critic has the size of the distances between values, that of a
    # critic who tells true from false has not: beside it a weight of 1 hardly held the generator.
    energy_weight: float = field(
        default=20.0,
        metadata={
            "help": "weight of the energy score of one step ahead beside the critic's verdict (0: "
            "the critic alone)",
            "min": 0,
        },
    )
    critic_steps: int = field(
        default=3,
        metadata={"help": "steps of the critic for each of the generator", "min": 1},
    )
    penalty_weight: float = field(
        default=10.0,
        metadata={
            "help": "weight of the penalty on gradients of the critic whose size is not 1",
            "min": 0,
        },
    )
