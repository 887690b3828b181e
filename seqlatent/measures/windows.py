"""Sets of windows: what may be measured, in which units, and how far windows are apart.

Shapes: N windows of T steps and D channels, (N, T, D), in data units and without gaps.
"""

from collections.abc import Iterator

import numpy as np

from seqlatent.errors import InputError
from seqlatent.text import counted

FEWEST = 10  # windows of a set
MOST = 2000  # windows of each set, chosen at random, where all pairs are compared
BLOCK = 1 << 23  # distances that are held at once


def checked(windows: np.ndarray, what: str) -> np.ndarray:
    """The windows as (N, T, D) float64; (N, T) has one channel.

    Raises:
        InputError: for another shape, fewer than 10 windows, or values that are missing or infinite.
    """
    x = np.asarray(windows, dtype=np.float64)
    x = x[..., None] if x.ndim == 2 else x
    if x.ndim != 3 or 0 in x.shape[1:]:
        raise InputError(
            f"the {what} windows have the shape {np.shape(windows)}; give an array (N, T, D) of "
            "N windows, T steps and D channels"
        )
    if len(x) < FEWEST:
        raise InputError(f"{counted(len(x), f'{what} window')}: give at least {FEWEST}")
    broken = int((~np.isfinite(x)).any((1, 2)).sum())
    if broken:
        raise InputError(
            f"{counted(broken, f'{what} window')} of {len(x)} with missing or infinite values: "
            "leave them out, or fill them with impute"
        )
    return x


def standardised(real: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """All windows in units of the real ones: less the mean of each channel, over its standard
    deviation, both over windows and steps. A constant channel keeps its scale."""
    mean, sd = real.mean((0, 1)), real.std((0, 1))
    return [(x - mean) / _without_zeros(sd) for x in (real, *others)]


def to_unit_range(real: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """All windows with each channel scaled so that the real ones fill [0, 1], as the published
    protocols do. Windows that are scaled so already stay as they are."""
    low, high = real.min((0, 1)), real.max((0, 1))
    return [(x - low) / _without_zeros(high - low) for x in (real, *others)]


def flat(windows: np.ndarray) -> np.ndarray:
    """(N, T, D) -> (N, T D): each window as one vector."""
    return windows.reshape(len(windows), -1)


def some(windows: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """A number of different windows, at random; all of them, in order, where there are no more."""
    if len(windows) <= number:
        return windows
    return windows[np.sort(rng.choice(len(windows), number, replace=False))]


def squared_distances(x: np.ndarray, y: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of |x_i - y_j|^2 as (first i, (rows, M)), for x (N, K) and y (M, K).

    The square of the difference is taken apart, |x|^2 + |y|^2 - 2 x y, which a matrix product
    makes fast; the vectors are centred first, so that little is lost to rounding.
    """
    centre = y.mean(0)
    x, y = x - centre, y - centre
    size = (y**2).sum(1)
    rows = max(1, BLOCK // len(y))
    for first in range(0, len(x), rows):
        part = x[first : first + rows]
        yield first, np.maximum(0.0, (part**2).sum(1)[:, None] + size - 2 * part @ y.T)


def all_squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(N, M) |x_i - y_j|^2 of a few thousand vectors at most."""
    return np.concatenate([block for _, block in squared_distances(x, y)])


def _without_zeros(scale: np.ndarray) -> np.ndarray:
    return np.where(scale > 0, scale, 1.0)
