"""The time axis: reading steps, finding their frequency, filling gaps, and what comes next."""

import logging
import warnings
from collections.abc import Iterator
from collections.abc import Sequence as Seq

import numpy as np
import pandas as pd
from pandas.api import types

from seqlatent.data.columns import Rows, missing_cells
from seqlatent.errors import InputError

logger = logging.getLogger("seqlatent")

# At most this share of a data set's steps may be absent and filled in as missing values.
MAX_ABSENT = 0.1
# Whole numbers up to this size are exact in double precision, and their sums cannot overflow.
MAX_STEP = 2**53
DATES = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%b %Y", "%d %b %Y")
TIMES = ("", " %H:%M", " %H:%M:%S")
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


def read_steps(column: pd.Series, rows: Rows) -> np.ndarray:
    """(R,) steps: `datetime64[ns]` without time zone (in UTC where there was one), or `int64`.

    Raises:
        InputError: naming the first cell that is missing or neither a time nor a whole number.
    """
    name = str(column.name)
    missing = missing_cells(column)
    if missing.any():
        raise InputError(
            f"{rows.at(name, int(np.argmax(missing)))} is empty; each row needs a time"
        )
    if isinstance(column.dtype, (pd.CategoricalDtype, pd.ArrowDtype)):
        column = column.astype(object)
    column = column.infer_objects()
    if isinstance(column.dtype, pd.PeriodDtype):
        column = column.dt.to_timestamp()
    if isinstance(column.dtype, pd.DatetimeTZDtype) and str(column.dtype.tz) != "UTC":
        logger.info("%s: times of column '%s' are taken in UTC", rows.name, name)
    if isinstance(column.dtype, pd.DatetimeTZDtype) or types.is_datetime64_dtype(column.dtype):
        return _nanoseconds(pd.to_datetime(column, utc=True), column, rows)
    if types.is_numeric_dtype(column.dtype) and not types.is_bool_dtype(column.dtype):
        return _whole_numbers(column, column, rows)
    if types.is_object_dtype(column.dtype) or types.is_string_dtype(column.dtype):
        return _from_text(column, rows)
    raise InputError(
        f"{rows.name}: column '{name}' holds {column.dtype}, neither times nor whole numbers"
    )


def holds_times(column: pd.Series) -> bool:
    """Whether a column of text or timestamps is one of times, judged by its first rows."""
    if isinstance(column.dtype, pd.DatetimeTZDtype) or types.is_datetime64_dtype(column.dtype):
        return True
    if not (types.is_object_dtype(column.dtype) or types.is_string_dtype(column.dtype)):
        return False
    text = column.iloc[:100].astype(str).str.strip()
    if not text.str.contains(r"\d").all():
        return False
    times = pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")
    return not times.isna().any() or next(_readings(text), None) is not None


def _from_text(column: pd.Series, rows: Rows) -> np.ndarray:
    text = column.astype(str).str.strip()
    # pandas would read these two words as the time at which the program runs.
    text = text.mask(text.str.lower().isin(["now", "today"]), "not a time")
    times = pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")
    if not times.isna().any():
        return _nanoseconds(times, column, rows)
    numbers = pd.Series(pd.to_numeric(text, errors="coerce"))
    if not numbers.isna().any():
        return _whole_numbers(numbers, column, rows)
    readings = list(_readings(text))
    if not readings:
        # Neither way reads every cell: show the one that spoils the better of the two.
        unread = min((times.isna(), numbers.isna()), key=lambda bad: int(bad.sum()))
        raise _not_a_time(column, int(np.argmax(unread.to_numpy(dtype=bool))), rows)
    if not all(reading.equals(readings[0]) for reading in readings):
        raise InputError(
            f"{rows.name}: column '{column.name}' has dates such as '{text.iloc[0]}' whose day and "
            "month cannot be told apart; write them like 2024-01-31"
        )
    return _nanoseconds(readings[0], column, rows)


def _readings(text: pd.Series) -> Iterator[pd.Series]:
    """The texts by every common format that fits them all."""
    for date in DATES:
        for time in TIMES:
            form = date + time
            first = pd.to_datetime(text.iloc[:1], format=form, utc=True, errors="coerce")
            if first.isna().any():
                continue
            times = pd.to_datetime(text, format=form, utc=True, errors="coerce")
            if not times.isna().any():
                yield times


def _nanoseconds(times: pd.Series, column: pd.Series, rows: Rows) -> np.ndarray:
    # Whole years inside what 64 bits of nanoseconds can hold.
    outside = ~times.dt.year.between(1678, 2261).to_numpy()
    if outside.any():
        row = int(np.argmax(outside))
        raise InputError(
            f"{rows.quote(column, row)} is outside the years "
            "1678-2261; use whole numbers such as the year as steps"
        )
    return times.dt.tz_localize(None).dt.as_unit("ns").to_numpy()


def _whole_numbers(numbers: pd.Series, column: pd.Series, rows: Rows) -> np.ndarray:
    if types.is_complex_dtype(numbers.dtype):
        raise InputError(f"{rows.name}: column '{column.name}' holds complex numbers, not times")
    values = numbers.to_numpy(dtype=np.float64)
    bad = ~((np.abs(values) <= MAX_STEP) & (values == np.round(values)))
    if bad.any():
        raise _not_a_time(column, int(np.argmax(bad)), rows)
    return values.astype(np.int64)


def _not_a_time(column: pd.Series, row: int, rows: Rows) -> InputError:
    return InputError(
        f"{rows.quote(column, row)} is not a time; write it like "
        "2024-01-31 or 2024-01-31 13:00, or use whole numbers"
    )


def show_step(step: object) -> str:
    """A step as messages write it."""
    return str(pd.Timestamp(step)) if isinstance(step, np.datetime64) else str(step)


def regular_steps(steps: Seq[np.ndarray], name: str) -> tuple[list[np.ndarray], str | None]:
    """The steps on the regular grid that they share, with absent ones filled in.

    The grid is that of the frequency pandas infers, else of the most common difference, else of
    the calendar's months, quarters, years or business days: the first on which every step lies
    and at most a tenth of whose steps are absent. Where there is none the steps are irregular
    and come back as they are.

    Args:
        steps: each sequence's strictly increasing steps, all timestamps or all integers.
        name: what messages call the data.

    Returns:
        Each sequence's steps, and the frequency: None for integer or irregular steps.
    """
    timestamps = steps[0].dtype.kind == "M"
    ticks = [s.astype(np.int64) for s in steps]
    differences = np.concatenate([np.diff(t) for t in ticks])
    if len(differences) == 0:
        return list(steps), None
    stride = _most_common(differences)
    count = sum(len(s) for s in steps)
    # A grid twice as long as the data cannot be the one, and may not fit into memory.
    if sum(int(t[-1] - t[0]) // stride for t in ticks) <= 2 * count:
        for frequency in _frequencies(steps, stride) if timestamps else [None]:
            grids = [_grid(s, frequency, stride) for s in steps]
            total = sum(len(grid) for grid in grids)
            if count >= (1 - MAX_ABSENT) * total and all(map(_lies_on, steps, grids)):
                return grids, frequency
    logger.warning("%s: the steps are irregular; they are kept as they are", name)
    return list(steps), None


def _most_common(differences: np.ndarray) -> int:
    values, counts = np.unique(differences, return_counts=True)
    return int(values[np.argmax(counts)])


def _frequencies(steps: Seq[np.ndarray], stride: int) -> Iterator[str]:
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


def _grid(steps: np.ndarray, frequency: str | None, stride: int) -> np.ndarray:
    if frequency is None:
        return np.arange(steps[0], steps[-1] + 1, stride)
    return pd.date_range(steps[0], steps[-1], freq=frequency).as_unit("ns").to_numpy()


def _lies_on(steps: np.ndarray, grid: np.ndarray) -> bool:
    if len(grid) < len(steps):
        return False
    return bool((grid[np.searchsorted(grid, steps).clip(max=len(grid) - 1)] == steps).all())


def steps_after(ds: np.ndarray, prediction_length: int, frequency: str | None) -> np.ndarray:
    """The steps that follow a sequence's last one.

    Without a frequency, integers go on by their most common difference and irregular timestamps
    by their median one; a single step is followed by the next integer or the next day.

    Args:
        ds: (T,) strictly increasing steps, `datetime64[ns]` or `int64`.
        prediction_length: H.
        frequency: pandas offset alias, for timestamps.

    Returns:
        (H,) steps of the same type as `ds`.

    Raises:
        InputError: the steps would leave the years 1678-2261 that timestamps can hold.
    """
    last = ds[-1]
    differences = np.diff(ds.astype(np.int64))
    if ds.dtype.kind != "M":
        stride = _most_common(differences) if len(differences) else 1
        return last + stride * np.arange(1, prediction_length + 1)
    if frequency is None:
        frequency = _alias(int(np.median(differences)) if len(differences) else ONE_DAY)
    try:
        # One more than asked for: the first is the last step itself where that is on the grid.
        following = pd.date_range(last, periods=prediction_length + 1, freq=frequency)
        following = following[following > last][:prediction_length].as_unit("ns")
    except (pd.errors.OutOfBoundsDatetime, OverflowError):
        raise InputError(
            f"{prediction_length} steps after {show_step(last)} lie beyond the year 2261, the last "
            "that timestamps can hold; shorten the prediction"
        ) from None
    return following.to_numpy()
