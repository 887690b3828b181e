"""How the values of a channel vary, within series and between them: what scalers are fitted to.

A collection's series often have levels and scales of their own. Two numbers say how far a new
series' level and scale are known before its own values are: the weight, in observed values, that
the collection's level and scale have against the series' own (empirical Bayes; Robbins 1956).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

_TINY = 1e-12


@dataclass(frozen=True)
class Spread:
    """The values of a channel, perhaps on a logarithmic scale.

    Attributes:
        loc, scale: their mean and standard deviation.
        increment: root mean square of a value less the one before it.
        seasonal: root mean square of a value less the one a season before it.
        own_scale, own_increment, own_seasonal: the same within a series, around its own mean; the
            geometric mean over the series.
        own_range: from the lowest to the highest value of a series; the largest of all series.
        level_weight: observed values that `loc` is worth as an estimate of a series' level.
        scale_weight: observed values that `own_...` is worth as an estimate of a series' scale.
    """

    loc: float = 0.0
    scale: float = 1.0
    increment: float = 1.0
    seasonal: float = 1.0
    own_scale: float = 1.0
    own_increment: float = 1.0
    own_seasonal: float = 1.0
    own_range: float = 1.0
    level_weight: float = 1.0
    scale_weight: float = 4.0


def spread(columns: Iterable[np.ndarray], season: int) -> Spread:
    """The spread of series, (T,) values each, NaN where missing.

    Args:
        columns: the channel of every series.
        season: its length in steps; 1 if there is none.
    """
    columns = [c for c in columns if np.isfinite(c).any()]
    if not columns:
        return Spread()
    seen = [c[np.isfinite(c)] for c in columns]
    values = np.concatenate(seen)
    loc, scale = float(values.mean()), float(values.std())
    least = _TINY * float(np.abs(values).max())  # of values that differ by more than rounding
    scale = scale if scale > least else 1.0
    means = np.array([c.mean() for c in seen])
    squares = np.array([c.var() for c in seen])
    counts = np.array([len(c) for c in seen])
    own_scale = _typical(squares, counts, scale)
    increment, own_increment = _changes(columns, 1, scale)
    seasonal, own_seasonal = _changes(columns, season, scale)
    between = float(means.var()) if len(means) > 1 else scale**2
    return Spread(
        loc=loc,
        scale=scale,
        increment=increment,
        seasonal=seasonal,
        own_scale=own_scale,
        own_increment=own_increment,
        own_seasonal=own_seasonal,
        own_range=max(float(c.max() - c.min()) for c in seen),
        level_weight=float(np.clip(own_scale**2 / max(between, least**2, 1e-300), 0.01, 100.0)),
        scale_weight=_weight(squares, counts),
    )


def _changes(columns: list[np.ndarray], lag: int, scale: float) -> tuple[float, float]:
    """Root mean square change over a lag: of all series together, and of a typical one."""
    changes = [c[lag:] - c[:-lag] for c in columns if len(c) > lag]
    changes = [c[np.isfinite(c)] for c in changes]
    squares = np.array([(c**2).mean() if len(c) else 0.0 for c in changes])
    counts = np.array([len(c) for c in changes])
    if counts.sum() == 0 or (squares @ counts) <= (_TINY * scale) ** 2:
        return scale, scale
    pooled = float(np.sqrt(squares @ counts / counts.sum()))
    return pooled, _typical(squares, counts, pooled)


def _typical(squares: np.ndarray, counts: np.ndarray, otherwise: float) -> float:
    """The geometric mean of series' root mean squares, of those with more than one value."""
    usable = squares[(counts > 1) & (squares > (1e-6 * otherwise) ** 2)]
    return float(np.exp(0.5 * np.log(usable).mean())) if len(usable) else otherwise


def _weight(squares: np.ndarray, counts: np.ndarray) -> float:
    """Degrees of freedom of an inverse-gamma distribution of the series' variances, by the spread
    of their logarithms, less what a variance estimated from n values scatters by itself, 2 / n."""
    usable = (counts > 2) & (squares > 0)
    if usable.sum() < 3:
        return 4.0
    scatter = float(np.log(squares[usable]).var() - (2 / counts[usable]).mean())
    return float(np.clip(2 / max(scatter, _TINY), 1.0, 50.0))


def log_offset(values: np.ndarray) -> float:
    """The size below which `to_log` is linear: half the first percentile of the sizes that are not
    0, so that zeros and negative values have a place on the logarithmic scale too."""
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    return float(np.quantile(sizes, 0.01)) / 2 if len(sizes) else 1.0


def to_log(offset: float) -> Callable[[np.ndarray], np.ndarray]:
    """x -> asinh(x / (2 c)), which is log(x / c) for x far above c, and linear near 0."""
    return lambda x: np.arcsinh(x / (2 * offset))
