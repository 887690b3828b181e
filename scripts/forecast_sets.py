"""The ten sets of `scripts/reproduce forecast`: their series, windows and published figures.

A set is cut into windows at the end of every series, each of `horizon` steps, one after another
without overlap; a window is forecast from all steps before it. Two protocols:

    gift-eval       GIFT-Eval's short term (Aksu et al. 2024): clip(ceil(.1 n / H), 1, 20) windows,
                    n the length of the shortest series; one window of M4; seasonal naive has normal
                    intervals; channels are series of their own
    single window   the last window, by the table of Chronos (Ansari et al. 2024) in fev; its
                    seasonal naive is a point: the same value at every level

`published_naive` works out the published seasonal naive of a set again: where it agrees with the
published figure, data, windows and measure are theirs. Its WQL agrees to four digits on all sets
but `etth1`: the published figures seem to be of ETTm1 summed to hours (the mean of |y| that
follows from their MAE and ND is four times that of ETTm1's kin ETTh1), so that there only ratios to
the seasonal naive can be set side by side.

The files in the folder of the data, NaN where nothing was recorded:

    collections/m3.npz, tourism.npz   an array over series of `period` (MONTHLY, ...), `frequency`
                                      (steps a year) and `start` (a year with a fraction);
                                      `train_values` end to end with `train_lengths`, and so `test`
    collections/m4_hourly.npz         `train_values`, `train_lengths`, `test` (series, 48)
    collections/carparts.npz, nn5_daily.npz   `values` (series, steps)
    multivariate/ETTh1.csv.gz         a column of dates, and seven of values
    multivariate/exchange_rate.txt.gz   eight columns without a header
    published/gift_eval_short.csv, single_window_wql.csv   figures, if any
"""

import csv
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd

from seqlatent.errors import InputError

LEVELS = np.arange(1, 10) / 10  # of the weighted quantile loss, in both protocols
GIFT, SINGLE = "gift-eval", "single window"
STATISTICAL = {"AutoARIMA": "auto_arima", "AutoETS": "auto_ets", "AutoTheta": "auto_theta"}


@dataclass(frozen=True)
class ForecastSet:
    """Series with their test windows.

    Attributes:
        name: as `--sets` has it.
        protocol: `gift-eval` or `single window`.
        horizon: H, steps of a window.
        windows: W, windows at the end of each series.
        season: steps of the season that seasonal naive, AutoETS and AutoARIMA are given.
        published_season: of the published seasonal naive and of MASE.
        frequency: pandas' name of the step; where no dates are known, that of the published data.
        key: of the published figures.
        series: values (T,), NaN where nothing was recorded.
        starts: the first step of each series; None where the data have no dates.
    """

    name: str
    protocol: str
    horizon: int
    windows: int
    season: int
    published_season: int
    frequency: str
    key: str
    series: tuple[np.ndarray, ...]
    starts: tuple[datetime, ...] | None

    def before_test(self) -> "ForecastSet":
        """The same set without its test windows, with as many windows before them."""
        held_out = self.horizon * self.windows
        return replace(self, series=tuple(x[: len(x) - held_out] for x in self.series))

    def cut(self, window: int) -> tuple[list[np.ndarray], np.ndarray]:
        """Histories and (N, H) values of window 0 to W - 1, from the earliest.

        Raises:
            InputError: where a history is not longer than a season.
        """
        end = self.horizon * (self.windows - window)
        shortest = min(len(x) for x in self.series) - end
        longest_season = max(self.season, self.published_season)
        if shortest <= longest_season:
            raise InputError(
                f"{self.name}: a series has {max(shortest, 0)} steps before its window; "
                f"it needs more than a season of {longest_season}"
            )
        values = [x[len(x) - end :][: self.horizon] for x in self.series]
        return [x[: len(x) - end] for x in self.series], np.stack(values)


def gift_windows(shortest: int, horizon: int) -> int:
    return min(max(math.ceil(0.1 * shortest / horizon), 1), 20)


def read(name: str, data: Path) -> ForecastSet:
    """A set from the folder with `collections/` and `multivariate/`.

    Raises:
        InputError: for an unknown name, or data that are not there.
    """
    if name not in SETS:
        raise InputError(f"unknown set '{name}'; there are {', '.join(SETS)}")
    try:
        return SETS[name](name, data)
    except (OSError, LookupError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{name}: {data} does not hold it as forecast_sets.py has it: {error}"
        ) from None


def _exchange(name: str, data: Path) -> ForecastSet:
    x = pd.read_csv(data / "multivariate" / "exchange_rate.txt.gz", header=None).to_numpy(float)
    return ForecastSet(name, SINGLE, 30, 1, 5, 5, "B", "exchange_rate", tuple(x.T), None)


def _etth1(name: str, data: Path) -> ForecastSet:
    frame = pd.read_csv(data / "multivariate" / "ETTh1.csv.gz", index_col=0, parse_dates=True)
    series = tuple(frame.to_numpy(float).T)
    starts = (datetime.fromisoformat(str(frame.index[0])),) * len(series)
    windows = gift_windows(len(frame), 48)
    return ForecastSet(name, GIFT, 48, windows, 24, 24, "h", "ett1/H/short", series, starts)


def _m4_hourly(name: str, data: Path) -> ForecastSet:
    with np.load(data / "collections" / "m4_hourly.npz") as z:
        train = _ragged(z["train_values"], z["train_lengths"])
        series = tuple(np.concatenate(pair) for pair in zip(train, z["test"], strict=True))
    return ForecastSet(name, GIFT, 48, 1, 24, 24, "h", "m4_hourly/H/short", series, None)


def _car_parts(name: str, data: Path) -> ForecastSet:
    with np.load(data / "collections" / "carparts.npz") as z:
        series = tuple(_known(z["values"]))
    starts = (datetime(1998, 1, 1),) * len(series)
    windows = gift_windows(min(map(len, series)), 12)
    return ForecastSet(name, GIFT, 12, windows, 12, 12, "MS", "car_parts/M/short", series, starts)


def _nn5(name: str, data: Path) -> ForecastSet:
    with np.load(data / "collections" / "nn5_daily.npz") as z:
        series = tuple(_known(z["values"]))
    starts = (datetime(1996, 3, 18),) * len(series)
    # The table has days without a season; a week is what anyone would give the methods.
    return ForecastSet(name, SINGLE, 56, 1, 7, 1, "D", "nn5", series, starts)


def _competition(file: str, period: str) -> Callable[[str, Path], ForecastSet]:
    def of(name: str, data: Path) -> ForecastSet:
        with np.load(data / "collections" / f"{file}.npz") as z:
            chosen = np.flatnonzero(z["period"] == period.upper())
            season = int(z["frequency"][chosen[0]])
            train, test = (
                _ragged(z[f"{part}_values"], z[f"{part}_lengths"]) for part in ("train", "test")
            )
            series = tuple(np.concatenate([train[i], test[i]]) for i in chosen)
            horizon = int(z["test_lengths"][chosen[0]])
            starts = tuple(_start(z["start"][i], season) for i in chosen)
        frequency = {12: "MS", 4: "QS", 1: "YS"}[season]
        key = f"monash_{file}_{period}"
        return ForecastSet(name, SINGLE, horizon, 1, season, season, frequency, key, series, starts)

    return of


def _known(values: np.ndarray) -> np.ndarray:
    """NaN for missing values: R's own are NaNs at which arithmetic warns."""
    return np.where(np.isnan(values), np.nan, values.astype(float))


def _ragged(values: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    return np.split(values, np.cumsum(lengths)[:-1])


def _start(year: float, season: int) -> datetime:
    """The first step of a year with a fraction. 1 stands for an unknown year: 1900 here."""
    whole = math.floor(year + 1e-6)
    month = 1 + round((year - whole) * season) * (12 // season)
    return datetime(whole if whole > 1 else 1900, month, 1)


SETS: dict[str, Callable[[str, Path], ForecastSet]] = {
    "exchange_rate": _exchange,
    "etth1": _etth1,
    "m4_hourly": _m4_hourly,
    "car_parts": _car_parts,
    "tourism_monthly": _competition("tourism", "monthly"),
    "tourism_quarterly": _competition("tourism", "quarterly"),
    "nn5_daily": _nn5,
    "m3_monthly": _competition("m3", "monthly"),
    "m3_quarterly": _competition("m3", "quarterly"),
    "m3_yearly": _competition("m3", "yearly"),
}


def published_naive(data: ForecastSet) -> np.ndarray:
    """(N, W, 9, H) quantiles of the published seasonal naive."""
    return seasonal_naive(data, data.published_season, LEVELS, normal=data.protocol == GIFT)


def seasonal_naive(
    data: ForecastSet, season: int, levels: np.ndarray, normal: bool = True
) -> np.ndarray:
    """(N, W, Q, H) quantiles: the last season again, with normal intervals or as a point.

    At step h of the horizon, with seasons of m steps, the standard deviation is
    sigma sqrt(1 + floor((h - 1) / m)), sigma the root mean square of the differences over a season,
    as statsforecast has it. A gap is filled with the value before it, one at the start of the last
    season with 0.
    """
    ahead = np.arange(data.horizon)
    z = np.array([[NormalDist().inv_cdf(q) if normal else 0.0] for q in levels])
    rows = []
    for window in range(data.windows):
        for history in data.cut(window)[0]:
            x = pd.Series(history).ffill().to_numpy()
            errors = x[season:] - x[:-season]
            squares = errors[np.isfinite(errors)] ** 2
            sigma = np.sqrt((squares.mean() if squares.size else 0) * (1 + ahead // season))
            rows.append(np.nan_to_num(x[len(x) - season :][ahead % season]) + z * sigma)
    shape = data.windows, len(data.series), len(levels), data.horizon
    return np.stack(rows).reshape(shape).swapaxes(0, 1)


def published(data: ForecastSet, folder: Path, metric: str = "wql") -> dict[str, float]:
    """Published figures by method, {} where the folder has none; `best trained (NAME)` and
    `best zero-shot (NAME)` are the best that learnt from the set and that did not."""
    if data.protocol == GIFT:
        rows = _rows(folder / "gift_eval_short.csv")
        code = {"wql": "CRPS", "mase": "MASE"}[metric]
        row = next((r for r in rows if (r["k"], r["ds"]) == (code, data.key)), None)
        if row is None:
            return {}
        names = {
            "seasonal naive": "snaive",
            "best statistical": "stat",
            "DeepAR": "deepar",
            f"best trained ({row['dlm']})": "dl",
            f"best zero-shot ({row['zsm']})": "zs",
        }
        return {name: float(row[column]) for name, column in names.items()}
    rows = _rows(folder / "single_window_wql.csv") if metric == "wql" else []
    row = next((r for r in rows if r.pop("key") == data.key), None)
    if row is None:
        return {}
    figures = {"seasonal naive": float(row.pop("seasonal_naive"))}
    figures |= {name: float(row.pop(column)) for name, column in STATISTICAL.items()}
    best = min(row, key=lambda name: float(row[name]))
    return figures | {f"best zero-shot ({best})": float(row[best])}


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
