"""Latents given the values: the guide's samples, weighed until they follow the posterior.

Samples z^k of a guide q, each with its weight p(x, z^k) / q(z^k | x), are the posterior (Burda et
al. 2016; Gordon et al. 1993). How they are put together depends on how the latents hang together:

    factorised    z_t is independent of the others given x: the samples of each step are weighed on
                  their own. z_t does not depend on later values either, so that filtering and
                  smoothing are the same.
    filtering     p(z_t | x_{1:t}): the particles of a filter, as they are weighed at step t.
    smoothing     p(z_{1:T} | x_{1:T}): whole trajectories. Those of a filter, followed back through
                  their ancestors; or, of a guide that sees the future, samples weighed as a whole.

Trajectories degenerate. Followed back from the end, all of them come from ever fewer particles of
early steps, which were resampled many times since; and weighed as a whole, ever fewer of them count
as the sequence grows. `ess` says how many: where it is small, means and scales are rough and scales
too small.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.inference.likelihood import CHUNK, particle_noise
from seqlatent.inference.protocols import EstimatedDensity
from seqlatent.inference.smc import particle_filter, systematic
from seqlatent.nn.causal import State

PARTICLES = 512  # at the least; four for every sample


class Posterior(NamedTuple):
    """A sequence's latents given its values.

    Attributes:
        mean, scale: (T, Z) by the weighted samples.
        samples: (S, T, Z) resampled, weighing alike. Smoothing ones are whole trajectories, others
            belong together within a step alone.
        ess: (T,) effective number of the samples that a step rests on.
    """

    mean: Tensor
    scale: Tensor
    samples: Tensor
    ess: Tensor


@torch.no_grad()
def weighted_posterior(
    model: EstimatedDensity,
    batch: SequenceBatch,
    name: str,
    num_samples: int,
    smoothing: bool,
    seed: int,
) -> Posterior:
    """p(z_t | x_{1:t}) or, `smoothing`, p(z_{1:T} | x_{1:T}) of one sequence.

    Args:
        model: with latents, in evaluation mode.
        batch: of one sequence.
        name: of the sequence, which seeds its noise.
        num_samples: S.
        smoothing: whether later values count.
        seed: of the noise.
    """
    size = max(PARTICLES, 4 * num_samples)
    noise = SequenceNoise([name], seed)
    uniforms = noise.uniform((1, batch.x.shape[1], 2), batch.x)[0]
    if model.factorises:
        z, log_w = _guided(model, batch, size, noise, branched=True)
    elif smoothing and model.smoothing:
        z, log_w = _guided(model, batch, size, noise, branched=False)
        log_w = log_w.sum(-1, keepdim=True).expand_as(log_w)
        uniforms = uniforms[:1].expand_as(uniforms)  # the same trajectories at every step
    else:
        z, log_w, ancestors = _filtered(model, batch, size, noise, uniforms[:, 0])
        if smoothing:
            return _trajectories(z, log_w[:, -1], ancestors, num_samples, uniforms[-1, 1])
    log_w = log_w.double() - log_w.double().logsumexp(0)
    chosen = systematic(log_w, uniforms[:, 1], num_samples)  # (S, T)
    samples = z.gather(0, chosen[..., None].expand(-1, -1, z.shape[-1]))
    return Posterior(*_moments(z, log_w), samples, (-(2 * log_w).logsumexp(0)).exp())


def _guided(
    model: EstimatedDensity, batch: SequenceBatch, size: int, noise: SequenceNoise, branched: bool
) -> tuple[Tensor, Tensor]:
    """(K, T, Z) samples of the guide and their (K, T) log-weights."""
    reading, particles = model.reading(batch), None
    z, log_w = [], []
    steps = max(1, 64 * CHUNK // size)  # whose particles are held at once
    for start in range(0, batch.x.shape[1], steps):
        chunk, part = batch.steps(start, start + steps), reading.steps(start, start + steps)
        eps = particle_noise(noise, chunk, size, model.latent_dim)
        sample, particles = model.propose(part, eps, particles, branched)
        z.append(sample.z[:, 0])
        log_w.append(sample.log_weight[:, 0])
    return torch.cat(z, 1), torch.cat(log_w, 1)


def _filtered(
    model: EstimatedDensity, batch: SequenceBatch, size: int, noise: SequenceNoise, uniforms: Tensor
) -> tuple[Tensor, Tensor, list[Tensor | None]]:
    """A particle filter: (K, T, Z) latents and (K, T) log-weights as they are at each step before
    resampling, and the ancestors (K,) of the particles after it."""
    reading, num_steps = model.reading(batch), batch.x.shape[1]
    z, log_w, ancestors = [], [], []

    def propose(t: int, particles: State) -> tuple[Tensor, State]:
        now = batch.steps(t, t + 1)
        eps = particle_noise(noise, now, size, model.latent_dim)
        sample, particles = model.propose(reading.steps(t, t + 1), eps, particles)
        z.append(sample.z[:, 0, 0])
        return sample.log_weight[..., 0], particles

    def listen(weights: Tensor, chosen: Tensor | None) -> None:
        log_w.append(weights[:, 0])
        ancestors.append(None if chosen is None else chosen[:, 0])

    particle_filter(propose, uniforms[None, :num_steps].to(reading.y), size, listen)
    return torch.stack(z, 1), torch.stack(log_w, 1), ancestors


def _trajectories(
    z: Tensor, log_w: Tensor, ancestors: list[Tensor | None], num_samples: int, uniform: Tensor
) -> Posterior:
    """All of a filter's final particles, followed back; and S of them, drawn by their weights."""
    size, num_steps, _ = z.shape
    weights = (log_w.double() - log_w.double().logsumexp(0)).exp()
    place = torch.arange(size, device=z.device)
    paths, sizes = [z[:, -1]], [1 / (weights**2).sum()]
    for t in range(num_steps - 2, -1, -1):
        chosen = ancestors[t]
        place = place if chosen is None else chosen[place]
        paths.append(z[place, t])
        shared = torch.zeros_like(weights).index_add_(0, place, weights)
        sizes.append(1 / (shared**2).sum())
    whole = torch.stack(paths[::-1], 1)
    drawn = systematic(weights.log()[:, None], uniform[None], num_samples)[:, 0]
    log_weights = weights.log()[:, None].expand(-1, num_steps)
    return Posterior(*_moments(whole, log_weights), whole[drawn], torch.stack(sizes[::-1]))


def _moments(z: Tensor, log_w: Tensor) -> tuple[Tensor, Tensor]:
    """(T, Z) mean and standard deviation of (K, T, Z) samples with normalised (K, T)
    log-weights."""
    weights = log_w.exp()[..., None]
    mean = (weights * z.double()).sum(0)
    return mean, (weights * (z.double() - mean) ** 2).sum(0).sqrt()
