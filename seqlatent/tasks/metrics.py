"""Measures of probabilistic forecasts: how far sample paths are from what came.

Shapes: S sample paths, H steps, D channels; `samples` (S, H, D) and `truth` (H, D), in data units.
Missing values of the truth are NaN: measures of single values are NaN there, those of whole paths
leave them out. A measure is NaN where nothing is left. Lower is better, unless it says otherwise.
"""

from collections.abc import Sequence

import numpy as np

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # of the quantile loss
INTERVALS = (0.5, 0.8, 0.9, 0.95)
MAX_VALUES = 1024  # of a path, for the variogram score: it compares every pair


def crps(samples: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(H, D) continuous ranked probability score, fair: unbiased in the number of paths.

        mean_s |x_s - y| - 1 / (2 S (S - 1)) sum_{s, r} |x_s - x_r|

    Source: Gneiting and Raftery (2007), eq. 21; fair by Ferro (2014). Needs two paths.
    """
    count, centre = len(samples), samples.mean(0)
    ordered = np.sort(samples - centre, axis=0)  # far from 0, products would be rounded
    # sum over pairs |x_s - x_r| = 2 sum_s (2 s - S - 1) x_(s), s = 1, ..., S
    place = 2.0 * np.arange(1, count + 1) - count - 1
    spread = 2 * np.tensordot(place, ordered, 1)
    return np.abs(samples - truth).mean(0) - spread / (2 * count * (count - 1))


def crps_of_sum(samples: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(H,) CRPS of the sum over channels, NaN where a channel is missing.

    Source: Salinas et al. (2019), who divide it by the mean absolute sum; here it is not.
    """
    return crps(samples.sum(-1), truth.sum(-1))


def quantile_loss(
    samples: np.ndarray, truth: np.ndarray, levels: Sequence[float] = LEVELS
) -> np.ndarray:
    """(Q, H, D) quantile loss at each level: 2 |(y - q) (1{y <= q} - level)|.

    Its sum over values, divided by sum |y|, is the weighted quantile loss. Source: Gneiting and
    Raftery (2007), sec. 6.2; with these weights Salinas et al. (2020), sec. 4.
    """
    level = np.asarray(levels)[:, None, None]
    q = np.quantile(samples, levels, axis=0)
    return 2 * np.abs((truth - q) * ((truth <= q) - level))


def energy_score(samples: np.ndarray, truth: np.ndarray) -> float:
    """Energy score of the whole path, a vector of its observed values, fair as in `crps`.

        mean_s |x_s - y| - 1 / (2 S (S - 1)) sum_{s, r} |x_s - x_r|,    |.| the Euclidean norm

    Source: Gneiting and Raftery (2007), eq. 22.
    """
    seen = np.isfinite(truth)
    if not seen.any():
        return np.nan
    x, y = samples[:, seen], truth[seen]
    count, centre = len(x), x.mean(0)
    x, y = x - centre, y - centre
    square = (x**2).sum(1)
    between = np.sqrt(np.maximum(0.0, square[:, None] + square - 2 * x @ x.T))
    np.fill_diagonal(between, 0.0)
    near = np.sqrt(((x - y) ** 2).sum(1)).mean()
    return float(near - between.sum() / (2 * count * (count - 1)))


def variogram_score(samples: np.ndarray, truth: np.ndarray, p: float = 0.5) -> float:
    """Variogram score of the whole path: how well differences between its values are forecast.

        sum_{i, j} (|y_i - y_j|^p - mean_s |x_si - x_sj|^p)^2,    i, j over the observed values

    NaN for paths of more than 1024 values. Source: Scheuerer and Hamill (2015), eq. 12, with equal
    weights.
    """
    seen = np.isfinite(truth)
    if not 0 < seen.sum() <= MAX_VALUES:
        return np.nan
    x, y = samples[:, seen].T, truth[seen]
    total = 0.0
    for i in range(len(y) - 1):  # each pair is counted twice
        forecast = (np.abs(x[i + 1 :] - x[i]) ** p).mean(1)
        total += 2 * float(((np.abs(y[i + 1 :] - y[i]) ** p - forecast) ** 2).sum())
    return total


def mase(point: np.ndarray, truth: np.ndarray, history: np.ndarray, season: int) -> np.ndarray:
    """(D,) mean absolute scaled error of a point forecast (H, D), the median of the paths.

        mean_h |y_h - f_h| / mean_t |x_t - x_{t-m}|,    t over the history, m the season

    NaN where the history is shorter than that or repeats itself exactly. Source: Hyndman and
    Koehler (2006), with a season as in Makridakis et al. (2020).

    Args:
        point, truth: (H, D).
        history: (T, D).
        season: m, 1 for none.
    """
    scale = _mean(np.abs(history[season:] - history[:-season]))
    error = _mean(np.abs(truth - point))
    return np.divide(error, scale, out=np.full(len(error), np.nan), where=scale > 0)


def smape(point: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(H, D) symmetric absolute percentage error, from 0 to 200 %.

        200 |y - f| / (|y| + |f|),    0 where both are 0

    Source: Makridakis et al. (2020); f is the median of the paths.
    """
    size = np.abs(truth) + np.abs(point)
    error = 200 * np.abs(truth - point)
    return np.divide(error, size, out=np.where(np.isnan(error), np.nan, 0.0), where=size > 0)


def covered(
    samples: np.ndarray, truth: np.ndarray, levels: Sequence[float] = INTERVALS
) -> np.ndarray:
    """(L, H, D) whether each value lies in its central interval: 1, 0, or NaN where missing.

    The interval of level l ends at the quantiles (1 - l) / 2 and (1 + l) / 2, at the places
    (S + 1) q of the ordered paths, so that a further path lies inside with probability l (Hyndman
    and Fan 1996, type 6). The mean of this is the coverage; best is l itself.
    """
    level = np.asarray(levels)
    low, high = (
        np.quantile(samples, (1 + sign * level) / 2, axis=0, method="weibull") for sign in (-1, 1)
    )
    inside = (low <= truth) & (truth <= high)
    return np.where(np.isnan(truth), np.nan, inside)


def covered_jointly(
    samples: np.ndarray, truth: np.ndarray, levels: Sequence[float] = INTERVALS
) -> np.ndarray:
    """(L,) whether the whole path lies in a band around the mean: 1, 0, or NaN.

    The band of level l is mean_hd +- c sd_hd, the same c at all steps and channels: as many
    standard deviations as hold the share l of whole paths. A path's rank is that of its largest
    standardised deviation max_hd |x_hd - mean_hd| / sd_hd. Mean and sd are over the paths *and* the
    truth, so that the truth's rank among the S + 1 is uniform if it is one more path, and the
    coverage l to within 1 / (S + 1). The mean of this is the joint coverage; best is l itself.

    Source: sup-t bands, Montiel Olea and Plagborg-Møller (2019).
    """
    seen = np.isfinite(truth)
    if not seen.any():
        return np.full(len(levels), np.nan)
    every = np.concatenate([truth[None], samples])[:, seen]
    scale = every.std(0)
    scale[scale == 0] = 1.0  # no path differs from another there
    farthest = (np.abs(every - every.mean(0)) / scale).max(1)
    rank = 1 + (farthest[1:] < farthest[0]).sum()
    return (rank <= np.asarray(levels) * len(every)).astype(np.float64)


def pit(samples: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(H, D) probability integral transform of each value, in (0, 1), NaN where missing.

        (#{x_s < y} + u (1 + #{x_s = y})) / (S + 1),    u uniform on (0, 1)

    The random u breaks ties, of counts and of the few paths. Uniform where the forecast is right.
    Source: Czado, Gneiting and Held (2009), randomised; Gneiting, Balabdaoui and Raftery (2007).
    """
    below, equal = (samples < truth).sum(0), (samples == truth).sum(0)
    u = rng.random(truth.shape)
    return np.where(np.isnan(truth), np.nan, (below + u * (1 + equal)) / (len(samples) + 1))


def pit_counts_of_paths(
    samples: np.ndarray, truth: np.ndarray, num_bins: int, rng: np.random.Generator
) -> np.ndarray:
    """(S, num_bins) how many values of each path have a `pit` in each bin, had it been the truth.

    This is how a histogram of PITs varies for a forecast that is right: its values at different
    steps go together as those of the paths do. Places where the truth is missing are left out.
    """
    seen = np.isfinite(truth)
    x = samples[:, seen] + 0.0
    count = len(x)
    # a random order of equal values is the random u of `pit`
    order = np.lexsort((rng.random(x.shape), x), axis=0)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(count)[:, None], axis=0)
    u = (ranks + rng.random(x.shape)) / count
    bins = np.minimum((u * num_bins).astype(int), num_bins - 1)
    return np.stack([(bins == b).sum(1) for b in range(num_bins)], 1)


def accuracy(samples: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(H,) whether the most frequent of (S, H) sampled labels is the (H,) true one; higher is
    better. Of equally frequent ones it is the first."""
    codes = np.arange(int(np.nanmax([samples.max(), np.nanmax(truth, initial=0)])) + 1)
    shares = (samples[..., None] == codes).mean(0)
    return np.where(np.isnan(truth), np.nan, codes[shares.argmax(-1)] == truth)


def _mean(values: np.ndarray) -> np.ndarray:
    """(n, D) -> (D,) mean of what is there, NaN where nothing is."""
    count = np.isfinite(values).sum(0)
    total = np.nansum(values, 0)
    return np.divide(total, count, out=np.full(values.shape[1], np.nan), where=count > 0)
