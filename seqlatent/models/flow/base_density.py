"""An autoregressive base density for the flow: p(z_t | z_{<t}) in place of N(0, I).

    z_t = loc_t + scale_t e_t,    (loc_t, scale_t) = net(z_{<t}),    e_t ~ N(0, I)
    log p(z_t | z_{<t}) = log N(e_t; 0, I) - sum_d log scale_td

It is a second flow, affine, on top of the first (Papamakarios et al. 2017): what of the past the
maps f_t left in z, the base can take out. The code of a sequence is then e, standard normal and
independent where the model is right. e is found in parallel over time, z from e step by step.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from seqlatent.distributions.families import Family
from seqlatent.distributions.heads import StepDistribution
from seqlatent.distributions.noise import Noise
from seqlatent.distributions.transformed import Transformed
from seqlatent.nn.causal import State
from seqlatent.nn.layers import soft_clip
from seqlatent.nn.recurrent import Recurrent


class BaseState(NamedTuple):
    """What the base remembers: the (B, 1, 2 D) embedding of the last z, and its network's state."""

    last: Tensor
    network: State


class AutoregressiveBase(nn.Module):
    """z to e and back.

    Args:
        dim: D, channels of z.
        hidden_dim: size of the network.
    """

    def __init__(self, dim: int, hidden_dim: int):
        super().__init__()
        self.dim = dim
        self.network = Recurrent(2 * dim, hidden_dim)
        self.out = nn.Linear(hidden_dim + 2 * dim, 2 * dim)
        with torch.no_grad():  # begin near N(0, I)
            self.out.weight.mul_(0.1)
            self.out.bias.zero_()

    def begin(self, size: int) -> BaseState:
        """The state before the first of `size` sequences' steps."""
        return BaseState(self.out.weight.new_zeros(size, 1, 2 * self.dim), None)

    def _embed(self, z: Tensor, observed: Tensor) -> Tensor:
        return torch.cat([soft_clip(z) * observed, observed.to(z)], -1)

    def _law(self, before: Tensor, network: State) -> tuple[Tensor, Tensor, State]:
        """loc and log scale of the steps after the embeddings `before`; scales of 1/10 to 10."""
        h, network = self.network(before, network)
        loc, raw = self.out(torch.cat([h, before], -1)).chunk(2, -1)
        return loc, 2.3 * torch.tanh(raw / 2.3), network

    def forward(
        self, z: Tensor, observed: Tensor, state: BaseState
    ) -> tuple[Tensor, Tensor, BaseState]:
        """(B, T, D) z, and which of them there are -> e and log de/dz, (B, T, D) each; the state
        after."""
        embedding = self._embed(z, observed)
        before = torch.cat([state.last.expand(len(z), -1, -1), embedding[:, :-1]], 1)
        loc, log_scale, network = self._law(before, state.network)
        return (z - loc) * (-log_scale).exp(), -log_scale, BaseState(embedding[:, -1:], network)

    def inverse(self, e: Tensor, state: BaseState) -> tuple[Tensor, BaseState]:
        """(B, T, D) e -> z, step by step; the state after."""
        last, network, steps = state.last.expand(len(e), -1, -1), state.network, []
        for now in e.split(1, 1):
            loc, log_scale, network = self._law(last, network)
            steps.append(loc + log_scale.exp() * now)
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
        """`StepDistribution.fill` of one step of maps whose z has this base for its distribution.

        Args:
            distributions: the maps, of (B, 1) steps.
            y: (B, 1, D) values, of which the missing ones are not looked at.
            observed: (D,) bool.
            state: before the step.
            noise: of the samples.

        Returns:
            the completed values; (B, 1) nats, the sum over the observed channels of their
            log-density given the past and the channels before them; the state after.
        """
        log_prob, everywhere = y.new_zeros(y.shape[:-1]), torch.ones_like(y, dtype=torch.bool)
        sampled, _ = self.inverse(noise.normal(y.shape, y), state)

        def one(family: Family, params: Tensor, d: int) -> Tensor:
            nonlocal log_prob
            assert isinstance(family, Transformed)
            if not observed[d]:
                return family.decode(params, sampled[..., d])
            log_prob = log_prob + family.map(params, y[..., d])[1]
            return y[..., d]

        if observed.all():
            z, log_prob = distributions.map(y)
        else:
            y = distributions.in_turn(one) if observed.any() else distributions.invert(sampled)
            z, _ = distributions.map(y)
        e, slope, state = self(z, everywhere, state)
        assert isinstance(distributions.family, Transformed)
        of_codes = torch.where(observed, distributions.family.base_log_prob(e) + slope, 0.0).sum(-1)
        return y, log_prob + of_codes, state
