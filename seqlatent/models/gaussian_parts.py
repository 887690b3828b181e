"""Parts of the linear-Gaussian model: its covariances, its first dynamics, its noise."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from seqlatent.distributions.noise import Noise

DOUBLE = torch.float64


class CholeskyFactor(nn.Module):
    """A lower-triangular L with a diagonal above a floor, so that L L^T is positive definite.

    Args:
        floor: (n,) lower bounds of the diagonal.
        start: initial value of the diagonal, less the floor; the other entries start at 0.
        diagonal: whether L is diagonal.
    """

    floor: Tensor

    def __init__(self, floor: Tensor, start: float, diagonal: bool = False):
        super().__init__()
        n = len(floor)
        self.register_buffer("floor", floor.to(DOUBLE))
        raw = math.log(math.expm1(start))  # softplus(raw) = start
        self.diagonal = nn.Parameter(torch.full((n,), raw, dtype=DOUBLE))
        size = 0 if diagonal else n * (n - 1) // 2
        self.lower = nn.Parameter(torch.zeros(size, dtype=DOUBLE)) if size else None

    def forward(self) -> Tensor:
        """The matrix L (n, n)."""
        L = torch.diag_embed(self.floor + softplus(self.diagonal))
        if self.lower is None:
            return L
        row, column = torch.tril_indices(len(L), len(L), -1, device=L.device)
        return L.index_put((row, column), self.lower)


def oscillators(Z: int) -> Tensor:
    """(Z, Z) M for which A rotates the plane of every two latents, damped by 0.9 per step.

    The angles, 0 first, cover all frequencies, more densely the low ones. The likelihood has an
    optimum near each true frequency, which gradients find only from nearby.
    """
    damping, planes = 0.9, (Z + 1) // 2
    angle = math.pi * (torch.arange(planes, dtype=DOUBLE) / planes) ** 2
    cos, sin = angle.cos(), angle.sin()
    turns = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    A = torch.block_diag(*turns)[-Z:, -Z:]  # for odd Z, 1 x 1 of the first block
    return damping / math.sqrt(1 - damping**2) * A


def gaussian(factor: Tensor, num: int, noise: Noise) -> Tensor:
    """(num, n) samples of N(0, L L'), for one factor L (n, n) or (num, n, n), one per sample."""
    eps = noise.normal((num, factor.shape[-1], 1), factor)
    return (factor @ eps)[..., 0]
