"""All measures of one forecast of one window."""

from dataclasses import dataclass

import numpy as np

from seqlatent.tasks import metrics
from seqlatent.tasks.tables import QUANTILES

NUM_BINS = 20  # of the PIT histogram; also the central intervals of 10 %, 20 %, ...
# In the order of tables, with what they are.
MEASURES = {
    "crps": "mean CRPS of a value, data units",
    "crps_growth": "CRPS at the last step ahead over that at the first",
    "wql": "weighted quantile loss, levels 0.1 to 0.9",
    "crps_sum": "mean CRPS of the sum over channels, data units",
    "energy": "energy score of the path, data units",
    "variogram": "variogram score of the path, p = 0.5",
    "log_score": "log p(future | past), nats per step; higher is better",
    "mase": "mean absolute scaled error of the median",
    "smape": "symmetric percentage error of the median, %",
    **{
        f"coverage_{level * 100:g}": f"share of values in the {level * 100:g} % interval"
        for level in metrics.INTERVALS
    },
    **{
        f"joint_{level * 100:g}": f"share of whole paths in the {level * 100:g} % band"
        for level in metrics.INTERVALS
    },
    "accuracy": "share of labels that are the likeliest one; higher is better",
}


@dataclass(frozen=True)
class Measured:
    """One method's forecast of one window, and how good it was.

    Attributes:
        mean: (H, D) mean over the paths.
        quantiles: (Q, H, D) quantiles at the levels of tables.
        shares: (H, L) share of each label, by channel, for channels of labels.
        measures: numerator and denominator of every measure. The value over several windows is the
            ratio of their sums: a mean over values, steps or paths, or, for `wql`, the loss
            relative to sum |y|. NaN where there is nothing.
        crps: (H, D) of each value.
        pit: (H, D) of each value.
    """

    mean: np.ndarray
    quantiles: np.ndarray
    shares: dict[int, np.ndarray]
    measures: dict[str, tuple[float, float]]
    crps: np.ndarray
    pit: np.ndarray


def measure(
    samples: np.ndarray,
    truth: np.ndarray,
    history: np.ndarray,
    season: int,
    labels: list[int],
    rng: np.random.Generator,
) -> tuple[Measured, np.ndarray]:
    """Measure a forecast; also (S, NUM_BINS) counts, `metrics.pit_counts_of_paths`.

    Labels enter the accuracy, numbers everything else.

    Args:
        samples: (S, H, D) paths.
        truth: (H, D), NaN where missing.
        history: (T, D).
        season: m of the scaled error.
        labels: the channels that hold codes of labels.
        rng: of what breaks ties.
    """
    numeric = [d for d in range(truth.shape[1]) if d not in labels]
    ratios: dict[str, tuple[float, float]] = {}
    crps, pit = np.full(truth.shape, np.nan), np.full(truth.shape, np.nan)
    counts = np.zeros((len(samples), NUM_BINS), dtype=np.int64)
    if numeric:
        x, y = samples[..., numeric], truth[:, numeric]
        crps[:, numeric], pit[:, numeric] = metrics.crps(x, y), metrics.pit(x, y, rng)
        counts = metrics.pit_counts_of_paths(x, y, NUM_BINS, rng)
        ratios |= _of_numbers(x, y, history[:, numeric], season, crps[:, numeric])
    if labels:
        hits = [metrics.accuracy(samples[..., d], truth[:, d]) for d in labels]
        ratios["accuracy"] = _mean(np.stack(hits))
    shares = {
        d: (samples[..., d, None] == np.arange(samples[..., d].max() + 1)).mean(0) for d in labels
    }
    quantiles = np.quantile(samples, QUANTILES, axis=0)
    return Measured(samples.mean(0), quantiles, shares, ratios, crps, pit), counts


def _of_numbers(
    x: np.ndarray, y: np.ndarray, history: np.ndarray, season: int, crps: np.ndarray
) -> dict[str, tuple[float, float]]:
    median = np.median(x, 0)
    loss = metrics.quantile_loss(x, y).mean(0)
    ratios = {
        "crps": _mean(crps),
        "wql": (float(np.nansum(loss)), float(np.nansum(np.abs(y)))),
        "energy": _mean(metrics.energy_score(x, y)),
        "variogram": _mean(metrics.variogram_score(x, y)),
        "mase": _mean(metrics.mase(median, y, history, season)),
        "smape": _mean(metrics.smape(median, y)),
    }
    if len(y) > 1:
        ratios["crps_growth"] = _growth(crps)
    if y.shape[1] > 1:
        ratios["crps_sum"] = _mean(metrics.crps_of_sum(x, y))
    inside, jointly = metrics.covered(x, y), metrics.covered_jointly(x, y)
    for i, level in enumerate(metrics.INTERVALS):
        ratios[f"coverage_{level * 100:g}"] = _mean(inside[i])
        ratios[f"joint_{level * 100:g}"] = _mean(jointly[i])
    return {name: value if value[1] > 0 else (np.nan, np.nan) for name, value in ratios.items()}


def _growth(crps: np.ndarray) -> tuple[float, float]:
    """CRPS (H, D) of the last step and of the first, summed over the channels that were observed at
    both."""
    last, first = crps[-1], crps[0]
    seen = np.isfinite(last) & np.isfinite(first)
    return float(last[seen].sum()), float(first[seen].sum())


def _mean(values: np.ndarray | float) -> tuple[float, float]:
    """Sum and number of what is there."""
    values = np.asarray(values, dtype=np.float64)
    return float(np.nansum(values)), float(np.isfinite(values).sum())
