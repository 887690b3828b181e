"""Frequencies and regular grids: steps that are absent from a series, and those that follow.

A data set has one frequency: a pandas alias for timestamps, the stride for integer steps, None
where its steps are irregular. Whether a series lies on that grid is decided by its own steps alone,
so that a series is read the same beside any others. A series that does not lie on it goes by its
own frequency, and one that has none keeps its steps as they are.
"""

import re
import warnings
from collections.abc import Iterator
from collections.abc import Sequence as Seq
from functools import lru_cache

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from seqlatent.data.steps import show_step
from seqlatent.errors import InputError

Frequency = str | int | None

# At most this share of a series' grid may be absent and filled in as missing values.
MAX_ABSENT = 0.1
CALENDAR_FREQUENCIES = ("MS", "ME", "QS", "QE", "YS", "YE")
# Steps are compared as 64-bit integers, timestamps as nanoseconds.
UNITS = {
    "D": 24 * 3600 * 10**9,
    "h": 3600 * 10**9,
    "min": 60 * 10**9,
    "s": 10**9,
    "ms": 10**6,
    "us": 10**3,
    "ns": 1,
}
ONE_DAY = UNITS["D"]


def common_frequency(steps: Seq[np.ndarray]) -> Frequency:
    """The frequency that series share.

    The candidates are the frequency that pandas infers from the longest series, the calendar's
    months, quarters and years, the most common difference, and business days. The answer is the
    candidate that most steps go by, if at least half of them do.

    Args:
        steps: each series' strictly increasing steps, all timestamps or all integers.
    """
    # A single step lies on any grid.
    steps = [s for s in steps if len(s) > 1]
    if not steps:
        return None
    stride = _most_common(np.concatenate([np.diff(_ticks(s)) for s in steps]))
    total = sum(len(s) for s in steps)
    best, most = None, 0
    for frequency in _candidates(steps, stride) if steps[0].dtype.kind == "M" else [stride]:
        count = sum(len(s) for s in steps if goes_by(s, frequency))
        if count > most:
            best, most = frequency, count
        if count == total:
            break
    return best if 2 * most >= total else None


def frequency_of(steps: np.ndarray, frequency: Frequency) -> Frequency:
    """The frequency of one series: its data set's if it goes by that, and otherwise its own."""
    return frequency if goes_by(steps, frequency) else common_frequency([steps])


def goes_by(steps: np.ndarray, frequency: Frequency) -> bool:
    """Whether a series' (T,) steps all lie on the grid of a frequency, with few of it absent."""
    if frequency is None or isinstance(frequency, str) != (steps.dtype.kind == "M"):
        return False
    if len(steps) == 1:
        return True
    ticks = _ticks(steps)
    stride = stride_of(frequency)
    if stride is not None:
        length = int(ticks[-1] - ticks[0]) // stride + 1
        return _few_absent(len(steps), length) and not ((ticks - ticks[0]) % stride).any()
    # A grid that is much longer than the series is not worth making.
    if (ticks[-1] - ticks[0]) // _typical_stride(str(frequency)) > 2 * len(steps):
        return False
    grid = _calendar_grid(steps[0], steps[-1], str(frequency))
    return _few_absent(len(steps), len(grid)) and bool(np.isin(steps, grid).all())


def _few_absent(count: int, length: int) -> bool:
    return 0 <= length - count <= MAX_ABSENT * length


def grid_of(steps: np.ndarray, frequency: Frequency) -> np.ndarray:
    """A series' (T,) steps with the absent ones between them, by `frequency_of`; the steps as they
    are where that is None."""
    own = frequency_of(steps, frequency)
    if own is None or len(steps) == 1:
        return steps
    stride = stride_of(own)
    if stride is None:
        return _calendar_grid(steps[0], steps[-1], str(own))
    ticks = _ticks(steps)
    # arange counts its steps in double precision: let it count from 0.
    count = (ticks[-1] - ticks[0]) // stride + 1
    grid = ticks[0] + stride * np.arange(count)
    return grid.view("datetime64[ns]") if steps.dtype.kind == "M" else grid


def steps_after(ds: np.ndarray, prediction_length: int, frequency: Frequency) -> np.ndarray:
    """The steps that follow a series' last one.

    They follow `frequency_of`. Irregular integers continue with their most common difference,
    irregular timestamps with their median difference. A single step without a frequency is followed
    by the next integer or the next day.

    Args:
        ds: (T,) strictly increasing steps, `datetime64[ns]` or `int64`.
        prediction_length: H.
        frequency: of the data set.

    Returns:
        (H,) steps of the same type as `ds`.

    Raises:
        InputError: the steps would leave the years 1678-2261 that timestamps can hold.
    """
    last = ds[-1]
    own = frequency_of(ds, frequency)
    differences = np.diff(_ticks(ds))
    if ds.dtype.kind != "M":
        if own is None:
            own = _most_common(differences) if len(differences) else 1
        return last + own * np.arange(1, prediction_length + 1)
    if own is None:
        own = _alias(int(np.median(differences)) if len(differences) else ONE_DAY)
    try:
        # One more than asked for: the first is the last step itself where that is on the grid.
        following = pd.date_range(last, periods=prediction_length + 1, freq=str(own))
        following = following[following > last][:prediction_length].as_unit("ns")
    except (pd.errors.OutOfBoundsDatetime, OverflowError):
        raise InputError(
            f"{prediction_length} steps after {show_step(last)} lie beyond the year 2261, the last "
            "that timestamps can hold; shorten the prediction"
        ) from None
    return following.to_numpy()


def _ticks(steps: np.ndarray) -> np.ndarray:
    """(T,) int64: the steps, of timestamps their nanoseconds."""
    return (steps.astype("datetime64[ns]") if steps.dtype.kind == "M" else steps).astype(np.int64)


def _most_common(differences: np.ndarray) -> int:
    values, counts = np.unique(differences, return_counts=True)
    return int(values[np.argmax(counts)])


def _candidates(steps: Seq[np.ndarray], stride: int) -> Iterator[str]:
    """The aliases to try, the likeliest first; stride: the most common difference, nanoseconds."""
    longest = max(steps, key=len)
    if len(longest) >= 3:
        # pandas announces that it will return an offset here in place of its alias.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            inferred = pd.infer_freq(pd.DatetimeIndex(longest))
        if inferred is not None:
            yield str(getattr(inferred, "freqstr", inferred))
    if stride >= 28 * ONE_DAY:
        yield from CALENDAR_FREQUENCIES
    yield _alias(stride)
    if stride == ONE_DAY:
        yield "B"


def _alias(nanoseconds: int) -> str:
    """pandas' alias of a fixed difference, in the largest unit that divides it: `2h`, `D`."""
    unit = next(unit for unit, size in UNITS.items() if nanoseconds % size == 0)
    count = nanoseconds // UNITS[unit]
    return unit if count == 1 else f"{count}{unit}"


def stride_of(frequency: str | int) -> int | None:
    """The fixed difference between steps, in nanoseconds for timestamps; None where months, weeks
    or business days make it vary or tie it to the calendar."""
    if isinstance(frequency, int):
        return frequency
    fixed = re.fullmatch(rf"(\d*)({'|'.join(UNITS)})", frequency)
    return int(fixed[1] or 1) * UNITS[fixed[2]] if fixed else None


@lru_cache
def _typical_stride(frequency: str) -> int:
    """About how many nanoseconds lie between two steps of the calendar."""
    start = pd.Timestamp("2000-01-01").as_unit("s")
    later = start + 10 * to_offset(frequency)
    return int((later - start).total_seconds()) * UNITS["s"] // 10


@lru_cache(maxsize=64)
def _calendar_grid(first: np.datetime64, last: np.datetime64, frequency: str) -> np.ndarray:
    """The steps of the calendar from one to another; many series have the same ones."""
    grid = pd.date_range(first, last, freq=frequency).as_unit("ns").to_numpy()
    grid.flags.writeable = False
    return grid


def absent_step(name: str, series: str, step: object, covariate: str) -> InputError:
    """The error of a step that cannot be filled in, because its covariates are not known."""
    return InputError(
        f"{name}: series '{series}' has no row for step {show_step(step)}; add it, because the "
        f"covariate '{covariate}' must be known at every step"
    )
