"""Distributions of zeros and ones, labels and ordered categories."""

import numpy as np
import torch
from torch import Tensor, distributions, nn
from torch.nn import functional as F

from seqlatent.data.dataset import SequenceDataset
from seqlatent.distributions.families import Family
from seqlatent.distributions.noise import Noise, sample_class
from seqlatent.errors import InputError
from seqlatent.nn.layers import SOFTPLUS_ONE


class Bernoulli(Family):
    """A distribution of x in {0, 1}, with one logit."""

    num_params, discrete = 1, True

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        return distributions.Bernoulli(logits=params[..., 0], validate_args=False).log_prob(x)

    def sample(self, params: Tensor, noise: Noise) -> Tensor:
        p = torch.sigmoid(params[..., 0])
        return (noise.uniform(p.shape, p) < p).to(params)


class _Classes(Family):
    """A distribution of categories 0, ..., C - 1."""

    num_classes: int

    def check(self, data: SequenceDataset) -> None:
        for s in data:
            if np.nanmax(s.x, initial=0) >= self.num_classes:
                raise InputError(
                    f"{data.name}: series {s.unique_id} holds the category {np.nanmax(s.x):g}; "
                    f"training had 0 to {self.num_classes - 1}"
                )


class Categorical(_Classes):
    """A distribution of x in {0, ..., C - 1}, with C logits."""

    discrete, labels = True, True

    def __init__(self, num_classes: int):
        super().__init__()
        self.num_params = self.num_features = self.num_classes = num_classes

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        return F.log_softmax(params, -1).gather(-1, x.long()[..., None])[..., 0]

    def sample(self, params: Tensor, noise: Noise) -> Tensor:
        return sample_class(params, noise).to(params)

    def features(self, x: Tensor) -> Tensor:
        return F.one_hot(x.long(), self.num_features).to(x)


class Ordinal(_Classes):
    """A distribution of ordered categories x in {0, ..., C - 1}: a logistic variable, divided by
    C - 1 learned cut points that all steps share (the proportional-odds model, McCullagh 1980).

        p(x <= k) = sigmoid((cut_k - loc) / scale)
    """

    num_params, discrete = 2, True

    def __init__(self, num_classes: int):
        super().__init__()
        self.num_classes = max(2, num_classes)  # there is at least one cut
        self.num_features = self.num_classes - 1
        self.gaps = nn.Parameter(torch.full((self.num_classes - 2,), SOFTPLUS_ONE))

    def _bounds(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """(..., C) lower and upper bounds of every category's interval, in logits. The outermost
        are so far out that a sigmoid of them is 0 or 1 in single precision."""
        cuts = F.pad((1e-3 + F.softplus(self.gaps)).cumsum(0), (1, 0))
        cuts = cuts - cuts[-1] / 2  # centred at zero for any number of classes
        loc, raw = params[..., :1], params[..., 1:]
        inner = ((cuts - loc) / (0.05 + F.softplus(raw))).clamp(-1e4, 1e4)
        return F.pad(inner, (1, 0), value=-2e4), F.pad(inner, (0, 1), value=2e4)

    def log_masses(self, params: Tensor) -> Tensor:
        """(..., C) log mass of every category."""
        return _log_mass_between(*self._bounds(params))

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        category = x.long()[..., None]  # selected first, so that one mass is computed, not C
        low, high = (bound.gather(-1, category)[..., 0] for bound in self._bounds(params))
        return _log_mass_between(low, high)

    def sample(self, params: Tensor, noise: Noise) -> Tensor:
        return sample_class(self.log_masses(params), noise).to(params)

    def initial(self) -> Tensor:
        return torch.tensor([0.0, SOFTPLUS_ONE])

    def features(self, x: Tensor) -> Tensor:
        """Whether x lies above each class but the last, which encodes the order."""
        return (x[..., None] > torch.arange(self.num_features, device=x.device)).to(x)


def _log_mass_between(low: Tensor, high: Tensor) -> Tensor:
    """log[sigmoid(high) - sigmoid(low)] = log[sigmoid(high) sigmoid(-low) (1 - exp(low - high))]"""
    width = (high - low).clamp(min=1e-6)
    return F.logsigmoid(high) + F.logsigmoid(-low) + torch.log(-torch.expm1(-width))
