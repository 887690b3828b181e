"""Feed-forward networks of a vector, and of the last k steps of a sequence."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqlatent.nn.causal import CausalNetwork, State, in_parts
from seqlatent.nn.layers import Dropout
from seqlatent.nn.layers import activation as make_activation


def mlp(
    in_dim: int,
    hidden_dim: int,
    out_dim: int,
    num_layers: int = 2,
    activation: str = "silu",
    dropout: float = 0.0,
) -> nn.Sequential:
    """A network (..., in_dim) -> (..., out_dim) with `num_layers` hidden layers."""
    layers: list[nn.Module] = []
    for i in range(num_layers):
        layers += [nn.Linear(in_dim if i == 0 else hidden_dim, hidden_dim)]
        layers += [make_activation(activation), Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(hidden_dim if num_layers else in_dim, out_dim))


class Beside(nn.Module):
    """A network's features h (..., n) and its inputs u (..., m) side by side, and, if `hidden_dim`
    is above 0, a hidden layer of both.

    A head of these need not learn the identity for a linear dependence on the last value, which
    then extrapolates beyond the training data; the hidden layer bends what is not linear.
    """

    def __init__(self, in_dim: int, hidden_dim: int):
        super().__init__()
        self.out_dim = in_dim + hidden_dim
        self.hidden = nn.Linear(in_dim, hidden_dim) if hidden_dim else None

    def forward(self, h: Tensor, u: Tensor) -> Tensor:
        """(B, T, n) and (B, T, m) -> (B, T, out_dim)."""
        seen = torch.cat([h, u], -1)
        return seen if self.hidden is None else in_parts(self._bend, seen, None)[0]

    def _bend(self, seen: Tensor, _: State) -> tuple[Tensor, State]:
        assert self.hidden is not None
        return torch.cat([seen, F.silu(self.hidden(seen))], -1), None

    def read(self, network: CausalNetwork, u: Tensor, state: State) -> tuple[Tensor, State]:
        """Read T more steps: (B, T, m) inputs and the network's state or None -> (B, T, out_dim)
        and the state after them."""

        def both(u: Tensor, state: State) -> tuple[Tensor, State]:
            h, after = network(u, state)
            return self(h, u), after

        return in_parts(both, u, state) if network.small_state else both(u, state)


class WindowMLP(CausalNetwork):
    """A feed-forward network of the last k inputs; before the first one the inputs are zeros.

    Args:
        in_dim: size of u_t.
        hidden_dim: width, and the size of h_t.
        num_layers: hidden layers.
        num_lags: k, the number of steps it sees, the current one included.
        activation: `relu`, `leaky-relu`, `elu` or `silu`.
        dropout: share of features dropped in training.
    """

    def __init__(
        self,
        in_dim: int,
        hidden_dim: int = 64,
        *,
        num_layers: int = 2,
        num_lags: int = 2,
        activation: str = "silu",
        dropout: float = 0.0,
    ):
        super().__init__()
        self.in_dim, self.out_dim, self.receptive_field = in_dim, hidden_dim, num_lags
        self.net = mlp(num_lags * in_dim, hidden_dim, hidden_dim, num_layers, activation, dropout)

    def scan(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        lags = self.receptive_field or 1
        if lags == 1:
            return self.net(u), None
        past = u.new_zeros(len(u), lags - 1, u.shape[-1]) if state is None else state
        seen = torch.cat([past, u], 1)
        stacked = seen.unfold(1, lags, 1).flatten(2)  # (N, T, in_dim * lags)
        return self.net(stacked), seen[:, seen.shape[1] - (lags - 1) :]
