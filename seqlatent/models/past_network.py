"""The network that summarises the past, in models that leave its kind to an option."""

from dataclasses import dataclass, field

from seqlatent.models.emission_model import EmissionModelOptions
from seqlatent.nn.build import build_network, network_names
from seqlatent.nn.causal import CausalNetwork
from seqlatent.nn.recurrent import CELLS


@dataclass(frozen=True)
class PastNetworkOptions(EmissionModelOptions):
    """Options of models with an emission and a network of any kind."""

    network: str = field(
        default="gru",
        metadata={"help": "network that summarises the past", "choices": network_names},
    )
    hidden_dim: int = field(
        default=64, metadata={"help": "size of the network's features", "min": 1}
    )
    num_layers: int = field(
        default=1, metadata={"help": "number of layers of the network", "min": 1, "max": 20}
    )
    dropout: float = field(
        default=0.0,
        metadata={
            "help": "share of the network's features dropped in training",
            "min": 0,
            "below": 1,
        },
    )
    hidden_input: bool = field(
        default=True,
        metadata={
            "help": "a hidden layer of each step's inputs, which recurrent networks "
            f"({', '.join(CELLS)}) read too"
        },
    )


def build_past_network(options: PastNetworkOptions, in_dim: int) -> CausalNetwork:
    """The network that options describe, for inputs u_t of size `in_dim`."""
    o = options
    own = {"hidden_input": o.hidden_input} if o.network in CELLS else {}
    return build_network(
        o.network, in_dim, o.hidden_dim, num_layers=o.num_layers, dropout=o.dropout, **own
    )


def unused_network_options(options: PastNetworkOptions) -> dict[str, str]:
    """Options that the network would ignore, and what would use them."""
    if options.network in CELLS:
        return {}
    return {"hidden_input": " or ".join(f"network={cell}" for cell in CELLS)}
