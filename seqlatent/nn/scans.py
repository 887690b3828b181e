"""The linear recurrence h_t = a_t h_{t-1} + b_t, for all steps at once.

Time is cut into chunks of L steps. Within a chunk, all chunks alike and side by side,

    p_t = a_t p_{t-1},    g_t = a_t g_{t-1} + b_t,    from p = 1 and g = 0 at its start,

so that h_t = g_t + p_t h_s, where s is the step before the chunk. The states at the ends of the
chunks follow the same recurrence, of T / L steps, and are found in the same way (Blelloch 1990,
with chunks in the place of pairs). A thousand steps take some tens of operations, and the work is
that of three passes over the data. Nothing is divided: a product that underflows is a past that
counts no more.

The gradient is a recurrence of the same kind, from the last step to the first:

    dL/db_t = dL/dh_t + a_{t+1} dL/db_{t+1},    dL/da_t = h_{t-1} dL/db_t
"""

from typing import Any

import torch
from torch import Tensor

CHUNK = 32  # L, steps


def linear_recurrence(a: Tensor, b: Tensor, start: Tensor) -> Tensor:
    """All states of h_t = a_t h_{t-1} + b_t; twice differentiable.

    Args:
        a, b: (N, T, F).
        start: (N, F), the state before the first step.

    Returns:
        (N, T, F), h at every step.
    """
    return _Recurrence.apply(a, b, start)  # type: ignore[no-any-return]


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, start: Tensor) -> Tensor:
        h = _states(a, b, start)
        ctx.save_for_backward(a, start, h)
        return h

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, start, h = ctx.saved_tensors
        later = torch.cat([a[:, 1:], torch.zeros_like(a[:, :1])], 1)
        to_b = linear_recurrence(later.flip(1), grads[0].flip(1), torch.zeros_like(start)).flip(1)
        before = torch.cat([start[:, None], h[:, :-1]], 1)
        return to_b * before, to_b, to_b[:, 0] * a[:, 0]


def _states(a: Tensor, b: Tensor, start: Tensor) -> Tensor:
    """`linear_recurrence` without a gradient: `out` writes each step into its place."""
    T = b.shape[1]
    h = torch.empty_like(b, memory_format=torch.contiguous_format)
    if T < 2 * CHUNK:
        last = start
        for a_t, b_t, h_t in zip(a.unbind(1), b.unbind(1), h.unbind(1), strict=True):
            last = torch.addcmul(b_t, a_t, last, out=h_t)
        return h
    whole = T - T % CHUNK
    a_of, b_of, h_of = (x[:, :whole].unflatten(1, (-1, CHUNK)) for x in (a, b, h))
    p = torch.empty_like(h_of)
    p[:, :, 0], h_of[:, :, 0] = a_of[:, :, 0], b_of[:, :, 0]
    for t in range(1, CHUNK):
        torch.mul(a_of[:, :, t], p[:, :, t - 1], out=p[:, :, t])
        torch.addcmul(b_of[:, :, t], a_of[:, :, t], h_of[:, :, t - 1], out=h_of[:, :, t])
    ends = _states(p[:, :, -1], h_of[:, :, -1], start)
    h_of.addcmul_(p, torch.cat([start[:, None], ends[:, :-1]], 1)[:, :, None])
    if whole < T:
        h[:, whole:] = _states(a[:, whole:], b[:, whole:], h[:, whole - 1])
    return h
