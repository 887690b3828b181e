"""Recurrent networks: GRU (Cho et al. 2014) and LSTM (Hochreiter and Schmidhuber 1997)."""

import torch
from torch import Tensor, nn

from seqlatent.errors import InputError
from seqlatent.nn.causal import CausalNetwork, State, join_states, map_state
from seqlatent.nn.layers import normalisation

CACHED = 1024  # rows of a step


class Recurrent(CausalNetwork):
    """A stack of recurrent layers.

    Args:
        in_dim: size of u_t.
        hidden_dim: size of each layer's state and of h_t.
        num_layers: layers in the stack.
        cell: `gru` or `lstm`.
        dropout: share of each layer's features dropped in training.
        norm: normalisation after each layer, `none` or `layer`.
        residual: add each layer's input to its output, from the second layer on.
    """

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
    ):
        super().__init__()
        if cell not in ("gru", "lstm"):
            raise InputError(f"unknown cell '{cell}'; known: gru, lstm")
        self.in_dim, self.out_dim = in_dim, hidden_dim
        self.cell, self.residual = cell, residual
        layer = nn.GRU if cell == "gru" else nn.LSTM
        self.layers = nn.ModuleList(
            layer(in_dim if i == 0 else hidden_dim, hidden_dim, batch_first=True)
            for i in range(num_layers)
        )
        self.norms = nn.ModuleList(normalisation(norm, hidden_dim) for _ in range(num_layers))
        self.dropout = nn.Dropout(dropout)
        for name, p in self.named_parameters():
            if "weight_hh" in name:  # orthogonal recurrences keep gradients alive over time
                for gate in p.data.chunk(4 if cell == "lstm" else 3):
                    nn.init.orthogonal_(gate)

    def scan(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        # A step of many paths is faster in parts that fit the processor's cache.
        rows = len(u)
        if rows <= 2 * CACHED or u.shape[1] > 1 or u.is_cuda or torch.is_grad_enabled():
            return self._scan(u, state)
        outs, states = [], []
        for start in range(0, rows, CACHED):
            some = slice(start, start + CACHED)
            part = None if state is None else map_state(lambda s, some=some: s[some], state)
            out, after = self._scan(u[some], part)
            outs.append(out)
            states.append(after)
        return torch.cat(outs), join_states(states, [len(out) for out in outs])

    def _scan(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        # The state has one entry per layer: (N, H) for a GRU, ((N, H), (N, H)) for an LSTM. Torch
        # expects a leading layer dimension.
        h, after = u, []
        for i, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            before = None if state is None else state[i]
            if self.cell == "lstm":
                given = (
                    None
                    if before is None
                    else (before[0][None].contiguous(), before[1][None].contiguous())
                )
                out, (hidden, cell) = layer(h, given)
                after.append((hidden[0], cell[0]))
            else:
                out, hidden = layer(h, None if before is None else before[None].contiguous())
                after.append(hidden[0])
            out = self.dropout(norm(out))
            h = h + out if self.residual and i > 0 else out
        return h, tuple(after)
