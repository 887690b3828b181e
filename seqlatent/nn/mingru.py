"""minGRU: a gated recurrence that is linear in its state (Feng et al. 2024), and a hidden layer.

    g_t = sigmoid(W [u_t, u_{t-1}] + w),    c_t = V [u_t, u_{t-1}] + v,    u_0 = 0
    s_t = (1 - g_t) s_{t-1} + g_t c_t
    h_t = s_t + B silu(A norm(s_t))

The gates of a GRU read its state, so that its steps follow one another; these read inputs alone,
and all steps are found at once (`scans.py`). What a GRU bends at each step is bent here once, after
the recurrence. As in the paper's larger models the gates see a few inputs: two are enough.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqlatent.nn.scans import linear_recurrence

MinGRUState = tuple[Tensor, Tensor]  # the last input (N, 1, in_dim) and s (N, hidden_dim)


class MinGRU(nn.Module):
    """One layer.

    Args:
        in_dim: size of u_t.
        hidden_dim: size of s_t and h_t; the hidden layer is twice as wide.
    """

    def __init__(self, in_dim: int, hidden_dim: int):
        super().__init__()
        self.gate_and_candidate = nn.Linear(2 * in_dim, 2 * hidden_dim)
        with torch.no_grad():  # s averages over one step to some fifty
            self.gate_and_candidate.bias[:hidden_dim] = torch.linspace(1.0, -4.0, hidden_dim)
        self.norm = nn.LayerNorm(hidden_dim)
        self.hidden = nn.Linear(hidden_dim, 2 * hidden_dim)
        self.out = nn.Linear(2 * hidden_dim, hidden_dim)

    def forward(self, u: Tensor, state: MinGRUState | None) -> tuple[Tensor, MinGRUState]:
        """(N, T, in_dim) and a state or None -> (N, T, hidden_dim) and the state after step T."""
        last, start = (torch.zeros_like(u[:, :1]), None) if state is None else state
        before = torch.cat([last, u[:, :-1]], 1)
        gate, c = self.gate_and_candidate(torch.cat([u, before], -1)).chunk(2, -1)
        g = gate.sigmoid()
        if start is None:
            start = torch.zeros_like(c[:, 0])
        s = linear_recurrence(1 - g, g * c, start)
        return s + self.out(F.silu(self.hidden(self.norm(s)))), (u[:, -1:], s[:, -1])
