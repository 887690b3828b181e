"""Distributions of zeros and ones, labels and ordered categories."""

from collections.abc import Sequence

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
    """A distribution of categories 0, ..., C_d - 1 in channel d.

    All channels have the parameters of C = max_d C_d categories; those that a channel does not have
    get no mass.

    Args:
        num_classes: C_d of each channel.
    """

    outside: Tensor  # (D, C) bool, which categories a channel does not have
    last: Tensor  # (D,) the last category of each channel

    def __init__(self, num_classes: Sequence[int]):
        super().__init__()
        self.num_classes = max(num_classes)
        numbers = torch.tensor(list(num_classes))
        outside = torch.arange(self.num_classes) >= numbers[:, None]
        # They follow from the description of the data, and are not saved.
        self.register_buffer("outside", outside, persistent=False)
        self.register_buffer("last", numbers - 1, persistent=False)

    def check(self, data: SequenceDataset) -> None:
        for s in data:
            highest = np.nanmax(s.x, axis=0, initial=0)
            bad = highest > self.last.cpu().numpy()
            if bad.any():
                d = int(np.argmax(bad))
                raise InputError(
                    f"{data.name}: series {s.unique_id}, column '{data.targets[d]}' holds the "
                    f"category {highest[d]:g}; training had 0 to {int(self.last[d])}"
                )

    def log_masses(self, params: Tensor) -> Tensor:
        """(..., C) log mass of every category."""
        raise TypeError(f"{type(self).__name__} must define log_masses")

    def sample(self, params: Tensor, noise: Noise) -> Tensor:
        # By rounding, a sample can lie beyond the last category that has mass.
        return torch.minimum(sample_class(self.log_masses(params), noise), self.last).to(params)


class Categorical(_Classes):
    """A distribution of x in {0, ..., C_d - 1}, with a logit for each."""

    discrete, labels = True, True

    def __init__(self, num_classes: Sequence[int]):
        super().__init__(num_classes)
        self.num_params = self.num_features = self.num_classes

    def log_masses(self, params: Tensor) -> Tensor:
        return F.log_softmax(params.masked_fill(self.outside, -1e30), -1)

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        return self.log_masses(params).gather(-1, x.long()[..., None])[..., 0]

    def features(self, x: Tensor) -> Tensor:
        return F.one_hot(x.long(), self.num_features).to(x)


class Ordinal(_Classes):
    """A distribution of ordered categories x in {0, ..., C_d - 1}: a logistic variable, divided by
    learned cut points that all steps share (the proportional-odds model, McCullagh 1980). A channel
    with fewer categories than others has the first of the cuts.

        p(x <= k) = sigmoid((cut_k - loc) / scale)
    """

    num_params, discrete = 2, True

    def __init__(self, num_classes: Sequence[int]):
        super().__init__([max(2, number) for number in num_classes])  # there is at least one cut
        self.num_features = self.num_classes - 1
        self.gaps = nn.Parameter(torch.full((self.num_classes - 2,), SOFTPLUS_ONE))

    def _bounds(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """(..., C) lower and upper bounds of every category's interval, in logits. The outermost
        are so far out that a sigmoid of them is 0 or 1 in single precision."""
        cuts = F.pad((1e-3 + F.softplus(self.gaps)).cumsum(0), (1, 0))
        cuts = cuts - cuts[-1] / 2  # centred at zero for any number of classes
        loc, raw = params[..., :1], params[..., 1:]
        inner = ((cuts - loc) / (0.05 + F.softplus(raw))).clamp(-1e4, 1e4)
        inner = inner.masked_fill(self.outside[..., 1:], 2e4)
        return F.pad(inner, (1, 0), value=-2e4), F.pad(inner, (0, 1), value=2e4)

    def log_masses(self, params: Tensor) -> Tensor:
        return _log_mass_between(*self._bounds(params))

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        category = x.long()[..., None]  # selected first, so that one mass is computed, not C
        low, high = (bound.gather(-1, category)[..., 0] for bound in self._bounds(params))
        return _log_mass_between(low, high)

    def initial(self) -> Tensor:
        return torch.tensor([0.0, SOFTPLUS_ONE])

    def features(self, x: Tensor) -> Tensor:
        """Whether x lies above each class but the last, which encodes the order."""
        return (x[..., None] > torch.arange(self.num_features, device=x.device)).to(x)


def _log_mass_between(low: Tensor, high: Tensor) -> Tensor:
    """log[sigmoid(high) - sigmoid(low)] = log[sigmoid(high) sigmoid(-low) (1 - exp(low - high))]"""
    width = (high - low).clamp(min=1e-6)
    return F.logsigmoid(high) + F.logsigmoid(-low) + torch.log(-torch.expm1(-width))
