"""Columns of different kinds in one table: each channel has the distribution that suits it."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqlatent.data.dataset import SequenceDataset
from seqlatent.distributions.families import Family


class Mixed(Family):
    """A distribution for each channel, of values (..., D); parameters and features are padded to
    the widest.

    Args:
        names: the emission of each of the D channels.
        distributions: its distribution.
    """

    def __init__(self, names: Sequence[str], distributions: Sequence[Family]):
        super().__init__()
        self.names = tuple(names)
        self.distributions = nn.ModuleList(distributions)
        self.num_params = max(distribution.num_params for distribution in distributions)
        self.num_features = max(distribution.num_features for distribution in distributions)

    def discrete_channels(self, num_channels: int) -> tuple[bool, ...]:
        return tuple(self._law(d).discrete for d in range(num_channels))

    def _law(self, d: int) -> Family:
        distribution = self.distributions[d]
        assert isinstance(distribution, Family)
        return distribution

    def check(self, data: SequenceDataset) -> None:
        for d, target in enumerate(data.targets):
            column = tuple(replace(s, x=s.x[:, d : d + 1]) for s in data)
            self._law(d).check(replace(data, sequences=column, targets=(target,)))

    def channel(self, d: int) -> Family:
        return _Padded(self._law(d).channel(0), self.num_params, self.num_features)

    def _channels(self) -> list[Family]:
        return [self.channel(d) for d in range(len(self.distributions))]

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        parts = zip(self._channels(), params.unbind(-2), x.unbind(-1), strict=True)
        return torch.stack([distribution.log_prob(p, v) for distribution, p, v in parts], -1)

    def draw(self, params: Tensor, generator: torch.Generator | None) -> Tensor:
        parts = zip(self._channels(), params.unbind(-2), strict=True)
        return torch.stack([distribution.draw(p, generator) for distribution, p in parts], -1)

    def initials(self, num_channels: int) -> Tensor:
        return torch.cat([distribution.initial() for distribution in self._channels()])

    def features(self, x: Tensor) -> Tensor:
        parts = zip(self._channels(), x.unbind(-1), strict=True)
        return torch.stack([distribution.features(v) for distribution, v in parts], -2)

    def at_floor(self, params: Tensor, x: Tensor) -> Tensor:
        parts = zip(self._channels(), params.unbind(-2), x.unbind(-1), strict=True)
        return torch.stack([distribution.at_floor(p, v) for distribution, p, v in parts], -1)


class _Padded(Family):
    """A distribution that leaves parameters unused, and adds zeros to its features."""

    def __init__(self, distribution: Family, num_params: int, num_features: int):
        super().__init__()
        self.distribution, self.num_params, self.num_features = (
            distribution,
            num_params,
            num_features,
        )
        self.discrete = distribution.discrete

    def _own(self, params: Tensor) -> Tensor:
        return params[..., : self.distribution.num_params]

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        return self.distribution.log_prob(self._own(params), x)

    def draw(self, params: Tensor, generator: torch.Generator | None) -> Tensor:
        return self.distribution.draw(self._own(params), generator)

    def initial(self) -> Tensor:
        return F.pad(
            self.distribution.initial(), (0, self.num_params - self.distribution.num_params)
        )

    def features(self, x: Tensor) -> Tensor:
        own = self.distribution.features(x)
        return F.pad(own, (0, self.num_features - own.shape[-1]))

    def at_floor(self, params: Tensor, x: Tensor) -> Tensor:
        return self.distribution.at_floor(self._own(params), x)
