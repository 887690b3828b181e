"""The distribution of one step's latents in the guide: normal, or transformed by a map.

    z = loc + scale f^{-1}(eps),    eps ~ N(0, I)
    log q(z) = log N(eps; 0, I) + sum_z log f'(y) - log scale,    y = (z - loc) / scale

f is the identity, or an increasing map of each latent with its own parameters
(distributions/bijections.py), with which the guide can fit posteriors that are skewed, heavy-tailed
or bimodal. (Rezende and Mohamed 2015; here each step's flow also depends on x_{1:t} and z_{<t}.)
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from seqlatent.distributions.bijections import Bijection, Compose, SinhArcsinh, Spline
from seqlatent.distributions.normal import DiagonalNormal

MEAN_POINTS = 61

# The names are those of the emissions with the same maps.
GUIDE_DISTRIBUTIONS: dict[str, Bijection] = {
    "normal": Compose(),
    "sinh-arcsinh": SinhArcsinh(),
    "spline": Spline(),
    "sinh-arcsinh-spline": Compose(SinhArcsinh(), Spline()),
}


class TransformedNormal(NamedTuple):
    """A distribution of z_t whose Z latents are independent given the past.

    Attributes:
        loc, scale: (..., Z).
        params: (..., Z, P) of the maps.
        shape: f.
    """

    loc: Tensor
    scale: Tensor
    params: Tensor
    shape: Bijection

    @staticmethod
    def cat(distributions: "list[TransformedNormal]") -> "TransformedNormal":
        """Join the distributions of consecutive steps, (..., T_i, Z) each."""
        if len(distributions) == 1:
            return distributions[0]
        loc = torch.cat([distribution.loc for distribution in distributions], -2)
        scale = torch.cat([distribution.scale for distribution in distributions], -2)
        return TransformedNormal(
            loc,
            scale,
            torch.cat([distribution.params for distribution in distributions], -3),
            distributions[0].shape,
        )

    def detach(self) -> "TransformedNormal":
        """The same distribution, without gradients through its parameters."""
        return TransformedNormal(
            self.loc.detach(), self.scale.detach(), self.params.detach(), self.shape
        )

    @property
    def normal(self) -> DiagonalNormal | None:
        """The same as a `DiagonalNormal`; None unless f is the identity."""
        return None if self.shape.num_params else DiagonalNormal(self.loc, self.scale)

    def mean(self) -> Tensor:
        """(..., Z) E[z]: loc if f is the identity, else by quadrature over eps."""
        if self.normal is not None:
            return self.loc
        points = torch.linspace(-6, 6, MEAN_POINTS)  # evenly spaced: f need not be smooth
        weights = torch.softmax(-0.5 * points**2, 0)
        values = (w * self.z(torch.full_like(self.loc, e)) for e, w in
                  zip(points.tolist(), weights.tolist(), strict=True))  # fmt: skip
        return torch.stack(list(values)).sum(0)

    def z(self, eps: Tensor) -> Tensor:
        """(..., Z) noise -> latents."""
        return self.loc + self.scale * self.shape.inverse(self.params, eps)

    def noise(self, z: Tensor) -> Tensor:
        """(..., Z) latents -> the noise that yields them."""
        return self.shape.forward(self.params, (z - self.loc) / self.scale)[0]

    def sample(self, eps: Tensor) -> tuple[Tensor, Tensor]:
        """(..., Z) noise -> latents, and (...) their log density in nats."""
        y = self.shape.inverse(self.params, eps)
        _, log_slope = self.shape.forward(self.params, y)
        return self.loc + self.scale * y, self._log_density(eps, log_slope).sum(-1)

    def sample_or_prior(
        self, eps: Tensor, prior: DiagonalNormal, from_prior: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Latents, of which some are the prior's.

        Args:
            eps: (..., Z) noise.
            prior: p(z_t | z_{<t}, .) of each particle.
            from_prior: (...) bool, whose latents it yields.

        Returns:
            z; log q of it; and the noise from which this distribution would have made it.
        """
        z = torch.where(from_prior[..., None], prior.loc + prior.scale * eps, self.z(eps))
        return z, self.log_prob(z), torch.where(from_prior[..., None], self.noise(z), eps)

    def each_log_prob(self, z: Tensor) -> Tensor:
        """(..., Z) latents -> (..., Z) log density of each, in nats."""
        return self._log_density(*self.shape.forward(self.params, (z - self.loc) / self.scale))

    def log_prob(self, z: Tensor) -> Tensor:
        """(..., Z) latents -> (...) log density in nats."""
        return self.each_log_prob(z).sum(-1)

    def _log_density(self, eps: Tensor, log_slope: Tensor) -> Tensor:
        return -0.5 * eps**2 - 0.5 * math.log(2 * math.pi) + log_slope - self.scale.log()
