"""Recurrent networks: stacks of GRU (Cho et al. 2014), LSTM (Hochreiter and Schmidhuber 1997),
minGRU (`mingru.py`) or state spaces (`state_space.py`).

The last two are linear in their state, given the inputs, so that all steps of a sequence are found
at once. What a step's gates know of the past is then what the layer below remembers.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqlatent.errors import InputError
from seqlatent.nn.causal import CausalNetwork, State, in_parts
from seqlatent.nn.layers import Dropout, normalisation
from seqlatent.nn.mingru import MinGRU
from seqlatent.nn.state_space import StateSpace

FEW = 64  # rows, up to which torch's step of a GRU takes less time than ours, of fewer operations

# Called with the sizes of input and state. GRU and LSTM are torch's; any other cell is called with
# (N, T, in) and its state or None, and returns (N, T, H) and its state.
CELLS: dict[str, Callable[[int, int], nn.Module]] = {
    "gru": partial(nn.GRU, batch_first=True),
    "lstm": partial(nn.LSTM, batch_first=True),
    "mingru": MinGRU,
    "ssd": StateSpace,
}


class Recurrent(CausalNetwork):
    """A stack of recurrent layers.

    Args:
        in_dim: size of u_t.
        hidden_dim: size of each layer's state and of h_t.
        num_layers: layers in the stack.
        cell: `gru`, `lstm`, `mingru` or `ssd`.
        dropout: share of each layer's features dropped in training.
        norm: normalisation after each layer, `none` or `layer`.
        residual: add each layer's input to its output, from the second layer on.
        hidden_input: the first layer also reads a hidden layer of u_t; a cell alone multiplies its
            inputs by gates that are nearly linear in them.
    """

    small_state = True

    def __init__(
        self,
        in_dim: int,
        hidden_dim: int = 64,
        *,
        num_layers: int = 1,
        cell: str = "gru",
        dropout: float = 0.0,
        norm: str = "none",
        residual: bool = False,
        hidden_input: bool = False,
    ):
        super().__init__()
        if cell not in CELLS:
            raise InputError(f"unknown cell '{cell}'; known: {', '.join(CELLS)}")
        self.in_dim, self.out_dim = in_dim, hidden_dim
        self.residual = residual
        self.hidden_input = nn.Linear(in_dim, hidden_dim) if hidden_input else None
        read_dim = in_dim + (hidden_dim if hidden_input else 0)
        self.layers = nn.ModuleList(
            CELLS[cell](read_dim if i == 0 else hidden_dim, hidden_dim) for i in range(num_layers)
        )
        self.norms = nn.ModuleList(normalisation(norm, hidden_dim) for _ in range(num_layers))
        self.dropout = Dropout(dropout)
        for name, p in self.named_parameters():
            if "weight_hh" in name:  # orthogonal recurrences keep gradients alive over time
                for gate in p.data.chunk(4 if cell == "lstm" else 3):
                    nn.init.orthogonal_(gate)

    def scan(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        return in_parts(self._scan, u, state)

    def _scan(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        h, after = u, []
        if self.hidden_input is not None:
            h = torch.cat([u, F.silu(self.hidden_input(u))], -1)
        for i, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            out, state_of_layer = read(layer, h, None if state is None else state[i])
            after.append(state_of_layer)
            out = self.dropout(norm(out))
            h = h + out if self.residual and i > 0 else out
        return h, tuple(after)


def read(layer: nn.Module, u: Tensor, state: State) -> tuple[Tensor, State]:
    """One layer: (N, T, in) and its state or None -> (N, T, H) and its state.

    The state is (N, H) for a GRU and ((N, H), (N, H)) for an LSTM; torch expects a leading
    dimension of layers.
    """
    if isinstance(layer, nn.GRU):
        if state is not None and u.shape[1] == 1 and not torch.is_grad_enabled():
            if len(u) <= FEW:
                hidden = torch.gru_cell(u[:, 0], state, *layer.all_weights[0])
            else:
                hidden = gru_step(layer, u[:, 0], state)
            return hidden[:, None], hidden
        out, hidden = layer(u, None if state is None else state[None].contiguous())
        return out, hidden[0]
    if isinstance(layer, nn.LSTM):
        given = None if state is None else tuple(s[None].contiguous() for s in state)
        out, (hidden, cell) = layer(u, given)
        return out, (hidden[0], cell[0])
    return layer(u, state)


def gru_step(layer: nn.GRU, u: Tensor, h: Tensor) -> Tensor:
    """(N, in), (N, H) -> (N, H) the state after one step, without gradients.

        r, z = sigmoid(W u + U h + b)
        n = tanh(W_n u + b_n + r (U_n h + c_n)),   h' = n + z (h - n)

    Of many rows it takes less time than torch's own step on a CPU, whose tanh is slow:
    tanh(a) = 2 sigmoid(2 a) - 1.
    """
    H = h.shape[1]
    w, v, b, c = layer.all_weights[0]
    gates = F.linear(u, w[: 2 * H], b[: 2 * H] + c[: 2 * H]).addmm_(h, v[: 2 * H].t()).sigmoid_()
    n = F.linear(u, w[2 * H :], b[2 * H :])
    n.addcmul_(gates[:, :H], F.linear(h, v[2 * H :], c[2 * H :]))
    n.mul_(2).sigmoid_().mul_(2).sub_(1)
    return torch.lerp(n, h, gates[:, H:])
