"""An autoregressive base density for the flow: p(z_t | z_{<t}) in place of N(0, I).

    z_t = loc_t + scale_t b(e_t),    (loc_t, scale_t) = net(z_{<t}),    e_t ~ N(0, I)
    log p(z_t | z_{<t}) = log N(e_t; 0, I) - sum_d log b'(e_td) + log scale_td

where b bends the tails (`seqlatent.distributions.tails`).

This is a second, affine flow on top of the first (Papamakarios et al. 2017): it models the
dependence over time that the maps f_t leave in z. The latents of a sequence are then e, which are
standard normal and independent if the model is true. e is computed from z in parallel over time, z
from e step by step.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqlatent.distributions.families import Family
from seqlatent.distributions.heads import StepDistribution
from seqlatent.distributions.noise import Noise
from seqlatent.distributions.tails import bend, unbend
from seqlatent.distributions.transformed import Transformed
from seqlatent.nn.causal import State
from seqlatent.nn.layers import soft_clip
from seqlatent.nn.recurrent import Recurrent

WILD = 10.0  # the network reads larger z as missing: values of their steps were wild


class BaseState(NamedTuple):
    """The state of the base: the (B, 1, 2 D) embedding of the last z, and that of its network."""

    last: Tensor
    network: State


class AutoregressiveBase(nn.Module):
    """The map from z to e, and its inverse.

    Args:
        dim: D, the number of channels.
        hidden_dim: size of the network.
    """

    def __init__(self, dim: int, hidden_dim: int):
        super().__init__()
        self.dim = dim
        self.network = Recurrent(2 * dim, hidden_dim)
        self.out = nn.Linear(hidden_dim + 2 * dim, 2 * dim)
        with torch.no_grad():  # start near N(0, I)
            self.out.weight.mul_(0.1)
            self.out.bias.zero_()

    def begin(self, size: int) -> BaseState:
        """The state of `size` sequences before the first step."""
        return BaseState(self.out.weight.new_zeros(size, 1, 2 * self.dim), None)

    def _embed(self, z: Tensor, observed: Tensor) -> Tensor:
        observed = observed & (z.abs() <= WILD)
        return torch.cat([soft_clip(z) * observed, observed.to(z)], -1)

    def _before(self, embedding: Tensor, state: BaseState) -> Tensor:
        """(B, T, 2 D) of each step the embedding of the step before it."""
        return torch.cat([state.last.expand(len(embedding), -1, -1), embedding[:, :-1]], 1)

    def _loc_and_log_scale(self, before: Tensor, network: State) -> tuple[Tensor, Tensor, State]:
        """loc and log scale of each step, given the embeddings `before` it; scales lie between 1/10
        and 10."""
        h, network = self.network(before, network)
        loc, raw = self.out(torch.cat([h, before], -1)).chunk(2, -1)
        return loc, 2.3 * torch.tanh(raw / 2.3), network

    def forward(
        self, z: Tensor, observed: Tensor, state: BaseState
    ) -> tuple[Tensor, Tensor, BaseState]:
        """(B, T, D) z and whether each value is observed -> e and log de/dz, (B, T, D) each, and
        the state after."""
        embedding = self._embed(z, observed)
        before = self._before(embedding, state)
        loc, log_scale, network = self._loc_and_log_scale(before, state.network)
        e, slope = unbend((z - loc) * (-log_scale).exp())
        return e, slope - log_scale, BaseState(embedding[:, -1:], network)

    def moments(self, z: Tensor, observed: Tensor, state: BaseState) -> tuple[Tensor, Tensor]:
        """(B, T, D) loc and log scale of each step's z, given those before it."""
        before = self._before(self._embed(z, observed), state)
        return self._loc_and_log_scale(before, state.network)[:2]

    def inverse(self, e: Tensor, state: BaseState) -> tuple[Tensor, BaseState]:
        """(B, T, D) e -> (B, T, D) z, step by step, and the state after."""
        last, network, steps = state.last.expand(len(e), -1, -1), state.network, []
        for now in e.split(1, 1):
            loc, log_scale, network = self._loc_and_log_scale(last, network)
            steps.append(loc + log_scale.exp() * bend(now))
            last = self._embed(steps[-1], torch.ones_like(now, dtype=torch.bool))
        return torch.cat(steps, 1), BaseState(last, network)

    def fill(
        self,
        distributions: StepDistribution,
        y: Tensor,
        observed: Tensor,
        state: BaseState,
        noise: Noise,
    ) -> tuple[Tensor, Tensor, BaseState]:
        """`StepDistribution.fill` for one step of maps whose latents z have this base density.

        Args:
            distributions: the maps, with batch shape (B, 1).
            y: (B, 1, D) values; the missing ones are ignored.
            observed: (D,) bool.
            state: before the step.
            noise: of the samples.

        Returns:
            the completed values; (B, 1) the sum over the observed channels of their log density
            given the past and the channels before them, in nats; and the state after.
        """
        loc, log_scale, network = self._loc_and_log_scale(state.last, state.network)
        y, log_prob, z = self.complete(distributions, y, observed, (loc, log_scale), noise)
        last = self._embed(z, torch.ones_like(z, dtype=torch.bool))
        return y, log_prob, BaseState(last, network)

    def complete(
        self,
        distributions: StepDistribution,
        y: Tensor,
        observed: Tensor,
        moments: tuple[Tensor, Tensor],
        noise: Noise,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`fill` of steps whose loc and log scale are given, (..., D) each; `observed` is (D,), or
        (R, D) for the batch shape (R,). Returns values, log density and the completed steps' z."""
        loc, log_scale = moments
        log_prob = y.new_zeros(y.shape[:-1])
        sampled = loc + log_scale.exp() * bend(noise.normal(y.shape, y))

        def one(family: Family, params: Tensor, d: int) -> Tensor:
            nonlocal log_prob
            assert isinstance(family, Transformed)
            seen, drawn = observed[..., d], family.decode(params, sampled[..., d])
            log_prob = log_prob + torch.where(seen, family.map(params, y[..., d])[1], 0.0)
            return torch.where(seen, y[..., d], drawn)

        if observed.all():
            z, log_prob = distributions.map(y)
        else:
            y = distributions.in_turn(one) if observed.any() else distributions.invert(sampled)
            z, _ = distributions.map(y)
        e, slope = unbend((z - loc) * (-log_scale).exp())
        assert isinstance(distributions.family, Transformed)
        log_base = distributions.family.base_log_prob(e) + slope - log_scale
        return y, log_prob + torch.where(observed, log_base, 0.0).sum(-1), z
