"""Likelihoods of sequences, and the estimator for models with latents.

    per-step   where the posterior factorises over time: the tightest for its cost
    smc        where latents depend on earlier ones: particles are resampled on the way (in our
               measurements tighter than whole trajectories, also for guides that see the future)
    joint      whole trajectories, on request

Each comes with a standard error and a 95 % interval for log p(x), or with the word that no error
can be told (errors.py).

Where a head models channels one after another, the marginal of a step of which some are missing is
estimated on request (marginals.py).

Every sequence has its own stream of noise, seeded by its name. Its estimate does not depend on the
other sequences in the data, nor on how many steps are read at once.
"""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.sequence import Sequence
from seqlatent.errors import InputError
from seqlatent.inference.bounds import per_step_importance
from seqlatent.inference.errors import jackknife
from seqlatent.inference.estimating import CHUNK, FILTERS, estimate
from seqlatent.inference.marginals import drawn_steps
from seqlatent.inference.protocols import (
    Density,
    DrawnMarginals,
    EstimatedDensity,
    StepModel,
)

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
MAX_MOVED = 6_144  # particles of filters that move together: many more outgrow the caches
MAX_VALUES = 49_152  # these particles x channels: fewer particles of more than eight channels


class SequenceScore(NamedTuple):
    """One sequence's score.

    Attributes:
        place: index of the sequence in its data set.
        log_prob: (T,) log p(x_t | x_{<t}) in nats, NaN where not scored.
        num_observed: number of scored values.
        num_particles: of the estimate; the draws if some steps were sampled; 0 if computed.
        std_error: Monte-Carlo standard error of the sum; 0 if computed, NaN if none can be told.
        lower, upper: the 95 % interval for log p(x) (errors.py); the sum itself if it is exact; of
            `ode`, the sum less and plus the estimated errors of all steps.
        ess: effective sample size of the particles or draws; NaN if computed.
        gap: the estimate less the bound with one particle or draw, in nats; 0 if computed.
        sampled: (T,) bool, steps whose missing channels were drawn; None if none were to be.
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
    sampled: np.ndarray | None = None


def kind_of(model: StepModel, num_particles: int, estimator: str = "auto") -> str:
    """`exact`, `ode`, `bound`, or the estimate's name."""
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
    num_draws: int = 0,
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
        num_draws: at least 2, to estimate the marginal of steps of which channels are missing, by a
            model with `DrawnMarginals`; 0 to score these given that they are hidden.

    Raises:
        InputError: for an estimator that does not suit the model.
    """
    training = model.training
    model.eval()
    computed = isinstance(model, Density)
    chosen = "" if computed else choose_estimator(model, estimator)
    try:
        with torch.no_grad():
            if chosen == "smc":
                parts = _batches(data, 1, num_filters * num_particles)
            else:
                parts = _batches(data, max(1, num_draws) if computed else num_particles)
            for part in parts:
                sequences = [data.sequences[i] for i in part]
                if computed:
                    scores = _computed(model, sequences, num_draws, seed)
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


def _batches(data: SequenceDataset, num_at_once: int, num_moved: int = 1) -> Iterator[list[int]]:
    """Indices of sequences of similar length that fit in memory together.

    Args:
        data: the sequences.
        num_at_once: particles or draws of a sequence that are in memory at all of its steps.
        num_moved: particles of its filters, which are in memory one step after another. A step
            costs about the same for a few particles as for hundreds.
    """
    width = num_at_once * data.num_channels
    most_moved = min(MAX_MOVED, MAX_VALUES // data.num_channels)
    part: list[int] = []
    for i in np.argsort(data.lengths, kind="stable"):
        size, steps = len(part) + 1, min(len(data.sequences[i]), CHUNK)
        if part and (size * steps * width > MAX_PADDED_STEPS or size * num_moved > most_moved):
            yield part
            part = []
        part.append(int(i))
    if part:
        yield part


def _computed(
    model: Density, part: list[Sequence], num_draws: int, seed: int
) -> Iterator[SequenceScore]:
    batch = collate(part).to(model.device)
    names = [s.unique_id for s in part]
    state, steps, drawn = model.begin(batch), [], []
    off = torch.zeros(len(part), device=model.device)  # the solver's error of each sequence
    for start in range(0, batch.x.shape[1], CHUNK):
        chunk = batch.steps(start, start + CHUNK)
        if num_draws and isinstance(model, DrawnMarginals):
            drawn.append(
                drawn_steps(model, chunk, state, names, start=start, num_draws=num_draws, seed=seed)
            )
        value, error, state = model.log_prob_and_error(chunk, state)
        off = off + error.sum(1)
        steps.append(value)
    log_prob = torch.where(batch.scored, torch.cat(steps, 1), torch.nan).double()
    observed = (batch.observed & batch.scored[..., None]).sum((1, 2))
    if drawn:
        weights, sampled = (torch.cat(p, -1) for p in zip(*drawn, strict=True))
        yield from _with_draws(part, log_prob, observed, weights, sampled)
        return
    rows = log_prob.cpu().numpy()
    for i, (s, error, count) in enumerate(zip(part, off.tolist(), observed.tolist(), strict=True)):
        values = rows[i, : len(s)]
        total = float(np.nansum(values))
        upper = math.inf if model.kind == "bound" else total + error
        yield SequenceScore(i, values, count, lower=total - error, upper=upper)


def _with_draws(
    part: list[Sequence], log_prob: Tensor, observed: Tensor, weights: Tensor, sampled: Tensor
) -> Iterator[SequenceScore]:
    """Exact scores (B, T) in which the steps `sampled` have the mean of their (N, B, T) weights."""
    found, error = per_step_importance(weights), jackknife(weights, sampled)
    log_prob = torch.where(sampled, found.log_prob, log_prob)
    total, gap = log_prob.nansum(-1), found.log_prob.sum(-1) - found.elbo
    lower, upper = error.interval(total, torch.ones_like(total, dtype=torch.bool))
    for i, s in enumerate(part):
        some = bool(sampled[i].any())
        yield SequenceScore(
            i,
            log_prob[i, : len(s)].cpu().numpy(),
            int(observed[i]),
            len(weights) if some else 0,
            float(error.std_error[i]),
            float(lower[i]),
            float(upper[i]),
            float(found.ess[i]) if some else math.nan,
            float(gap[i]),
            sampled[i, : len(s)].cpu().numpy(),
        )


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
    columns = (c.tolist() for c in (observed, error, lower, upper, e.ess, gap))
    for i, (s, count, *numbers) in enumerate(zip(part, *columns, strict=True)):
        yield SequenceScore(i, steps[i, : len(s)], count, num_particles, *numbers)


def mean_log_prob(
    model: StepModel, data: SequenceDataset, num_particles: int, seed: int = 0
) -> float:
    """The average over all scored steps, in nats per step; `smc` uses a single filter."""
    total, count = summed_log_prob(model, data, num_particles, seed)
    return total / max(1, count)


def summed_log_prob(
    model: StepModel, data: SequenceDataset, num_particles: int, seed: int = 0
) -> tuple[float, int]:
    """The sum over all scored steps in nats, and their number; `smc` uses a single filter."""
    total, count = 0.0, 0
    for s in score_sequences(model, data, num_particles, seed, num_filters=1):
        scored = ~np.isnan(s.log_prob)
        total, count = total + float(s.log_prob[scored].sum()), count + int(scored.sum())
    return total, count
