"""Channels one after another: p(x_t | h_t) = prod_d p(x_td | h_t, x_t1, ..., x_t,d-1).

This is the neural autoregressive distribution estimator (Larochelle and Murray 2011; for real
values Uria et al. 2013). Every channel has its own hidden layer, to which each earlier channel adds
a term, so that one cumulative sum gives all D conditionals.

    a_d = W h + b_d + sum_{j<d} V_j [features(x_j), was x_j observed]
    params_d = U_d silu(a_d) + S_d h + c_d
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqlatent.distributions.families import Family
from seqlatent.distributions.heads import Head, StepDistribution
from seqlatent.distributions.noise import Noise
from seqlatent.nn.layers import dropout


class AutoregressiveHead(Head):
    """Features (..., in_dim) to a `ChannelAutoregression`.

    Args:
        family: of each channel's conditional distribution.
        in_dim: size of h_t.
        num_channels: D, at least 2.
        hidden_dim: size of each channel's hidden layer.
        dropout: share of hidden units dropped in training.
    """

    ordered = True

    def __init__(
        self,
        family: Family,
        in_dim: int,
        num_channels: int,
        hidden_dim: int = 32,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.dropout = dropout
        self.family, self.num_channels = family, num_channels
        self.context = nn.Linear(in_dim, hidden_dim, bias=False)
        self.bias = nn.Parameter(torch.randn(num_channels, hidden_dim) * 0.1)
        width = family.num_features + 1
        self.before = nn.Parameter(
            torch.randn(num_channels - 1, width, hidden_dim) / math.sqrt(width)
        )
        self.out = nn.Parameter(
            torch.randn(num_channels, hidden_dim, family.num_params) * 0.5 / math.sqrt(hidden_dim)
        )
        self.skip = nn.Linear(in_dim, num_channels * family.num_params)
        with torch.no_grad():
            self.skip.weight.mul_(0.5)
            self.skip.bias.copy_(family.initials(num_channels))

    def forward(self, h: Tensor, observed: Tensor | None = None) -> "ChannelAutoregression":
        return ChannelAutoregression(self, self.context(h), self.skip(h), observed)


class ChannelAutoregression(StepDistribution):
    """The distribution of one step; built by `AutoregressiveHead`."""

    def __init__(
        self, head: AutoregressiveHead, context: Tensor, skip: Tensor, observed: Tensor | None
    ):
        self.head, self.context, self.skip = head, context, skip
        shape = torch.Size((*context.shape[:-1], head.num_channels))
        super().__init__(head.family, shape, observed)

    def params(self, x: Tensor) -> Tensor:
        head = self.head
        seen = torch.ones_like(x) if self.observed is None else self.observed.to(x).expand_as(x)
        seen = seen * ~head.family.wild(x)
        features = head.family.features(x) * seen[..., None]
        given = torch.cat([features, seen[..., None]], -1)[..., :-1, :]
        added = torch.einsum("...df,dfh->...dh", given, head.before).cumsum(-2)
        a = self.context[..., None, :] + head.bias + F.pad(added, (0, 0, 1, 0))
        skip = self.skip.unflatten(-1, (head.num_channels, -1))
        hidden = dropout(F.silu(a), head.dropout, head.training, dim=-4)
        return torch.einsum("...dh,dhp->...dp", hidden, head.out) + skip

    def _sample(self, noise: Noise) -> Tensor:
        return self.in_turn(lambda family, params, d: family.sample(params, noise))

    def in_turn(self, value: Callable[[Family, Tensor, int], Tensor]) -> Tensor:
        head = self.head
        skip = self.skip.unflatten(-1, (head.num_channels, -1))
        a, channels = self.context, []
        for d in range(head.num_channels):
            params = F.silu(a + head.bias[d]) @ head.out[d] + skip[..., d, :]
            channel = self.family.channel(d)
            x = value(channel, params, d)
            channels.append(x)
            if d < head.num_channels - 1:
                seen = (~channel.wild(x)).to(x)[..., None]
                given = torch.cat([channel.features(x) * seen, seen], -1)
                a = a + given @ head.before[d]
        return torch.stack(channels, -1)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> "ChannelAutoregression":
        if torch.Size(batch_shape) == self.batch_shape:
            return self
        context = self.context.expand(*batch_shape, self.context.shape[-1])
        skip = self.skip.expand(*batch_shape, self.skip.shape[-1])
        return ChannelAutoregression(self.head, context, skip, self.observed)
