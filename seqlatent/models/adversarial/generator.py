"""The generator: one step's values from noise and what a recurrent network makes of the past.

    h_t = GRU(u_1, ..., u_t)                                u_t holds x_{t-1} and what is known of t
    y_t = m(h_t, u_t) + s(h_t, u_t) (e_t + b(h_t, u_t, e_t))        e_t ~ N(0, I)

m and s are linear in features, so that it begins as a normal autoregressive model of unit noise; b
bends the noise into any shape, and couples channels.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqlatent.nn.build import build_network
from seqlatent.nn.feedforward import Beside, mlp
from seqlatent.nn.layers import SOFTPLUS_ONE


class Generator(nn.Module):
    """y_t = g(x_{<t}, e_t).

    Args:
        in_dim: size of u_t.
        num_channels: D.
        hidden_dim: size of the recurrent state and of hidden layers.
        noise_dim: size of e_t, at least D.
    """

    def __init__(self, in_dim: int, num_channels: int, hidden_dim: int, noise_dim: int):
        super().__init__()
        self.num_channels, self.noise_dim = num_channels, noise_dim
        self.network = build_network("gru", in_dim, hidden_dim)
        self.beside = Beside(hidden_dim + in_dim, hidden_dim)
        self.moments = nn.Linear(self.beside.out_dim, 2 * num_channels)
        self.bend = mlp(self.beside.out_dim + noise_dim, hidden_dim, num_channels, num_layers=1)
        with torch.no_grad():
            last = self.bend[-1]
            assert isinstance(last, nn.Linear)
            last.weight.mul_(0.1)
            last.bias.zero_()
            self.moments.weight.mul_(0.3)
            self.moments.bias.zero_()

    def remember(self, u: Tensor) -> Tensor:
        """(N, T, in_dim) inputs of steps -> (N, T, H) what is remembered at each."""
        return self.network(u)[0]

    def step(self, h: Tensor, u: Tensor, e: Tensor) -> Tensor:
        """(..., T, H), (..., T, in_dim) and (..., T, E) noise -> (..., T, D) scaled values."""
        seen = self.beside(h, u)
        m, s = self.moments(seen).chunk(2, -1)
        bent = e[..., : self.num_channels] + self.bend(torch.cat([seen, e], -1))
        return m + F.softplus(s + SOFTPLUS_ONE) * bent
