"""Numbers with decimal commas, as spreadsheets write them in much of the world."""

import logging
import re
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from seqlatent.text import shortened

NUMBER = re.compile(r"\s*-?\d+(,\d+)?([eE][-+]?\d+)?\s*")
THOUSANDS = re.compile(r"\s*-?\d{1,3}(,\d{3})+\s*")  # or three decimals: 1,200
HEAD = 100  # cells by which most columns of words are told from numbers

logger = logging.getLogger("seqlatent")


def with_decimal_points(
    path: Path, frame: pd.DataFrame, text_columns: Collection[str]
) -> pd.DataFrame:
    """The frame with columns of such numbers as numbers, if the table shows what its commas mean.

    It does where a comma has other than three digits behind it, which separates no thousands. One
    such cell speaks for the whole table.

    Args:
        path: the file, for the notice.
        frame: of a table whose cells are not separated by commas.
        text_columns: columns that stay text.
    """
    found: dict[str, pd.Series] = {}
    for name, column in frame.items():
        cells = None if name in text_columns else _numbers(column)
        if cells is not None:
            found[str(name)] = cells
    grouped = rf"[^,]*|{THOUSANDS.pattern}"  # numbers below a thousand have no comma
    if all(cells.str.fullmatch(grouped).all() for cells in found.values()):
        return frame
    logger.info("%s: the commas of %s are decimal", path, shortened(list(found)))
    frame = frame.copy(deep=False)
    for name, cells in found.items():
        frame[name] = cells.str.replace(",", ".").astype(float).reindex(frame.index)
    return frame


def _numbers(column: pd.Series) -> pd.Series | None:
    """The cells that are not missing, if all are numbers and some have a comma."""
    if pd.api.types.is_numeric_dtype(column):
        return None
    cells = column.dropna()
    for part in (cells.iloc[:HEAD], cells):
        if (
            not all(isinstance(c, str) for c in part)
            or not part.str.fullmatch(NUMBER.pattern).all()
        ):
            return None
    return cells if len(cells) and cells.str.contains(",").any() else None
