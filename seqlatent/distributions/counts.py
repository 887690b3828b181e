"""Distributions of counts 0, 1, 2, ...

One count in 20,000 is expected from far out, so that a wild one costs tens of nats, not hundreds:

    p(x) = (1 - r) f(x) + r m / ((x + m) (x + m + 1)),    P(X >= x) = m / (x + m) of the second

with f the family's mass, r = 1 / 20,000 and m the level of the training data. The second part is a
Pareto tail of index 1 (Lomax 1954) in whole numbers. It costs 5e-5 nats each.
"""

import math

import torch
from torch import Tensor, distributions
from torch.nn import functional as F

from seqlatent.data.description import ChannelDescription
from seqlatent.distributions.families import Family
from seqlatent.distributions.noise import Noise
from seqlatent.distributions.tails import RARE
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

    def usual_log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """(..., P), (...) -> (...) log f, in nats and double precision."""
        raise TypeError(f"{type(self).__name__} must define usual_log_prob")

    def usual_sample(self, params: Tensor, noise: Noise) -> Tensor:
        """(..., P) -> (...) a sample of f for each set of parameters."""
        raise TypeError(f"{type(self).__name__} must define usual_sample")

    def mean(self, raw: Tensor) -> Tensor:
        return self.level.double() * (1e-6 + F.softplus(raw.double()))

    def features(self, x: Tensor) -> Tensor:
        return torch.stack([torch.log1p(x), soft_clip(x / self.level)], -1)

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        x, level = x.double(), self.level.double()
        far = math.log(RARE) + level.log() - (x + level).log() - (x + level + 1).log()
        return torch.logaddexp(self.usual_log_prob(params, x) + math.log1p(-RARE), far).to(params)

    def sample(self, params: Tensor, noise: Noise) -> Tensor:
        usual = self.usual_sample(params, noise)
        rare = noise.uniform(usual.shape, usual) < RARE
        u = noise.uniform(usual.shape, usual).clamp(min=1e-6)  # at 0 the count would be infinite
        return torch.where(rare, (self.level * (1 - u) / u).floor(), usual)


class Poisson(_Count):
    """A Poisson distribution, mean^x exp(-mean) / x!."""

    num_params = 1

    def usual_log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        poisson = distributions.Poisson(self.mean(params[..., 0]), validate_args=False)
        return poisson.log_prob(x)

    def usual_sample(self, params: Tensor, noise: Noise) -> Tensor:
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

    def usual_log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        mean, r = self._parts(params)
        # the logits are those of p = mean / (mean + r)
        binomial = distributions.NegativeBinomial(
            r, logits=mean.log() - r.log(), validate_args=False
        )
        return binomial.log_prob(x)

    def usual_sample(self, params: Tensor, noise: Noise) -> Tensor:
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

    def usual_log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        count = super().usual_log_prob(params, x)
        idle, busy = F.logsigmoid(params[..., 2]).double(), F.logsigmoid(-params[..., 2]).double()
        return torch.where(x == 0, torch.logaddexp(idle, busy + count), busy + count)

    def usual_sample(self, params: Tensor, noise: Noise) -> Tensor:
        p = torch.sigmoid(-params[..., 2])
        return (noise.uniform(p.shape, p) < p) * super().usual_sample(params, noise)

    def initial(self) -> Tensor:
        return torch.tensor([SOFTPLUS_ONE, 0.0, -2.0])
