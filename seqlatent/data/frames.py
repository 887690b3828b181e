"""From a table to sequences: roles of columns, series of rows, order of steps."""

import logging
from collections import Counter
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from seqlatent.data.columns import (
    Rows,
    covariate_values,
    holds_numbers,
    named_columns,
    require_column,
    series_rows,
    target_values,
)
from seqlatent.data.grid import (
    Frequency,
    absent_step,
    frequencies_of,
    longer_grids,
    shared_frequency,
)
from seqlatent.data.sequence import Sequence
from seqlatent.data.statics import SERIES, static_columns
from seqlatent.data.steps import holds_times, read_steps, show_step
from seqlatent.errors import InputError
from seqlatent.text import shortened

logger = logging.getLogger("seqlatent")

DEFAULT_ID = SERIES
TIME_NAMES = ("timestamp", "date", "datetime", "time", "month", "year", "step", "t")


def sequences_from_frame(
    frame: pd.DataFrame,
    targets: Seq[str] | None,
    covariates: Seq[str],
    id_column: str,
    time_column: str | None,
    name: str,
    static: Seq[str] = (),
    past_covariates: Seq[str] = (),
    regular: bool = True,
    part: bool = False,
) -> dict[str, Any]:
    """Read a table into what `SequenceDataset` is made of.

    Args:
        frame: one row for each sequence and step, in any order.
        targets: the columns to model; by default `y`, or else every column that holds numbers
            and is neither id, time nor covariate.
        covariates: columns that are known in advance of every step.
        id_column: the sequence's name; a table without `unique_id` is one sequence.
        time_column: timestamps or integers; by default `ds`, or else the one column with a usual
            name such as `date`; without any, rows are steps 0, 1, ...
        name: what messages call the table.
        static: columns with one value for each series, or `unique_id`.
        past_covariates: columns that are known up to the present only.
        regular: whether steps that are absent from a grid are filled in as missing.
        part: of a larger table; it may lack values where that has some, of a target or of all.

    Returns:
        `sequences`, in the order of their first rows; `targets`; `covariate_names`; `static_names`
        and `static_labels`; `past_names`; `categories`, the labels of each target that holds
        labels; `frequency`.

    Raises:
        InputError: naming the column, series and row of what cannot be read.
    """
    frame = named_columns(frame, name)
    table = {str(column): cells for column, cells in frame.items()}
    columns = tuple(table)
    if id_column != DEFAULT_ID:
        require_column(id_column, columns, "id", name)
    covariate_names = _chosen(covariates, columns, "covariate", name)
    past_names = _chosen(past_covariates, columns, "past covariate", name)
    plain = (static,) if isinstance(static, str) else static
    plain = [DEFAULT_ID if str(column) == id_column else column for column in plain]
    static_names = _chosen(plain, (*columns, DEFAULT_ID), "static feature", name)
    given = None if targets is None else _chosen(targets, columns, "target", name)
    taken = (id_column, *covariate_names, *past_names, *static_names, *(given or ()))
    time_column = _time_column(table, time_column, taken, name)
    if given is None:
        used = {*taken, time_column}
        rest = [c for c in columns if c not in used]
        given = _default_targets({c: table[c] for c in rest}, name)
    others = [("time", time_column)] if time_column else []
    others += [("static feature", c) for c in static_names if c != DEFAULT_ID]
    others += [("past covariate", c) for c in past_names]
    _require_distinct(given, covariate_names, id_column, others, name)

    rows = series_rows(frame, id_column, name)
    if time_column is None:
        # The n-th row of a series is its step n.
        steps = frame.groupby(rows.codes).cumcount().to_numpy(dtype=np.int64)
    else:
        steps = read_steps(table[time_column], rows)
    columns_x = [target_values(table[target], rows, part) for target in given]
    x = np.column_stack([values for values, _ in columns_x])
    c = np.zeros((len(frame), len(covariate_names)))
    for i, covariate in enumerate(covariate_names):
        c[:, i] = covariate_values(table[covariate], rows)
    past = np.zeros((len(frame), len(past_names)))
    for i, covariate in enumerate(past_names):
        past[:, i] = covariate_values(table[covariate], rows, gaps=True)
    statics, static_labels = static_columns(static_names, table, rows)

    order = _order(steps, rows.codes)
    lengths = np.bincount(rows.codes, minlength=len(rows.unique_ids))
    _require_distinct_steps(steps, order, rows, time_column)
    seen = _with_values(x[order], lengths, rows, part)
    order, lengths = order[np.repeat(seen, lengths)], lengths[seen]
    unique_ids = tuple(np.array(rows.unique_ids, dtype=object)[seen])
    steps, x, c, past, statics = steps[order], x[order], c[order], past[order], statics[seen]
    x = np.where(np.isnan(x), np.nan, x)  # see from_list

    frequency, grids = None, {}
    if regular:
        frequency = shared_frequency(steps, lengths)
        own = frequencies_of(steps, lengths, frequency)
        _report_irregular(own, lengths, frequency, unique_ids, name)
        grids = longer_grids(steps, lengths, own)
    # The sequences are views of the table.
    ends = np.cumsum(lengths).tolist()
    sequences = [
        Sequence(
            unique_id,
            steps[start:end],
            x[start:end],
            c[start:end],
            static=statics[i] if static_names else None,
            lagged=np.pad(past[start:end], ((1, 0), (0, 0)), constant_values=np.nan)
            if past_names
            else None,
        )
        for i, (unique_id, (start, end)) in enumerate(
            zip(unique_ids, pairwise([0, *ends]), strict=True)
        )
    ]
    _report_absent(grids, sequences, covariate_names, name)
    for i, grid in grids.items():
        sequences[i] = sequences[i].on_steps(grid)
    labels = {t: found for t, (_, found) in zip(given, columns_x, strict=True) if found is not None}
    return {
        "sequences": tuple(sequences),
        "targets": given,
        "covariate_names": covariate_names,
        "static_names": static_names,
        "static_labels": static_labels,
        "past_names": past_names,
        "categories": labels,
        "frequency": frequency,
    }


def _chosen(names: Seq[str], columns: Seq[str], role: str, name: str) -> tuple[str, ...]:
    chosen = (names,) if isinstance(names, str) else tuple(str(n) for n in names)
    known = set(columns)
    for column, count in Counter(chosen).items():
        require_column(column, known, role, name)
        if count > 1:
            raise InputError(f"{name}: the {role} column '{column}' is named twice")
    return chosen


def _time_column(
    table: dict[str, pd.Series], time_column: str | None, taken: Seq[str], name: str
) -> str | None:
    """The column named, or `ds`, or one with a usual name, or one that holds nothing but times."""
    if time_column is not None:
        require_column(time_column, tuple(table), "time", name)
        return time_column
    used = set(taken)
    free = [column for column in table if column not in used]
    if "ds" in free:
        return "ds"
    likely = [column for column in free if column.lower() in TIME_NAMES] or [
        column for column in free if not holds_numbers(table[column]) and holds_times(table[column])
    ]
    if len(likely) > 1:
        raise InputError(
            f"{name}: any of the columns {', '.join(likely)} could be the time; choose one with "
            "time_column (--time-column)"
        )
    if likely and likely[0].lower() not in TIME_NAMES:
        logger.info("%s: taking the column '%s' as the time", name, likely[0])
    return likely[0] if likely else None


def _default_targets(rest: dict[str, pd.Series], name: str) -> tuple[str, ...]:
    """`y`, or the columns of numbers, or else those of labels."""
    if "y" in rest:
        return ("y",)
    numeric = [column for column, cells in rest.items() if holds_numbers(cells)]
    known = set(numeric)
    left_out = [column for column in rest if column not in known]
    if numeric and left_out:
        logger.warning(
            "%s: left out the columns without numbers (%s); name them if they are series' names "
            "(--id-column), times (--time-column), or labels to model (--targets)",
            name,
            shortened(left_out, 10),
        )
    return tuple(numeric or rest)


def _require_distinct(
    targets: Seq[str],
    covariates: Seq[str],
    id_column: str,
    others: Seq[tuple[str, str]],
    name: str,
) -> None:
    """Every column has one role, and there is something to model."""
    if not targets:
        raise InputError(f"{name} has no target column: no column is left to model")
    roles: dict[str, str] = {id_column: "id"}
    uses = [*others, *(("covariate", c) for c in covariates)]
    for role, column in [*uses, *(("target", t) for t in targets)]:
        if column in roles:
            raise InputError(
                f"{name}: column '{column}' cannot be both {roles[column]} and {role}; choose one"
            )
        roles[column] = role


def _order(steps: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """(R,) the rows by series and step."""
    next_series = np.diff(codes)
    if ((next_series > 0) | ((next_series == 0) & (steps[1:] > steps[:-1]))).all():
        return np.arange(len(codes))
    return np.lexsort((steps, codes))


def _require_distinct_steps(
    steps: np.ndarray, order: np.ndarray, rows: Rows, time_column: str | None
) -> None:
    first, second = order[:-1], order[1:]
    same = (steps[first] == steps[second]) & (rows.codes[first] == rows.codes[second])
    if same.any():
        i = int(np.argmax(same))
        one_series = " or, if the rows are of several series, name their column with id_column"
        raise InputError(
            f"{rows.name}: series '{rows.unique_ids[rows.codes[first[i]]]}' has step "
            f"{show_step(steps[first[i]])} in rows {first[i] + 1} and {second[i] + 1} (column "
            f"'{time_column}'); keep one of them"
            f"{one_series + ' (--id-column)' if len(rows.unique_ids) == 1 else ''}"
        )


def _with_values(x: np.ndarray, lengths: np.ndarray, rows: Rows, part: bool) -> np.ndarray:
    """Which series have an observed value; the others are named in a warning, and left out.

    Args:
        x: (R, D) sorted by series.
        lengths: (N,) rows of each series.
    """
    starts = np.cumsum(lengths) - lengths
    seen = np.add.reduceat(np.isfinite(x).any(axis=1).astype(np.int64), starts) > 0
    missing = [rows.unique_ids[i] for i in np.flatnonzero(~seen)]
    if not seen.any() and not part:
        raise InputError(f"{rows.name}: series '{missing[0]}' has no observed value")
    if missing:
        one = len(missing) == 1
        logger.warning(
            "%s: left out %s without any observed value: %s",
            rows.name,
            "a series" if one else f"{len(missing)} of {len(seen)} series",
            shortened(missing),
        )
    return seen


def _report_irregular(
    own: np.ndarray,
    lengths: np.ndarray,
    frequency: Frequency,
    unique_ids: Seq[str],
    name: str,
) -> None:
    """Log which series do not go by the frequency of the table, or by any."""
    if frequency is None:
        others = np.flatnonzero((lengths > 1) & pd.isna(own))
        what = "are irregular; they are kept as they are"
    else:
        others = np.flatnonzero(own != frequency)
        what = f"are not those of the other series (frequency {frequency}); each keeps its own"
    if len(others):
        logger.warning(
            "%s: the steps of %d of %d series %s (the first is '%s')",
            name,
            len(others),
            len(own),
            what,
            unique_ids[others[0]],
        )


def _report_absent(
    grids: Mapping[int, np.ndarray],
    sequences: Seq[Sequence],
    covariates: Seq[str],
    name: str,
) -> None:
    """Log what is filled in; covariates, which are never missing, cannot be."""
    if not grids:
        return
    if covariates:
        i = min(grids)
        step = np.setdiff1d(grids[i], sequences[i].ds).flat[0]
        raise absent_step(name, sequences[i].unique_id, step, covariates[0])
    logger.warning(
        "%s: filled in %d absent steps as missing values, in %d of %d series",
        name,
        sum(len(grid) - len(sequences[i]) for i, grid in grids.items()),
        len(grids),
        len(sequences),
    )
