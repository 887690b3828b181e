"""How far sampled paths may go: samples alone are cut, no density.

A path keeps within a room around the level that the series had where the path began:

    |g - centre| <= room sqrt(max(1, age / L))

on the scale of g, with L the mean length of training series. The room is the widest range of a
training series, and as much again or seven standard deviations within a series, if these are more;
with `running`, times the series' own scale where that is larger than those of training series. It
grows as a random walk spreads, once the series is older than those of training.

Where a series has no value yet, the room is added to the range of all training data, and the path
also keeps within that range in data units, widened about its middle by the factor
max(1, 1 / (1e-4 (N + 1)))^(1/3) of N series: of a new series like them, with tails as heavy as a
power of -3, one in 10,000 leaves it. On a logarithmic scale the room alone would let rare draws go
to many times all values seen.

What it costs: where a model is right, values beyond the limits, which are brought back to them. Of
paths as long as the series were (100 steps) these are fewer than one in 10,000 of stationary
series, trends, exponential growth on a logarithmic scale and normal random walks, and about two in
1,000 of a single walk with Student-t increments of 3 degrees of freedom (`tests/test_limits.py`).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from seqlatent.data.description import DataDescription
from seqlatent.data.spread import Spread
from seqlatent.nn.memory import Memory

REACH = 7.0  # standard deviations within a series
LEAVING = 1e-4  # share of new series that may leave the range of training data, widened


class Limits(nn.Module):
    """The room of paths, by what training data are like.

    Args:
        description: of the training data.
        spreads: of the D channels, on the scale of g.
        to_scale: (D,) values in data units -> g.
    """

    low: Tensor
    high: Tensor
    reach: Tensor

    def __init__(
        self,
        description: DataDescription,
        spreads: list[Spread],
        to_scale: Callable[[Tensor], Tensor],
    ):
        super().__init__()
        reach = [s.own_range + max(s.own_range, REACH * s.own_scale) for s in spreads]
        low, high = (
            torch.tensor([getattr(c, end) for c in description.channels], dtype=torch.float64)
            for end in ("low", "high")
        )
        self.register_buffer("reach", torch.tensor(reach, dtype=low.dtype))
        far = (low + high) / 2, widening(description.num_series) * (high - low) / 2
        lowest, highest = to_scale(far[0] - far[1]), to_scale(far[0] + far[1])
        self.register_buffer("low", torch.maximum(to_scale(low) - self.reach, lowest))
        self.register_buffer("high", torch.minimum(to_scale(high) + self.reach, highest))
        steps = max(c.num_observed + c.num_missing for c in description.channels)
        self.usual_age = steps / description.num_series

    def begin(self, memory: Memory, own_scale: Tensor | float = 1.0) -> Memory:
        """The memory with the centre and the room of paths that begin after it.

        Args:
            memory: of B sequences.
            own_scale: (B, 1, D) of the series, in those of training series.
        """
        level = memory.level / memory.weight.clamp(min=1e-9)
        reach = self.reach * torch.as_tensor(own_scale).clamp(min=1.0)
        known = memory.weight > 0
        return memory._replace(
            centre=torch.where(known, level, (self.low + self.high) / 2),
            room=torch.where(known, reach, (self.high - self.low) / 2),
        )

    def keep(self, g: Tensor, memory: Memory) -> Tensor:
        """(B, 1, D) values of the next step on the scale of g, those beyond the limits brought back
        to them."""
        room = memory.room * (memory.age / self.usual_age).clamp(min=1.0).sqrt()
        return torch.minimum(torch.maximum(g, memory.centre - room), memory.centre + room)


def widening(num_series: int) -> float:
    """The factor by which a range of so many series is widened for new ones like them."""
    return max(1.0, 1 / (LEAVING * (num_series + 1))) ** (1 / 3)
