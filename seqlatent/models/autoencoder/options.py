"""The options of the autoencoder."""

from dataclasses import dataclass, field

from seqlatent.models.base import ModelOptions
from seqlatent.nn.build import network_names
from seqlatent.nn.layers import ACTIVATIONS

ENCODERS = ("causal", "two-sided")
ERRORS = ("squared", "huber")


@dataclass(frozen=True)
class AutoencoderOptions(ModelOptions):
    encoder: str = field(
        default="two-sided",
        metadata={
            "help": "the window of a step's code: causal, the steps up to it; two-sided, those "
            "around it",
            "choices": ENCODERS,
        },
    )
    window: int | None = field(
        default=None,
        metadata={
            "help": "steps of a window (default: a season of up to 48, or about 16 values)",
            "min": 1,
        },
    )
    latent_dim: int | None = field(
        default=None,
        metadata={
            "help": "numbers of a code, fewer than a window has values (default: a twelfth of "
            "them, 2 to 32)",
            "min": 1,
        },
    )
    hidden_dim: int = field(default=64, metadata={"help": "size of every hidden layer", "min": 1})
    num_layers: int = field(
        default=2,
        metadata={"help": "hidden layers of encoder and decoder; 0: both are linear", "min": 0,
                  "max": 20},
    )  # fmt: skip
    activation: str = field(
        default="silu",
        metadata={"help": "activation of the hidden layers", "choices": tuple(ACTIVATIONS)},
    )
    error: str = field(
        default="squared",
        metadata={
            "help": "what training minimises: the squared error, or huber, beyond one scaled unit "
            "the absolute one",
            "choices": ERRORS,
        },
    )
    network: str = field(
        default="gru",
        metadata={
            "help": "network that reads the past to sample the next code",
            "choices": network_names,
        },
    )
