"""Cells of a table: names, numbers and labels, and where the bad ones are."""

import re
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandas.api import types

from seqlatent.errors import InputError, did_you_mean

CODE = re.compile(r"0\d+")
# A decimal comma, or one between thousands: 1,200 may be either.
COMMA = re.compile(r"[-+]?[\d.,' ]*\d,\d+(\.\d*)?")
MISSING = ("", "NA", "NaN", "nan", "null", "None")
MAX_LABELS = 1000
# Squares and sums of squares of values up to this size stay finite in single precision's range
# after scaling, and in double precision before it.
MAX_MAGNITUDE = 1e30


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a table, for messages: the table's name, and the series of each row.

    Attributes:
        name: the table, as messages call it.
        codes: (R,) index into `unique_ids` of each row.
        unique_ids: the series, in the order of their first rows.
    """

    name: str
    codes: np.ndarray
    unique_ids: tuple[str, ...]

    def at(self, column: str, row: int) -> str:
        """The beginning of a message about one cell; rows of data count from 1."""
        series = self.unique_ids[self.codes[row]]
        return f"{self.name}: series '{series}', column '{column}', row {row + 1}"

    def quote(self, column: pd.Series, row: int) -> str:
        """`at`, and what the cell holds, on one line of moderate length."""
        text = " ".join(str(column.iloc[row]).split())
        text = text if len(text) <= 40 else text[:37] + "..."
        return f"{self.at(str(column.name), row)}: '{text}'"


def named_columns(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """The frame with its columns' names as text; dates in its index become a column `ds`.

    Raises:
        InputError: two columns have one name, the index has several levels, or there are no rows.
    """
    if isinstance(frame.index, pd.MultiIndex):
        raise InputError(
            f"{name}: the index has several levels, which would be lost; make columns of them with "
            "reset_index()"
        )
    frame = frame.copy(deep=False)
    frame.columns = [str(column) for column in frame.columns]
    if isinstance(frame.index, (pd.DatetimeIndex, pd.PeriodIndex)) and "ds" not in frame.columns:
        frame.insert(0, "ds", frame.index)
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise InputError(f"{name}: two columns are named '{repeated[0]}'; rename one of them")
    if len(frame) == 0:
        raise InputError(f"{name} has a header but no rows")
    return frame.reset_index(drop=True)


def require_column(column: str, columns: Collection[str], role: str, name: str) -> None:
    """Raise InputError, with the nearest name there is, unless the column exists."""
    if column not in columns:
        raise InputError(f"{name} has no {role} column '{column}'{did_you_mean(column, columns)}")


def series_rows(frame: pd.DataFrame, id_column: str, name: str) -> Rows:
    """The series of each row; a table without an id column is the one series "series".

    Raises:
        InputError: a row without an id, or with one that is no name.
    """
    if id_column not in frame.columns:
        return Rows(name, np.zeros(len(frame), dtype=np.int64), ("series",))
    try:
        codes, uniques = pd.factorize(frame[id_column])
    except TypeError:
        raise InputError(f"{name}: column '{id_column}' holds lists, not series names") from None
    ids = [id_text(unique) for unique in np.asarray(uniques, dtype=object)]
    blank = np.array([not unique_id.strip() for unique_id in ids], dtype=bool)
    missing = (codes < 0) | np.append(blank, True)[codes]
    if missing.any():
        row = int(np.argmax(missing)) + 1
        raise InputError(
            f"{name}: row {row} has no series name in column '{id_column}'; fill it in or drop it"
        )
    # 1 and "1" in one column of mixed types are the same series.
    merged, names = pd.factorize(np.array(ids, dtype=object))
    return Rows(name, merged[codes], tuple(str(n) for n in names))


def id_text(value: object) -> str:
    """A name as text: 1.0 is "1"."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    if isinstance(value, (pd.Timestamp, np.datetime64)):
        return str(pd.Timestamp(value)).removesuffix(" 00:00:00")
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)


def missing_cells(column: pd.Series) -> np.ndarray:
    """(R,) bool: empty, not-a-number, or one of the words for a missing value."""
    missing = column.isna().to_numpy(dtype=bool)
    if isinstance(column.dtype, pd.StringDtype):
        codes, texts = pd.factorize(column)  # a text that many rows have is looked at once
        words = np.array([*(str(text).strip() in MISSING for text in texts), True])
        missing = missing | words[codes]
    elif _is_text(column):
        words = column.astype(object).map(lambda v: isinstance(v, str) and v.strip() in MISSING)
        missing = missing | words.to_numpy(dtype=bool)
    return missing


def holds_numbers(column: pd.Series) -> bool:
    """Whether some cell is a number, or all are missing: then any other cell is a mistake."""
    if not _is_text(column):
        return _is_number(column)
    missing = missing_cells(column)
    values, _ = _numbers(column, missing)
    return bool(missing.all() or not np.isnan(values).all())


def target_values(
    column: pd.Series, rows: Rows, part: bool = False
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """(R,) values, NaN where missing; of labels their codes, and the labels in order.

    Of a `part` of a table they may all be missing.

    Raises:
        InputError: naming the first cell that is no number where others are, that is infinite or
            larger than 1e30; or the column where it holds neither numbers nor labels.
    """
    name = str(column.name)
    if not holds_numbers(column):
        return _label_codes(column, rows)
    missing = missing_cells(column)
    values, unreadable = _numbers(column, missing)
    if unreadable.any():
        _refuse_commas(column, unreadable, rows)
        row = int(np.argmax(unreadable))
        raise InputError(
            f"{rows.quote(column, row)} is not a number; correct it, or leave "
            "the cell empty if the value is missing"
        )
    _require_moderate(values, name, rows)
    if missing.all() and not part:
        raise InputError(f"{rows.name}: column '{name}' has no observed value; drop the column")
    return values, None


def holds_labels(column: pd.Series) -> bool:
    """Whether a column is a categorical of pandas, or holds text that is not all numbers; 007 is
    no number there."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return True
    if not _is_text(column):
        return False
    codes = column.map(lambda v: isinstance(v, str) and CODE.fullmatch(v.strip()) is not None)
    return bool(codes.any() or _numbers(column, missing_cells(column))[1].any())


def covariate_values(column: pd.Series, rows: Rows, gaps: bool = False) -> np.ndarray:
    """(R,) finite values of a covariate; with `gaps`, NaN where missing.

    Raises:
        InputError: naming the first cell that is missing or no finite number.
    """
    name = str(column.name)
    missing = missing_cells(column)
    if missing.any() and not gaps:
        raise InputError(
            f"{rows.at(name, int(np.argmax(missing)))} is empty; a covariate must be known at "
            "every step"
        )
    if not _is_text(column) and not _is_number(column):
        raise InputError(f"{rows.name}: covariate '{name}' holds {column.dtype}, not numbers")
    values, unreadable = _numbers(column, missing)
    if unreadable.any():
        _refuse_commas(column, unreadable, rows)
        row = int(np.argmax(unreadable))
        raise InputError(f"{rows.quote(column, row)} is not a number; a covariate must be numeric")
    _require_moderate(values, name, rows)
    return values


def _is_text(column: pd.Series) -> bool:
    """Text, or Python objects of any kind; a categorical counts as what it holds."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return True
    return types.is_object_dtype(column.dtype) or types.is_string_dtype(column.dtype)


def _is_number(column: pd.Series) -> bool:
    return types.is_numeric_dtype(column.dtype) and not types.is_complex_dtype(column.dtype)


def _numbers(column: pd.Series, missing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(R,) values, NaN where none can be read, and where that is so although a cell is there."""
    if not _is_text(column):
        return column.to_numpy(dtype=np.float64, na_value=np.nan), np.zeros(len(column), bool)
    cells = column.astype(object).where(~missing, None)
    readable = cells.where(cells.map(_is_convertible).to_numpy(dtype=bool), "?")
    numbers = pd.Series(pd.to_numeric(readable, errors="coerce"))
    values = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    return values, np.isnan(values) & ~missing


def _is_convertible(cell: object) -> bool:
    """Not what pandas would turn into a number, or fail on, though it should be refused."""
    if isinstance(cell, int):
        return abs(cell) < 10**300
    return not isinstance(cell, (complex, pd.Timestamp))


def _require_moderate(values: np.ndarray, name: str, rows: Rows) -> None:
    # NaN compares as False: missing values pass.
    large = np.abs(values) > MAX_MAGNITUDE
    if large.any():
        row = int(np.argmax(large))
        what = "infinite" if np.isinf(values[row]) else f"{values[row]:g}, too large to model"
        raise InputError(
            f"{rows.at(name, row)} is {what}; leave the cell empty if the value is missing, "
            f"or rescale the column to within {MAX_MAGNITUDE:g}"
        )


def _label_codes(column: pd.Series, rows: Rows) -> tuple[np.ndarray, tuple[str, ...]]:
    missing = missing_cells(column)
    cells = column.to_numpy(dtype=object, copy=True)
    if not all(isinstance(cell, str) for cell in cells[~missing]):
        raise InputError(
            f"{rows.name}: column '{column.name}' holds {column.dtype}, neither numbers nor "
            "labels; leave it out of the targets"
        )
    _refuse_commas(column, ~missing, rows)
    cells[missing] = None
    codes, labels = pd.factorize(cells, sort=True)
    if len(labels) > MAX_LABELS:
        raise InputError(
            f"{rows.name}: column '{column.name}' has {len(labels)} different labels, more than "
            f"the {MAX_LABELS} that a category may have; name the columns to model as targets"
        )
    values = np.where(codes < 0, np.nan, codes.astype(np.float64))
    return values, tuple(str(label) for label in labels)


def _refuse_commas(column: pd.Series, among: np.ndarray, rows: Rows) -> None:
    """Refuse numbers with commas, judged by the first 100 of some rows."""
    for row in np.flatnonzero(among)[:100]:
        if COMMA.fullmatch(str(column.iloc[row]).strip()):
            raise InputError(
                f"{rows.quote(column, int(row))} has a comma; write numbers with a decimal point, "
                "and thousands without a separator"
            )
