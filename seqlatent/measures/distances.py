"""Distances between the distributions of two sets of windows, without anything trained.

All are 0 where both distributions are the same, and are in units of the real standard deviation of
each channel. Shapes: real (N, T, D) and drawn (M, T, D), in data units.
"""

import numpy as np

from seqlatent.measures.windows import (
    MOST,
    all_squared_distances,
    checked,
    flat,
    some,
    standardised,
)

DIRECTIONS = 200  # of the sliced distance
BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the kernel, in medians of the distances


def wasserstein(real: np.ndarray, drawn: np.ndarray, seed: int = 0) -> float:
    """Wasserstein distance of single values: of each channel, its steps pooled; their mean.

        W_1 = integral |F(x) - G(x)| dx,    F, G the empirical distribution functions

    It sees neither the order of steps nor how channels go together. Exact; the seed does nothing.
    Source: Vallender (1974) for W_1 in one dimension.
    """
    x, y = standardised(checked(real, "real"), checked(drawn, "drawn"))
    return float(
        np.mean([wasserstein_1d(x[..., d].ravel(), y[..., d].ravel()) for d in range(x.shape[-1])])
    )


def sliced_wasserstein(real: np.ndarray, drawn: np.ndarray, seed: int = 0) -> float:
    """Sliced Wasserstein distance of whole windows: the mean of W_1 over 200 random directions.

        mean_k W_1(theta_k . x, theta_k . y),    theta_k uniform on the unit sphere of T D dimensions

    Source: Rabin et al. (2012); Bonneel et al. (2015).
    """
    x, y = standardised(checked(real, "real"), checked(drawn, "drawn"))
    x, y = flat(x), flat(y)
    directions = np.random.default_rng(seed).normal(size=(x.shape[1], DIRECTIONS))
    directions /= np.linalg.norm(directions, axis=0)
    pairs = zip((x @ directions).T, (y @ directions).T, strict=True)
    return float(np.mean([wasserstein_1d(a, b) for a, b in pairs]))


def mmd(real: np.ndarray, drawn: np.ndarray, seed: int = 0) -> float:
    """Squared maximum mean discrepancy of whole windows, unbiased: it may fall below 0.

        mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)
        k(x, y) = mean_b exp(-|x - y|^2 / (2 b^2)),    b = 1/4, 1/2, 1, 2, 4 medians of |x - y|

    The median is over all pairs of the two sets together, so that under equal distributions the mean
    is exactly 0. Of at most 2,000 windows of each set. Source: Gretton et al. (2012), eq. 3, and
    sec. 8 for the median.
    """
    within_real, within_drawn, between = _pairs(real, drawn, seed)
    n, m = len(within_real), len(within_drawn)
    own = [a[np.triu_indices(len(a), 1)] for a in (within_real, within_drawn)]
    # rows that are all alike have no distance, and any width then tells the same
    width = float(np.median(np.concatenate([*own, between.ravel()]))) or 1.0
    value = 0.0
    for factor in BANDWIDTHS:
        a, b, c = (
            np.exp(d / (-2 * factor**2 * width)) for d in (within_real, within_drawn, between)
        )
        # the diagonals, which are ones, are left out
        value += (a.sum() - n) / (n * (n - 1)) + (b.sum() - m) / (m * (m - 1)) - 2 * c.mean()
    return float(value / len(BANDWIDTHS))


def energy(real: np.ndarray, drawn: np.ndarray, seed: int = 0) -> float:
    """Energy distance of whole windows, unbiased: it may fall below 0.

        2 E|x - y| - E|x - x'| - E|y - y'|,    |.| the Euclidean norm over sqrt(T D)

    It is twice the mean energy score of the real windows, each scored by all that were drawn, less
    what the real distribution itself would score. Of at most 2,000 windows of each set. Source:
    Szekely and Rizzo (2013); Gneiting and Raftery (2007), sec. 4.3, for the score.
    """
    within_real, within_drawn, between = (np.sqrt(d) for d in _pairs(real, drawn, seed))
    n, m = len(within_real), len(within_drawn)
    dispersal = within_real.sum() / (n * (n - 1)) + within_drawn.sum() / (m * (m - 1))
    return float(2 * between.mean() - dispersal)


def correlation(real: np.ndarray, drawn: np.ndarray, seed: int = 0) -> float:
    """Correlational score: how far the correlations between channels are off, summed over pairs.

        sum_{c > d} |r_cd - s_cd| / 10,    r, s the correlations over all windows and steps

    of the real and the drawn windows, each standardised by itself. 0 for one channel. The published
    protocol takes a random fifth of the windows; here all that are given enter, and the seed does
    nothing. Source: Ni et al. (2022); with these weights Yuan and Qiao (2024).
    """
    pair = []
    for x in (checked(real, "real"), checked(drawn, "drawn")):
        z = standardised(x)[0].reshape(-1, x.shape[-1])
        pair.append((z.T @ z / len(z))[np.tril_indices(x.shape[-1], -1)])
    return float(np.abs(pair[0] - pair[1]).sum() / 10)


def wasserstein_1d(x: np.ndarray, y: np.ndarray) -> float:
    """W_1 of two samples (n,) and (m,) of numbers, exact."""
    x, y = np.sort(x), np.sort(y)
    if len(x) == len(y):
        return float(np.abs(x - y).mean())
    both = np.sort(np.concatenate([x, y]))
    below = [np.searchsorted(s, both[:-1], side="right") / len(s) for s in (x, y)]
    return float((np.abs(below[0] - below[1]) * np.diff(both)).sum())


def _pairs(
    real: np.ndarray, drawn: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Squared distances (n, n), (m, m) and (n, m) within and between the sets, over T D."""
    rng = np.random.default_rng(seed)
    x, y = standardised(checked(real, "real"), checked(drawn, "drawn"))
    x, y = (flat(some(s, MOST, rng)) / np.sqrt(s[0].size) for s in (x, y))
    within = [all_squared_distances(s, s) for s in (x, y)]
    for square in within:
        np.fill_diagonal(square, 0.0)
    return within[0], within[1], all_squared_distances(x, y)
