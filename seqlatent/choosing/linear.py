"""Linear models of scaled values, which compare chains of scaling in about a second.

    y_t = b' f_t + s e_t,    e_t of Student's t distribution with 4 degrees of freedom

with the features f_t that networks see: covariates, the past on the same scale, the last values.
The first steps, before which there are fewer of these, have scales s of their own.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from seqlatent.data.batch import collate
from seqlatent.data.sequence import Sequence as Series
from seqlatent.models.base import SequenceModel
from seqlatent.nn.prepared import prepare
from seqlatent.nn.scaling import Scaler

STEPS = 20_000  # of training data, and as many of held-out data
VALUES, FEWEST = 160_000, 1_000  # fewer steps of many channels, but not less than that
LAGS = 4  # earlier values that the models see, besides those of the seasons
ROUNDS = 8  # of reweighting
PRIOR = 4  # residuals that the common scale counts as, beside those of one of the first steps
DEGREES = 4  # of freedom
HIGHEST = -math.log(8 / 3)  # the log density of that distribution at 0


def some(sequences: Sequence[Series]) -> list[Series]:
    """About `STEPS` steps: series spread evenly over the data, and the last steps of long ones."""
    steps = int(np.clip(VALUES // max(1, sequences[0].x.shape[1]), FEWEST, STEPS))
    most = max(1, steps // max(1, int(np.median([len(s) for s in sequences]))))
    places = np.unique(np.linspace(0, len(sequences) - 1, min(most, len(sequences))).astype(int))
    length = max(256, steps // len(places))
    chosen = []
    for i in places:
        s = sequences[i]
        if len(s) > length:
            s = s.slice(len(s) - length, len(s), max(0, s.context - len(s) + length))
        past = None if s.past is None else s.past[-length:]
        chosen.append(replace(s, past=past, scaled=None))
    return chosen


@torch.no_grad()
def linear_scores(
    module: SequenceModel, chain: str, train: Sequence[Series], held_out: Sequence[Series]
) -> list[np.ndarray]:
    """A linear model's log-likelihood, nats in data units, of every step of held-out series.

    Args:
        module: a model of the data, with any scaling.
        chain: of the linear model.
        train, held_out: series.
    """
    own = module.scaler
    seasons = module.description.seasons
    scaler = Scaler(module.description, chain, own.unscaled, seasons, own.labels)
    places = [d for d, free in enumerate(own.unscaled) if not free]
    fitted = [_design(module, scaler, s, places) for s in prepare(scaler, train)]
    scored = [_design(module, scaler, s, places) for s in prepare(scaler, held_out)]
    nats = [np.zeros(len(s)) for s in held_out]
    for i in range(len(places)):
        f, y, seen = (np.concatenate([part[k][i] for part in fitted]) for k in range(3))
        step = np.concatenate([_step(len(part[1][i])) for part in fitted])
        weights, scales = _regression(f[seen], y[seen], step[seen])
        for each, (features, values, observed, size) in zip(nats, scored, strict=True):
            scale = scales[_step(len(each))]
            square = ((values[i] - features[i] @ weights) / scale) ** 2
            law = HIGHEST - np.log(scale) - (DEGREES + 1) / 2 * np.log1p(square / DEGREES)
            each += np.where(observed[i], law - size[i], 0.0)
    return nats


def _design(
    module: SequenceModel, scaler: Scaler, s: Series, places: Sequence[int]
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """For each scaled channel: regressors (T, F), scaled values (T,), whether they are scored, and
    log scale_t - log g'(x_t)."""
    batch = collate([s])
    scaled = scaler(batch)
    y = scaler.scale_values(batch.x, scaled, torch.double)[0].numpy()
    observed, (T, _) = batch.observed[0].numpy(), y.shape
    size = np.broadcast_to((scaled.scale.log() - scaler.log_slope(batch.x))[0].numpy(), y.shape)
    bounded = np.where(observed, np.clip(y, -10, 10), 0.0)
    known = [np.ones((T, 1)), scaled.features[0].expand(T, -1).numpy(), s.covariates]
    if s.static is not None or s.lagged is not None:
        # Categories by the vectors that the model begins with: random, but different.
        other = module.covariate_scaler(batch.covariates.to(module.device))[0].cpu().numpy()
        known.append(other[:, s.covariates.shape[1] :])
    regressors = []
    for d in places:
        own = [_later(bounded[:, d : d + 1], lag) for lag in range(1, LAGS + 1)]
        others = [_later(bounded, 1)] if 1 < len(places) <= 16 else []
        regressors.append(np.concatenate([*known, *own, *others], 1))
    scored = observed & (np.arange(T) >= s.context)[:, None]
    values, seen, sizes = ([a[:, d] for d in places] for a in (y, scored, size))
    return regressors, values, seen, sizes


def _later(x: np.ndarray, lag: int) -> np.ndarray:
    return np.concatenate([np.zeros((min(lag, len(x)), x.shape[1])), x[: max(0, len(x) - lag)]])


def _step(length: int) -> np.ndarray:
    """(T,) the place of every step among those with scales of their own."""
    return np.minimum(np.arange(length), LAGS)


def _regression(f: np.ndarray, y: np.ndarray, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights and (LAGS + 1,) scales of a linear model with Student-t noise, by reweighted least
    squares (Lange et al. 1989)."""
    beta, scales = np.zeros(f.shape[1]), np.ones(LAGS + 1)
    if not len(y):
        return beta, scales
    penalty = 1e-3 * len(f) * np.diag(np.r_[1e-3, f[:, 1:].var(0) + 1e-6])
    counts = np.bincount(step, minlength=LAGS + 1)
    weight = np.ones(len(y))
    for _ in range(ROUNDS):
        relative = weight * (scales[-1] / scales[step]) ** 2
        g = f * relative[:, None]
        beta = np.linalg.solve(g.T @ f + penalty, g.T @ y)
        square = (y - f @ beta) ** 2
        sums = np.bincount(step, weight * square, LAGS + 1)
        later = (sums[-1] if counts[-1] else sums.sum()) / (counts[-1] or len(y))
        scales = np.sqrt((sums + PRIOR * later) / (counts + PRIOR) + 1e-12)
        weight = (DEGREES + 1) / (DEGREES + square / scales[step] ** 2)
    return beta, scales
