"""Several independent particle filters of each sequence, whose particles move together.

N filters of K particles give an estimate of p(x), the mean of theirs, and by their spread its
error. They run as one batch, the filters of a sequence side by side. The noise of a step comes
before that of the next one, so that a filter that reads values as they come has the particles of
one that reads all of them at once.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.inference.bounds import Estimate
from seqlatent.inference.protocols import EstimatedDensity
from seqlatent.inference.smc import Filtered, Particles, Trace, even, filter_step
from seqlatent.inference.widening import is_from_prior, log_over_prior, widen

BLOCK = 1024  # particles of a filter, over all steps, whose noise is sampled at once


class FilterNoise(NamedTuple):
    """The noise of T steps of the N filters of B sequences.

    Attributes:
        uniforms: (B N, T) in [0, 1), for resampling.
        eps: (K, B N, T, Z) widened normal noise.
        wide, from_prior: (K, B N, T) bool, which particles are wide, and which the prior's.
        start: how many steps there were before, or (B N,) of each filter.
    """

    uniforms: Tensor
    eps: Tensor
    wide: Tensor
    from_prior: Tensor
    start: int | Tensor

    def step(self, t: int) -> "FilterNoise":
        """That of step t."""
        now = slice(t, t + 1)
        wide, from_prior = self.wide[..., now], self.from_prior[..., now]
        eps = self.eps[:, :, now]
        return FilterNoise(self.uniforms[:, now], eps, wide, from_prior, self.start + t)


def filter_noise(
    noise: SequenceNoise,
    lengths: Tensor,
    num_steps: int,
    start: int | Tensor,
    *,
    num_filters: int,
    num_particles: int,
    latent_dim: int,
) -> FilterNoise:
    """The noise of the next T steps.

    Args:
        noise: with a stream for each of B sequences.
        lengths: (B,) how many of the steps are no padding.
        num_steps: T.
        start: how many steps there were before, or (B,) of each sequence.
        num_filters: N.
        num_particles: K.
        latent_dim: Z.
    """
    like = torch.empty(0, device=lengths.device)
    shape = (num_filters, num_particles, latent_dim)
    uniforms, eps = noise.filter_steps(lengths, num_steps, 2 * num_filters, shape, like)
    choosing, moving = uniforms.transpose(1, 2).unflatten(1, (2, -1)).unbind(1)
    shift = (moving.flatten(0, 1) * num_particles).long().clamp(max=num_particles - 1)
    eps = eps.permute(3, 0, 2, 1, 4).flatten(1, 2)
    if isinstance(start, Tensor):
        start = start.repeat_interleave(num_filters)
    eps, wide = widen(eps, start, shift)
    from_prior = is_from_prior(num_particles, shift)
    return FilterNoise(choosing.flatten(0, 1), eps, wide, from_prior, start)


class FilterStep(NamedTuple):
    """One step of the filters.

    Attributes:
        filtered: the step of B N filters.
        bound: (B N,) log p(x_t | .) with one particle of the guide's own, nats.
        z: (K, B N, Z) latents before resampling.
    """

    filtered: Filtered
    bound: Tensor
    z: Tensor


def move_filters(
    model: EstimatedDensity, reading: Any, particles: Particles, noise: FilterNoise
) -> FilterStep:
    """Move the filters by one step.

    Args:
        model: in evaluation mode.
        reading: of that step of B sequences.
        particles: of B N filters.
        noise: of that step.
    """
    now = reading.repeated(noise.eps.shape[1] // len(reading.inside))
    # The priors of latents that do not depend on each other are wide, and some are no normal.
    from_prior = None if model.factorises else noise.from_prior
    sample, state = model.propose(now, noise.eps, particles.state, from_prior=from_prior)
    others = (noise.wide if from_prior is None else noise.wide | from_prior)[..., 0]
    share = particles.log_weights.masked_fill(others, -torch.inf).softmax(0)
    inside = now.inside[:, 0]
    bound = torch.where(inside, (share * sample.log_weight[..., 0]).sum(0), 0.0)
    ratio = sample.log_prior - sample.log_q
    mixture = log_over_prior(sample.eps, ratio, noise.start, from_prior is not None)
    weight = torch.where(inside, (sample.log_x - mixture)[..., 0], 0.0)
    moved = filter_step(particles.log_weights, weight, state, noise.uniforms[:, 0])
    return FilterStep(moved, bound, sample.z[:, :, 0])


def run_filters(
    model: EstimatedDensity,
    batch: SequenceBatch,
    reading: Any,
    noise: SequenceNoise,
    num_particles: int,
    num_filters: int,
) -> tuple[list[Estimate], Trace]:
    """Filter B sequences: the estimate of each filter, and the trace of all B N, those of a
    sequence side by side."""
    size, num_steps = len(batch.x), batch.x.shape[1]
    block = max(1, BLOCK // num_particles)
    particles = even(num_particles, size * num_filters, batch.x.device)
    trace = Trace(num_particles, size * num_filters, batch.x.device)
    log_prob, bounds, sizes = [], [], []
    for start in range(0, num_steps, block):
        part = batch.steps(start, start + block)
        drawn = filter_noise(
            noise,
            part.lengths,
            part.x.shape[1],
            start,
            num_filters=num_filters,
            num_particles=num_particles,
            latent_dim=model.latent_dim,
        )
        for t in range(part.x.shape[1]):
            now = reading.steps(start + t, start + t + 1)
            filtered, bound, _ = move_filters(model, now, particles, drawn.step(t))
            trace(filtered.log_weights, filtered.ancestors)
            particles = filtered.particles
            log_prob.append(filtered.log_prob)
            bounds.append(bound)
            sizes.append(filtered.ess)
    steps, elbo = torch.stack(log_prob, -1), torch.stack(bounds, -1).sum(-1)
    ess = torch.stack(sizes, -1).mean(-1)
    found = []
    for f in range(num_filters):
        each = slice(f, None, num_filters)
        unknown = torch.full_like(elbo[each], torch.nan)
        found.append(Estimate(steps[each], unknown, ess[each], elbo[each]))
    return found, trace
