"""Scores: log p(x_{1:T}) of every sequence, with its kind.

The score of a sequence does not depend on the other sequences in the data, their order or the
padding. Exact models read it whole or in chunks; estimates take their noise from a generator of the
sequence's own, seeded by its name.
"""

import logging
import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.wild import tell_wild
from seqlatent.errors import InputError
from seqlatent.inference.likelihood import SequenceScore, kind_of, more_particles, score_sequences
from seqlatent.inference.marginals import conditioned, without_draws
from seqlatent.inference.protocols import Density, EstimatedDensity, ExactDensity, Reconstructs
from seqlatent.inference.rarity import rarities
from seqlatent.models.base import SequenceModel
from seqlatent.options import check_count, check_positive, check_seed
from seqlatent.tasks.prepare import check_data
from seqlatent.text import shortened

logger = logging.getLogger("seqlatent")

MAX_PARTICLES = 8_192  # with `target_error`
WORST = 3  # steps of `worst_share`


def score(
    model: SequenceModel,
    data: SequenceDataset,
    *,
    num_particles: int = 64,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
    estimator: str = "auto",
    target_error: float | None = None,
    tail_draws: int | None = None,
    marginal_draws: int | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Log-likelihood of every sequence in data units.

    Args:
        model: a fitted model with a likelihood.
        data: sequences with the training data's channels.
        num_particles: K of the estimate, for models whose density is estimated.
        seed: of the estimate's noise.
        progress: called with the number of sequences of every finished batch.
        estimator: `per-step`, `joint`, `smc`, or `auto`, chosen by the model's structure
            (inference/likelihood.py).
        target_error: raise the number of particles of each sequence until its standard error, in
            nats per scored step, is at most this; a warning says if that is not reached. It is not
            where no error can be told.
        tail_draws: if given, the steps have a `tail_probability`, from this many draws of each step
            where it is not exact, or NaN there with 0. Draws take as long as forecasts of so many
            paths over all steps, minutes for thousands of steps; scores alone take seconds.
        marginal_draws: at least 2. If given, a step of which some channels are missing has the
            marginal log p(seen channels | x_{<t}), from so many draws of the missing ones where it
            has no closed form. By default the number of such a step is conditional (`partial`).

    Returns:
        A frame with a row per sequence, `unique_id, log_prob, std_error, lower, upper, kind,
        num_particles, num_observed, nats_per_step, ess, gap, worst_share`, and a frame with a row
        per scored step, `unique_id, ds, log_prob, sees_later, partial`, with marginal_draws
        `sampled`, and of a model of blocks of steps `of_block`; nats throughout.

        `lower` and `upper` are a 95 % interval for log p(x). It is not around `log_prob`, which is
        too low on average. Where no error can be told (inference/errors.py), `std_error` is NaN,
        `upper` inf, and log p(x) is above `lower` with 95 %; a warning names such sequences. Of
        kind `ode`, it is the solver's error, by steps of twice the size, on both sides.

        `sees_later` says that the step's number depends on later values too, through a guide that
        sees them: the sum estimates log p(x), the step's own number not log p(x_t | x_{<t}).
        `of_block` says that the number is what the step adds to the log density of its block, given
        earlier values alone: the sum is a log density, a single number is one as far as what the
        model has learnt of shorter and of longer blocks agrees (`diffusion` with block=B).
        `partial` says that some channels were missing and the emission makes their being missing a
        condition: the number is then log p(seen channels | the others hidden), not the marginal.
        With `marginal_draws` there are none: `sampled` says that the number estimates the marginal.
        A sequence with such a step has the kind `sampled`, a standard error, an interval and an
        `ess`, those of the draws, whose number is its `num_particles`; the others stay `exact`. The
        steps after it see what was observed of it, as in every score: its draws are not their past.

        `worst_share`, 0 to 1, is how much of a sequence's surprise its three worst steps make (see
        the function): near 1, a few values decide its score.

        `tail_probability` is that of a value at least as surprising as the step's, given the steps
        before it: P(p(X_t | x_{<t}) <= p(x_t | x_{<t})), uniform in (0, 1) if the model is true and
        values are real (`seqlatent.inference.rarity`). Exact for a single channel with a normal or
        Student-t distribution that is not on a logarithmic scale; elsewhere of draws, at least
        1 / (tail_draws + 1). It is NaN for models with an estimated density or a bound, which have
        no exact density of single steps.

    Raises:
        InputError: when an argument is out of range, or the data or the estimator do not fit the
            model.
    """
    num_particles, seed = check_count("num_particles", num_particles), check_seed(seed)
    if tail_draws is not None:
        tail_draws = check_count("tail_draws", tail_draws, 0)
    if marginal_draws is not None:
        marginal_draws = check_count("marginal_draws", marginal_draws, 2)
        _check_draws(model)
    if target_error is not None:
        target_error = check_positive("target_error", target_error)
    computed = isinstance(model, Density)
    if isinstance(model, Reconstructs) and not isinstance(model, Density | EstimatedDensity):
        raise InputError(
            f"model '{model.family}' has no likelihood to score sequences by; measure the errors "
            "of its reconstruction instead (seqlatent reconstruct, model.reconstruct), or fit rnn, "
            "latent or flow to score"
        )
    if not computed and not isinstance(model, EstimatedDensity):
        raise InputError(
            f"model '{model.family}' has no likelihood to score sequences by; measure its "
            "forecasts by evaluate and its samples by compare, or fit rnn, latent or flow to score"
        )
    if computed and estimator != "auto":
        how = {"exact": "exactly", "ode": "by solving an equation", "bound": "as a bound"}
        raise InputError(
            f"model '{model.family}' computes its likelihood {how[model.kind]}: there is no "
            f"estimator to choose; leave estimator={estimator} out"
        )
    data = check_data(model, data)
    channels = model.description.channels
    tell_wild(data, [c.loc for c in channels], [c.scale for c in channels])
    found = score_sequences(
        model,
        data,
        num_particles,
        seed,
        progress=progress,
        estimator=estimator,
        num_draws=marginal_draws or 0,
    )
    results = {s.place: s for s in found}
    if target_error is not None and not computed:
        _raise_particles(model, data, results, target_error, seed, estimator)
    elif computed or num_particles > 1:
        _warn_of_untold(model, data, results)
    ordered = [results[i] for i in range(len(data))]
    scores, steps = _frames(model, data, ordered, estimator, marginal_draws)
    if tail_draws is not None:
        steps["tail_probability"] = _tails(model, data, ordered, tail_draws, seed)
    return scores, steps


def _check_draws(model: SequenceModel) -> None:
    """Refuse to draw missing channels by a model that has no marginal of the others."""
    part = without_draws(model)
    if part is None:
        return
    of = "" if part is model else f" of this {model.family}"
    raise InputError(
        f"model '{part.family}'{of} cannot draw missing channels for the marginal of the others; "
        "leave marginal_draws out, or fit with channels=independent, whose marginals need no draws"
    )


def _tails(
    model: SequenceModel,
    data: SequenceDataset,
    results: list[SequenceScore],
    num_draws: int,
    seed: int,
) -> np.ndarray:
    """The tail probability of every scored step, NaN for a model that has none."""
    scored = [~np.isnan(r.log_prob) for r in results]
    if not isinstance(model, ExactDensity):
        return np.full(sum(int(k.sum()) for k in scored), np.nan)
    found = rarities(model, data, num_draws, seed)
    return np.concatenate([r[k] for r, k in zip(found, scored, strict=True)])


def _raise_particles(
    model: SequenceModel,
    data: SequenceDataset,
    results: dict[int, SequenceScore],
    target: float,
    seed: int,
    estimator: str,
) -> None:
    """Score again, with more particles, the sequences whose error is above the target."""

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
            for s in score_sequences(model, data[places], number, seed, estimator=estimator):
                results[places[s.place]] = s._replace(place=places[s.place])
    missed = [s for s in results.values() if error(s) > target]
    if missed:
        worst = max(missed, key=error)
        size = error(worst)
        logger.warning(
            "%d of %d sequences did not reach the target error of %g nats per step with "
            "%d particles; the worst, series %s, has %s",
            len(missed),
            len(results),
            target,
            MAX_PARTICLES,
            data.sequences[worst.place].unique_id,
            "an error that cannot be told" if math.isinf(size) else f"{size:.3g}",
        )


def _warn_of_untold(
    model: SequenceModel, data: SequenceDataset, results: dict[int, SequenceScore]
) -> None:
    """Name the sequences of whose estimates no error can be told, and what would help."""
    untold = sorted(place for place, s in results.items() if math.isnan(s.std_error))
    if not untold:
        return
    names = shortened([data.sequences[place].unique_id for place in untold])
    if not isinstance(model, EstimatedDensity):
        particles, help_ = "draws", "use more marginal_draws"
    else:
        particles, help_ = "particles", "use more particles, fit longer"
        if not model.factorises and not model.smoothing:
            help_ += ", or let the guide see later values (smoothing=true)"
    logger.warning(
        "the error of %d of %d estimates cannot be told, because few %s have all the "
        "weight: their std_error is NaN, lower holds with 95 %%, and the truth may be far above it "
        "(series %s); %s",
        len(untold),
        len(results),
        particles,
        names,
        help_,
    )


def worst_share(log_prob: np.ndarray) -> float:
    """The share of a sequence's surprise that its three worst steps make.

    What counts is by how many nats a step is worse than the sequence's median step, so that units
    do not matter; NaN where no step is.
    """
    if len(log_prob) == 0:
        return math.nan
    ordered = np.sort(log_prob)
    median = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    excess = np.maximum(0.0, median - ordered)
    total = float(excess.sum())
    return float(excess[:WORST].sum()) / total if total > 0 else math.nan


def _frames(
    model: SequenceModel,
    data: SequenceDataset,
    results: list[SequenceScore],
    estimator: str,
    marginal_draws: int | None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    scored = [~np.isnan(r.log_prob) for r in results]
    totals = np.array([r.log_prob[k].sum() for r, k in zip(results, scored, strict=True)])
    counts = np.array([k.sum() for k in scored])
    names = [s.unique_id for s in data]

    # Of all series at once: a walk over the model's modules for each takes longer than scoring it.
    observed = np.concatenate([~np.isnan(s.x[k]) for s, k in zip(data, scored, strict=True)])
    partial = conditioned(model, torch.from_numpy(observed)).numpy()
    partial &= np.repeat([r.sampled is None for r in results], counts)

    def kind(r: SequenceScore) -> str:
        drawn = r.sampled is not None and r.sampled.any()
        return "sampled" if drawn else kind_of(model, r.num_particles, estimator)

    scores = pd.DataFrame(
        {
            "unique_id": names,
            "log_prob": totals,
            "std_error": [r.std_error for r in results],
            "lower": [r.lower for r in results],
            "upper": [r.upper for r in results],
            "kind": [kind(r) for r in results],
            "num_particles": [r.num_particles for r in results],
            "num_observed": [r.num_observed for r in results],
            "nats_per_step": totals / np.maximum(1, counts),
            "ess": [r.ess for r in results],
            "gap": [r.gap for r in results],
            "worst_share": [
                worst_share(r.log_prob[k]) for r, k in zip(results, scored, strict=True)
            ],
        }
    )
    steps = pd.DataFrame(
        {
            "unique_id": np.repeat(names, counts),
            "ds": np.concatenate([s.ds[k] for s, k in zip(data, scored, strict=True)]),
            "log_prob": np.concatenate(
                [r.log_prob[k] for r, k in zip(results, scored, strict=True)]
            ),
            "sees_later": isinstance(model, EstimatedDensity) and model.smoothing,
            "partial": partial,
        }
    )
    if isinstance(model, Density) and not model.by_step:
        steps["of_block"] = True
    if marginal_draws is not None:
        steps["sampled"] = np.concatenate(
            [
                np.zeros(k.sum(), dtype=bool) if r.sampled is None else r.sampled[k]
                for r, k in zip(results, scored, strict=True)
            ]
        )
    return scores, steps
