"""Exact inference in a hidden chain of K regimes: filter, smoother, best path, sampled paths.

    p(s_1 = k),    p(s_t = k | s_{t-1} = j, .),    p(x_t | ., s_t = k)

The forward algorithm (Baum, Petrie, Soules and Weiss 1970; Hamilton 1989) goes from step to step,
and never lists the K^T paths:

    r_t(k) = p(s_t = k | x_{<t})      = sum_j f_{t-1}(j) p(s_t = k | s_{t-1} = j)
    f_t(k) = p(s_t = k | x_{1:t})     = r_t(k) p(x_t | ., s_t = k) / c_t
    c_t    = p(x_t | x_{<t})

It loses nothing to underflow, in double precision: densities are taken relative to that of the
regime that explains x_t best, and every r_t is at least the smallest transition probability, which
`FLOOR` bounds. The gradient of sum_t g_t log c_t with respect to log p(x_t | ., s_t = k) is

    d_t(k) = f_t(k) b_t(k)
    b_t(k) = g_t - g_{t+1} + sum_l p(s_{t+1} = l | s_t = k) b_{t+1}(l) f_{t+1}(l) / r_{t+1}(l)

a recursion backwards that is the smoother, p(s_t = k | x_{1:T}), where all g_t are 1. It takes the
place of automatic differentiation, whose record of every step costs several times the recursion.

Shapes: B sequences, T steps, K regimes; transitions (b, T, K, K), from the row to the column,
where that of index t leads into step t, and b may be 1. That of index 0 is not used: `start` has
the first step's distribution.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from seqlatent.distributions.noise import Noise, sample_class

DOUBLE = torch.float64
FLOOR = -80.0  # of the logarithms of start and transitions; far below what a double adds to 1
OFTEN = 8  # steps after which the filter is normalised: exp(8 * FLOOR) is no underflow yet


class Chain(NamedTuple):
    """A hidden chain and what was observed of it.

    Attributes:
        start: (B, K) log p(s_1), at least `FLOOR`.
        transition: (b, T, K, K) log p(s_t | s_{t-1}), at least `FLOOR`.
        emission: (B, T, K) log p(x_t | ., s_t); 0 where nothing was observed.
    """

    start: Tensor
    transition: Tensor
    emission: Tensor


def log_prob(chain: Chain) -> tuple[Tensor, Tensor]:
    """(B, T) log p(x_t | x_{<t}), which has a gradient, and (B, T, K) p(s_t | x_{1:t}), which has
    none."""
    value, f = _Forward.apply(*(part.to(DOUBLE) for part in chain))  # type: ignore[misc]
    return value, f.transpose(0, 1)


@torch.no_grad()
def predict(chain: Chain, filtered: Tensor) -> Tensor:
    """(B, T, K) log p(s_t | x_{<t}) from p(s_t | x_{1:t})."""
    ahead = filtered[:, :-1, None] @ chain.transition[:, 1:].to(DOUBLE).exp()
    return torch.cat([chain.start.to(DOUBLE)[:, None], ahead[:, :, 0].log()], 1)


@torch.no_grad()
def smooth(chain: Chain) -> Tensor:
    """(B, T, K) p(s_t | x_{1:T})."""
    A, r, f, _ = _filter(*_time_first(chain))
    own = f.new_zeros(f.shape[:2])
    own[-1] = 1.0
    return _backwards(A, r, f, own).transpose(0, 1)


@torch.no_grad()
def best_path(chain: Chain) -> Tensor:
    """(B, T) regimes of the most probable path given x_{1:T} (Viterbi 1967)."""
    start, transition, emission = _time_first(chain)
    best, choices = start + emission[0], []
    for move_t, e in zip(transition[1:], emission[1:], strict=True):
        best, choice = (best[..., None] + move_t).max(1)
        best = best + e
        choices.append(choice)
    path = [best.argmax(1)]
    for choice in reversed(choices):
        path.append(choice.gather(1, path[-1][:, None])[:, 0])
    return torch.stack(path[::-1], 1)


@torch.no_grad()
def sample_path(chain: Chain, num_samples: int, noise: Noise) -> Tensor:
    """(S, T) regimes of joint samples of p(s_{1:T} | x_{1:T}) of one sequence: the last one from
    the filter, then each given the next (Carter and Kohn 1994)."""
    A, _, f, _ = _filter(*_time_first(chain))
    path = [sample_class(f[-1, 0].log().expand(num_samples, -1), noise)]
    for t in range(len(f) - 2, -1, -1):
        log_given = (f[t, 0, :, None] * A[t + 1, 0]).log()  # of s_t, a column for each s_{t+1}
        path.append(sample_class(log_given.T[path[-1]], noise))
    return torch.stack(path[::-1], 1)


def move(state: Tensor, transition: Tensor) -> Tensor:
    """(B, K) p(s_{t-1} | .) and (b, K, K) log p(s_t | s_{t-1}) -> (B, K) log p(s_t | .)."""
    return (state[:, None].to(DOUBLE) @ transition.to(DOUBLE).exp())[:, 0].log()


class _Forward(torch.autograd.Function):
    """(B, T) log p(x_t | x_{<t}), and the filter f (T, B, K), which has no gradient."""

    @staticmethod
    def forward(ctx, start: Tensor, transition: Tensor, emission: Tensor) -> tuple[Tensor, Tensor]:
        A, r, f, value = _filter(*_time_first(Chain(start, transition, emission)))
        ctx.save_for_backward(A, r, f)
        ctx.mark_non_differentiable(f)
        return value.T, f

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx, gradient: Tensor, _: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        A, r, f = ctx.saved_tensors
        g = gradient.T
        d = _backwards(A, r, f, g - torch.cat([g[1:], torch.zeros_like(g[:1])]))
        # Of transitions: f_{t-1}(j) p(s_t = k | s_{t-1} = j) d_t(k) / r_t(k).
        ahead = d[1:] / r[1:]
        if A.shape[1] == 1:
            moved = (f[:-1].mT @ ahead)[:, None] * A[1:]
        else:
            moved = f[:-1, ..., None] * A[1:] * ahead[..., None, :]
        of_transition = torch.cat([torch.zeros_like(A[:1]), moved])
        return d[0], of_transition.transpose(0, 1), d.transpose(0, 1)


def _time_first(chain: Chain) -> tuple[Tensor, Tensor, Tensor]:
    """Start (B, K), transitions (T, b, K, K), emissions (T, B, K)."""
    start, transition, emission = (part.to(DOUBLE) for part in chain)
    return start, transition.transpose(0, 1), emission.transpose(0, 1)


def _filter(
    start: Tensor, transition: Tensor, emission: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Transition probabilities A (T, b, K, K), predictions r and filter f (T, B, K), and log c
    (T, B)."""
    A = transition.exp()
    best = emission.max(-1, keepdim=True).values
    weight = (emission - best).exp()
    r, f = torch.empty_like(weight), torch.empty_like(weight)
    step = _mix(A)
    torch.mul(start.exp(), weight[0], out=f[0])
    before = f[0]
    for t, (A_t, weight_t, r_t, f_t) in enumerate(_steps(A, weight, r, f)):
        if t == 0:
            continue
        if t % OFTEN == 0:
            before /= before.sum(-1, keepdim=True)
        step(before, A_t, r_t)
        before = torch.mul(r_t, weight_t, out=f_t)
    # The loop left f_t, and r_{t+1} with it, with a factor that is the same for all regimes.
    total = f.sum(-1, keepdim=True)
    r[0] = start.exp()
    r[1:] /= total[:-1]
    f /= total
    return A, r, f, (r * weight).sum(-1).log() + best[..., 0]


def _backwards(A: Tensor, r: Tensor, f: Tensor, own: Tensor) -> Tensor:
    """(T, B, K) d, from the results of the filter and each step's own weight (T, B)."""
    b = own[..., None].expand_as(f).contiguous()
    ahead = torch.empty_like(b[0])
    add = _add_mixed(A)
    steps = list(_steps(A, f / r, b))
    for (*_, b_t), (A_t, ratio, b_next) in zip(steps[-2::-1], steps[:0:-1], strict=True):
        torch.mul(b_next, ratio, out=ahead)
        add(b_t, ahead, A_t)
    return f * b


def _steps(*parts: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Each step of tensors whose first dimension is time, as views."""
    return zip(*(part.unbind(0) for part in parts), strict=True)


def _mix(A: Tensor) -> Callable[[Tensor, Tensor, Tensor], object]:
    """A function that writes (B, K) rows times the (b, K, K) matrices of a step of A into its third
    argument."""
    if A.shape[1] == 1:
        return lambda rows, A_t, out: torch.mm(rows, A_t[0], out=out)
    return lambda rows, A_t, out: torch.bmm(rows[:, None], A_t, out=out[:, None])


def _add_mixed(A: Tensor) -> Callable[[Tensor, Tensor, Tensor], object]:
    """A function that adds (B, K) rows times the transposed matrices of a step of A to its first
    argument."""
    if A.shape[1] == 1:
        return lambda out, rows, A_t: out.addmm_(rows, A_t[0].T)
    return lambda out, rows, A_t: out[:, None].baddbmm_(rows[:, None], A_t.mT)
