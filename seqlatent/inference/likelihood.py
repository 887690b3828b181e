"""Likelihoods of sequences, and the estimator for models with latents.

    per-step   where the posterior factorises over time: the tightest for its cost
    smc        where latents depend on earlier ones: particles are resampled on the way (in our
               measurements tighter than whole trajectories, also for guides that see the future)
    joint      whole trajectories, on request

Every sequence has its own stream of noise, seeded by its name. Its estimate does not depend on the
other sequences in the data, nor on how many steps are read at once.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch, collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.sequence import Sequence
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.errors import InputError
from seqlatent.inference.bounds import Estimate, average, joint_importance, per_step_importance
from seqlatent.inference.errors import MIN_ESS, jackknife, log_normal, max_tail, tails
from seqlatent.inference.protocols import Density, EstimatedDensity, StepModel
from seqlatent.inference.smc import Trace, particle_filter
from seqlatent.inference.widening import log_mixture, log_ratios, widen
from seqlatent.nn.causal import State

CHUNK = 1024  # steps whose particles are in memory at once
FILTERS = 6  # independent particle filters; their spread gives the standard error
ESTIMATORS = ("auto", "per-step", "joint", "smc")


def choose_estimator(model: StepModel, name: str = "auto") -> str:
    """The estimator of a model with latents; `auto` chooses it by the model's structure.

    Raises:
        InputError: for an unknown name, or one that is wrong for the model.
    """
    if name not in ESTIMATORS:
        raise InputError(f"estimator '{name}' is not one of {', '.join(ESTIMATORS)}")
    assert isinstance(model, EstimatedDensity)
    if name == "auto":
        return "per-step" if model.factorises else "smc"
    if name == "per-step" and not model.factorises:
        raise InputError(
            "estimator=per-step needs latents that are independent over time given the data, and "
            f"those of this {model.family} depend on each other; use smc or joint"
        )
    return name


def kind_of_estimate(estimator: str, num_particles: int) -> str:
    """`elbo` with one particle, else `smc` or `iwae`."""
    if num_particles == 1:
        return "elbo"
    return "smc" if estimator == "smc" else "iwae"


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
        num_filters: for `smc`, independent filters of K particles each.
    """
    noise, reading = SequenceNoise(names, seed), model.reading(batch)
    if estimator == "smc":
        return _filters(model, batch, reading, noise, num_particles, num_filters)
    branched, particles, parts = estimator == "per-step", None, []
    for start in range(0, batch.x.shape[1], CHUNK):
        chunk, part = batch.steps(start, start + CHUNK), reading.steps(start, start + CHUNK)
        eps = particle_noise(noise, chunk, num_particles, model.latent_dim)
        eps, wide = widen(eps, start)
        sample, particles = model.propose(part, eps, particles, branched)
        weights = torch.where(part.inside, sample.log_weight, 0.0)
        parts.append((weights, torch.where(part.inside, log_ratios(eps, start), 0.0), part.inside))
    weights, ratios, inside = (torch.cat(p, -1) for p in zip(*parts, strict=True))
    narrow = weights[~wide[:, 0, 0]]
    if branched:
        weights = torch.where(inside, weights - log_mixture(ratios, num_particles), 0.0)
        found, error = per_step_importance(weights), jackknife(weights, inside)
        return found._replace(elbo=narrow.mean(0).sum(-1), error=error)
    # The mixture is one of trajectories; a step's part of it is that given the steps before.
    mixed = log_mixture(ratios.cumsum(-1), num_particles)
    weights = weights - mixed.diff(dim=-1, prepend=torch.zeros_like(mixed[..., :1]))
    starts, ends = (cut(weights.cumsum(-1), at) for at in _span(batch))
    error = jackknife(ends[..., None], batch.scored.any(-1, keepdim=True), starts[..., None])
    return joint_importance(weights)._replace(elbo=narrow.mean(0).sum(-1), error=error)


def cut(running: Tensor, at: Tensor) -> Tensor:
    """(..., B, T) running sums -> (..., B) those after (B,) steps; 0 before the first."""
    padded = torch.nn.functional.pad(running, (1, 0))
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
    each = [_filter(model, batch, reading, noise, num_particles) for _ in range(num_filters)]
    estimates, traces = [e for e, _ in each], [trace for _, trace in each]
    running = torch.stack([e.log_prob.double().cumsum(-1) for e in estimates])
    starts, ends = (cut(running, at) for at in _span(batch))
    times = sum(trace.moves + 1 for trace in traces)
    number = num_particles * times
    inverse_ess = sum(trace.inverse_ess() for trace in traces) / times
    odds = torch.cat([trace.log_odds() for trace in traces])
    tail, _, even = tails(odds, number, num_particles)
    allowed = ((tail < max_tail(number)) & (inverse_ess < 1 / MIN_ESS)) | even
    error = log_normal(ends, starts, tail, allowed)
    return average(estimates)._replace(error=error)


def _filter(
    model: EstimatedDensity,
    batch: SequenceBatch,
    reading: Any,
    noise: SequenceNoise,
    num_particles: int,
) -> tuple[Estimate, Trace]:
    block = max(1, CHUNK // num_particles)  # steps of noise sampled at once
    like = torch.empty(0, device=batch.x.device)
    num_steps = batch.x.shape[1]
    uniforms = noise.uniform_steps(batch.lengths, num_steps, like)
    shifts = noise.uniform_steps(batch.lengths, num_steps, like)
    shifts = (shifts * num_particles).long().clamp(max=num_particles - 1)
    trace = Trace(num_particles, len(batch.x), batch.x.device)
    eps = wide = mixed = like
    bound = []

    def propose(t: int, particles: State) -> tuple[Tensor, State]:
        nonlocal eps, wide, mixed
        at = t % block
        if at == 0:
            eps = particle_noise(noise, batch.steps(t, t + block), num_particles, model.latent_dim)
            eps, wide = widen(eps, t, shifts[:, t : t + block])
            mixed = log_mixture(log_ratios(eps, t), num_particles)
        now = reading.steps(t, t + 1)
        sample, particles = model.propose(now, eps[:, :, at : at + 1], particles)
        weight = sample.log_weight[..., 0]
        share = trace.log_weights.masked_fill(wide[..., at], -torch.inf).softmax(0)
        inside = now.inside[:, 0]
        bound.append(torch.where(inside, (share * weight).sum(0), 0.0))
        return torch.where(inside, weight - mixed[..., at], 0.0), particles

    found, _ = particle_filter(propose, uniforms, num_particles, trace)
    return found._replace(elbo=torch.stack(bound, -1).sum(-1)), trace


def particle_noise(
    noise: SequenceNoise, batch: SequenceBatch, num_particles: int, dim: int
) -> Tensor:
    """(K, B, T, Z) standard normal noise for the particles of a batch's steps, 0 at padding.

    A sequence's noise does not depend on how many steps are requested at once.
    """
    like = torch.empty(0, device=batch.x.device)
    eps = noise.normal_steps(batch.lengths, batch.x.shape[1], (num_particles, dim), like)
    return eps.permute(2, 0, 1, 3)


def spread_over_scored(log_prob: Tensor, scored: Tensor, context: Tensor) -> Tensor:
    """(B, T) terms of every step -> (B, T) terms of the *scored* steps, 0 elsewhere.

    A step without a value has a term too, because its latents have weights: it is added to the term
    of the next scored step, and dropped after the last one. Terms of the context are dropped.
    """
    running = log_prob.cumsum(-1)
    step = torch.arange(log_prob.shape[1], device=log_prob.device)
    start = torch.where(step < context[:, None], log_prob, 0.0).sum(-1)
    done, parts = start, []
    for t in range(log_prob.shape[1]):
        parts.append(torch.where(scored[:, t], running[:, t] - done, 0.0))
        done = torch.where(scored[:, t], running[:, t], done)
    return torch.stack(parts, -1)


def more_particles(num_particles: int, error: float, target: float) -> int:
    """The number of particles to try next; the error falls as the root of their number grows.
    Where no error can be told (inf), eight times as many."""
    if math.isinf(error):
        return 8 * num_particles
    factor = 2 ** math.ceil(2 * math.log2(max(error / target, 1.01)))
    return num_particles * int(min(max(factor, 2), 64))


MAX_PADDED_STEPS = 16_384  # particles x sequences x steps x channels in memory at once


class SequenceScore(NamedTuple):
    """One sequence's score.

    Attributes:
        place: index of the sequence in its data set.
        log_prob: (T,) log p(x_t | x_{<t}) in nats, NaN where not scored.
        num_observed: number of scored values.
        num_particles: of the estimate; 0 if computed without particles.
        std_error: Monte-Carlo standard error of the sum; 0 if computed, NaN if none can be told.
        lower, upper: the 95 % interval for log p(x) (errors.py); the sum itself if it is exact.
        ess: effective sample size of the particles; NaN if computed.
        gap: the estimate less the bound with one particle, in nats; 0 if computed.
    """

    place: int
    log_prob: np.ndarray
    num_observed: int
    num_particles: int = 0
    std_error: float = 0.0
    lower: float = math.nan
    upper: float = math.nan
    ess: float = math.nan
    gap: float = 0.0


def kind_of(model: StepModel, num_particles: int, estimator: str = "auto") -> str:
    """`exact`, `bound`, or the estimate's name."""
    if isinstance(model, Density):
        return model.kind
    return kind_of_estimate(choose_estimator(model, estimator), num_particles)


def score_sequences(
    model: StepModel,
    data: SequenceDataset,
    num_particles: int = 64,
    seed: int = 0,
    *,
    progress: Callable[[int], None] | None = None,
    estimator: str = "auto",
    num_filters: int = FILTERS,
) -> Iterator[SequenceScore]:
    """Score every sequence, in batches of similar length and not in the data's order.

    Args:
        model: with a density; its dropout is off meanwhile.
        data: the sequences.
        num_particles: K of an estimate.
        seed: of the estimate's noise.
        progress: called with the number of sequences of every finished batch.
        estimator: one of `ESTIMATORS`.
        num_filters: for `smc`, independent filters of K particles each.

    Raises:
        InputError: for an estimator that does not suit the model.
    """
    training = model.training
    model.eval()
    computed = isinstance(model, Density)
    chosen = "" if computed else choose_estimator(model, estimator)
    try:
        with torch.no_grad():
            for part in _batches(data, 1 if computed else num_particles, chosen):
                sequences = [data.sequences[i] for i in part]
                if computed:
                    scores = _computed(model, sequences)
                else:
                    assert isinstance(model, EstimatedDensity)
                    scores = _estimated(
                        model,
                        sequences,
                        num_particles=num_particles,
                        estimator=chosen,
                        seed=seed,
                        num_filters=num_filters,
                    )
                for place, result in zip(part, scores, strict=True):
                    yield result._replace(place=place)
                if progress:
                    progress(len(part))
    finally:
        model.train(training)


def _batches(data: SequenceDataset, num_particles: int, estimator: str) -> Iterator[list[int]]:
    """Indices of sequences of similar length that fit in memory together."""
    width = num_particles * data.num_channels
    part: list[int] = []
    for i in np.argsort(data.lengths, kind="stable"):
        steps = min(len(data.sequences[i]), CHUNK)
        if estimator == "smc":  # has the particles of few steps in memory at once
            steps = min(steps, 1 + CHUNK // num_particles)
        if part and (len(part) + 1) * steps * width > MAX_PADDED_STEPS:
            yield part
            part = []
        part.append(int(i))
    if part:
        yield part


def _computed(model: Density, part: list[Sequence]) -> Iterator[SequenceScore]:
    batch = collate(part).to(model.device)
    state, steps = model.begin(batch), []
    for start in range(0, batch.x.shape[1], CHUNK):
        value, state = model.log_prob(batch.steps(start, start + CHUNK), state)
        steps.append(value)
    log_prob = torch.where(batch.scored, torch.cat(steps, 1), torch.nan).double().cpu().numpy()
    observed = (batch.observed & batch.scored[..., None]).sum((1, 2))
    for i, s in enumerate(part):
        total = float(np.nansum(log_prob[i]))
        upper = total if model.kind == "exact" else math.inf
        yield SequenceScore(i, log_prob[i, : len(s)], int(observed[i]), lower=total, upper=upper)


def _estimated(
    model: EstimatedDensity,
    part: list[Sequence],
    *,
    num_particles: int,
    estimator: str,
    seed: int,
    num_filters: int,
) -> Iterator[SequenceScore]:
    batch = collate(part).to(model.device)
    names = [s.unique_id for s in part]
    e = estimate(
        model,
        batch,
        names,
        num_particles=num_particles,
        estimator=estimator,
        seed=seed,
        num_filters=num_filters,
    )
    log_prob = spread_over_scored(e.log_prob.double(), batch.scored, batch.context)
    steps = torch.where(batch.scored, log_prob, torch.nan).cpu().numpy()
    assert e.error is not None
    total = log_prob.sum(-1)
    error = e.error.std_error
    lower, upper = e.error.interval(total, (batch.context == 0) | model.factorises)
    gap = e.log_prob.double().sum(-1) - e.elbo
    observed = (batch.observed & batch.scored[..., None]).sum((1, 2))
    for i, s in enumerate(part):
        yield SequenceScore(
            i,
            steps[i, : len(s)],
            int(observed[i]),
            num_particles,
            float(error[i]),
            float(lower[i]),
            float(upper[i]),
            float(e.ess[i]),
            float(gap[i]),
        )


def mean_log_prob(
    model: StepModel, data: SequenceDataset, num_particles: int, seed: int = 0
) -> float:
    """The average over all scored steps, in nats per step; `smc` uses a single filter."""
    total, count = 0.0, 0
    for s in score_sequences(model, data, num_particles, seed, num_filters=1):
        scored = ~np.isnan(s.log_prob)
        total, count = total + float(s.log_prob[scored].sum()), count + int(scored.sum())
    return total / max(1, count)
