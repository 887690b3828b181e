"""The denoiser: from noised values, their noise level and features of the past to the velocity.

    z(a) = cos(a) z + sin(a) e,    dz/da = v = cos(a) e - sin(a) z
    sin(a) F(z(a), a, h)  learns  E[v | z(a), h]

The network computes F. With F = 0, z is exactly N(0, I), so that it has to learn only how values
differ from that. v is what v-prediction learns (Salimans and Ho 2022), and what the preconditioning
of Karras et al. (2022) leaves to the network for values of unit variance.

The network has two hidden layers, of which level and past shift both and stretch the first. The
trace of its Jacobian is then a closed form, as exact as automatic differentiation and about as fast
as the network itself, for any number of channels:

    F = W3 silu(W2 (g silu(W1 z + k1)) + k2)
    tr dF/dz = silu'(.)^T (W2 * (W1 W3)^T) (g silu'(.))

Beyond 4 standard deviations, where training has next to no values, F fades, and is 0 from 5 on.
What is there stays where it is: a wild value costs what the bent tails (distributions/tails.py)
take of it, and not also what the network makes of inputs that it has never seen. (F above is the
network's; it is multiplied by a function of z, and the trace follows by the rule of products.)
"""

import math

import torch
from torch import Tensor, nn

from seqlatent.distributions.tails import BEND

NARROW = 0.1  # sin(a) below which F is no longer rescaled: the width of the narrowest modes
LEVEL_DIM = 5


def level_features(a: Tensor) -> Tensor:
    """(...) angles -> (..., LEVEL_DIM) smooth features of size 1."""
    low = 0.5 * torch.log(a.sin() ** 2 + NARROW**2)
    return torch.stack([a.cos(), a.sin(), (2 * a).sin(), low + 1, (low + 1) ** 2], -1)


class Denoiser(nn.Module):
    """F(z, a, h) and the trace of its Jacobian dF/dz.

    Of blocks that may end early it models the first n values too, for each n that is told: the
    columns of W1 and rows of W3 are then those of these values.

    Args:
        dim: D.
        in_dim: size of the features of the past.
        hidden_dim: size of the hidden layers.
        num_lengths: numbers of steps that a block may have.
    """

    def __init__(self, dim: int, in_dim: int, hidden_dim: int, num_lengths: int = 1):
        super().__init__()
        self.first = nn.Linear(dim, hidden_dim, bias=False)
        self.second = nn.Linear(hidden_dim, hidden_dim, bias=False)
        self.out = nn.Linear(hidden_dim, dim)
        self.past = nn.Linear(in_dim, 3 * hidden_dim)
        self.level = nn.Linear(LEVEL_DIM, 3 * hidden_dim, bias=False)
        with torch.no_grad():  # start at N(0, I)
            self.out.weight.mul_(0.01)
            self.out.bias.zero_()
        self.length = nn.Embedding(num_lengths, 3 * hidden_dim) if num_lengths > 1 else None
        if self.length is not None:
            nn.init.zeros_(self.length.weight)

    def condition(self, h: Tensor, length: Tensor | None = None) -> Tensor:
        """(..., in_dim) features of the past, and how many steps (...) there are, from 1, if there
        may be several -> what `forward` needs of them, for all levels."""
        past = self.past(h)
        return past if self.length is None or length is None else past + self.length(length - 1)

    def forward(self, z: Tensor, a: Tensor, past: Tensor) -> Tensor:
        """F of (..., D) noised values, or the first n of them, with (...) or () angles, given
        `condition` of the past."""
        return self._run(z, a, past, False)[0]

    def with_trace(self, z: Tensor, a: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """F, (..., D), and the trace of dF/dz, (...)."""
        value, trace = self._run(z, a, past, True)
        assert trace is not None
        return value, trace

    def _run(
        self, z: Tensor, a: Tensor, past: Tensor, traced: bool
    ) -> tuple[Tensor, Tensor | None]:
        shift, later_shift, stretch = (past + self.level(level_features(a))).chunk(3, -1)
        n = z.shape[-1]
        inward, outward = self.first.weight[:, :n], self.out.weight[:n]
        one, stretch = nn.functional.linear(z, inward) + shift, 1 + stretch
        gate = torch.sigmoid(one)
        hidden = one * gate
        two = self.second(stretch * hidden) + later_shift
        later_gate = torch.sigmoid(two)
        later_hidden = two * later_gate
        unit = (a.sin() ** 2 + NARROW**2).sqrt()
        value = nn.functional.linear(later_hidden, outward, self.out.bias[:n]) / unit[..., None]
        near, falls = fade(z)
        faded = near[..., None] * value
        if not traced:
            return faded, None
        slope = stretch * (gate + hidden * (1 - gate))
        later_slope = later_gate + later_hidden * (1 - later_gate)
        mixing = self.second.weight * (inward @ outward).mT
        trace = (later_slope * nn.functional.linear(slope, mixing)).sum(-1)
        return faded, near * trace / unit + (falls * value).sum(-1)


def fade(z: Tensor) -> tuple[Tensor, Tensor]:
    """(..., D) values -> (...) 1 where all are within 4, falling to 0 where one is beyond 5; and
    its gradient (..., D)."""
    far = (z.abs() - BEND).clamp(0, 1)
    each = 1 - far.square() * (3 - 2 * far)
    near = each.prod(-1)
    rest = near[..., None] / each.clamp(min=1e-20)  # where `each` is 0, its slope is too
    return near, -6 * torch.sign(z) * far * (1 - far) * rest


def noised(z: Tensor, e: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
    """(..., D) values and noise and (...) angles -> z(a) and its velocity v, (..., D) each."""
    cos, sin = a.cos()[..., None], a.sin()[..., None]
    return cos * z + sin * e, cos * e - sin * z


def log_normal(z: Tensor, there: Tensor | None = None) -> Tensor:
    """(..., D) -> (...) log N(z; 0, I) in nats, of the values that are `there`, (..., D) bool."""
    each = -0.5 * z * z - 0.5 * math.log(2 * math.pi)
    return (each if there is None else torch.where(there, each, 0.0)).sum(-1)
