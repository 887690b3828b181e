"""Static features of a table: what is known of a whole series, as a number or as a category."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from seqlatent.data.columns import Rows, covariate_values, holds_labels, id_text, missing_cells
from seqlatent.errors import InputError

SERIES = "unique_id"  # the series' own name as a category


def static_columns(
    names: Sequence[str], table: Mapping[str, pd.Series], rows: Rows
) -> tuple[np.ndarray, dict[str, tuple[str, ...]]]:
    """(N, S) static features of N series, and the labels of those that are categories."""
    values, labels = np.zeros((len(rows.unique_ids), len(names))), {}
    for i, column in enumerate(names):
        if column == SERIES:  # every table has it, in a column of whatever name or in none
            codes, found = pd.factorize(np.array(rows.unique_ids, dtype=object), sort=True)
            values[:, i], known = codes + 1.0, tuple(str(label) for label in found)
        else:
            values[:, i], known = static_values(table[column], rows)
        if known is not None:
            labels[column] = known
    return values, labels


def static_values(column: pd.Series, rows: Rows) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """(N,) one value for each of N series; of categories their codes, and the labels in order.

    Raises:
        InputError: naming the first cell that is missing, that differs from those of the series
            before it, or that is neither a number nor a label.
    """
    labels: tuple[str, ...] | None = None
    if holds_labels(column):
        missing = missing_cells(column)
        if missing.any():
            raise InputError(
                f"{rows.at(str(column.name), int(np.argmax(missing)))} is empty; a static feature "
                "must be known of every series, so fill it in, for example with 'unknown'"
            )
        cells = np.array([id_text(cell).strip() for cell in column], dtype=object)
        codes, found = pd.factorize(cells, sort=True)
        values, labels = codes + 1.0, tuple(str(label) for label in found)
    else:
        values = covariate_values(column, rows)
    first = np.unique(rows.codes, return_index=True)[1]
    varies = values != values[first][rows.codes]
    if varies.any():
        row = int(np.argmax(varies))
        before = " ".join(str(column.iloc[first[rows.codes[row]]]).split())
        raise InputError(
            f"{rows.quote(column, row)} differs from '{before}' in an earlier row of the series; a "
            "static feature has one value for each series, so make the column a covariate "
            "(--covariates, --past-covariates)"
        )
    return values[first], labels
