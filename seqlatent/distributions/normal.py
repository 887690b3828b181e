"""Distributions of latents: normals and mixtures of normals."""

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from seqlatent.distributions.noise import Noise, sample_class


class LatentDistribution(Protocol):
    """A distribution of z_t with batch shape (...)."""

    def log_prob(self, z: Tensor) -> Tensor:
        """(..., Z) latents -> (...) log density in nats."""
        ...

    def mean(self) -> Tensor:
        """(..., Z) E[z]."""
        ...

    def sample(self, shape: torch.Size, noise: Noise) -> Tensor:
        """Samples of this shape, (..., Z)."""
        ...


class DiagonalNormal(NamedTuple):
    """N(loc, diag scale^2), with loc and scale (..., Z)."""

    loc: Tensor
    scale: Tensor

    @staticmethod
    def cat(steps: "list[DiagonalNormal]") -> "DiagonalNormal":
        """Join the distributions of consecutive steps, (..., T_i, Z) each."""
        if len(steps) == 1:
            return steps[0]
        loc, scale = (torch.cat(parts, -2) for parts in zip(*steps, strict=True))
        return DiagonalNormal(loc, scale)

    def log_prob(self, z: Tensor) -> Tensor:
        return _normal((z - self.loc) / self.scale, self.scale)

    def sample(self, shape: torch.Size, noise: Noise) -> Tensor:
        return self.loc + self.scale * noise.normal(shape, self.loc)

    def mean(self) -> Tensor:
        return self.loc

    def latent(self, k: int) -> "DiagonalNormal":
        """The distribution of latent k alone."""
        return DiagonalNormal(self.loc[..., k : k + 1], self.scale[..., k : k + 1])

    def kl_from(self, loc: Tensor, scale: Tensor) -> Tensor:
        """(..., Z) KL(N(loc, scale^2) || this distribution) of each latent, in nats."""
        ratio = (scale / self.scale) ** 2
        return 0.5 * (ratio + ((loc - self.loc) / self.scale) ** 2 - 1 - ratio.log())


class NormalMixture(NamedTuple):
    """sum_k w_k N(loc_k, diag scale_k^2), with log-weights (K,), and loc and scale (K, Z)."""

    log_weights: Tensor
    loc: Tensor
    scale: Tensor

    def log_prob(self, z: Tensor) -> Tensor:
        # sum_d ((z - m) / s)^2, expanded, is one matrix product instead of (..., K, Z) numbers. Far
        # from zero its terms cancel, hence the double precision.
        x, loc, precision = z.double(), self.loc.double(), self.scale.double() ** -2
        weight = torch.cat([loc * precision, -0.5 * precision], -1)
        rest = loc * loc * precision - precision.log() + math.log(2 * math.pi)
        each = F.linear(torch.cat([x, x * x], -1), weight, self.log_weights - 0.5 * rest.sum(-1))
        return each.to(z).logsumexp(-1)

    def mean(self) -> Tensor:
        return self.log_weights.softmax(0) @ self.loc

    def latent(self, k: int) -> "NormalMixture":
        """The distribution of latent k alone."""
        return NormalMixture(self.log_weights, self.loc[:, k : k + 1], self.scale[:, k : k + 1])

    def sample(self, shape: torch.Size, noise: Noise) -> Tensor:
        k = sample_class(self.log_weights.expand(*shape[:-1], -1), noise)
        return self.loc[k] + self.scale[k] * noise.normal(shape, self.loc)


def _normal(standard: Tensor, scale: Tensor) -> Tensor:
    """log N of standardised values, summed over the last dimension."""
    return (-0.5 * standard**2 - 0.5 * math.log(2 * math.pi) - scale.log()).sum(-1)
