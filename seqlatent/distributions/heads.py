"""Emission heads: from features h_t to a distribution of the D channels of x_t.

A `Head` is all that a model knows of its emission. Called with features, it returns their
`StepDistribution`, which has

    log_prob(x)               nats, summed over the observed channels
    sample(noise=...)         samples of all channels
    fill(x, observed, noise)  samples of the missing channels given the observed ones
    at_floor(x)               to what extent each density is determined by the floor of the scale
    map(x), invert(z)         of an invertible emission: values to latents, and back

Channels are independent given h, or modelled one after another (`autoregressive.py`) or jointly
(`coupling.py`, `covariance.py`, `subset.py`). A missing channel contributes nothing to `log_prob`.
Where channels are independent, that is the marginal distribution of the observed channels; where
they are not, it is their distribution given which channels are missing; `fill` then estimates the
marginal one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from seqlatent.distributions.families import Family
from seqlatent.distributions.noise import Noise, TorchNoise
from seqlatent.distributions.transformed import Transformed
from seqlatent.errors import InputError


class Head(nn.Module, ABC):
    """Features (..., in_dim) to a `StepDistribution`.

    Attributes:
        family: of one channel's distribution.
        num_channels: D.
        marginal: whether the density of some of the channels is their marginal one, and not the
            one given that the others are hidden.
        ordered: whether channels are modelled in their order, so that the density is the marginal
            one where no seen channel comes after a missing one.
    """

    family: Any  # a `Family`; some heads need a certain subclass
    num_channels: int
    marginal: ClassVar[bool] = False
    ordered: ClassVar[bool] = False

    @abstractmethod
    def forward(self, h: Tensor, observed: Tensor | None = None) -> "StepDistribution":
        """The distribution given (..., in_dim) features.

        Args:
            h: the features.
            observed: (..., D) bool, which channels are observed; None if all are.
        """

    def conditions(self, observed: Tensor) -> Tensor:
        """(..., D) whether each channel is observed -> (...) whether the density of those that are
        is given that the others are hidden, and not their marginal one."""
        if self.marginal:
            return torch.zeros_like(observed[..., 0])
        if self.ordered:
            return ((~observed).cumsum(-1).bool() & observed).any(-1)
        return observed.any(-1) & ~observed.all(-1)


class StepDistribution(TorchDistribution):
    """The distribution of one step's D channels; batch shape (...), event shape (D,).

    A subclass defines `_sample`, and either each channel's parameters (`params`) or its own
    `log_prob` and `at_floor`. Where channels have an order, it also defines `in_turn`.
    """

    arg_constraints: ClassVar[dict] = {}  # pyright: ignore
    support = constraints.real_vector  # pyright: ignore

    def __init__(self, family: Family, shape: torch.Size, observed: Tensor | None):
        self.family, self.observed = family, observed
        super().__init__(shape[:-1], shape[-1:], validate_args=False)

    def params(self, x: Tensor) -> Tensor:
        """(..., D) values -> (..., D, P) parameters of every channel, given those before it."""
        raise TypeError(f"{type(self).__name__} must define params")

    def log_prob(self, value: Tensor) -> Tensor:
        log_prob = self.family.log_prob(self.params(value), value)
        if self.observed is not None:
            log_prob = torch.where(self.observed, log_prob, 0.0)
        return log_prob.sum(-1)

    def at_floor(self, value: Tensor) -> Tensor:
        """(..., D) to what extent, 0 to 1, each value's density is determined by the floor of the
        scale."""
        return self.family.at_floor(self.params(value), value)

    def sample(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        sample_shape=torch.Size(),  # noqa: B008
        noise: Noise | None = None,
    ) -> Tensor:
        """(*sample_shape, ..., D) samples of the step; by default from torch's generator."""
        return self.expand(torch.Size(sample_shape) + self.batch_shape)._sample(
            noise or TorchNoise()
        )

    def _sample(self, noise: Noise) -> Tensor:
        """(..., D) one sample of the step."""
        raise TypeError(f"{type(self).__name__} must define _sample")

    def fill(self, value: Tensor, observed: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        """Sample a step's missing channels, one after another among the observed ones.

        Args:
            value: (..., D); the missing values are ignored.
            observed: (D,) bool, or (R, D) where the batch shape is (R,).
            noise: of the samples; what it gives to a row does not depend on the other rows.

        Returns:
            the completed values, and their (...) log weights in nats: the sum of
            log p(x_d | h, x_{<d}) over the observed channels. Samples with these weights follow
            p(missing | h, observed), and the mean of their exponential is p(observed | h).
        """
        value = value.expand(*self.batch_shape, -1)
        if observed.all():
            return value, self.log_prob(value)
        if not observed.any():
            return self._sample(noise), value.new_zeros(self.batch_shape)
        log_prob = value.new_zeros(self.batch_shape)

        def one(family: Family, params: Tensor, d: int) -> Tensor:
            nonlocal log_prob
            own, seen = value[..., d], observed[..., d]
            if not seen.any():
                return family.sample(params, noise)
            log_prob = log_prob + torch.where(seen, family.log_prob(params, own), 0.0)
            if seen.all():
                return own
            rows = (~seen).nonzero()[:, 0]
            sampled = family.sample(params[rows], noise.rows(rows, len(seen)))
            return own.index_copy(0, rows, sampled.to(own))

        return self.in_turn(one), log_prob

    def in_turn(self, value: Callable[[Family, Tensor, int], Tensor]) -> Tensor:
        """(..., D) values computed channel by channel.

        Args:
            value: a function of the channel's family, its (..., P) parameters given the values of
                the channels before it, and its index d.

        Raises:
            InputError: for a distribution without an order of channels.
        """
        raise InputError(
            "this emission models all channels jointly and cannot fill in a partly observed step; "
            "choose one that models channels one after another"
        )

    # -- invertible maps of a normal variable (transformed.py) ------------------------------------

    def map(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """(..., D) values -> latents z (..., D), which are N(0, I) if the values follow this
        distribution, and (...) log |det dz/dx| over the observed channels."""
        family = self.family
        assert isinstance(family, Transformed)
        z, log_slope = family.map(self.params(value), value)
        if self.observed is not None:
            log_slope = torch.where(self.observed, log_slope, 0.0)
        return z, log_slope.sum(-1)

    def invert(self, z: Tensor) -> Tensor:
        """(..., D) latents -> (..., D) their values."""

        def value(family: Family, params: Tensor, d: int) -> Tensor:
            assert isinstance(family, Transformed)
            return family.decode(params, z[..., d])

        return self.in_turn(value)


class IndependentChannels(StepDistribution):
    """p(x_t | h_t) = prod_d p(x_td | h_t)."""

    def __init__(self, family: Family, params: Tensor, observed: Tensor | None = None):
        self._params = params
        super().__init__(family, params.shape[:-1], observed)

    def params(self, x: Tensor) -> Tensor:
        return self._params

    def _sample(self, noise: Noise) -> Tensor:
        return self.family.sample(self._params, noise)

    def in_turn(self, value: Callable[[Family, Tensor, int], Tensor]) -> Tensor:
        channels = [
            value(self.family.channel(d), p, d) for d, p in enumerate(self._params.unbind(-2))
        ]
        return torch.stack(channels, -1)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> "IndependentChannels":
        if torch.Size(batch_shape) == self.batch_shape:
            return self
        params = self._params.expand(*batch_shape, *self._params.shape[-2:])
        return IndependentChannels(self.family, params, self.observed)


class IndependentHead(Head):
    """Features (..., in_dim) to `IndependentChannels`.

    Args:
        family: of one channel's distribution.
        in_dim: size of h_t.
        num_channels: D.
    """

    marginal = True

    def __init__(self, family: Family, in_dim: int, num_channels: int):
        super().__init__()
        self.family, self.num_channels = family, num_channels
        self.linear = nn.Linear(in_dim, num_channels * family.num_params)
        start_at(self.linear, family.initials(num_channels))

    def forward(self, h: Tensor, observed: Tensor | None = None) -> StepDistribution:
        params = self.linear(h).unflatten(-1, (self.num_channels, -1))
        return IndependentChannels(self.family, params, observed)


def start_at(linear: nn.Linear, bias: Tensor) -> None:
    """Initialise a head near the family's initial distribution for all features."""
    with torch.no_grad():
        linear.weight.mul_(0.5)
        linear.bias.copy_(bias)
