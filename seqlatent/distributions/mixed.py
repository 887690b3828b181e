"""Columns of different kinds in one table: each channel has a family that suits it."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqlatent.data.dataset import SequenceDataset
from seqlatent.distributions.families import Family
from seqlatent.distributions.noise import Noise


class Mixed(Family):
    """A family for each channel of values (..., D).

    Parameters and features are padded to the largest number that any family has.

    Args:
        names: the emission of each of the D channels.
        families: the family of each channel.
    """

    def __init__(self, names: Sequence[str], families: Sequence[Family]):
        super().__init__()
        self.names = tuple(names)
        self.families = nn.ModuleList(families)
        self.num_params = max(family.num_params for family in families)
        self.num_features = max(family.num_features for family in families)

    def discrete_channels(self, num_channels: int) -> tuple[bool, ...]:
        return tuple(self._family(d).discrete for d in range(num_channels))

    def label_channels(self, num_channels: int) -> tuple[bool, ...]:
        return tuple(self._family(d).labels for d in range(num_channels))

    def _family(self, d: int) -> Family:
        family = self.families[d]
        assert isinstance(family, Family)
        return family

    def check(self, data: SequenceDataset) -> None:
        for d, target in enumerate(data.targets):
            column = tuple(replace(s, x=s.x[:, d : d + 1]) for s in data)
            self._family(d).check(replace(data, sequences=column, targets=(target,)))

    def channel(self, d: int) -> Family:
        return _Padded(self._family(d).channel(0), self.num_params, self.num_features)

    def _channels(self) -> list[Family]:
        return [self.channel(d) for d in range(len(self.families))]

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        parts = zip(self._channels(), params.unbind(-2), x.unbind(-1), strict=True)
        return torch.stack([family.log_prob(p, v) for family, p, v in parts], -1)

    def sample(self, params: Tensor, noise: Noise) -> Tensor:
        parts = zip(self._channels(), params.unbind(-2), strict=True)
        return torch.stack([family.sample(p, noise) for family, p in parts], -1)

    def initials(self, num_channels: int) -> Tensor:
        return torch.cat([family.initial() for family in self._channels()])

    def features(self, x: Tensor) -> Tensor:
        parts = zip(self._channels(), x.unbind(-1), strict=True)
        return torch.stack([family.features(v) for family, v in parts], -2)

    def wild(self, x: Tensor) -> Tensor:
        parts = zip(self._channels(), x.unbind(-1), strict=True)
        return torch.stack([family.wild(v) for family, v in parts], -1)

    def at_floor(self, params: Tensor, x: Tensor) -> Tensor:
        parts = zip(self._channels(), params.unbind(-2), x.unbind(-1), strict=True)
        return torch.stack([family.at_floor(p, v) for family, p, v in parts], -1)


class _Padded(Family):
    """A family with unused parameters, and zeros appended to its features."""

    def __init__(self, family: Family, num_params: int, num_features: int):
        super().__init__()
        self.family, self.num_params, self.num_features = family, num_params, num_features
        self.discrete = family.discrete

    def _own(self, params: Tensor) -> Tensor:
        return params[..., : self.family.num_params]

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        return self.family.log_prob(self._own(params), x)

    def sample(self, params: Tensor, noise: Noise) -> Tensor:
        return self.family.sample(self._own(params), noise)

    def initial(self) -> Tensor:
        return F.pad(self.family.initial(), (0, self.num_params - self.family.num_params))

    def features(self, x: Tensor) -> Tensor:
        own = self.family.features(x)
        return F.pad(own, (0, self.num_features - own.shape[-1]))

    def wild(self, x: Tensor) -> Tensor:
        return self.family.wild(x)

    def at_floor(self, params: Tensor, x: Tensor) -> Tensor:
        return self.family.at_floor(self._own(params), x)
