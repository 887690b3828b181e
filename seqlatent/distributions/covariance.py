"""All channels of a step at once: a mixture of normals with covariances.

    p(x_t | h_t) = sum_k w_k N(x_t; loc_k, diag(scale_k^2) + W_k W_k')        W_k is D x rank

With rank D the covariances are full. With a lower rank they are factor models, whose cost grows
linearly in D instead of as its cube (Ghahramani and Hinton 1996). Missing channels are integrated
out.
"""

import math

import torch
from torch import Tensor, nn
from torch.distributions import LowRankMultivariateNormal
from torch.nn import functional as F

from seqlatent.distributions.families import Mixture
from seqlatent.distributions.heads import Head, StepDistribution, start_at
from seqlatent.distributions.noise import Noise, sample_class

MAX_WEIGHT = 10.0  # of W, in scaled units; with the floor of the scale it bounds the condition


class CovarianceHead(Head):
    """Features (..., in_dim) to a `CovarianceMixture`.

    Args:
        family: the mixture of one channel, which has the floors and the number of components.
        in_dim: size of h_t.
        num_channels: D.
        rank: columns of W, at most D.
    """

    family: Mixture

    marginal = True

    def __init__(self, family: Mixture, in_dim: int, num_channels: int, rank: int):
        super().__init__()
        self.family, self.num_channels, self.rank = family, num_channels, min(rank, num_channels)
        # Parameters of one component: logit, loc, raw scale, W.
        self.sizes = [1, num_channels, num_channels, num_channels * self.rank]
        self.linear = nn.Linear(in_dim, family.num_components * sum(self.sizes))
        own = family.initial().view(3, -1)  # logits, loc and raw scale of each component
        begin = torch.cat(
            [
                own[0][:, None],
                own[1][:, None].expand(-1, num_channels),
                own[2][:, None].expand(-1, num_channels),
                0.1 * torch.randn(family.num_components, self.sizes[3]),
            ],
            1,
        )
        start_at(self.linear, begin.flatten())

    def forward(self, h: Tensor, observed: Tensor | None = None) -> "CovarianceMixture":
        return CovarianceMixture(self, self.linear(h), observed)


class CovarianceMixture(StepDistribution):
    """The distribution of one step; built by `CovarianceHead`."""

    def __init__(self, head: CovarianceHead, raw: Tensor, observed: Tensor | None):
        self.head, self.raw = head, raw
        shape = torch.Size((*raw.shape[:-1], head.num_channels))
        super().__init__(head.family, shape, observed)

    def _parts(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits (..., K), loc and scale (..., K, D), W (..., K, D, rank)."""
        head, family = self.head, self.head.family
        logits, loc, raw_scale, w = self.raw.unflatten(-1, (family.num_components, -1)).split(
            head.sizes, -1
        )
        scale = family.scale(raw_scale, family.floor)
        w = MAX_WEIGHT * torch.tanh(w / MAX_WEIGHT)
        return logits[..., 0], loc, scale, w.unflatten(-1, (head.num_channels, head.rank))

    def _joint(self, value: Tensor) -> Tensor:
        """(..., K) log of weight times density of the observed channels."""
        logits, loc, scale, w = (part.double() for part in self._parts())
        distance = value.double()[..., None, :] - loc
        missing = torch.zeros((), dtype=torch.float64, device=value.device)
        if self.observed is not None:
            # A missing channel becomes independent, with unit variance and at its mean.
            seen = self.observed[..., None, :]
            distance = torch.where(seen, distance, 0.0)
            scale = torch.where(seen, scale, 1.0)
            w = torch.where(seen[..., None], w, 0.0)
            missing = (~self.observed).sum(-1, keepdim=True)
        normal = LowRankMultivariateNormal(
            torch.zeros_like(loc), w.expand(*loc.shape, -1), scale.square(), validate_args=False
        )
        density = normal.log_prob(distance) + 0.5 * math.log(2 * math.pi) * missing
        return F.log_softmax(logits, -1) + density

    def log_prob(self, value: Tensor) -> Tensor:
        log_prob = self._joint(value).logsumexp(-1).to(value)
        if self.observed is None:
            return log_prob
        return torch.where(self.observed.any(-1), log_prob, 0.0)

    @torch.no_grad()
    def _sample(self, noise: Noise) -> Tensor:
        logits, loc, scale, w = self._parts()
        component = sample_class(logits, noise)[..., None]

        def chosen(part: Tensor) -> Tensor:
            index = component.view(*component.shape, *[1] * (part.dim() - component.dim()))
            return part.gather(
                component.dim() - 1, index.expand(*component.shape, *part.shape[component.dim() :])
            ).squeeze(component.dim() - 1)

        loc, scale, w = chosen(loc), chosen(scale), chosen(w)
        own = noise.normal(loc.shape, loc)
        shared = noise.normal((*loc.shape[:-1], self.head.rank, 1), loc)
        return loc + scale * own + (w @ shared)[..., 0]

    def at_floor(self, value: Tensor) -> Tensor:
        _, _, scale, w = self._parts()
        spread = (scale.square() + w.square().sum(-1)).sqrt()
        low = (spread < 1.5 * self.head.family.floor).to(value)
        return (self._joint(value).softmax(-1).to(value)[..., None] * low).sum(-2)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> "CovarianceMixture":
        if torch.Size(batch_shape) == self.batch_shape:
            return self
        raw = self.raw.expand(*batch_shape, self.raw.shape[-1])
        return CovarianceMixture(self.head, raw, self.observed)
