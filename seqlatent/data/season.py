"""The seasons of data: after how many steps its pattern repeats.

Timestamps say it by their frequency: hours repeat after a day and a week. For whole numbers, and
where steps have no such name, the seasons are found in the values.

A season m is *found* where the autocorrelation r(k) of the values at the lags m, 2 m, 3 m, 4 m is
higher than short memory explains. What short memory explains is the autocorrelation rho(k) of the
AR(2) process with the same r(1) and r(2): its own waves die out, those of a season do not. Under
that null the r(k) vary as by Bartlett (1946),

    cov(r(j), r(k)) ~ 1/T sum_s rho(s) rho(s + |j - k|)

A series that wanders is differenced first, any other one is freed of its linear trend.
"""

import re
from statistics import NormalDist

import numpy as np

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.grid import ONE_DAY, UNITS
from seqlatent.data.wild import tame

MAX_SERIES, MAX_STEPS = 200, 2_000  # channels and their last steps that are looked at
LEVEL = 0.01  # chance of a false season, over all lags
MIN_STRENGTH = 0.1  # autocorrelation of a season at the least
MIN_STEPS, MIN_PERIODS = 12, 3  # of a series in which a season is found
MIN_RATIO = 5  # of one season to the next shorter one: a day's 24 hours, a week's 7 days
NUM_MULTIPLES = 4  # lags m, 2 m, ... that are looked at
EXACT = 0.8  # autocorrelation at all multiples that no short memory is asked to explain
WANDERS = 0.9  # a real root of AR(2) from here on counts as a random walk's
CALENDAR = {"MS": 12, "ME": 12, "BMS": 12, "BME": 12, "QS": 4, "QE": 4, "BQS": 4, "BQE": 4,
            "W": 52, "B": 5}  # fmt: skip


def season_of(data: SequenceDataset) -> int:
    """The shortest season in steps; 1 where there is none."""
    return next(iter(seasons_of(data)), 1)


def seasons_of(data: SequenceDataset) -> tuple[int, ...]:
    """The seasons of a data set in steps, the shortest first; none is ().

    Timestamps give those of the calendar: of steps below a day the steps of a day and of a week,
    of days 7, of business days 5, of weeks 52, of months 12, of quarters 4. Whole numbers give
    those that are found in the values. Missing values are left out.

    Returns:
        seasons of which at least half of the series hold two.
    """
    if not len(data):
        return ()
    if data.sequences[0].ds.dtype.kind == "M":
        seasons = _of_calendar(data.frequency)
    else:
        seasons = _found(data) if isinstance(data.frequency, int) else ()
    half = float(np.median(data.lengths))
    return tuple(m for m in sorted(seasons) if 2 * m <= half)


def _of_calendar(frequency: object) -> tuple[int, ...]:
    """The seasons of a pandas alias such as `h`, `30min`, `W-SAT`, `QS-OCT`."""
    parts = re.fullmatch(r"(\d*)([A-Za-z]+)(-[A-Z]+)?", str(frequency))
    if parts is None:
        return ()
    count, unit = int(parts[1] or 1), parts[2]
    if unit in CALENDAR:
        season, rest = divmod(CALENDAR[unit], count)
        return (season,) if season > 1 and not rest else ()
    stride = count * UNITS.get(unit, 0)
    if stride in (ONE_DAY, 7 * ONE_DAY):
        return (7,) if stride == ONE_DAY else (52,)
    if not 0 < stride < ONE_DAY:
        return ()
    return tuple(span // stride for span in (ONE_DAY, 7 * ONE_DAY) if span % stride == 0)


def _found(data: SequenceDataset) -> tuple[int, ...]:
    """The seasons that the values show."""
    numeric = [d for d, name in enumerate(data.targets) if name not in data.categories]
    cells = [(s, d) for s in data for d in numeric]
    cells = cells[:: -(-len(cells) // MAX_SERIES) or 1]
    columns = [y for s, d in cells if (y := _prepared(s.x[-MAX_STEPS:, d])) is not None]
    if not columns:
        return ()
    longest = max(len(y) for y in columns)
    num_lags = longest // MIN_PERIODS * 2  # so that twice every season is among them
    weight, r, rho = np.zeros(num_lags + 1), np.zeros(num_lags + 1), np.zeros(num_lags + 1)
    spread = np.zeros(num_lags + 1)  # sum of weight^2 gamma / T, by distance of lags
    for y in columns:
        correlation, pairs = _autocorrelation(y, num_lags)
        implied, gamma = _short_memory(correlation, num_lags)
        seen = np.isfinite(y).sum()
        share = pairs / seen
        weight, r, rho = weight + pairs, r + pairs * correlation, rho + pairs * implied
        spread += (seen * share) ** 2 * gamma / max(1, seen)
    known = weight > 0
    r, rho = (np.divide(v, weight, out=np.zeros_like(v), where=known) for v in (r, rho))
    return _chosen(r, rho, spread, weight, longest)


def _chosen(
    r: np.ndarray, rho: np.ndarray, spread: np.ndarray, weight: np.ndarray, longest: int
) -> tuple[int, ...]:
    """Seasons by (L,) pooled autocorrelations, what short memory explains of them, the variance of
    their sum, and the weights."""
    largest = longest // MIN_PERIODS
    threshold = NormalDist().inv_cdf(1 - LEVEL / max(1, largest))
    records: list[tuple[int, float]] = []
    for m in range(2, largest + 1):
        if r[m] < max(r[m - 1], r[m + 1], MIN_STRENGTH):
            continue
        lags = m * np.arange(1, NUM_MULTIPLES + 1)
        lags = lags[lags < len(r)]
        distance = np.abs(lags[:, None] - lags)
        error = np.sqrt(max(0.0, spread[distance].mean())) / weight[lags].mean()
        excess = r[lags] - rho[lags]
        surprising = excess.mean() > threshold * error
        lasting = excess[1] > 0.5 * excess[0] > 0 and r[lags].min() > 0
        exact = r[m : longest // 2 + 1 : m].min() > EXACT
        if not ((surprising and lasting) or exact):
            continue
        near = range(max(2, m - max(1, m // 12)), min(largest, m + max(1, m // 12)) + 1)
        m = max(near, key=lambda k: r[k : longest // 2 + 1 : k].mean())
        strength = float(r[m * np.arange(1, len(lags) + 1).clip(max=(len(r) - 1) // m)].mean())
        margin = MIN_STRENGTH + min(error, MIN_STRENGTH)
        if strength > max((s for _, s in records), default=0.0) + margin:
            # What comes back stronger after a few times m was a part of that longer season.
            records = [(k, s) for k, s in records if m >= MIN_RATIO * k and s > strength / 2]
            records.append((m, strength))
    return tuple(m for m, _ in records)


def _prepared(x: np.ndarray) -> np.ndarray | None:
    """(T,) values of mean 0 and variance 1, without a trend, differenced where they wander; None
    where too few are there, or they are constant."""
    if np.isfinite(x).sum() < max(MIN_STEPS, len(x) // 2):
        return None
    x = tame([x])[0]
    level = _standard(_without_trend(x))
    if level is None:
        return None
    correlation, _ = _autocorrelation(level, 2)
    a, b = _yule_walker(correlation)
    roots = np.roots([1.0, -a, -b])
    wanders = np.isreal(roots).all() and roots.real.max() > WANDERS
    return _standard(np.diff(x)) if wanders else level


def _without_trend(x: np.ndarray) -> np.ndarray:
    t, seen = np.linspace(-1, 1, len(x)), np.isfinite(x)
    return x - np.polynomial.Polynomial.fit(t[seen], x[seen], 1)(t)


def _standard(y: np.ndarray) -> np.ndarray | None:
    """Mean 0 and variance 1, far values drawn in so that a few do not decide."""
    if not np.isfinite(y).any():
        return None
    y = y - np.nanmean(y)
    scale = float(np.nanstd(y))
    if scale < 1e-10 * max(1.0, float(np.nanmax(np.abs(y)))):
        return None
    y = np.clip(y / scale, -5, 5)
    y = y - np.nanmean(y)
    return y / np.nanstd(y)


def _autocorrelation(y: np.ndarray, num_lags: int) -> tuple[np.ndarray, np.ndarray]:
    """(L + 1,) autocorrelations at lags 0, ..., L, over the pairs that are there, and their
    number; 0 where there are none."""
    seen = np.isfinite(y)
    size = 2 * max(len(y), num_lags + 1)

    def products(values: np.ndarray) -> np.ndarray:
        power = np.abs(np.fft.rfft(values, size)) ** 2
        return np.fft.irfft(power, size)[: num_lags + 1]

    pairs = np.round(products(seen.astype(float)))
    pairs[len(y) :] = 0
    total = products(np.where(seen, y, 0.0))
    mean = np.divide(total, pairs, out=np.zeros_like(total), where=pairs > 0)
    return mean / mean[0], pairs


def _yule_walker(r: np.ndarray) -> tuple[float, float]:
    """The coefficients of the AR(2) process with the autocorrelations r(1), r(2)."""
    r1 = float(np.clip(r[1], -0.999, 0.999))
    # inside the region of stationary processes
    r2 = float(np.clip(r[2], 2 * r1**2 - 1 + 1e-4, 0.9999))
    return r1 * (1 - r2) / (1 - r1**2), (r2 - r1**2) / (1 - r1**2)


def _short_memory(r: np.ndarray, num_lags: int) -> tuple[np.ndarray, np.ndarray]:
    """rho(k) of the AR(2) process with r(1) and r(2), and gamma(k) = sum_s rho(s) rho(s + k)."""
    a, b = _yule_walker(r)
    rho = np.ones(num_lags + 1)
    rho[1] = a / (1 - b)
    for k in range(2, num_lags + 1):
        rho[k] = a * rho[k - 1] + b * rho[k - 2]
    both = np.concatenate([rho[:0:-1], rho])
    size = 2 * len(both)
    power = np.abs(np.fft.rfft(both, size)) ** 2
    return rho, np.fft.irfft(power, size)[: num_lags + 1]
