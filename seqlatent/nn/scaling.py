"""Scalers of values and covariates; none of them uses a value that it helps to score.

    y = (x - loc) / scale        log p(x) = log p(y) - sum_d log scale_d

Counts and labels are never scaled. For real values, loc and scale are

    global        those of the training data
    prefix        those of each series' own first `context_length` values, which are conditioned on
                  and never scored
    increments    the previous value, and the scale of the training data's increments:
                  y_t = (x_t - x_{t-1}) / scale
    none          0 and 1

With `increments` the map of a whole sequence is triangular and has the same determinant, so the
density is still that of x. Where the previous value is missing, the last observed value takes its
place. The first value has no previous one and therefore belongs to the context.
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
OF_EACH_SERIES = ("prefix", "increments")  # these need the first values of each series


def units(description: DataDescription, scaling: str) -> list[float]:
    """(D,) the size, in data units, of one unit of the scaled values."""
    if scaling == "none":
        return [1.0] * description.num_channels
    return [c.increment if scaling == "increments" else c.scale for c in description.channels]


class Scaling(NamedTuple):
    """An affine map of each channel: `loc` and `scale` are (B, 1, D) or (1, 1, D), float64.

    Attributes:
        last: (B, 1, D) the last value, from which sampling continues, where values are relative to
            the previous one; None where they are relative to `loc`.
    """

    loc: Tensor
    scale: Tensor
    last: Tensor | None = None

    def forward(self, batch: SequenceBatch, dtype: torch.dtype | None = None) -> Tensor:
        """(B, T, D) scaled values."""
        scaled = (batch.x - self.origin(batch)) / self.scale
        return scaled.to(dtype or torch.get_default_dtype())

    def origin(self, batch: SequenceBatch) -> Tensor:
        """(B, T, D) or (1, 1, D) the values, in data units, that scale to 0."""
        if self.last is None:
            return self.loc
        before = batch.carried[:, :-1]
        return torch.where(before.isnan(), self.loc, before)

    def inverse(self, y: Tensor) -> Tensor:
        """(B, T, D) scaled values of the next T steps -> values in data units."""
        steps = y.to(self.scale.dtype) * self.scale
        return self.loc + steps if self.last is None else self.last + steps.cumsum(1)

    def after(self, values: Tensor) -> "Scaling":
        """The scaling after last values (B, 1, D) in data units; NaN where there is none yet."""
        if self.last is None:
            return self
        return self._replace(last=torch.where(values.isnan(), self.last, values))

    def log_scale(self, observed: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """(B, T) sum of log scale over each step's observed channels, in nats."""
        return (self.scale.log() * observed).sum(-1).to(dtype or torch.get_default_dtype())


class Scaler(nn.Module):
    """Computes the `Scaling` of a batch.

    Args:
        description: of the training data.
        scaling: one of `SCALINGS`.
        unscaled: for each channel, whether it is left unscaled; by default none is.

    Raises:
        InputError: for an unknown scaling.
    """

    loc: Tensor
    scale: Tensor
    unscaled: Tensor

    def __init__(
        self,
        description: DataDescription,
        scaling: str = "global",
        unscaled: Sequence[bool] = (),
    ):
        super().__init__()
        if scaling not in SCALINGS:
            raise InputError(f"scaling '{scaling}' is not one of {', '.join(SCALINGS)}")
        self.scaling = scaling
        unscaled = list(unscaled) or [False] * description.num_channels
        if scaling == "none" or all(unscaled):
            self.scaling, unscaled = "none", [True] * description.num_channels
        sizes = zip(unscaled, description.channels, units(description, scaling), strict=True)
        loc, scale = zip(*((0.0, 1.0) if u else (c.loc, unit) for u, c, unit in sizes), strict=True)
        self.register_buffer("unscaled", torch.tensor(unscaled), persistent=False)
        self.register_buffer("loc", torch.tensor(loc, dtype=torch.float64))
        self.register_buffer("scale", torch.tensor(scale, dtype=torch.float64))

    def forward(self, batch: SequenceBatch | None) -> Scaling:
        """The scaling of a batch, or (None) of a sequence without a first step.

        Raises:
            InputError: where the scaling needs first values and there are none.
        """
        fixed = Scaling(self.loc[None, None], self.scale[None, None])
        if self.scaling not in OF_EACH_SERIES:
            return fixed
        if batch is None or batch.prefix.shape[1] == 0:
            raise InputError(
                f"scaling={self.scaling} takes each sequence's level from its first steps, which "
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
        # A single value has no spread and a constant prefix a scale of 0: regularise towards the
        # scale of the training data.
        prior = (0.1 * fixed.scale) ** 2
        scale = ((square + prior) / count.clamp(min=1)).sqrt()
        known = (count > 0) & ~self.unscaled
        return Scaling(torch.where(known, loc, fixed.loc), torch.where(known, scale, fixed.scale))


class CovariateScaler(nn.Module):
    """Standardises covariates with the location and scale of the training data."""

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
