"""Tables as text: by Arrow where they are plain, else by pandas.

Arrow reads a plain table several times as fast. Whatever the two might read otherwise, such as
quotes, spaces beside separators, infinite numbers or lines of other lengths, is left to pandas and
to the checks that name a bad line.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seqlatent.data.columns import MISSING
from seqlatent.data.decimal_commas import with_decimal_points
from seqlatent.data.limits import require_cells
from seqlatent.errors import InputError

SEPARATORS = ",\t;"
# Numbers are read to the last digit: pandas does so from 3.1 on, and earlier where asked to.
PANDAS = tuple(int(part) for part in pd.__version__.split(".")[:2])
EXACT: dict[str, Any] = {} if PANDAS >= (3, 1) else {"float_precision": "round_trip"}

HEAD = 100  # lines whose cells tell the kinds of columns
WHOLE = re.compile(r"-?\d+")
DECIMAL = re.compile(r"-?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
MOST = 2.0**63  # from it on pandas takes whole numbers for text, or for unsigned ones
BOOLEAN = ("true", "false")


def parse(path: Path, text: str, text_columns: Collection[str]) -> pd.DataFrame:
    """A table of text, as `tables.read_table` describes it.

    Args:
        path: the file, for messages.
        text: what it holds, with `\\n` at the end of each line.
        text_columns: columns kept as text.
    """
    first = text[: text.index("\n")]
    separator = max(SEPARATORS, key=first.count)
    require_cells(path, text.count("\n"), first.count(separator) + 1)
    plain = first.split(separator)
    frame = _by_arrow(text, separator, plain, text_columns)
    header = [
        cell.strip() for cell in (_check_shape(path, text, separator) if frame is None else plain)
    ]
    if "" in header:
        raise InputError(
            f"{path}: column {header.index('') + 1} of the header has no name; name the column or "
            "remove it"
        )
    for column, count in Counter(header).items():
        if count > 1:
            raise InputError(f"{path}: two columns are named '{column}'; rename one of them")
    if all(_is_number(column) for column in header):
        raise InputError(f"{path}: the first line holds numbers; it must hold the columns' names")
    if frame is None:
        frame = _by_pandas(text, separator, header, text_columns)
    frame = frame.set_axis(header, axis=1)
    if separator == "," or "," not in text:
        return frame
    return with_decimal_points(path, frame, text_columns)


def _by_pandas(
    text: str, separator: str, header: list[str], text_columns: Collection[str]
) -> pd.DataFrame:
    return pd.read_csv(
        io.StringIO(text),
        sep=separator,
        header=0,
        names=header,
        index_col=False,
        skipinitialspace=True,
        # In a table of one column an empty line is a missing value.
        skip_blank_lines=len(header) > 1,
        dtype={column: str for column in header if column in text_columns},
        keep_default_na=False,
        na_values={c: list(MISSING) for c in header if c not in text_columns},
        low_memory=False,
        **EXACT,
    )


def _check_shape(path: Path, text: str, separator: str) -> list[str]:
    """The header's cells; every line must have as many.

    pandas would fill up short lines with missing values and cut long ones.
    """
    lines = io.StringIO(text, newline="\n")
    header: list[str] = []
    if '"' not in text:
        header = next(lines).rstrip("\n").split(separator)
        count = len(header) - 1
        for number, line in enumerate(lines, start=2):
            if line.count(separator) != count and line != "\n":
                raise _ragged(path, number, line.count(separator) + 1, len(header))
        return header
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    try:
        header = next(reader)
        for cells in reader:
            if cells and len(cells) != len(header):
                raise _ragged(path, reader.line_num, len(cells), len(header))
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num} cannot be read: {error}") from None
    return header


def _ragged(path: Path, line: int, found: int, expected: int) -> InputError:
    cells = "cell" if found == 1 else "cells"
    return InputError(f"{path}: line {line} has {found} {cells} where the header has {expected}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _by_arrow(
    text: str, separator: str, header: list[str], text_columns: Collection[str]
) -> pd.DataFrame | None:
    """The frame that pandas would make of a plain table; None where it might be another."""
    import pyarrow as pa
    from pyarrow import csv as arrow

    if len(header) == 1 or not _is_plain(text, separator):
        return None
    lines = text[: 2**16].split("\n")[1 : HEAD + 1]
    rows = [line.split(separator) for line in lines[:-1]]
    if not rows or any(len(row) != len(header) for row in rows):
        return None
    names = [str(i) for i in range(len(header))]
    texts = {name for name, column in zip(names, header, strict=True) if column in text_columns}
    kinds = {}
    for name, cells in zip(names, zip(*rows, strict=True), strict=True):
        kinds[name] = "string" if name in texts else _kind(cells)
    if None in kinds.values():
        return None
    try:
        table = arrow.read_csv(
            pa.py_buffer(text.encode()),
            arrow.ReadOptions(column_names=names, skip_rows=1),
            arrow.ParseOptions(delimiter=separator, quote_char=False),
            arrow.ConvertOptions(
                check_utf8=False, column_types=kinds, null_values=MISSING, strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid:
        return None
    frame = table.to_pandas()
    for name, kind in kinds.items():
        cells = frame[name]
        if kind == "float64":
            values = cells.to_numpy()
            unread = np.count_nonzero(np.isnan(values)) - table[name].null_count  # such as NAN
            if unread or (np.abs(values) >= MOST).any():
                return None
        elif kind == "string" and name not in texts and (missing := cells.isin(MISSING)).any():
            frame[name] = cells.mask(missing)
    return frame


def _is_plain(text: str, separator: str) -> bool:
    """Whether there are no quotes, spaces beside separators, other tabs and hexadecimal numbers."""
    if '"' in text or (separator != "\t" and "\t" in text):
        return False
    # A character is found much faster than two.
    odd = [" " + separator, separator + " ", "\n ", " \n"] if " " in text else []
    odd += [zero for zero in ("0x", "0X") if zero[1] in text]
    return not any(pair in text for pair in odd)


def _kind(cells: Collection[str]) -> str | None:
    """Arrow's type of the column that pandas would make of such cells; None in doubt: of truth
    values, unusual numbers, and words among numbers."""
    given = [cell for cell in cells if cell not in MISSING]
    if not all(DECIMAL.fullmatch(cell) for cell in given):
        words = not any(_is_number(cell) or cell.lower() in BOOLEAN for cell in given)
        return "string" if words else None
    whole = len(given) == len(cells) and all(WHOLE.fullmatch(cell) for cell in given)
    return "int64" if whole else "float64"
