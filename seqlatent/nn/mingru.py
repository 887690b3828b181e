"""minGRU: a gated recurrence that is linear in its state (Feng et al. 2024).

    g_t = sigmoid(W u_t + b),    c_t = V u_t + d
    h_t = (1 - g_t) h_{t-1} + g_t c_t

Gates of a GRU read the state, so that its steps follow one another; these read the input alone, and
all steps are found at once (`scans.py`).
"""

import torch
from torch import Tensor, nn

from seqlatent.nn.scans import linear_recurrence


class MinGRU(nn.Module):
    """One layer.

    Args:
        in_dim: size of u_t.
        hidden_dim: size of h_t.
    """

    def __init__(self, in_dim: int, hidden_dim: int):
        super().__init__()
        self.gate_and_candidate = nn.Linear(in_dim, 2 * hidden_dim)
        # Features average over from one step to some hundred of them.
        with torch.no_grad():
            self.gate_and_candidate.bias[:hidden_dim] = torch.linspace(1.0, -4.0, hidden_dim)

    def forward(self, u: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
        """(N, T, in_dim) and (N, hidden_dim) or None -> (N, T, hidden_dim), (N, hidden_dim)."""
        gate, candidate = self.gate_and_candidate(u).chunk(2, -1)
        g = gate.sigmoid()
        h = candidate.new_zeros(len(u), candidate.shape[-1]) if state is None else state
        h = linear_recurrence(1 - g, g * candidate, h)
        return h, h[:, -1]
