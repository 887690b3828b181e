"""Scalers that never see what they help to score.

    y = (x - loc) / scale        log p(x) = log p(y) - sum_d log scale_d

Counts, labels and other values that have no scale are left as they are. The rest:

`global`: loc and scale of the training data; `prefix`: of each series' own first `context_length`
values, which are conditioned on and never scored; `none`: the identity. With `increments`, loc is
the value before, and scale that of the training data's increments:

    y_t = (x_t - x_{t-1}) / scale

The map of a whole sequence is then triangular with the same determinant: the density stays one of
x. Where a value lacks, the last one that was observed stands for it. The first has none before it:
it belongs to the context.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqlatent.data.batch import SequenceBatch
from seqlatent.data.description import DataDescription
from seqlatent.errors import InputError
from seqlatent.nn.layers import soft_clip

SCALINGS = ("global", "prefix", "increments", "none")
OF_EACH_SERIES = ("prefix", "increments")  # they need the first values of each series


def units(description: DataDescription, scaling: str) -> list[float]:
    """(D,) the size of a unit of scaled values in data units, by the training data."""
    if scaling == "none":
        return [1.0] * description.num_channels
    return [c.increment if scaling == "increments" else c.scale for c in description.channels]


class Scaling(NamedTuple):
    """An affine map of each channel: `loc` and `scale` are (B, 1, D) or (1, 1, D), float64.

    Attributes:
        last: (B, 1, D) where values are relative to the one before, the value to go on from when
            drawing; None where they are relative to `loc`.
    """

    loc: Tensor
    scale: Tensor
    last: Tensor | None = None

    def forward(self, batch: SequenceBatch, dtype: torch.dtype | None = None) -> Tensor:
        """(B, T, D) scaled values."""
        scaled = (batch.x - self.origin(batch)) / self.scale
        return scaled.to(dtype or torch.get_default_dtype())

    def origin(self, batch: SequenceBatch) -> Tensor:
        """(B, T, D) or (1, 1, D) the values that are 0 when scaled."""
        if self.last is None:
            return self.loc
        before = batch.carried[:, :-1]
        return torch.where(before.isnan(), self.loc, before)

    def inverse(self, y: Tensor) -> Tensor:
        """(B, T, D) scaled values, of the steps that come next -> their values in data units."""
        steps = y.to(self.scale.dtype) * self.scale
        return self.loc + steps if self.last is None else self.last + steps.cumsum(1)

    def after(self, values: Tensor) -> "Scaling":
        """The scaling after (B, 1, D) values in data units, the last ones; NaN where none yet."""
        if self.last is None:
            return self
        return self._replace(last=torch.where(values.isnan(), self.last, values))

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
        alone = list(left_alone) or [False] * description.num_channels
        if scaling == "none" or all(alone):
            self.scaling, alone = "none", [True] * description.num_channels
        sizes = zip(alone, description.channels, units(description, scaling), strict=True)
        loc, scale = zip(*((0.0, 1.0) if a else (c.loc, u) for a, c, u in sizes), strict=True)
        self.register_buffer("left_alone", torch.tensor(alone), persistent=False)
        self.register_buffer("loc", torch.tensor(loc, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))

    def forward(self, batch: SequenceBatch | None) -> Scaling:
        """The scaling of a batch, or of a sequence that has yet to begin (None)."""
        fixed = Scaling(self.loc[None, None], self.scale[None, None])
        if self.scaling not in OF_EACH_SERIES:
            return fixed
        if batch is None or batch.prefix.shape[1] == 0:
            raise InputError(
                f"scaling={self.scaling} measures each sequence's level on its first steps, which "
                "are then not scored: set context_length to at least 1"
            )
        seen = ~batch.prefix.isnan()
        if self.scaling == "increments":
            first = batch.prefix.gather(1, seen.to(torch.uint8).argmax(1, keepdim=True))
            loc = torch.where(first.isnan(), fixed.loc, first)
            return Scaling(loc, fixed.scale, loc)
        count = seen.sum(1, keepdim=True)
        loc = torch.where(seen, batch.prefix, 0.0).sum(1, keepdim=True) / count.clamp(min=1)
        square = torch.where(seen, (batch.prefix - loc) ** 2, 0.0).sum(1, keepdim=True)
        # One value gives no spread, and a flat start would give a scale of 0: lean on training's.
        prior = (0.1 * fixed.scale) ** 2
        scale = ((square + prior) / count.clamp(min=1)).sqrt()
        known = (count > 0) & ~self.left_alone
        return Scaling(torch.where(known, loc, fixed.loc), torch.where(known, scale, fixed.scale))


class CovariateScaler(nn.Module):
    """Standardises covariates by training data."""

    loc: Tensor
    scale: Tensor

    def __init__(self, description: DataDescription):
        super().__init__()
        self.register_buffer("loc", torch.tensor(description.covariate_loc, dtype=torch.float64))
        self.register_buffer(
            "scale", torch.tensor(description.covariate_scale, dtype=torch.float64)
        )

    def forward(self, covariates: Tensor) -> Tensor:
        scaled = (covariates - self.loc) / self.scale
        return soft_clip(scaled.to(torch.get_default_dtype()))
