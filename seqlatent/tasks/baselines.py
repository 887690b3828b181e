"""Forecasts that any model must beat: the last season again, and a random walk.

*Seasonal naive* with season m: each value is that of one season before, plus normal noise,

    x_{T+h} = x_{T+h-m} + e_{T+h},    e ~ N(0, Sigma)

so that the variance h steps ahead is that of the seasonal differences x_t - x_{t-m} of the history,
times ceil(h / m) (Hyndman and Athanasopoulos 2021, sec. 5.5). Sigma is their second moment, which
lets channels go together.

*Random walk*: the last value plus differences x_t - x_{t-1} that are drawn, with replacement, from
those of the history, less their mean.

Shapes: history (T, D), S paths, H steps ahead. Where a value is missing, the last one of the same
season's place stands for it. Channels of labels repeat theirs, without noise.
"""

from collections.abc import Collection

import numpy as np


def usable_season(num_steps: int, season: int) -> int:
    """The season, or 1 where a history does not hold two of it."""
    return season if num_steps >= 2 * season else 1


def seasonal_naive(
    history: np.ndarray,
    prediction_length: int,
    season: int,
    num_samples: int,
    rng: np.random.Generator,
    labels: Collection[int] = (),
) -> np.ndarray:
    """(S, H, D) paths of the seasonal naive forecast.

    Args:
        history: (T, D), NaN where missing.
        prediction_length: H.
        season: m; 1 for none.
        num_samples: S.
        rng: of the noise.
        labels: the channels that hold codes of labels.
    """
    last = _last_season(history, season)
    moment = _moment(_differences(history, season), labels)
    values, vectors = np.linalg.eigh(moment)
    root = vectors * np.sqrt(np.maximum(0.0, values))
    channels = history.shape[1]
    noise = rng.standard_normal((num_samples, prediction_length, channels)) @ root.T
    paths = np.empty_like(noise)
    for h in range(prediction_length):
        before = last[h] if h < season else paths[:, h - season]
        paths[:, h] = before + noise[:, h]
    return paths


def seasonal_naive_log_prob(
    history: np.ndarray, truth: np.ndarray, season: int, labels: Collection[int] = ()
) -> float:
    """log p of the observed part of (H, D) `truth`, nats, by the normal law of `seasonal_naive`.

    NaN where that has no density: channels that repeat themselves exactly, labels, too short a
    history.
    """
    moment = _moment(_differences(history, season), labels)
    last = _last_season(history, season)
    place = np.arange(len(truth))
    total = 0.0
    for phase in range(min(season, len(truth))):  # different places of a season are independent
        here = truth[place % season == phase]
        seen = np.isfinite(here)
        if not seen.any():
            continue
        k = np.arange(1, len(here) + 1)
        covariance = np.kron(np.minimum(k[:, None], k), moment)[np.ix_(*[seen.ravel()] * 2)]
        scale = np.sqrt(np.diag(covariance))
        try:
            if not (scale > 0).all():
                return np.nan
            factor = np.linalg.cholesky(covariance / np.outer(scale, scale))
        except np.linalg.LinAlgError:
            return np.nan
        z = np.linalg.solve(factor, (here - last[phase])[seen] / scale)
        log_det = 2 * (np.log(np.diag(factor)).sum() + np.log(scale).sum())
        total -= 0.5 * float(z @ z + log_det + len(z) * np.log(2 * np.pi))
    return total


def random_walk(
    history: np.ndarray,
    prediction_length: int,
    num_samples: int,
    rng: np.random.Generator,
    labels: Collection[int] = (),
) -> np.ndarray:
    """(S, H, D) paths of a random walk without drift; the arguments are those of
    `seasonal_naive`."""
    steps = _differences(history, 1)
    steps = steps - steps.mean(0) if len(steps) else np.zeros((1, history.shape[1]))
    steps[:, list(labels)] = 0.0
    drawn = rng.integers(len(steps), size=(num_samples, prediction_length))
    return _last_season(history, 1)[0] + steps[drawn].cumsum(1)


def _last_season(history: np.ndarray, season: int) -> np.ndarray:
    """(m, D) the last values of each place of the season, which the next m steps repeat. A channel
    without any value has 0."""
    num_steps, channels = history.shape
    filled = np.concatenate([np.full((-num_steps % season, channels), np.nan), history])
    rounds = filled.reshape(-1, season, channels)
    last = np.full((season, channels), np.nan)
    for values in rounds:
        last = np.where(np.isfinite(values), values, last)
    seen = np.isfinite(history)
    newest = num_steps - 1 - seen[::-1].argmax(0)
    usual = np.where(seen.any(0), history[newest, np.arange(channels)], 0.0)
    return np.where(np.isfinite(last), last, usual)


def _differences(history: np.ndarray, season: int) -> np.ndarray:
    """(n, D) seasonal differences at the steps where all channels have one; a channel without a
    single difference counts as constant."""
    differences = history[season:] - history[:-season]
    empty = ~np.isfinite(differences).any(0)
    differences[:, empty] = 0.0
    whole = np.isfinite(differences).all(1)
    # Where no step has all channels, channels go apart: missing ones do not move.
    return differences[whole] if whole.any() else np.nan_to_num(differences)


def _moment(differences: np.ndarray, labels: Collection[int]) -> np.ndarray:
    """(D, D) second moment, 0 for labels."""
    differences = differences.copy()
    differences[:, list(labels)] = 0.0
    return differences.T @ differences / max(1, len(differences))
