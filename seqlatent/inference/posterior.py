"""The posterior of latents given values, by weighted samples of the guide.

Samples z^k of a guide q with weights p(x, z^k) / q(z^k | x) represent the posterior (Burda et al.
2016; Gordon et al. 1993). How they are combined depends on the structure of the model:

    factorised    z_t is independent of the other latents given x: each step's samples have their
                  own weights. z_t does not depend on later values either, so that filtering and
                  smoothing are the same.
    filtering     p(z_t | x_{1:t}): the particles of a filter with their weights at step t.
    smoothing     p(z_{1:T} | x_{1:T}): whole trajectories. These are a filter's final particles
                  traced back through their ancestors or, for a guide that sees the future, samples
                  with one weight per trajectory.

Trajectories degenerate. Traced back, they share few particles at early steps, because these were
resampled many times since. With one weight each, fewer of them have an appreciable weight as the
sequence grows. `ess` is the effective number; where it is small, means and scales are inaccurate
and scales too small.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.inference.estimating import CHUNK, particle_noise
from seqlatent.inference.protocols import EstimatedDensity
from seqlatent.inference.smc import particle_filter, systematic
from seqlatent.nn.causal import State

PARTICLES = 512  # at least; four for every sample


class Posterior(NamedTuple):
    """The posterior of a sequence's latents.

    Attributes:
        mean, scale: (T, Z) of the weighted samples.
        samples: (S, T, Z) with equal weights, by resampling. Those of smoothing are whole
            trajectories unless the posterior factorises; others are joint within each step only.
        ess: (T,) effective sample size of each step.
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
    *,
    num_samples: int,
    smoothing: bool,
    seed: int,
) -> Posterior:
    """p(z_t | x_{1:t}) or, if `smoothing`, p(z_{1:T} | x_{1:T}) of one sequence.

    Args:
        model: with latents, in evaluation mode.
        batch: of one sequence.
        name: of the sequence; it seeds the noise.
        num_samples: S.
        smoothing: whether to condition on later values too.
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
    steps = max(1, 64 * CHUNK // size)  # whose particles are in memory at once
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
    """A particle filter: (K, T, Z) latents and (K, T) log-weights of each step before resampling,
    and for each step the ancestors (K,) of the particles after it, None if not resampled."""
    reading, num_steps = model.reading(batch), batch.x.shape[1]
    z, log_w, ancestors = [], [], []

    def propose(t: int, particles: State) -> tuple[Tensor, State]:
        now = batch.steps(t, t + 1)
        eps = particle_noise(noise, now, size, model.latent_dim)
        sample, particles = model.propose(reading.steps(t, t + 1), eps, particles)
        z.append(sample.z[:, 0, 0])
        return sample.log_weight[..., 0], particles

    def record(weights: Tensor, chosen: Tensor | None) -> None:
        log_w.append(weights[:, 0])
        ancestors.append(None if chosen is None else chosen[:, 0])

    particle_filter(propose, uniforms[None, :num_steps].to(reading.y), size, record)
    return torch.stack(z, 1), torch.stack(log_w, 1), ancestors


def _trajectories(
    z: Tensor, log_w: Tensor, ancestors: list[Tensor | None], num_samples: int, uniform: Tensor
) -> Posterior:
    """A filter's final particles traced back through their ancestors, and a sample of S of them."""
    size, num_steps, _ = z.shape
    weights = (log_w.double() - log_w.double().logsumexp(0)).exp()
    place = torch.arange(size, device=z.device)
    paths, sizes = [z[:, -1]], [1 / (weights**2).sum()]
    for t in range(num_steps - 2, -1, -1):
        parents = ancestors[t]
        place = place if parents is None else parents[place]
        paths.append(z[place, t])
        shared = torch.zeros_like(weights).index_add_(0, place, weights)
        sizes.append(1 / (shared**2).sum())
    whole = torch.stack(paths[::-1], 1)
    chosen = systematic(weights.log()[:, None], uniform[None], num_samples)[:, 0]
    log_weights = weights.log()[:, None].expand(-1, num_steps)
    return Posterior(*_moments(whole, log_weights), whole[chosen], torch.stack(sizes[::-1]))


def _moments(z: Tensor, log_w: Tensor) -> tuple[Tensor, Tensor]:
    """(T, Z) mean and standard deviation of (K, T, Z) samples with normalised (K, T)
    log-weights."""
    weights = log_w.exp()[..., None]
    mean = (weights * z.double()).sum(0)
    return mean, (weights * (z.double() - mean) ** 2).sum(0).sqrt()
