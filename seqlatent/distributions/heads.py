"""Emission heads: from features h_t to a distribution of the D channels of x_t.

A `Head` is all that a model knows of its emission. It may ask a head for one thing, the
`StepDistribution` of some features, and that for these:

    log_prob(x)               nats, summed over the observed channels
    sample(noise=...)         all channels
    fill(x, observed, noise)  the missing channels given the observed ones
    at_floor(x)               how far each density rests on the floor of the scale
    map(x), invert(z)         of an invertible emission: the latents of values, and back

Channels are independent given h, or one after another (`autoregressive.py`), or all at once
(`coupling.py`, `covariance.py`, `subset.py`). A channel that was not observed contributes nothing:
what is left is the distribution of the observed ones, by marginalisation where channels are
independent, and given the pattern of what is missing where they are not.
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
        family: the distribution of one channel.
        num_channels: D.
    """

    family: Any  # a `Family`; of some heads, one of a kind
    num_channels: int

    @abstractmethod
    def forward(self, h: Tensor, observed: Tensor | None = None) -> "StepDistribution":
        """(..., in_dim) features, and (..., D) which channels were observed, all where None."""


class StepDistribution(TorchDistribution):
    """The distribution of one step's D channels; batch shape (...), event shape (D,).

    A subclass gives each channel's parameters (`params`) and `_sample`, or its own `log_prob` and
    `at_floor`; and `in_turn` where channels have an order.
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
        """(..., D) how far, 0 to 1, each value's density rests on the floor of the scale."""
        return self.family.at_floor(self.params(value), value)

    def sample(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        sample_shape=torch.Size(),  # noqa: B008
        noise: Noise | None = None,
    ) -> Tensor:
        """(*sample_shape, ..., D) samples of the step; without `noise` from torch's generator."""
        return self.expand(torch.Size(sample_shape) + self.batch_shape)._sample(
            noise or TorchNoise()
        )

    def _sample(self, noise: Noise) -> Tensor:
        """(..., D) one sample of the step."""
        raise TypeError(f"{type(self).__name__} must define _sample")

    def fill(self, value: Tensor, observed: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
        """Sample a step's missing channels, one after another among the observed ones.

        Args:
            value: (..., D), of which the missing ones are not looked at.
            observed: (D,) bool.
            noise: of the samples.

        Returns:
            the completed values, and (...) nats: the sum of log p(x_d | h, x_{<d}) over the
            observed channels. Samples of that weight are those of p(missing | h, observed).
        """
        value = value.expand(*self.batch_shape, -1)
        if observed.all():
            return value, self.log_prob(value)
        if not observed.any():
            return self._sample(noise), value.new_zeros(self.batch_shape)
        log_prob = value.new_zeros(self.batch_shape)

        def one(family: Family, params: Tensor, d: int) -> Tensor:
            nonlocal log_prob
            if not observed[d]:
                return family.sample(params, noise)
            log_prob = log_prob + family.log_prob(params, value[..., d])
            return value[..., d]

        return self.in_turn(one), log_prob

    def in_turn(self, value: Callable[[Family, Tensor, int], Tensor]) -> Tensor:
        """(..., D) values made channel by channel, by a function of the channel's family, its
        (..., P) parameters given the values before it, and its number d.

        Raises:
            InputError: for a distribution that has no order of channels.
        """
        raise InputError(
            "a partly observed step cannot be filled in by an emission that models all channels at "
            "once; choose one that takes channels one after another"
        )

    # -- distributions that are maps of a normal variable (transformed.py) ------------------------

    def map(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """(..., D) values -> their latents z (..., D), which are N(0, I) where the distribution is
        true, and (...) log |det dz/dx| over the observed channels."""
        family = self.family
        assert isinstance(family, Transformed)
        z, log_slope = family.map(self.params(value), value)
        if self.observed is not None:
            log_slope = torch.where(self.observed, log_slope, 0.0)
        return z, log_slope.sum(-1)

    def invert(self, z: Tensor) -> Tensor:
        """(..., D) latents -> the values that they stand for."""

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
        family: the distribution of one channel.
        in_dim: size of h_t.
        num_channels: D.
    """

    def __init__(self, family: Family, in_dim: int, num_channels: int):
        super().__init__()
        self.family, self.num_channels = family, num_channels
        self.linear = nn.Linear(in_dim, num_channels * family.num_params)
        start_at(self.linear, family.initials(num_channels))

    def forward(self, h: Tensor, observed: Tensor | None = None) -> StepDistribution:
        params = self.linear(h).unflatten(-1, (self.num_channels, -1))
        return IndependentChannels(self.family, params, observed)


def start_at(linear: nn.Linear, bias: Tensor) -> None:
    """Begin training near the family's initial distribution, whatever the features."""
    with torch.no_grad():
        linear.weight.mul_(0.5)
        linear.bias.copy_(bias)
