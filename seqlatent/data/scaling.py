"""Scalers that never see what they help to score.

    y = (x - loc) / scale        log p(x) = log p(y) - sum_d log scale_d

Counts, labels and other values that have no scale are left as they are. The rest:

`global`: loc and scale of the training data; `prefix`: of each series' own first `context_length`
values, which are conditioned on and never scored; `none`: the identity.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqlatent.data.batch import SequenceBatch
from seqlatent.data.description import DataDescription
from seqlatent.errors import InputError

SCALINGS = ("global", "prefix", "none")


class Scaling(NamedTuple):
    """An affine map of each channel: `loc` and `scale` are (B, 1, D) or (1, 1, D), float64."""

    loc: Tensor
    scale: Tensor

    def forward(self, x: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        return ((x - self.loc) / self.scale).to(dtype or torch.get_default_dtype())

    def inverse(self, y: Tensor) -> Tensor:
        return y.to(self.scale.dtype) * self.scale + self.loc

    def log_scale(self, observed: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """(B, T) the sum of log scale over a step's observed channels, in nats."""
        return (self.scale.log() * observed).sum(-1).to(dtype or torch.get_default_dtype())


class Scaler(nn.Module):
    """Chooses a batch's `Scaling`.

    Args:
        description: the training data's.
        scaling: one of `SCALINGS`.
        left_alone: for each channel, whether it is never scaled; by default none is.
    """

    loc: Tensor
    scale: Tensor
    left_alone: Tensor

    def __init__(
        self,
        description: DataDescription,
        scaling: str = "global",
        left_alone: Sequence[bool] = (),
    ):
        super().__init__()
        if scaling not in SCALINGS:
            raise InputError(f"scaling '{scaling}' is not one of {', '.join(SCALINGS)}")
        self.scaling = scaling
        channels = description.channels
        alone = list(left_alone) or [False] * len(channels)
        if scaling == "none" or all(alone):
            self.scaling, alone = "none", [True] * len(channels)
        loc = [0.0 if a else c.loc for a, c in zip(alone, channels, strict=True)]
        scale = [1.0 if a else c.scale for a, c in zip(alone, channels, strict=True)]
        self.register_buffer("left_alone", torch.tensor(alone), persistent=False)
        self.register_buffer("loc", torch.tensor(loc, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))

    def forward(self, batch: SequenceBatch | None) -> Scaling:
        """The scaling of a batch, or of a sequence that has yet to begin (None)."""
        fixed = Scaling(self.loc[None, None], self.scale[None, None])
        if self.scaling != "prefix":
            return fixed
        if batch is None or batch.prefix.shape[1] == 0:
            raise InputError(
                "scaling=prefix measures each sequence's level on its first steps, which are then "
                "not scored: set context_length to at least 1"
            )
        seen = ~batch.prefix.isnan()
        count = seen.sum(1, keepdim=True)
        loc = torch.where(seen, batch.prefix, 0.0).sum(1, keepdim=True) / count.clamp(min=1)
        square = torch.where(seen, (batch.prefix - loc) ** 2, 0.0).sum(1, keepdim=True)
        # One value gives no spread, and a flat start would give a scale of 0: lean on training's.
        prior = (0.1 * fixed.scale) ** 2
        scale = ((square + prior) / count.clamp(min=1)).sqrt()
        known = (count > 0) & ~self.left_alone
        return Scaling(torch.where(known, loc, fixed.loc), torch.where(known, scale, fixed.scale))
