"""Scores: log p(x_{1:T}) of every sequence, with its kind.

A sequence scores the same alone, in company, padded and in any order: exact models read it whole
or in chunks, and estimates draw their noise from a generator of the sequence's own, seeded by its
name.
"""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.sequences import Sequence
from seqlatent.data.splits import with_context
from seqlatent.distributions.emission import check_support
from seqlatent.errors import InputError
from seqlatent.estimating import (
    CHUNK,
    FILTERS,
    choose_estimator,
    estimate,
    kind_of_estimate,
    more_particles,
    spread_over_scored,
)
from seqlatent.models.base import ExactDensity, LatentCode, SequenceModel

logger = logging.getLogger("seqlatent")

MAX_PADDED_STEPS = 16_384  # particles x sequences x steps x channels held at once
MAX_PARTICLES = 8_192  # of a sequence whose error is still above the target


class SequenceScore(NamedTuple):
    """One sequence's score.

    Attributes:
        place: the sequence's place in its data set.
        log_prob: (T,) log p(x_t | x_{<t}) in nats, NaN where not scored.
        num_observed: values that were scored.
        num_particles: of the estimate; 0 when exact.
        std_error: Monte-Carlo standard error of the sum; 0 when exact.
        ess: effective sample size of the particles; NaN when exact.
        gap: how far the particles raise the bound over that of one of them, nats; 0 when exact.
    """

    place: int
    log_prob: np.ndarray
    num_observed: int
    num_particles: int = 0
    std_error: float = 0.0
    ess: float = math.nan
    gap: float = 0.0


def kind_of(model: SequenceModel, num_particles: int, estimator: str = "auto") -> str:
    """`exact`, or the estimate's name."""
    if isinstance(model, ExactDensity):
        return "exact"
    return kind_of_estimate(choose_estimator(model, estimator), num_particles)


def check_data(
    model: SequenceModel, data: SequenceDataset, reads_gaps: bool = True
) -> SequenceDataset:
    """The data as the model wants it: its channels in order, its context.

    Args:
        model: fitted.
        data: to be checked.
        reads_gaps: whether the model will be shown gaps, which it may not have learnt to read.

    Raises:
        InputError: when channels, covariates or labels are not those of training, or the model
            cannot read the values.
    """
    description = model.description
    if tuple(data.targets) != description.targets:
        raise InputError(
            f"{data.name}: the model was fitted to {', '.join(description.targets)}, "
            f"the data has {', '.join(data.targets)}"
        )
    if tuple(data.covariate_names) != description.covariate_names:
        wanted = ", ".join(description.covariate_names) or "no covariates"
        raise InputError(
            f"{data.name}: the model was fitted with {wanted}, the data has "
            f"{', '.join(data.covariate_names) or 'none'}"
        )
    if reads_gaps and not description.had_gaps and any(np.isnan(s.x).any() for s in data):
        logger.warning(
            "warning: %s has missing values and the training data had none: the model has not "
            "learnt to go on without; fit it with hide=0.05 (--set hide=0.05) to practise",
            data.name,
        )
    data = _recode(data, description)
    try:
        check_support(model.options.emission, DataDescription.of(data))
    except InputError as error:
        raise InputError(f"{data.name}: {error}") from None
    model.check(data)
    return with_context(data, model.options.context_length)


def _recode(data: SequenceDataset, description: DataDescription) -> SequenceDataset:
    """Labels by the codes that they had in training."""
    sequences = list(data.sequences)
    for d, target in enumerate(data.targets):
        ours, theirs = description.categories.get(target), data.categories.get(target)
        if ours is None or theirs is None or tuple(ours) == tuple(theirs):
            continue
        new = [label for label in theirs if label not in ours]
        if new:
            raise InputError(
                f"{data.name}: column '{target}' holds the label '{new[0]}', which the model did "
                f"not see in training; it knows {', '.join(ours)}"
            )
        codes = np.array([*(ours.index(label) for label in theirs), np.nan])
        for i, s in enumerate(sequences):
            x = s.x.copy()
            x[:, d] = codes[np.where(np.isnan(x[:, d]), len(theirs), x[:, d]).astype(int)]
            sequences[i] = replace(s, x=x)
    return replace(data, sequences=tuple(sequences), categories=description.categories)


def score_sequences(
    model: SequenceModel,
    data: SequenceDataset,
    num_particles: int = 64,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
    estimator: str = "auto",
    num_filters: int = FILTERS,
) -> Iterator[SequenceScore]:
    """Score every sequence; see `score` for the arguments. `progress` is told of each batch."""
    training = model.training
    model.eval()
    exact = isinstance(model, ExactDensity)
    chosen = "" if exact else choose_estimator(model, estimator)
    try:
        with torch.no_grad():
            for part in _batches(data, 1 if exact else num_particles, chosen):
                sequences = [data.sequences[i] for i in part]
                if exact:
                    scores = _exact(model, sequences)
                else:
                    assert isinstance(model, LatentCode)
                    scores = _estimated(model, sequences, num_particles, chosen, seed, num_filters)
                for place, score_of in zip(part, scores, strict=True):
                    yield score_of._replace(place=place)
                if progress:
                    progress(len(part))
    finally:
        model.train(training)


def _batches(data: SequenceDataset, num_particles: int, estimator: str) -> Iterator[list[int]]:
    """Places of sequences of like length that fit in memory together; scores do not depend on it,
    and the caller's order is kept by `score`."""
    width = num_particles * data.num_channels
    part: list[int] = []
    for i in np.argsort(data.lengths, kind="stable"):
        steps = min(len(data.sequences[i]), CHUNK)
        if estimator == "smc":  # holds the particles of few steps at once
            steps = min(steps, 1 + CHUNK // num_particles)
        if part and (len(part) + 1) * steps * width > MAX_PADDED_STEPS:
            yield part
            part = []
        part.append(int(i))
    if part:
        yield part


def _exact(model: ExactDensity, part: list[Sequence]) -> Iterator[SequenceScore]:
    assert isinstance(model, SequenceModel)
    batch = collate(part).to(next(model.parameters()).device)
    history, steps = model.begin(batch), []
    for start in range(0, batch.x.shape[1], CHUNK):
        value, history = model.log_prob(batch.steps(start, start + CHUNK), history)
        steps.append(value)
    log_prob = torch.where(batch.scored, torch.cat(steps, 1), torch.nan).double().cpu().numpy()
    observed = (batch.observed & batch.scored[..., None]).sum((1, 2))
    for i, s in enumerate(part):
        yield SequenceScore(i, log_prob[i, : len(s)], int(observed[i]))


def _estimated(
    model: LatentCode,
    part: list[Sequence],
    num_particles: int,
    estimator: str,
    seed: int,
    num_filters: int,
) -> Iterator[SequenceScore]:
    assert isinstance(model, SequenceModel)
    batch = collate(part).to(next(model.parameters()).device)
    names = [s.unique_id for s in part]
    e = estimate(model, batch, names, num_particles, estimator, seed, num_filters)
    log_prob = spread_over_scored(e.log_prob.double(), batch.scored, batch.context)
    steps = torch.where(batch.scored, log_prob, torch.nan).cpu().numpy()
    error = e.variance.double().sqrt()
    gap = e.log_prob.double().sum(-1) - e.elbo
    observed = (batch.observed & batch.scored[..., None]).sum((1, 2))
    for i, s in enumerate(part):
        yield SequenceScore(
            i,
            steps[i, : len(s)],
            int(observed[i]),
            num_particles,
            float(error[i]),
            float(e.ess[i]),
            float(gap[i]),
        )


def score(
    model: SequenceModel,
    data: SequenceDataset,
    num_particles: int = 64,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
    estimator: str = "auto",
    target_error: float | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Log-likelihood of every sequence in data units.

    Args:
        model: a fitted model with a likelihood.
        data: sequences with the training data's channels.
        num_particles: K of the estimate, for models whose density is not exact.
        seed: of the estimate's noise.
        progress: called with the number of sequences of every finished batch.
        estimator: `per-step`, `joint`, `smc`, or `auto` by the model's structure (estimating.py).
        target_error: raise the particles of a sequence until its standard error, in nats per scored
            step, is at most this; a warning says where that was not reached.

    Returns:
        A frame with a row per sequence, `unique_id, log_prob, std_error, kind, num_particles,
        num_observed, nats_per_step, ess, gap`, and a frame with a row per scored step, `unique_id,
        ds, log_prob`; nats throughout.

    Raises:
        InputError: when the data or the estimator do not fit the model.
    """
    if num_particles < 1:
        raise InputError(f"num_particles={num_particles} must be at least 1")
    if target_error is not None and not target_error > 0:
        raise InputError(f"target_error={target_error:g} must be above 0")
    exact = isinstance(model, ExactDensity)
    if exact and estimator != "auto":
        raise InputError(
            f"model '{model.family}' computes its likelihood exactly: there is no estimator to "
            f"choose; leave estimator={estimator} out"
        )
    data = check_data(model, data)
    results = {
        s.place: s for s in score_sequences(model, data, num_particles, seed, progress, estimator)
    }
    if target_error is not None and not exact:
        _raise_particles(model, data, results, target_error, seed, estimator)
    return _frames(model, data, [results[i] for i in range(len(data))], estimator)


def _raise_particles(
    model: SequenceModel,
    data: SequenceDataset,
    results: dict[int, SequenceScore],
    target: float,
    seed: int,
    estimator: str,
) -> None:
    """Score anew, with more particles, the sequences whose error is above the target."""

    def error(s: SequenceScore) -> float:
        value = s.std_error / max(1, int((~np.isnan(s.log_prob)).sum()))
        return math.inf if math.isnan(value) else value

    while True:
        wanted: dict[int, list[int]] = {}
        for place, s in results.items():
            if error(s) > target and s.num_particles < MAX_PARTICLES:
                number = more_particles(s.num_particles, error(s), target)
                wanted.setdefault(min(number, MAX_PARTICLES), []).append(place)
        if not wanted:
            break
        for number, places in wanted.items():
            for s in score_sequences(model, data[places], number, seed, None, estimator):
                results[places[s.place]] = s._replace(place=places[s.place])
    missed = [s for s in results.values() if error(s) > target]
    if missed:
        worst = max(missed, key=error)
        logger.warning(
            "warning: %d of %d sequences did not reach the target error of %g nats per step with "
            "%d particles; the worst, series %s, has %.3g",
            len(missed),
            len(results),
            target,
            MAX_PARTICLES,
            data.sequences[worst.place].unique_id,
            error(worst),
        )


def _frames(
    model: SequenceModel, data: SequenceDataset, results: list[SequenceScore], estimator: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    scored = [~np.isnan(r.log_prob) for r in results]
    totals = np.array([r.log_prob[k].sum() for r, k in zip(results, scored, strict=True)])
    counts = np.array([k.sum() for k in scored])
    names = [s.unique_id for s in data]
    scores = pd.DataFrame(
        {
            "unique_id": names,
            "log_prob": totals,
            "std_error": [r.std_error for r in results],
            "kind": [kind_of(model, r.num_particles, estimator) for r in results],
            "num_particles": [r.num_particles for r in results],
            "num_observed": [r.num_observed for r in results],
            "nats_per_step": totals / np.maximum(1, counts),
            "ess": [r.ess for r in results],
            "gap": [r.gap for r in results],
        }
    )
    steps = pd.DataFrame(
        {
            "unique_id": np.repeat(names, counts),
            "ds": np.concatenate([s.ds[k] for s, k in zip(data, scored, strict=True)]),
            "log_prob": np.concatenate(
                [r.log_prob[k] for r, k in zip(results, scored, strict=True)]
            ),
        }
    )
    return scores, steps


def mean_log_prob(
    model: SequenceModel, data: SequenceDataset, num_particles: int, seed: int = 0
) -> float:
    """Flat average over all scored steps, nats per step; one filter, where there are filters."""
    total, count = 0.0, 0
    for s in score_sequences(model, data, num_particles, seed, num_filters=1):
        scored = ~np.isnan(s.log_prob)
        total, count = total + float(s.log_prob[scored].sum()), count + int(scored.sum())
    return total / max(1, count)
