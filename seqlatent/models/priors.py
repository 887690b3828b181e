"""Priors p(z_t) of the latent-variable model that are the same at every step.

    independent    N(0, I)
    mixture        sum_k w_k N(m_k, diag s_k^2), all learned

A mixture lets latents carry modes: from N(0, I) an emission has to tear the modes apart by a steep
function of z, which a normal guide can hardly follow. Its KL from the guide has no closed form and
is estimated from the guide's own draws.
"""

import math

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqlatent.distributions.families import SOFTPLUS_ONE

PRIORS = ("independent", "mixture")


class Prior(nn.Module):
    """N(0, I) over Z latents.

    Args:
        latent_dim: Z.
    """

    def __init__(self, latent_dim: int):
        super().__init__()
        self.latent_dim = latent_dim

    def log_prob(self, z: Tensor) -> Tensor:
        """(..., Z) -> (...) log p(z_t), nats."""
        return (-0.5 * z**2 - 0.5 * math.log(2 * math.pi)).sum(-1)

    def draw(self, like: Tensor, generator: torch.Generator | None) -> Tensor:
        """Draws of the shape of `like` (..., Z)."""
        return torch.randn(like.shape, generator=generator, device=like.device).to(like)

    def distribution(self, shape: torch.Size) -> dist.TorchDistribution:
        """The prior as a Pyro distribution of batch shape `shape` and event shape (Z,)."""
        zeros = torch.zeros(self.latent_dim)
        return dist.Normal(zeros, zeros + 1).to_event(1).expand(shape)


class MixturePrior(Prior):
    """A learned mixture of K normals; begun as K laws spread over N(0, I)."""

    def __init__(self, latent_dim: int, num_components: int):
        super().__init__(latent_dim)
        self.logits = nn.Parameter(torch.zeros(num_components))
        self.loc = nn.Parameter(torch.randn(num_components, latent_dim))
        self.raw_scale = nn.Parameter(torch.full((num_components, latent_dim), SOFTPLUS_ONE))

    @property
    def scale(self) -> Tensor:
        return 1e-2 + F.softplus(self.raw_scale)

    def log_prob(self, z: Tensor) -> Tensor:
        standard = (z[..., None, :] - self.loc) / self.scale
        each = (-0.5 * standard**2 - 0.5 * math.log(2 * math.pi) - self.scale.log()).sum(-1)
        return (F.log_softmax(self.logits, -1) + each).logsumexp(-1)

    def draw(self, like: Tensor, generator: torch.Generator | None) -> Tensor:
        count = like.numel() // self.latent_dim
        weights = self.logits.softmax(-1)
        k = torch.multinomial(weights, count, replacement=True, generator=generator)
        k = k.reshape(like.shape[:-1])
        noise = torch.randn(like.shape, generator=generator, device=like.device).to(like)
        return self.loc[k] + self.scale[k] * noise

    def distribution(self, shape: torch.Size) -> dist.TorchDistribution:
        components = dist.Normal(self.loc, self.scale).to_event(1)
        return dist.MixtureSameFamily(dist.Categorical(logits=self.logits), components).expand(
            shape
        )


def build_prior(name: str, latent_dim: int, num_components: int) -> Prior:
    return MixturePrior(latent_dim, num_components) if name == "mixture" else Prior(latent_dim)
