"""The time axis: reading steps from a column, and writing them in messages."""

import logging
from collections.abc import Iterator

import numpy as np
import pandas as pd
from pandas.api import types

from seqlatent.data.columns import Rows, missing_cells
from seqlatent.errors import InputError

logger = logging.getLogger("seqlatent")

# Whole numbers up to this size are exact in double precision, and their sums cannot overflow.
MAX_STEP = 2**53
FIRST_TIME, END_OF_TIME = pd.Timestamp("1678-01-01"), pd.Timestamp("2262-01-01")
DATES = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%b %Y", "%d %b %Y")
TIMES = ("", " %H:%M", " %H:%M:%S")
OFFSET = r":\d\d.*[-+](?!00:?00$)\d\d(?::?\d\d)?$"  # of a time zone other than UTC


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
        return _nanoseconds(column, column, rows)
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
    text = _as_text(column.iloc[:100]).str.strip()
    if not text.str.contains(r"\d").all():
        return False
    times = pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")
    return not times.isna().any() or next(_readings(text), None) is not None


def _as_text(column: pd.Series) -> pd.Series:
    """The cells as text; bytes, which may be no text, as Python writes them."""
    if types.is_object_dtype(column.dtype):
        column = column.map(lambda cell: repr(cell) if isinstance(cell, bytes) else cell)
    return column.astype(str)


def _from_text(column: pd.Series, rows: Rows) -> np.ndarray:
    # A time that many series have is read once.
    codes, texts = pd.factorize(_as_text(column))
    text = pd.Series(texts).str.strip()
    # pandas would read these two words as the time at which the program runs.
    text = text.mask(text.str.lower().isin(["now", "today"]), "not a time")
    times = pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")
    if not times.isna().any():
        if text.str.contains(OFFSET).any():
            logger.info("%s: times of column '%s' are taken in UTC", rows.name, column.name)
        return _nanoseconds(times.take(codes), column, rows)
    numbers = pd.Series(pd.to_numeric(text, errors="coerce"))
    if not numbers.isna().any():
        return _whole_numbers(numbers.take(codes), column, rows)
    readings = list(_readings(text))
    if not readings:
        # Neither way reads every cell: show the one that spoils the better of the two.
        ways = [way.isna().to_numpy(dtype=bool)[codes] for way in (times, numbers)]
        raise _not_a_time(column, int(np.argmax(min(ways, key=np.count_nonzero))), rows)
    if not all(reading.equals(readings[0]) for reading in readings):
        raise InputError(
            f"{rows.name}: column '{column.name}' has dates such as '{text.iloc[0]}' whose day and "
            "month cannot be told apart; write them like 2024-01-31"
        )
    return _nanoseconds(readings[0].take(codes), column, rows)


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
    if isinstance(times.dtype, pd.DatetimeTZDtype):
        times = times.dt.tz_convert(None)
    # Whole years inside what 64 bits of nanoseconds can hold.
    outside = ((times < FIRST_TIME) | (times >= END_OF_TIME)).to_numpy(dtype=bool)
    if outside.any():
        row = int(np.argmax(outside))
        raise InputError(
            f"{rows.quote(column, row)} is outside the years "
            "1678-2261; use whole numbers such as the year as steps"
        )
    return times.to_numpy(dtype="datetime64[ns]")


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
