"""How far sampled paths may go: samples alone are cut, no density.

A path keeps within a room around the level that the series had where the path began:

    |g - centre| <= room sqrt(max(1, age / L))

on the scale of g, with L the mean length of training series. The room is the widest range of a
training series, and as much again or seven standard deviations within a series, if these are more;
with `running`, times the series' own scale where that is larger than those of training series. It
grows as a random walk spreads, once the series is older than those of training. Where a series
has no value yet, the room is added to the range of all training data.

What it costs: where a model is right, values beyond the limits, which are brought back to them. Of
paths as long as the series were (100 steps) these are fewer than one in 10,000 of stationary
series, trends, exponential growth on a logarithmic scale and normal random walks, and about two in
1,000 of a single walk with Student-t increments of 3 degrees of freedom (`tests/test_limits.py`).
"""

import torch
from torch import Tensor, nn

from seqlatent.data.description import DataDescription
from seqlatent.data.spread import Spread
from seqlatent.nn.memory import Memory

REACH = 7.0  # standard deviations within a series


class Limits(nn.Module):
    """The room of paths, by what training data are like.

    Args:
        description: of the training data.
        spreads: of the D channels, on the scale of g.
        ends: (D, 2) the lowest and the highest value of the training data on that scale.
    """

    ends: Tensor
    reach: Tensor

    def __init__(self, description: DataDescription, spreads: list[Spread], ends: Tensor):
        super().__init__()
        reach = [s.own_range + max(s.own_range, REACH * s.own_scale) for s in spreads]
        self.register_buffer("ends", ends)
        self.register_buffer("reach", torch.tensor(reach, dtype=ends.dtype))
        steps = max(c.num_observed + c.num_missing for c in description.channels)
        self.usual_age = steps / description.num_series

    def begin(self, memory: Memory, own_scale: Tensor | float = 1.0) -> Memory:
        """The memory with the centre and the room of paths that begin after it.

        Args:
            memory: of B sequences.
            own_scale: (B, 1, D) of the series, in those of training series.
        """
        level = memory.level / memory.weight.clamp(min=1e-9)
        low, high = self.ends.unbind(-1)
        reach = self.reach * torch.as_tensor(own_scale).clamp(min=1.0)
        known = memory.weight > 0
        return memory._replace(
            centre=torch.where(known, level, (low + high) / 2),
            room=torch.where(known, reach, (high - low) / 2 + self.reach),
        )

    def keep(self, g: Tensor, memory: Memory) -> Tensor:
        """(B, 1, D) values of the next step on the scale of g, those beyond the limits brought back
        to them."""
        room = memory.room * (memory.age / self.usual_age).clamp(min=1.0).sqrt()
        return torch.minimum(torch.maximum(g, memory.centre - room), memory.centre + room)
