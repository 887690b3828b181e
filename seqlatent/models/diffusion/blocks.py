"""Blocks of steps that are denoised together, given what comes before the first of them.

    l_t = log p(x_s, ..., x_t | x_{<s})      of the block that begins at s, as far as step t
    score of step t:    l_t - l_{t-1},       l_{s-1} = 0

One network has the densities l_t of all lengths up to B, so that blocks may end early. Blocks are
counted from the first step that is scored: it begins one, so do those B, 2 B, ... steps later, and
the first step after a gap. The scores of a block sum to the log density of all its steps. Within a
block a score depends on earlier values alone; but l_{t-1} is what the network has learnt of shorter
blocks, and not exactly the marginal of l_t: the sum is that of a density, a single score is
the log of a conditional one as far as the two agree.

(Between one step at a time and a whole sequence: Arriola et al. 2025, of text.)
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Given(NamedTuple):
    """Each step's part in the blocks that begin at it or before it.

    Attributes:
        h: (N, T, W) features of the steps before, of which a block needs those of its beginning.
        y: (N, T, D) scaled values.
        known: (N, T, C) covariates that are known in advance.
    """

    h: Tensor
    y: Tensor
    known: Tensor


class Blocks(NamedTuple):
    """The block of each step, as far as that step.

    Attributes:
        z: (N, T, B D) mapped values, zeros after the step.
        past: (N, T, .) what the denoiser is given.
        place: (N, T) int64, the step's place in its block, from 0; -1: it is in none.
        rest: (N, T) log |det dz / dx| of the step, nats.
    """

    z: Tensor
    past: Tensor
    place: Tensor
    rest: Tensor


class Unfinished(NamedTuple):
    """What is kept of the steps so far, for the next ones may belong to the same block.

    Attributes:
        rows: (N, B - 1, .) what blocks are made of, of the last steps.
        place: (N, 1) int64, the last step's place in its block, from 0; -1: it is in none.
        age: (N, 1) int64, number of steps since the context.
    """

    rows: Tensor
    place: Tensor
    age: Tensor


def none_unfinished(rows: Tensor, block: int) -> Unfinished:
    """Before the first of the steps with the (N, T, .) rows."""
    zero = torch.zeros(len(rows), 1, dtype=torch.int64, device=rows.device)
    return Unfinished(rows.new_zeros(len(rows), block - 1, rows.shape[-1]), zero - 1, zero)


def places(seen: Tensor, context: Tensor, before: Unfinished, block: int) -> tuple[Tensor, Tensor]:
    """The place of each step in its block, from 0; -1: it is in none.

    Args:
        seen: (N, T) bool, the scored steps.
        context: (N,) leading steps that are not counted.
        before: of the steps before these.
        block: B.

    Returns:
        (N, T) places, and the (N, 1) `age` after these steps.
    """
    step = torch.arange(seen.shape[1], device=seen.device)
    age = before.age + (step - context[:, None]).clamp(min=0)
    follows = torch.cat([before.place >= 0, seen[:, :-1]], 1)
    begins = seen & ((age % block == 0) | ~follows)
    beginning = torch.cat([-1 - before.place, torch.where(begins, step, -block)], 1)
    place = step - beginning.cummax(1).values[:, 1:]
    counted = (seen.shape[1] - context[:, None]).clamp(min=0)
    return torch.where(seen, place, -1), before.age + counted


def runs(seen: Tensor, block: int) -> Tensor:
    """(N, T) bool -> how many steps from each one on are seen, itself included, at most `block`."""
    number, still = torch.zeros_like(seen, dtype=torch.int64), seen
    for j in range(1, block + 1):
        number = number + still
        still = still & moved(seen, j)
    return number


def moved(values: Tensor, steps: int) -> Tensor:
    """(N, T, ...) -> the values `steps` later, zeros after the last."""
    if steps == 0:
        return values
    steps = min(steps, values.shape[1])
    return torch.cat([values[:, steps:], torch.zeros_like(values[:, :steps])], 1)


def at(values: Tensor, step: Tensor) -> Tensor:
    """(N, T, ...) values -> (N, S, ...), those at the (N, S) steps."""
    rows = torch.arange(len(values), device=values.device)[:, None]
    return values[rows, step]


def of_length(values: Tensor, length: Tensor) -> Tensor:
    """(..., B, F) values of the steps of blocks -> (..., B F), zeros from `length` (...) on."""
    step = torch.arange(values.shape[-2], device=values.device)
    return torch.where((step < length[..., None])[..., None], values, 0.0).flatten(-2)


def summed(values: Tensor, place: Tensor) -> Tensor:
    """(N, T) values of steps with (N, T) places in their blocks -> their sums from the beginning of
    the block up to each step."""
    total = torch.cat([torch.zeros_like(values[:, :1]), values.cumsum(1)], 1)
    step = torch.arange(values.shape[1], device=values.device)
    before = total.gather(1, step - place.clamp(min=0))
    return torch.where(place > 0, total[:, 1:] - before, values)
