"""Sequential Monte Carlo: importance sampling that drops hopeless particles on the way.

K particles walk through time together. At every step each samples z_t from the guide and is
weighed,

    log w_t^k = log p(x_t | .) + log p(z_t^k | .) - log q(z_t^k | .)
    log p^(x_t | x_{<t}) = log sum_k W_{t-1}^k w_t^k,     W_t^k proportional to W_{t-1}^k w_t^k

and where the effective sample size 1 / sum_k (W_t^k)^2 of a sequence falls under K/2, its particles
are resampled (systematically) in proportion to W_t, and weigh alike again. The product of the p^ is
an unbiased estimate of p(x_{1:T}), so that the sum of their logarithms is a lower bound in
expectation; its error grows linearly in T where that of whole trajectories grows exponentially.
(Gordon et al. 1993; Del Moral 2004. As a training objective: Maddison et al. 2017, FIVO.)
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from seqlatent.inference.bounds import Estimate
from seqlatent.nn.causal import State, map_state

# Of step t and the particles' states: log-weights (K, B) and the states after, leading (K, B).
Proposal = Callable[[int, State], tuple[Tensor, State]]
# Told after every step of the normalised log-weights (K, B), and of the ancestors (K, B) that the
# particles go on from: None where nothing was resampled.
Listener = Callable[[Tensor, Tensor | None], None]


class Particles(NamedTuple):
    """What a filter ends with.

    Attributes:
        state: the particles' states, every tensor leading with (K, B).
        log_weights: (K, B) normalised over the particles.
    """

    state: State
    log_weights: Tensor


def particle_filter(
    propose: Proposal, uniforms: Tensor, num_particles: int, listen: Listener | None = None
) -> tuple[Estimate, Particles]:
    """Filter B sequences of T steps.

    Args:
        propose: samples and weighs one step; differentiable, if gradients are wanted. (They pass
            through samples and weights, and not through the choice of ancestors.)
        uniforms: (B, T) uniform numbers in [0, 1) that resampling uses.
        num_particles: K.
        listen: called after every step; with what it is told, trajectories can be put together.

    Returns:
        the estimate, without a variance: one filter cannot tell it (average several); and the
        particles after the last step.
    """
    size, (num_sequences, num_steps) = num_particles, uniforms.shape
    level = -math.log(size)
    state: State = None
    log_w = torch.full((size, num_sequences), level, device=uniforms.device)
    added, sizes, elbo = [], [], []
    for t in range(num_steps):
        log_weight, state = propose(t, state)
        total = log_w + log_weight
        step = total.logsumexp(0)
        added.append(step)
        elbo.append((log_w.exp() * log_weight).sum(0))
        log_w = total - step
        ess = (-(2 * log_w).logsumexp(0)).exp()
        sizes.append(ess)
        poor = ess < size / 2
        weights, ancestors = log_w, None
        if bool(poor.any()):
            chosen = systematic(log_w.detach(), uniforms[:, t])
            own = torch.arange(size, device=chosen.device)[:, None]
            ancestors = torch.where(poor, chosen, own)
            state = take(state, ancestors)
            log_w = torch.where(poor, level, log_w)
        if listen is not None:
            listen(weights, ancestors)
    log_prob = torch.stack(added, -1)
    return Estimate(
        log_prob,
        torch.full_like(log_prob[:, 0], torch.nan),
        torch.stack(sizes, -1).mean(-1),
        torch.stack(elbo, -1).sum(-1),
    ), Particles(state, log_w)


def systematic(log_weights: Tensor, uniforms: Tensor, num: int | None = None) -> Tensor:
    """Ancestors by systematic resampling: one uniform number a sequence, then equal strides.

    Args:
        log_weights: (K, B), normalised over K.
        uniforms: (B,) in [0, 1).
        num: how many ancestors; K by default.

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
    """The states (K, B, ...) of the ancestors (N, B) -> (N, B, ...)."""
    column = torch.arange(ancestors.shape[1], device=ancestors.device)
    return map_state(lambda s: s[ancestors, column], state)
