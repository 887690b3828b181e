"""How far sampled paths may go: samples alone are cut, no density.

A path keeps within a room around the level that the series had where the path began:

    |g - centre| <= room sqrt(max(1, age / L))

on the scale of g, with L the mean length of training series. The room is the widest range of a
training series, and as much again or seven standard deviations within a series, if these are more;
with `running`, times the series' own scale where that is larger than those of training series. It
grows as a random walk spreads, once the series is older than those of training.

Training knows more of series as young as its own: of N of them, none left the range of all, in data
units. Widened about its middle by the factor

    w = max(1, 1 / (1e-4 (N + 1)))^(1/3)

it is left by one new series in 10,000 like them, with tails as heavy as a power of -3. That holds
for a path from nothing, and so for one that goes on from a few values of such a series. A series
need not be like them: given a value v of it, its path has w times the widest range of a training
series on either side of v too; more by the factor |v| / m where v is beyond the greatest size m of
training. On a logarithmic scale the room alone would let rare draws go to many times all values
seen: where a series of training goes from 0.01 to 1, one at 1 could go on to 10,000.

A path keeps within both, the room and what training knows. Where it goes on from `age` steps, its
ends on the scale of g are the share min(1, age / L) of the way from there to those of the room
alone: with as many steps as training series had, a series is known by its own past.

Where many training values are exactly the lowest or the highest one, such as days without rain, the
data stop there (`DataDescription`), and so do paths: what is drawn beyond becomes that value, as if
the model's distribution were censored. Paths of a series whose own level lies beyond go on there,
where scaling remembers a level (not with `global`): a larger hall sells more seats than those of
training had.

What else it costs: where a model is right, values beyond the limits, which are brought back to
them. Of paths as long as the series were (100 steps) these are fewer than one in 10,000 of
stationary series, trends, exponential growth on a logarithmic scale and normal random walks, and
about two in 1,000 of a single walk with Student-t increments of 3 degrees of freedom
(`tests/test_limits.py`).
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from seqlatent.data.description import ChannelDescription, DataDescription
from seqlatent.data.spread import Spread
from seqlatent.nn.memory import Memory

REACH = 7.0  # standard deviations within a series
CLOSE = 1e-6  # of the reach: levels are sums, and rounding takes them beyond the ends
LEAVING = 1e-4  # share of new series that may leave the range of training data, widened


class Limits(nn.Module):
    """The room of paths, by what training data are like.

    Args:
        description: of the training data.
        spreads: of the D channels, on the scale of g.
        to_scale: (..., D) values in data units -> g.
        from_scale: its inverse.
    """

    low: Tensor
    high: Tensor
    reach: Tensor
    widest: Tensor
    greatest: Tensor
    ends: Tensor

    def __init__(
        self,
        description: DataDescription,
        spreads: list[Spread],
        to_scale: Callable[[Tensor], Tensor],
        from_scale: Callable[[Tensor], Tensor],
    ):
        super().__init__()
        self.to_scale, self.from_scale = to_scale, from_scale
        channels, factor = description.channels, widening(description.num_series)
        low, high = (
            torch.tensor([getattr(c, end) for c in channels], dtype=torch.float64)
            for end in ("low", "high")
        )
        reach = [s.own_range + max(s.own_range, REACH * s.own_scale) for s in spreads]
        self.register_buffer("reach", torch.tensor(reach, dtype=low.dtype))
        far = (low + high) / 2, factor * (high - low) / 2
        lowest, highest = to_scale(far[0] - far[1]), to_scale(far[0] + far[1])
        self.register_buffer("low", torch.maximum(to_scale(low) - self.reach, lowest))
        self.register_buffer("high", torch.minimum(to_scale(high) + self.reach, highest))
        greatest = torch.maximum(low.abs(), high.abs())
        greatest = torch.where(greatest > 0, greatest, 1.0)
        own = torch.tensor([c.spread.own_range for c in channels], dtype=low.dtype)
        ends = torch.tensor([_ends(c) for c in channels], dtype=low.dtype)
        self.register_buffer("ends", to_scale(ends.T), persistent=False)
        self.any_end = bool(ends.isfinite().any())
        self.register_buffer("greatest", greatest, persistent=False)
        self.register_buffer("widest", factor * own / greatest, persistent=False)
        steps = max(c.num_observed + c.num_missing for c in channels)
        self.usual_age = steps / description.num_series

    def begin(self, memory: Memory, own_scale: Tensor | float = 1.0) -> Memory:
        """The memory with the centre and the room of paths that begin after it.

        Args:
            memory: of B sequences.
            own_scale: (B, 1, D) of the series, in those of training series.
        """
        known = memory.weight > 0
        level = memory.level / memory.weight.clamp(min=1e-9)
        reach = self.reach * torch.as_tensor(own_scale).clamp(min=1.0)
        low, high = self._known_of(level, torch.where(known, memory.last, level))
        low, high = torch.maximum(low, level - reach), torch.minimum(high, level + reach)
        low, high = torch.where(known, low, self.low), torch.where(known, high, self.high)
        own = torch.where(known, memory.age / self.usual_age, 0.0).clamp(max=1.0)
        return memory._replace(
            centre=torch.lerp((low + high) / 2, level, own),
            room=torch.lerp((high - low) / 2, reach, own),
        )

    def _known_of(self, level: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """The ends of what training knows of series with this level and last value."""
        ends = (
            self.from_scale(torch.minimum(level, last)),
            self.from_scale(torch.maximum(level, last)),
        )
        size = torch.maximum(ends[0].abs(), ends[1].abs())
        widest = self.widest * torch.maximum(size, self.greatest)
        low, high = self.to_scale(ends[0] - widest), self.to_scale(ends[1] + widest)
        return torch.minimum(self.low, low), torch.maximum(self.high, high)

    def keep(self, g: Tensor, memory: Memory) -> Tensor:
        """(B, 1, D) values of the next step on the scale of g, those beyond the limits brought back
        to them."""
        room = memory.room * (memory.age / self.usual_age).clamp(min=1.0).sqrt()
        g = torch.minimum(torch.maximum(g, memory.centre - room), memory.centre + room)
        if not self.any_end:
            return g
        level, known = memory.level / memory.weight.clamp(min=1e-9), memory.weight > 0
        lower = known & (level < self.ends[0] - CLOSE * self.reach)
        higher = known & (level > self.ends[1] + CLOSE * self.reach)
        g = torch.where(lower, g, torch.maximum(g, self.ends[0]))
        return torch.where(higher, g, torch.minimum(g, self.ends[1]))


def _ends(channel: ChannelDescription) -> tuple[float, float]:
    """Where values stop, in data units; infinite where they do not."""
    low = channel.minimum if channel.stops_low else -math.inf
    return low, channel.maximum if channel.stops_high else math.inf


def widening(num_series: int) -> float:
    """The factor by which a range of so many series is widened for new ones like them."""
    return max(1.0, 1 / (LEAVING * (num_series + 1))) ** (1 / 3)
