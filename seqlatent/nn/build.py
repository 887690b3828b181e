"""The causal networks by name, and the factory that builds them.

A new network is a `CausalNetwork` and a line here. Other packages add theirs with
`register_network` or an entry point of the group `seqlatent.networks`. The flow and the guide of
the latent-variable model can use any of them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from seqlatent.nn.attention import CausalTransformer
from seqlatent.nn.causal import CausalNetwork
from seqlatent.nn.convolution import Convolution
from seqlatent.nn.feedforward import WindowMLP
from seqlatent.nn.recurrent import CELLS, Recurrent
from seqlatent.registry import Registry

# Called by keyword with in_dim, hidden_dim, num_layers, dropout and the network's own options.
BuildNetwork = Callable[..., CausalNetwork]

NETWORKS: Registry[BuildNetwork] = Registry("network", "seqlatent.networks")


def register_network(name: str) -> Callable[[BuildNetwork], BuildNetwork]:
    """A decorator that adds a class or function to the table.

    The class or function is called with `in_dim`, `hidden_dim`, `num_layers` and `dropout`.

    Args:
        name: the value of an option that selects it.
    """
    return NETWORKS.decorator(name)


for cell in CELLS:
    register_network(cell)(partial(Recurrent, cell=cell))
register_network("rnn")(partial(Recurrent, cell="gru", residual=True))
register_network("cnn")(Convolution)
register_network("transformer")(CausalTransformer)
register_network("mlp")(partial(WindowMLP, num_lags=1))


def build_network(
    name: str,
    in_dim: int,
    hidden_dim: int = 64,
    *,
    num_layers: int = 1,
    dropout: float = 0.0,
    **options: Any,
) -> CausalNetwork:
    """A network over time.

    Args:
        name: one of `NETWORKS`.
        in_dim: size of u_t.
        hidden_dim: width.
        num_layers: depth.
        dropout: share of features dropped in training.
        options: options that only this network has.

    Raises:
        InputError: for an unknown name, or sizes that the network does not allow.
    """
    build = NETWORKS[name]
    return build(
        in_dim=in_dim, hidden_dim=hidden_dim, num_layers=num_layers, dropout=dropout, **options
    )


def network_names() -> tuple[str, ...]:
    """The networks that an option can select."""
    return tuple(NETWORKS)
