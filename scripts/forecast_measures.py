"""The measures of `scripts/reproduce forecast`: weighted quantile loss, MASE, coverage."""

from typing import Any

import numpy as np
from forecast_sets import LEVELS, ForecastSet

INTERVALS = (0.5, 0.8, 0.95)
# Levels of every forecast: those of the loss, and the ends of the intervals.
ASKED = np.unique(np.round([*LEVELS, *(0.5 + s * c / 2 for c in INTERVALS for s in (-1, 1))], 6))


def measures(data: ForecastSet, quantiles: np.ndarray) -> dict[str, Any]:
    """WQL, MASE and coverage of (N, W, Q, H) quantiles at the levels `ASKED`.

    All are None where a window was not forecast (NaN); `finished` is the share of those that were.
    """
    done = np.isfinite(quantiles).all((2, 3))
    names = [f"coverage_{100 * width:.0f}" for width in INTERVALS]
    if not done.all():
        return dict.fromkeys(["wql", "mase", *names]) | {"finished": float(done.mean())}
    values = values_of(data)
    known = np.isfinite(values)
    row: dict[str, Any] = {
        "wql": weighted_quantile_loss(values, at(quantiles, LEVELS), LEVELS),
        "mase": mase(data, values, at(quantiles, 0.5)),
    }
    for name, width in zip(names, INTERVALS, strict=True):
        low, high = at(quantiles, 0.5 - width / 2), at(quantiles, 0.5 + width / 2)
        row[name] = float(((low <= values) & (values <= high))[known].mean())
    return row | {"finished": 1.0}


def values_of(data: ForecastSet) -> np.ndarray:
    """(N, W, H) values of all windows."""
    return np.stack([data.cut(window)[1] for window in range(data.windows)], 1)


def at(quantiles: np.ndarray, level: float | np.ndarray) -> np.ndarray:
    """Some of the levels of (N, W, Q, H) quantiles."""
    return quantiles[:, :, np.abs(ASKED - np.asarray(level)[..., None]).argmin(-1)]


def weighted_quantile_loss(values: np.ndarray, quantiles: np.ndarray, levels: np.ndarray) -> float:
    """Of values (..., H), NaN where there is none, and quantiles (..., Q, H)."""
    error = values[..., None, :] - quantiles
    level = levels[:, None]
    loss = np.nansum(2 * np.maximum(level * error, (level - 1) * error))
    return float(loss / np.nansum(np.abs(values)) / len(levels))


def mase(data: ForecastSet, values: np.ndarray, median: np.ndarray) -> float:
    """Mean over series and windows, of (N, W, H) values and medians. Series whose history never
    changes over a season have none and are left out."""
    season, ratios = data.published_season, []
    for window in range(data.windows):
        for i, x in enumerate(data.cut(window)[0]):
            changes = np.abs(x[season:] - x[:-season])
            errors = np.abs(values[i, window] - median[i, window])
            changes, errors = changes[np.isfinite(changes)], errors[np.isfinite(errors)]
            if changes.size and errors.size and changes.mean() > 0:
                ratios.append(errors.mean() / changes.mean())
    return float(np.mean(ratios)) if ratios else float("nan")
