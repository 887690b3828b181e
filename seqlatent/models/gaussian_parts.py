"""Parts of the linear-Gaussian model: its covariances, its first dynamics, its noise."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from seqlatent.distributions.noise import Noise

DOUBLE = torch.float64


class System(NamedTuple):
    """The matrices of linear_gaussian.py, in scaled units: A, Q, P0 (Z, Z), C (D, Z), R (D, D),
    m0 (Z,)."""

    A: Tensor
    Q: Tensor
    C: Tensor
    R: Tensor
    m0: Tensor
    P0: Tensor


class Filtering(NamedTuple):
    """The results of the filter at every step. Covariances do not depend on the values: where no
    value is missing all sequences share them and b = 1, elsewhere b = B.

    Attributes:
        m, P: (B, T, Z), (b, T, Z, Z) mean and covariance of p(z_t | x_{<t}).
        v: (B, T, D) innovation x_t - E[x_t | x_{<t}], 0 where missing.
        L, whiten: (b, T, D, D) Cholesky factor of its covariance S, and the inverse of L.
        wild: (B, T, D) standardised innovation of wild values, 0 elsewhere, and the logarithm of
            its scale; None if there are none.
        K: (b, T, Z, D) Kalman gain.
        C, R: (b, T, D, Z), (b, T, D, D) loadings and noise covariance of the observed channels.
        after: m (B, Z) and P (b, Z, Z) of the step after the last.
    """

    m: Tensor
    P: Tensor
    v: Tensor
    L: Tensor
    whiten: Tensor
    wild: tuple[Tensor, Tensor] | None
    K: Tensor
    C: Tensor
    R: Tensor
    after: tuple[Tensor, Tensor]

    def standardised(self) -> tuple[Tensor, Tensor]:
        """(B, T, D) innovations in standard deviations, and the logarithms of these."""
        e = torch.einsum("btij,btj->bti", self.whiten, self.v)
        log_scale = self.L.diagonal(dim1=-2, dim2=-1).log()
        if self.wild is None:
            return e, log_scale
        return e + self.wild[0], log_scale + self.wild[1]  # where the others are 0


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


def wild_innovations(
    s: System, places: list[list[int]], values: Tensor, seen: Tensor, m: Tensor, P: Tensor
) -> tuple[Tensor, Tensor]:
    """(B, T, D) innovations of wild values at (b, t, d) `places`, given the seen channels
    before them, in standard deviations, and the logarithm of these; they are few."""
    innovations, log_scales = [], []
    for b, t, d in places:
        given = [j for j in range(d) if bool(seen[min(b, len(seen) - 1), t, j])] + [d]
        C = s.C[given]
        S = C @ P[min(b, len(P) - 1), t] @ C.mT + s.R[given][:, given]
        L = torch.linalg.cholesky(S)
        v = values[b, t, given] - C @ m[b, t]
        innovations.append(torch.linalg.solve_triangular(L, v[:, None], upper=False)[-1, 0])
        log_scales.append(L[-1, -1].log())
    at = tuple(torch.tensor(places, device=values.device).T)
    zero = torch.zeros_like(values)
    return (
        zero.index_put(at, torch.stack(innovations)),
        zero.index_put(at, torch.stack(log_scales)),
    )
