"""Several processes that share the work of a training batch, each with some of its sequences.

A training step is to be that of one process with the whole batch. Two things make it so: sums that
a loss is divided by are of all shares (`total`), and random numbers are drawn for the whole batch,
from generators in the same state, of which each process takes those of its rows (`drawn`). Outside
`sharing` a process has the whole, and both do nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Share:
    """The rows of a whole that this process has.

    Attributes:
        rows: (n,) int64, ascending.
        size: N, of the whole.
    """

    rows: Tensor
    size: int


_SHARE: ContextVar[Share | None] = ContextVar("share", default=None)


@contextmanager
def sharing(share: Share | None) -> Iterator[None]:
    """Meanwhile the first rows of random numbers are those of the share; None: of a whole."""
    token = _SHARE.set(share)
    try:
        yield
    finally:
        _SHARE.reset(token)


def current() -> Share | None:
    """The share in use; None where this process has the whole."""
    return _SHARE.get()


def total(value: Tensor) -> Tensor:
    """The sum of a tensor over all processes, without a gradient; of the same shape in each."""
    return _reduced(value, distributed.ReduceOp.SUM)


def largest(value: Tensor) -> Tensor:
    """The maximum of a tensor over all processes."""
    return _reduced(value, distributed.ReduceOp.MAX)


def _reduced(value: Tensor, kind: distributed.ReduceOp.RedOpType) -> Tensor:
    value = value.detach()
    if current() is None:
        return value
    value = value.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(value, kind)
    return value


def in_turn(count: int, device: torch.device) -> Share | None:
    """The share of a list to which each process adds `count` rows, the first process first."""
    if current() is None:
        return None
    counts = torch.zeros(distributed.get_world_size(), dtype=torch.int64, device=device)
    counts[distributed.get_rank()] = count
    ends = total(counts).cumsum(0)
    last = int(ends[distributed.get_rank()])
    return Share(torch.arange(last - count, last), int(ends[-1]))


def drawn(
    draw: Callable[[tuple[int, ...]], Tensor], shape: tuple[int, ...], dim: int = 0
) -> Tensor:
    """Random numbers, drawn for the whole, of this process's rows.

    Args:
        draw: makes a tensor of a shape.
        shape: of this process's numbers.
        dim: of the rows, or of as many numbers for each row side by side.
    """
    share = current()
    if share is None:
        return draw(shape)
    each = max(1, shape[dim] // max(1, len(share.rows)))
    whole = list(shape)
    whole[dim] = each * share.size
    rows = (share.rows[:, None] * each + torch.arange(each)).flatten()
    numbers = draw(tuple(whole))
    return numbers.index_select(dim, rows.to(numbers.device))
