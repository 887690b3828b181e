"""Estimates of log p(x) with a model's guide, per step, joint or by filters, and their errors."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from seqlatent.data.batch import SequenceBatch
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.inference.bounds import Estimate, average, joint_importance, per_step_importance
from seqlatent.inference.errors import MIN_ESS, jackknife, log_normal, max_tail, tails
from seqlatent.inference.filters import run_filters
from seqlatent.inference.protocols import EstimatedDensity
from seqlatent.inference.widening import is_wide, log_mixture, log_ratios, widen

CHUNK = 1024  # steps whose particles are in memory at once
FILTERS = 6  # independent particle filters; their spread gives the standard error


@torch.no_grad()
def estimate(
    model: EstimatedDensity,
    batch: SequenceBatch,
    names: list[str],
    *,
    num_particles: int,
    estimator: str,
    seed: int,
    num_filters: int = FILTERS,
) -> Estimate:
    """Estimate log p(x_{1:T}) of every sequence of a batch, and the error of its score.

    Args:
        model: with latents, in evaluation mode.
        batch: B sequences.
        names: of the sequences; each seeds its sequence's noise.
        num_particles: K.
        estimator: `per-step`, `joint` or `smc`.
        seed: of the noise.
        num_filters: for `smc`, independent filters of K particles each; one particle is never
            resampled, and is a `joint` estimate.
    """
    noise, reading = SequenceNoise(names, seed), model.reading(batch)
    if estimator == "smc" and num_particles > 1:
        return _filters(model, batch, reading, noise, num_particles, num_filters)
    branched, particles, parts = estimator == "per-step", None, []
    narrow = ~is_wide(num_particles, batch.x.device)
    for start in range(0, batch.x.shape[1], CHUNK):
        chunk, part = batch.steps(start, start + CHUNK), reading.steps(start, start + CHUNK)
        eps = particle_noise(noise, chunk, num_particles, model.latent_dim)
        eps, _ = widen(eps, start)
        sample, particles = model.propose(part, eps, particles, branched)
        weights = torch.where(part.inside, sample.log_weight, 0.0)
        parts.append((weights, torch.where(part.inside, log_ratios(eps, start), 0.0), part.inside))
    weights, ratios, inside = (torch.cat(p, -1) for p in zip(*parts, strict=True))
    elbo = weights[narrow].mean(0).sum(-1)
    if branched:
        weights = torch.where(inside, weights - log_mixture(ratios, num_particles), 0.0)
        found, error = per_step_importance(weights), jackknife(weights, inside)
        return found._replace(elbo=elbo, error=error)
    # The mixture is one of trajectories; a step's part of it is that given the steps before.
    mixed = log_mixture(ratios.cumsum(-1), num_particles)
    weights = weights - mixed.diff(dim=-1, prepend=torch.zeros_like(mixed[..., :1]))
    starts, ends = (_cut(weights.cumsum(-1), at) for at in _span(batch))
    error = jackknife(ends[..., None], batch.scored.any(-1, keepdim=True), starts[..., None])
    return joint_importance(weights)._replace(elbo=elbo, error=error)


def _cut(running: Tensor, at: Tensor) -> Tensor:
    """(..., B, T) running sums -> (..., B) those after (B,) steps; 0 before the first."""
    padded = F.pad(running, (1, 0))
    return padded.gather(-1, at.expand(padded.shape[:-1])[..., None])[..., 0]


def _span(batch: SequenceBatch) -> tuple[Tensor, Tensor]:
    """(B,) numbers of steps before a score begins, and up to the last scored one."""
    step = torch.arange(1, batch.x.shape[1] + 1, device=batch.x.device)
    last = (step * batch.scored).amax(-1)
    return torch.minimum(batch.context, last), last


def _filters(
    model: EstimatedDensity,
    batch: SequenceBatch,
    reading: Any,
    noise: SequenceNoise,
    num_particles: int,
    num_filters: int,
) -> Estimate:
    estimates, trace = run_filters(model, batch, reading, noise, num_particles, num_filters)
    running = torch.stack([e.log_prob.double().cumsum(-1) for e in estimates])
    starts, ends = (_cut(running, at) for at in _span(batch))
    times = (trace.moves + 1).unflatten(0, (-1, num_filters)).sum(1)
    number = num_particles * times
    inverse_ess = trace.inverse_ess().unflatten(0, (-1, num_filters)).sum(1) / times
    odds = trace.log_odds().unflatten(1, (-1, num_filters)).transpose(1, 2).flatten(0, 1)
    tail, _, even = tails(odds, number, num_particles)
    allowed = ((tail < max_tail(number)) & (inverse_ess < 1 / MIN_ESS)) | even
    error = log_normal(ends, starts, tail, allowed)
    return average(estimates)._replace(error=error)


def particle_noise(
    noise: SequenceNoise, batch: SequenceBatch, num_particles: int, dim: int
) -> Tensor:
    """(K, B, T, Z) standard normal noise for the particles of a batch's steps, 0 at padding.

    A sequence's noise does not depend on how many steps are requested at once.
    """
    like = torch.empty(0, device=batch.x.device)
    eps = noise.normal_steps(batch.lengths, batch.x.shape[1], (num_particles, dim), like)
    return eps.permute(2, 0, 1, 3)
