"""Sequential Monte Carlo: importance sampling with resampling on the way.

K particles move through time together. At every step each samples z_t from the guide and is
weighted,

    log w_t^k = log p(x_t | .) + log p(z_t^k | .) - log q(z_t^k | .)
    log p^(x_t | x_{<t}) = log sum_k W_{t-1}^k w_t^k,     W_t^k proportional to W_{t-1}^k w_t^k

and where the effective sample size 1 / sum_k (W_t^k)^2 of a sequence falls below (K + 1) / 2, half
way between its least and its greatest value, its particles are resampled (systematically) in
proportion to W_t and given equal weights. The product of the p^
is an unbiased estimate of p(x_{1:T}), so that the sum of their logarithms is a lower bound in
expectation. Its error grows linearly in T, whereas that of whole trajectories grows exponentially.
(Gordon et al. 1993; Del Moral 2004. As a training objective: Maddison et al. 2017, FIVO.)
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from seqlatent.inference.bounds import Estimate
from seqlatent.inference.errors import leave_one_out
from seqlatent.nn.causal import State, map_state

# From the step t and the particles' states, whose tensors lead with (K, B): log-weights (K, B) and
# the states after the step.
Proposal = Callable[[int, State], tuple[Tensor, State]]
# Called after every step with the normalised log-weights (K, B), and the ancestors (K, B) of the
# particles after resampling, or None if nothing was resampled.
Record = Callable[[Tensor, Tensor | None], None]


class Particles(NamedTuple):
    """The particles after the last step of a filter.

    Attributes:
        state: the particles' states, every tensor leading with (K, B).
        log_weights: (K, B) normalised over the particles.
    """

    state: State
    log_weights: Tensor

    def sequences(self, some: slice) -> "Particles":
        """Those of some of the sequences."""
        return Particles(map_state(lambda s: s[:, some], self.state), self.log_weights[:, some])


def even(num_particles: int, num_sequences: int, device: torch.device) -> Particles:
    """Particles before the first step: without a state, and of equal weight."""
    level = -math.log(num_particles)
    return Particles(None, torch.full((num_particles, num_sequences), level, device=device))


class Filtered(NamedTuple):
    """One step of a filter.

    Attributes:
        log_prob: (B,) log p^(x_t | x_{<t}), nats.
        bound: (B,) the same with one particle.
        ess: (B,) effective sample size.
        log_weights: (K, B) normalised, before resampling.
        ancestors: (K, B) of the particles after resampling; None if none were resampled.
        particles: after it.
    """

    log_prob: Tensor
    bound: Tensor
    ess: Tensor
    log_weights: Tensor
    ancestors: Tensor | None
    particles: Particles


def filter_step(before: Tensor, log_weight: Tensor, state: State, uniforms: Tensor) -> Filtered:
    """Weigh the particles of a step, and resample them where few have all the weight.

    Args:
        before: (K, B) normalised log-weights before the step.
        log_weight: (K, B) of the step.
        state: of the particles after the step.
        uniforms: (B,) for resampling.
    """
    size = len(before)
    total = before + log_weight
    step = total.logsumexp(0)
    log_w = total - step
    bound = (before.exp() * log_weight).sum(0)
    ess = (-(2 * log_w).logsumexp(0)).exp()
    poor = ess < (size + 1) / 2
    if not bool(poor.any()):
        return Filtered(step, bound, ess, log_w, None, Particles(state, log_w))
    chosen = systematic(log_w.detach(), uniforms)
    own = torch.arange(size, device=chosen.device)[:, None]
    ancestors = torch.where(poor, chosen, own)
    after = Particles(take(state, ancestors), torch.where(poor, -math.log(size), log_w))
    return Filtered(step, bound, ess, log_w, ancestors, after)


def particle_filter(
    propose: Proposal,
    uniforms: Tensor,
    num_particles: int,
    record: Record | None = None,
    begin: Particles | None = None,
) -> tuple[Estimate, Particles]:
    """Filter B sequences of T steps.

    Args:
        propose: samples and weights one step. If it is differentiable, gradients pass through
            samples and weights, but not through the choice of ancestors.
        uniforms: (B, T) uniform numbers in [0, 1) for resampling.
        num_particles: K.
        record: called after every step, for example to trace trajectories back.
        begin: the particles before the first step; even ones, without a state, by default.

    Returns:
        the estimate, and the particles after the last step. The estimate's variance is NaN: average
        several, or see `Trace`.
    """
    num_sequences, num_steps = uniforms.shape
    particles = begin or even(num_particles, num_sequences, uniforms.device)
    added, sizes, elbo = [], [], []
    for t in range(num_steps):
        log_weight, state = propose(t, particles.state)
        f = filter_step(particles.log_weights, log_weight, state, uniforms[:, t])
        added.append(f.log_prob)
        elbo.append(f.bound)
        sizes.append(f.ess)
        particles = f.particles
        if record is not None:
            record(f.log_weights, f.ancestors)
    log_prob = torch.stack(added, -1)
    return Estimate(
        log_prob,
        torch.full_like(log_prob[:, 0], torch.nan),
        torch.stack(sizes, -1).mean(-1),
        torch.stack(elbo, -1).sum(-1),
    ), particles


class Trace:
    """What a filter of K particles and B sequences leaves for judging its error; a `Record`.

    Attributes:
        log_weights: (K, B) normalised, with which the next step begins.
        moves: (B,) how often the particles were resampled.
    """

    def __init__(self, num_particles: int, num_sequences: int, device: torch.device):
        level = -math.log(num_particles)
        self.log_weights = torch.full((num_particles, num_sequences), level, device=device)
        self.own = torch.arange(num_particles, device=device)[:, None]
        self.moves = torch.zeros(num_sequences, dtype=torch.int64, device=device)
        self._inverse = torch.zeros(num_sequences, device=device)
        self._odds: list[Tensor] = []

    def __call__(self, weights: Tensor, ancestors: Tensor | None) -> None:
        self.log_weights = weights
        if ancestors is None:
            return
        moved = (ancestors != self.own).any(0)
        self._odds.append(torch.where(moved, self._largest(weights), -torch.inf))
        self._inverse = self._inverse + moved * (2 * weights).logsumexp(0).exp()
        self.moves = self.moves + moved
        self.log_weights = torch.where(moved, -math.log(len(weights)), weights)

    def _largest(self, weights: Tensor) -> Tensor:
        weights = weights.double()
        return (weights - leave_one_out(weights)).topk(len(weights) // 5 + 1, 0).values

    def log_odds(self) -> Tensor:
        """(n, B) the largest fifth of the weights at each resampling and at the end: logarithms of
        each over the mean of the others, -inf where a sequence was not resampled."""
        return torch.cat([*self._odds, self._largest(self.log_weights)])

    def inverse_ess(self) -> Tensor:
        """(B,) sum of the inverse effective sample sizes at each resampling and at the end."""
        return self._inverse + (2 * self.log_weights).logsumexp(0).exp()


def systematic(log_weights: Tensor, uniforms: Tensor, num: int | None = None) -> Tensor:
    """Ancestors by systematic resampling: one uniform number per sequence, then equal strides.

    Args:
        log_weights: (K, B), normalised over K.
        uniforms: (B,) in [0, 1).
        num: number of ancestors; K by default.

    Returns:
        (num, B) indices of particles; particle k appears num W^k times, rounded up or down.
    """
    size = len(log_weights)
    num = num or size
    heights = log_weights.double().exp().cumsum(0)
    heights = heights / heights[-1:]
    positions = (torch.arange(num, device=uniforms.device)[:, None] + uniforms.double()) / num
    found = torch.searchsorted(heights.T.contiguous(), positions.T.contiguous(), right=True)
    return found.T.clamp(max=size - 1)


def take(state: State, ancestors: Tensor) -> State:
    """States (K, B, ...) -> (N, B, ...) those of the ancestors (N, B)."""
    column = torch.arange(ancestors.shape[1], device=ancestors.device)
    return map_state(lambda s: s[ancestors, column], state)
