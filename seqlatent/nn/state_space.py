"""SSD, the layer of Mamba-2: a state space with one decay for each head (Dao and Gu 2024).

A head has a state S (P, K) of P channels x and K directions. Its step size d, its inputs x and the
vectors b and c (K), which all heads share, are maps of the last few inputs:

    S_t = exp(-r d_t) S_{t-1} + d_t x_t b_t',    y_t = S_t c_t + m x_t

All steps of a chunk are found at once. With l_ts = -r (d_{s+1} + ... + d_t) and s_0 the step before
the chunk,

    y_t = sum_{s <= t} exp(l_ts) (c_t' b_s) d_s x_s + exp(l_ts0) S_s0 c_t + m x_t

The first sum is a matrix product for each chunk, and the states at the chunks' ends follow one
another in T / L steps. Each l_ts is a sum over its own steps, not a difference of two long sums,
which would lose digits after steps that forget.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHUNK = 16  # L, steps
KERNEL = 4  # steps that the convolution sees
HEAD = 16  # P, where it divides hidden_dim


class StateSpace(nn.Module):
    """One layer.

    Args:
        in_dim: size of u_t.
        hidden_dim: size of the output; its greatest common divisor with 16 is P.
        state_dim: K.
    """

    ranges: Tensor
    later: Tensor

    def __init__(self, in_dim: int, hidden_dim: int, state_dim: int = 16):
        super().__init__()
        self.head_dim = math.gcd(hidden_dim, HEAD)
        self.num_heads = hidden_dim // self.head_dim
        self.hidden_dim, self.state_dim = hidden_dim, state_dim
        mixed = hidden_dim + 2 * state_dim
        self.sizes = [hidden_dim, mixed, self.num_heads]
        self.inner = nn.Linear(in_dim, sum(self.sizes))
        self.conv = nn.Conv1d(mixed, mixed, KERNEL, groups=mixed, bias=False)
        # With rates of 1, states are moving averages, over some hundred steps to one. (From the
        # steps of Mamba-2, 0.001 to 0.1, less was learnt in equal time.)
        steps = torch.logspace(-2, 0, self.num_heads)
        self.step_bias = nn.Parameter(steps + torch.log(-torch.expm1(-steps)))
        self.log_rate = nn.Parameter(torch.zeros(self.num_heads))
        self.skip = nn.Parameter(torch.ones(self.num_heads))
        self.norm = nn.LayerNorm(hidden_dim)
        self.out = nn.Linear(hidden_dim, hidden_dim)
        at = torch.arange(CHUNK)
        within = (at < at[:, None, None]) & (at[:, None, None] <= at[:, None])  # s < k <= t
        self.register_buffer("ranges", within.flatten(1).float(), persistent=False)
        later = torch.full((CHUNK, CHUNK), -torch.inf).triu(1)
        self.register_buffer("later", later.flatten(), persistent=False)

    def forward(
        self, u: Tensor, state: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(N, T, in_dim) and the last inputs of the convolution and S, or None, -> (N, T,
        hidden_dim) and the same after the last step."""
        N, T = u.shape[:2]
        gate, mixed, raw = self.inner(u).split(self.sizes, -1)
        if state is None:
            past = mixed.new_zeros(N, mixed.shape[-1], KERNEL - 1)
            S = mixed.new_zeros(N, self.num_heads, self.head_dim, self.state_dim)
        else:
            past, S = state
        seen = torch.cat([past, mixed.transpose(1, 2)], 2)
        if T > 1:
            convolved = self.conv(seen).transpose(1, 2)
        else:  # a product is much faster
            convolved = torch.einsum("nck,ck->nc", seen, self.conv.weight[:, 0])[:, None]
        x, b, c = F.silu(convolved).split([self.hidden_dim, self.state_dim, self.state_dim], -1)
        x = x.unflatten(-1, (self.num_heads, self.head_dim))
        d = F.softplus(raw + self.step_bias)
        y, S = ssd(x * d[..., None], -d * self.log_rate.exp(), b, c, S, self.ranges, self.later)
        y = (y + self.skip[:, None] * x).flatten(2)
        y = self.out(self.norm(y * F.silu(gate)))
        return y, (seen[..., T:], S)


def ssd(
    x: Tensor, log_decay: Tensor, b: Tensor, c: Tensor, S: Tensor, ranges: Tensor, later: Tensor
) -> tuple[Tensor, Tensor]:
    """S_t = exp(log_decay_t) S_{t-1} + x_t b_t' and y_t = S_t c_t.

    Args:
        x: (N, T, heads, P).
        log_decay: (N, T, heads), at most 0.
        b, c: (N, T, K).
        S: (N, heads, P, K), the state before the first step.
        ranges: (L, L * L), 1 at [k, t * L + s] where s < k <= t.
        later: (L * L), -inf at [t * L + s] where s > t, else 0.

    Returns:
        y (N, T, heads, P) and the state after the last step.
    """
    T = x.shape[1]
    if T == 1:
        S = (log_decay[:, 0, :, None, None].exp() * S).addcmul_(x[:, 0, :, :, None], b[:, :1, None])
        return (S @ c[:, 0, None, :, None])[..., 0][:, None], S
    L = len(ranges)
    # Steps beyond the end add nothing and forget nothing.
    pad = -T % L
    x, log_decay = F.pad(x, (0, 0, 0, 0, 0, pad)), F.pad(log_decay, (0, 0, 0, pad))
    b, c = (F.pad(v, (0, 0, 0, pad)).unflatten(1, (-1, L)) for v in (b, c))  # (N, C, L, K)
    x = x.unflatten(1, (-1, L)).transpose(2, 3)  # (N, C, H, L, P)
    log_decay = log_decay.unflatten(1, (-1, L)).transpose(2, 3)  # (N, C, H, L)
    decay = (log_decay @ ranges.to(log_decay) + later.to(log_decay)).exp().unflatten(-1, (L, L))
    weights = decay * (c @ b.transpose(-1, -2))[:, :, None]
    y = weights @ x
    # What each chunk adds to the state at its end; then the states at the chunks' starts.
    added = (x * decay[..., -1, :, None]).transpose(-1, -2) @ b[:, :, None]  # (N, C, H, P, K)
    from_start = log_decay.cumsum(-1).exp()
    starts = []
    for kept, more in zip(from_start[..., -1, None, None].unbind(1), added.unbind(1), strict=True):
        starts.append(S)
        S = torch.addcmul(more, kept, S)
    y = y + from_start[..., None] * (c[:, :, None] @ torch.stack(starts, 1).transpose(-1, -2))
    return y.transpose(2, 3).flatten(1, 2)[:, :T], S
