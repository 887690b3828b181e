"""Distributions of counts 0, 1, 2, ..."""

import torch
from torch import Tensor, distributions
from torch.nn import functional as F

from seqlatent.data.description import ChannelDescription
from seqlatent.distributions.families import Family
from seqlatent.distributions.noise import Noise
from seqlatent.nn.layers import SOFTPLUS_ONE, soft_clip


class _Count(Family):
    """Families of counts 0, 1, 2, ...

    The mean is a softplus times the level of the training data, not an exponential: in long
    forecasts, where samples are fed back to the network, an exponential mean diverges.
    """

    discrete, num_features = True, 2
    level: Tensor

    def __init__(self, channels: tuple[ChannelDescription, ...]):
        super().__init__()
        level = [max(c.loc, 0.1) for c in channels]
        self.register_buffer("level", torch.tensor(level))

    def mean(self, raw: Tensor) -> Tensor:
        return self.level.double() * (1e-6 + F.softplus(raw.double()))

    def features(self, x: Tensor) -> Tensor:
        return torch.stack([torch.log1p(x), soft_clip(x / self.level)], -1)


class Poisson(_Count):
    """A Poisson distribution, mean^x exp(-mean) / x!."""

    num_params = 1

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        poisson = distributions.Poisson(self.mean(params[..., 0]), validate_args=False)
        return poisson.log_prob(x.double()).to(params)

    def sample(self, params: Tensor, noise: Noise) -> Tensor:
        return noise.poisson(self.mean(params[..., 0])).to(params)

    def initial(self) -> Tensor:
        return torch.tensor([SOFTPLUS_ONE])


class NegativeBinomial(_Count):
    """A Poisson distribution whose mean is gamma distributed: variance mean + mean^2 / r.

    Log masses are computed in double precision, because lgamma(x + r) - lgamma(r) loses digits.
    """

    num_params = 2

    def _parts(self, params: Tensor) -> tuple[Tensor, Tensor]:
        r = (2.0 + params[..., 1].double()).clamp(-7, 12).exp()
        return self.mean(params[..., 0]), r

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        mean, r = self._parts(params)
        # the logits are those of p = mean / (mean + r)
        binomial = distributions.NegativeBinomial(
            r, logits=mean.log() - r.log(), validate_args=False
        )
        return binomial.log_prob(x.double()).to(params)

    def sample(self, params: Tensor, noise: Noise) -> Tensor:
        mean, r = self._parts(params)
        rate = noise.gamma(r) * mean / r
        return noise.poisson(rate).to(params)

    def initial(self) -> Tensor:
        return torch.tensor([SOFTPLUS_ONE, 0.0])


class ZeroInflatedNegativeBinomial(NegativeBinomial):
    """Zero with probability p, else a negative binomial count (Lambert 1992): for intermittent
    demand.

        p(0) = p + (1 - p) NB(0),    p(x) = (1 - p) NB(x)
    """

    num_params = 3

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        count = super().log_prob(params, x)
        idle, busy = F.logsigmoid(params[..., 2]), F.logsigmoid(-params[..., 2])
        return torch.where(x == 0, torch.logaddexp(idle, busy + count), busy + count)

    def sample(self, params: Tensor, noise: Noise) -> Tensor:
        p = torch.sigmoid(-params[..., 2])
        return (noise.uniform(p.shape, p) < p) * super().sample(params, noise)

    def initial(self) -> Tensor:
        return torch.tensor([SOFTPLUS_ONE, 0.0, -2.0])
