"""Simple detectors of anomalies in a stream of one value, beside which a model stands.

Each gives a (T,) score of the rows `ds, y` of a table; all but `relative_entropy`, which knows the
range of the file beforehand as NAB's own does, see no later row.
"""

import numpy as np
import pandas as pd
from anomaly_measures import probation
from scipy.special import log_ndtr, rel_entr
from scipy.stats import chi2

WINDOW, SLIDE = 6400, 100  # rows of the windowed Gaussian and by how many it moves, as NAB has them
CERTAIN = 54 * np.log(2)  # nats, beyond which 1 less the probability is 1 in double precision
BINS, LENGTH, LEVEL = 5, 52, 0.01  # of relative entropy, as NAB has them


def windowed_gaussian(table: pd.DataFrame) -> np.ndarray:
    """-log of the tail probability of a row by the normal law of the rows before it, up to 6,400,
    in two directions (NAB's `windowedGaussian`, whose score is one less the probability)."""
    x = table["y"].to_numpy(dtype=float)
    sums, squares = np.cumsum(x - x[0]), np.cumsum((x - x[0]) ** 2)
    last = np.arange(len(x))  # rows before each, that the window has
    late = last > WINDOW
    last[late] = WINDOW + (last[late] - WINDOW) // SLIDE * SLIDE
    first = np.maximum(last - WINDOW, 0)
    sums, squares = np.append(0.0, sums), np.append(0.0, squares)
    num = np.maximum(last - first, 1)
    mean = (sums[last] - sums[first]) / num
    sd = np.sqrt(np.maximum((squares[last] - squares[first]) / num - mean**2, 0.0))
    z = np.abs(x - x[0] - mean) / np.where(sd > 1e-9 * (1 + np.abs(mean)), sd, 1e-6)
    z[0] = 0.0
    return np.minimum(-log_ndtr(-z), CERTAIN)


def relative_entropy(table: pd.DataFrame) -> np.ndarray:
    """1 where the last 52 rows, in 5 bins, are like none of the kinds of rows before; 0 elsewhere.

    Likeness is that 2 * 52 * KL(now || kind) is below the 99 % quantile of chi-squared; rows that
    are like none are a new kind (Wang et al. 2011, by NAB's `relativeEntropy`).
    """
    x = table["y"].to_numpy(dtype=float)
    alarm, step = np.zeros(len(x)), (x.max() - x.min()) / BINS
    if step == 0:
        return alarm
    place = np.minimum(np.ceil((x - x.min()) / step).astype(int), BINS - 1)
    bins = np.eye(BINS)[place].cumsum(0)
    bins[LENGTH:] -= bins[:-LENGTH].copy()
    shares, limit = bins / LENGTH, chi2.isf(LEVEL, BINS - 1)
    kinds = [shares[LENGTH - 1]]
    for t in range(LENGTH, len(x)):
        distance = 2 * LENGTH * rel_entr(shares[t], np.array(kinds)).sum(1).min()
        if not distance < limit:
            alarm[t] = 1.0
            kinds.append(shares[t])
    return alarm


def seasonal_naive(table: pd.DataFrame) -> np.ndarray:
    """|x_t - x_{t-d}|, d rows a day; the row before where two days are longer than probation, and
    where rows have no time."""
    x, num = pd.Series(table["y"].to_numpy(dtype=float)), probation(len(table))
    lag = 1
    if table["ds"].dtype.kind == "M":
        steps = np.diff(table["ds"].to_numpy()) / np.timedelta64(1, "D")
        day = round(1 / float(np.median(steps)))
        lag = day if 0 < 2 * day <= num else 1
    return (x - x.shift(lag)).abs().to_numpy()
