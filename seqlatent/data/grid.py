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
    """The frequency that series share; see `shared_frequency`.

    Args:
        steps: each series' strictly increasing steps, all timestamps or all integers.
    """
    lengths = np.array([len(s) for s in steps], dtype=np.int64)
    return shared_frequency(np.concatenate(steps), lengths) if len(steps) else None


def shared_frequency(steps: np.ndarray, lengths: np.ndarray) -> Frequency:
    """The frequency that the series of a table share.

    The candidates are the frequency that pandas infers from the longest series, the calendar's
    months, quarters and years, the most common difference, and business days. The answer is the
    candidate that most steps go by, if at least half of them do.

    Args:
        steps: (R,) the steps of one series after another, strictly increasing within each.
        lengths: (N,) how many steps each series has.
    """
    # A single step lies on any grid.
    counts = np.where(lengths > 1, lengths, 0)
    total = int(counts.sum())
    if not total:
        return None
    ends = np.cumsum(lengths)
    stride = _most_common(np.delete(np.diff(_ticks(steps)), ends[:-1] - 1))
    i = int(np.argmax(lengths))
    longest = steps[ends[i] - lengths[i] : ends[i]]
    best, most = None, 0
    for frequency in _candidates(longest, stride) if steps.dtype.kind == "M" else [stride]:
        count = int(counts[going_by(steps, lengths, frequency)].sum())
        if count > most:
            best, most = frequency, count
        if count == total:
            break
    return best if 2 * most >= total else None


def frequency_of(steps: np.ndarray, frequency: Frequency) -> Frequency:
    """The frequency of one series: its data set's if it goes by that, and otherwise its own."""
    return frequency if goes_by(steps, frequency) else common_frequency([steps])


def frequencies_of(steps: np.ndarray, lengths: np.ndarray, frequency: Frequency) -> np.ndarray:
    """(N,) objects: `frequency_of` every series of a table; for R and N see `shared_frequency`."""
    own = np.full(len(lengths), frequency, dtype=object)
    ends = np.cumsum(lengths)
    for i in np.flatnonzero(~going_by(steps, lengths, frequency)):
        own[i] = common_frequency([steps[ends[i] - lengths[i] : ends[i]]])
    return own


def goes_by(steps: np.ndarray, frequency: Frequency) -> bool:
    """Whether a series' (T,) steps all lie on the grid of a frequency, with few of it absent."""
    return bool(going_by(steps, np.array([len(steps)]), frequency)[0])


def going_by(steps: np.ndarray, lengths: np.ndarray, frequency: Frequency) -> np.ndarray:
    """(N,) bool: which series of a table go by a frequency; for R and N see `shared_frequency`."""
    if frequency is None or isinstance(frequency, str) != (steps.dtype.kind == "M"):
        return np.zeros(len(lengths), dtype=bool)
    ticks, ends = _ticks(steps), np.cumsum(lengths)
    first, last = ticks[ends - lengths], ticks[ends - 1]
    stride = stride_of(frequency)
    if stride is not None:
        # One step after another: those between series are looked at in vain, and left out.
        off = np.flatnonzero((np.diff(ticks) - stride) != 0)
        off = off[(ticks[off + 1] - ticks[off]) % stride != 0]
        bad = np.searchsorted(ends, off, side="right")
        bad = bad[off + 1 < ends[bad]]
        going = _few_absent(lengths, (last - first) // stride + 1)
        going[bad] = False
        return going
    going = lengths == 1
    # A grid that is much longer than the series is not worth making.
    short = (last - first) // _typical_stride(str(frequency)) <= 2 * lengths
    possible = np.flatnonzero(short & ~going)
    for chosen, calendar in _calendars(first[possible], last[possible], str(frequency)):
        chosen = possible[chosen]
        counts = np.searchsorted(calendar, last[chosen]) - np.searchsorted(calendar, first[chosen])
        going[chosen] = _few_absent(lengths[chosen], counts + 1)
        rows, owner = _rows_of(chosen, lengths)
        _, on = _look_up(calendar, ticks[rows])
        going[owner[~on]] = False
    return going


def _rows_of(chosen: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows of some series of a table, and the series of each of these rows."""
    owner = np.repeat(chosen, lengths[chosen])
    starts = np.cumsum(lengths) - lengths
    before = np.cumsum(lengths[chosen]) - lengths[chosen]
    return np.arange(len(owner)) + np.repeat(starts[chosen] - before, lengths[chosen]), owner


def _few_absent(count: np.ndarray, length: np.ndarray) -> np.ndarray:
    return (length >= count) & (length - count <= MAX_ABSENT * length)


def grid_of(steps: np.ndarray, frequency: Frequency) -> np.ndarray:
    """A series' (T,) steps with the absent ones between them, by `frequency_of`; the steps as they
    are where that is None."""
    own = np.array([frequency_of(steps, frequency)], dtype=object)
    return longer_grids(steps, np.array([len(steps)]), own).get(0, steps)


def longer_grids(
    steps: np.ndarray, lengths: np.ndarray, frequencies: np.ndarray
) -> dict[int, np.ndarray]:
    """The grids of those series of a table that lack steps of it.

    Args:
        steps: (R,) the steps of one series after another.
        lengths: (N,) how many steps each series has.
        frequencies: (N,) that they go by, as `frequencies_of` gives them.
    """
    ticks, ends = _ticks(steps), np.cumsum(lengths)
    first, last = ticks[ends - lengths], ticks[ends - 1]
    grids: dict[int, np.ndarray] = {}
    codes, found = pd.factorize(frequencies)
    for code, frequency in enumerate(found):
        own = np.flatnonzero(codes == code)
        stride = stride_of(frequency)
        if stride is not None:
            counts = (last[own] - first[own]) // stride + 1
            for i, count in zip(
                own[counts > lengths[own]], counts[counts > lengths[own]], strict=True
            ):
                # arange counts its steps in double precision: let it count from 0.
                grids[int(i)] = (first[i] + stride * np.arange(count)).view(steps.dtype)
            continue
        for chosen, calendar in _calendars(first[own], last[own], str(frequency)):
            chosen = own[chosen]
            begin = np.searchsorted(calendar, first[chosen])
            end = np.searchsorted(calendar, last[chosen]) + 1
            for i in np.flatnonzero(end - begin > lengths[chosen]):
                grids[int(chosen[i])] = calendar[begin[i] : end[i]].view("datetime64[ns]")
    return grids


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


def _candidates(longest: np.ndarray, stride: int) -> Iterator[str]:
    """The aliases to try, the likeliest first; stride: the most common difference, nanoseconds."""
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


def _calendars(
    first: np.ndarray, last: np.ndarray, frequency: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A few long calendars in place of one for each series.

    A calendar goes from step to step, so that the one from any of its steps on is its own end.
    Series that overlap share one, unless they differ in the time of day, or in the phase where a
    frequency leaves out months. It is as long as the series that share it together at the most.

    Args:
        first, last: (N,) the first and last step of each series, nanoseconds.

    Yields:
        the indices of some series, and (L,) nanoseconds, the steps of the calendar from the
        earliest of them on. A series that begins between the steps of the calendar has none.
    """
    offset = to_offset(frequency)
    days, places = np.unique(first, return_inverse=True)
    on = np.array([offset.is_on_offset(day) for day in pd.DatetimeIndex(days)], dtype=bool)
    found = np.flatnonzero(on[places])
    times = first % ONE_DAY
    found = found[np.lexsort((first[found], times[found]))]
    for alike in np.split(found, np.flatnonzero(np.diff(times[found])) + 1):
        reached = np.maximum.accumulate(last[alike])
        for rest in np.split(alike, np.flatnonzero(first[alike][1:] > reached[:-1]) + 1):
            while len(rest):
                calendar = _calendar(int(first[rest[0]]), int(last[rest].max()), frequency)
                _, belongs = _look_up(calendar, first[rest])
                yield rest[belongs], calendar
                rest = rest[~belongs]


@lru_cache(maxsize=64)
def _calendar(first: int, last: int, frequency: str) -> np.ndarray:
    """(L,) the steps of the calendar from one of them to another, nanoseconds."""
    steps = pd.date_range(pd.Timestamp(first), pd.Timestamp(last), freq=frequency)
    ticks = steps.as_unit("ns").to_numpy().view(np.int64)
    ticks.flags.writeable = False
    return ticks


def _look_up(calendar: np.ndarray, ticks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where steps stand in a calendar, and whether they are in it."""
    places = np.minimum(np.searchsorted(calendar, ticks), len(calendar) - 1)
    return places, calendar[places] == ticks


def absent_step(name: str, series: str, step: object, covariate: str) -> InputError:
    """The error of a step that cannot be filled in, because its covariates are not known."""
    return InputError(
        f"{name}: series '{series}' has no row for step {show_step(step)}; add it, because the "
        f"covariate '{covariate}' must be known at every step"
    )
