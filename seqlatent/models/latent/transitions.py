"""Transitions: the mean and scale of a normal z_t given the latents before it.

    rnn      h_t = GRU(h_{t-1}, [z_{t-1}, c_t]),  z_t ~ N(loc(h_t), scale(h_t))
             (the prior of the variational RNN: Chung et al. 2015)
    gated    z_t ~ N((1 - g) * (W z_{t-1} + b) + g * m, s)
             (the gated transition of the deep Markov model: Krishnan et al. 2017)

g, m and s are networks of [z_{t-1}, c_t], where c_t is what else z_t depends on. `rnn` depends on
all of z_{<t}, and an emission can share its h_t; `gated` depends on z_{t-1} only.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqlatent.nn.causal import State
from seqlatent.nn.feedforward import mlp
from seqlatent.nn.layers import SOFTPLUS_ONE, soft_clip
from seqlatent.nn.recurrent import Recurrent

TRANSITIONS = ("rnn", "gated")
FLOOR = 1e-2  # of the scale: no guide can fit a prior that is nearly deterministic


class RecurrentTransition(nn.Module):
    """A GRU over the latents and the context."""

    def __init__(self, latent_dim: int, context_dim: int, hidden_dim: int):
        super().__init__()
        self.feature_dim = hidden_dim
        self.network = Recurrent(latent_dim + context_dim, hidden_dim)
        self.out = nn.Linear(hidden_dim, 2 * latent_dim)
        with torch.no_grad():  # start near N(0, I)
            self.out.weight.mul_(0.1)
            self.out.bias.zero_()

    def forward(
        self, before: Tensor, context: Tensor, state: State
    ) -> tuple[Tensor, Tensor, Tensor, State]:
        """z_{t-1} (..., B, T, Z), c_t (B, T, C) -> loc and scale (..., B, T, Z), h_t, state."""
        h, state = self.network(_join(before, context), state)
        loc, raw = self.out(h).chunk(2, -1)
        return loc, FLOOR + F.softplus(raw + SOFTPLUS_ONE), h, state


class GatedTransition(nn.Module):
    """A step that is linear where the gate is closed; initially it shrinks z towards 0."""

    feature_dim = 0

    def __init__(self, latent_dim: int, context_dim: int, hidden_dim: int):
        super().__init__()
        size = latent_dim + context_dim
        self.gate = mlp(size, hidden_dim, latent_dim, 1)
        self.move = mlp(size, hidden_dim, latent_dim, 1)
        self.linear = nn.Linear(latent_dim, latent_dim)
        self.raw_scale = nn.Linear(latent_dim, latent_dim)
        with torch.no_grad():
            self.linear.weight.copy_(torch.eye(latent_dim))
            self.linear.bias.zero_()
            self.raw_scale.weight.mul_(0.1)
            self.raw_scale.bias.zero_()

    def forward(
        self, before: Tensor, context: Tensor, state: State
    ) -> tuple[Tensor, Tensor, None, State]:
        """z_{t-1} (..., B, T, Z), c_t (B, T, C) -> loc and scale (..., B, T, Z), None, None."""
        # An iterated linear map can diverge; the latents stay within a few units of 0.
        before = soft_clip(before, 20.0)
        u = _join(before, context)
        gate, move = self.gate(u).sigmoid(), self.move(u)
        loc = (1 - gate) * self.linear(before) + gate * move
        return loc, FLOOR + F.softplus(self.raw_scale(F.silu(move)) + SOFTPLUS_ONE), None, None


def build_transition(
    name: str, latent_dim: int, context_dim: int, hidden_dim: int
) -> RecurrentTransition | GatedTransition:
    kind = RecurrentTransition if name == "rnn" else GatedTransition
    return kind(latent_dim, context_dim, hidden_dim)


def _join(before: Tensor, context: Tensor) -> Tensor:
    return torch.cat([before, context.expand(*before.shape[:-1], -1)], -1)
