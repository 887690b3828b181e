"""What scaling remembers of a series, step by step or for all steps of a batch at once."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

BLOCK = 64  # steps of a discounted sum that are one matrix product


class Memory(NamedTuple):
    """What scaling remembers of the values so far, on the scale of g; B sequences. Wild values
    are remembered as missing.

    Attributes:
        last: (B, 1, D) the last observed values; NaN where there is none.
        past: (B, L, D) the last L values, NaN where missing; L is the longest lag.
        since: (B, k, D) the values after those.
        level, weight: (B, 1, D) discounted sum of the values, and of their weights.
        square, counted: (B, 1, D) the same of the squares of the scaled values.
        row: (B, 1, D) how many of the last values in a row were too large for their scale.
        age: (B, 1, 1) number of steps.
        centre, room: (B, 1, D) of the values of paths, by those that were read
            (`seqlatent.nn.limits`); the steps of a path leave them as they are.
    """

    last: Tensor
    past: Tensor
    since: Tensor
    level: Tensor
    weight: Tensor
    square: Tensor
    counted: Tensor
    row: Tensor
    age: Tensor
    centre: Tensor
    room: Tensor

    def lagged(self, lag: int) -> Tensor:
        """(B, 1, D) the values `lag` steps before the next one; NaN where missing."""
        k = self.since.shape[1]
        if lag <= k:
            return self.since[:, k - lag : k - lag + 1]
        place = self.past.shape[1] - lag + k
        return self.past[:, place : place + 1]

    def push(self, g: Tensor, most: int) -> tuple[Tensor, Tensor]:
        """`past` and `since` after one more step (B, 1, D). New values are appended to the short
        `since`, so that the long `past`, which all paths of a series share, is seldom copied."""
        size, longest = len(g), self.past.shape[1]
        since = torch.cat([self.since.expand(size, -1, -1), g], 1)
        if since.shape[1] <= max(most, longest):
            return self.past, since
        past = torch.cat([self.past.expand(size, -1, -1), since], 1)[:, -longest:]
        return past, since[:, :0]


class Before(NamedTuple):
    """The parts of a memory before each of T steps, (B, T, D), and its lagged values."""

    last: Tensor
    level: Tensor
    weight: Tensor
    square: Tensor
    counted: Tensor
    age: Tensor
    past: Tensor

    def lagged(self, lag: int) -> Tensor:
        """(B, T, D) the values `lag` steps before each step; NaN where missing."""
        return shifted(self.past, lag)


class Scaled(NamedTuple):
    """The scaling of T steps: `loc` and `scale` are (B, T, D) or (1, 1, D), on the scale of g;
    `features` (B, T, E) are what networks see of the past; `limit`, shaped as `loc`, is the size
    above which a scaled value is wild."""

    loc: Tensor
    scale: Tensor
    features: Tensor
    limit: Tensor


def shifted(g: Tensor, lag: int) -> Tensor:
    """(B, T, D) -> the values `lag` steps earlier, NaN before the first."""
    lag = min(lag, g.shape[1])
    none = g.new_full((len(g), lag, g.shape[2]), torch.nan)
    return torch.cat([none, g[:, : g.shape[1] - lag]], 1)


def carried(g: Tensor) -> Tensor:
    """(B, T, D) -> (B, T, D) the last value before each step that is not NaN; NaN before any."""
    step = torch.arange(1, g.shape[1] + 1, device=g.device)[:, None]
    place = torch.where(g.isnan(), 0, step).cummax(1).values
    values = torch.cat([torch.full_like(g[:, :1], torch.nan), g], 1)
    return shifted(values.gather(1, place), 1)


def discounted(values: Sequence[Tensor], decay: float) -> list[Tensor]:
    """(B, T, D) values v each -> the sums  sum_{s <= t} decay^(t - s) v_s  after each step."""
    stacked = torch.cat(list(values), -1)
    num = min(BLOCK, stacked.shape[1])
    power = torch.arange(num, dtype=stacked.dtype, device=stacked.device)
    weights = (decay ** (power[:, None] - power).clamp(min=0)).tril()
    carry, sums = torch.zeros_like(stacked[:, :1]), []
    for part in stacked.split(max(num, 1), 1):
        k = part.shape[1]
        total = weights[:k, :k] @ part + decay ** (power[:k, None] + 1) * carry
        carry = total[:, -1:]
        sums.append(total)
    whole = torch.cat(sums, 1) if sums else stacked
    return list(whole.chunk(len(values), -1))
