"""Covariates on the scale of the training data's."""

import torch
from torch import Tensor, nn

from seqlatent.data.description import DataDescription
from seqlatent.nn.layers import soft_clip


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
