"""Transitions: the mean and scale of a normal z_t given the latents before it.

    rnn      h_t = GRU(h_{t-1}, [z_{t-1}, c_t]),  z_t ~ N(loc(h_t), scale(h_t))
             (the prior of the variational RNN: Chung et al. 2015)
    gated    z_t ~ N((1 - g) * (W z_{t-1} + b) + g * m, s)
             (after the gated transition of the deep Markov model: Krishnan et al. 2017)

g, m and s come from one hidden layer of [z_{t-1}, c_t], where c_t is what else z_t depends on: the
covariates and, if the prior is conditional, x_{t-1}. `rnn` depends on all of z_{<t}, and an
emission can share its h_t; `gated` depends on z_{t-1} alone, and reads it within the range that
training met (ranges.py): an iterated map whose steps were learned one at a time can diverge.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqlatent.nn.causal import State
from seqlatent.nn.layers import SOFTPLUS_ONE
from seqlatent.nn.recurrent import Recurrent

TRANSITIONS = ("rnn", "gated")
FLOOR = 1e-2  # of the scale: no guide can fit a prior that is nearly deterministic
START = -1.0  # softplus(START) is a gated transition's first scale
BOUND = 20.0  # of the latents that a gated transition reads, until it knows which were met


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

    def prepare(self, context: Tensor) -> Tensor:
        """(B, T, C) c_t, as it is."""
        return context

    def forward(
        self, before: Tensor, prepared: Tensor, state: State
    ) -> tuple[Tensor, Tensor, Tensor, State]:
        """z_{t-1} (..., B, T, Z), prepared c_t -> loc and scale (..., B, T, Z), h_t, state."""
        context = prepared.expand(*before.shape[:-1], -1)
        h, state = self.network(torch.cat([before, context], -1), state)
        loc, raw = self.out(h).chunk(2, -1)
        return loc, FLOOR + F.softplus(raw + SOFTPLUS_ONE), h, state


class GatedTransition(nn.Module):
    """A step that is linear where the gate is closed.

    It starts near z_{t-1} / 2 with little noise: latents remember from the first training step on.

    Attributes:
        low, high: (Z,) the range within which it reads z_{t-1}.
    """

    feature_dim = 0
    low: Tensor
    high: Tensor

    def __init__(self, latent_dim: int, context_dim: int, hidden_dim: int):
        super().__init__()
        self.from_latents = nn.Linear(latent_dim, hidden_dim)
        self.from_context = nn.Linear(context_dim, hidden_dim, bias=False) if context_dim else None
        self.out = nn.Linear(hidden_dim, 3 * latent_dim)
        self.linear = nn.Linear(latent_dim, latent_dim)
        with torch.no_grad():
            self.linear.weight.copy_(torch.eye(latent_dim))
            self.linear.bias.zero_()
            self.out.bias.zero_()
            self.out.bias[2 * latent_dim :] = START
        self.register_buffer("low", torch.full((latent_dim,), -BOUND))
        self.register_buffer("high", torch.full((latent_dim,), BOUND))

    def keep_within(self, low: Tensor, high: Tensor) -> None:
        """Read latents within this range, (Z,) each, from now on."""
        self.low.copy_(low)
        self.high.copy_(high)

    def prepare(self, context: Tensor) -> Tensor:
        """(B, T, C) c_t -> (B, T, .) the part of the hidden layer that needs no latents."""
        if self.from_context is None:
            return context.new_zeros(*context.shape[:-1], 1)
        return self.from_context(context)

    def forward(
        self, before: Tensor, prepared: Tensor, state: State
    ) -> tuple[Tensor, Tensor, None, State]:
        """z_{t-1} (..., B, T, Z), prepared c_t -> loc and scale (..., B, T, Z), None, None."""
        before = before.clamp(self.low, self.high)
        hidden = F.silu(self.from_latents(before) + prepared)
        # Apart in memory: functions of short slices are not vectorised on a CPU.
        gate, move, raw = (part.contiguous() for part in self.out(hidden).chunk(3, -1))
        loc = torch.lerp(self.linear(before), move, gate.sigmoid())
        return loc, FLOOR + F.softplus(raw), None, None


def build_transition(
    name: str, latent_dim: int, context_dim: int, hidden_dim: int
) -> RecurrentTransition | GatedTransition:
    kind = RecurrentTransition if name == "rnn" else GatedTransition
    return kind(latent_dim, context_dim, hidden_dim)
