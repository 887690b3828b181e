"""`load`: one door for every kind of data."""

import os
from collections.abc import Sequence as Seq
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seqlatent.data.calendar import with_calendar
from seqlatent.data.catalog import dataset_names, load_bundled
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.frames import DEFAULT_ID
from seqlatent.data.tables import read_table, write_table
from seqlatent.errors import InputError, did_you_mean

__all__ = ["load", "load_future", "read_table", "write_table"]


def load(
    source: Any,
    *,
    targets: Seq[str] | None = None,
    covariates: Seq[str] = (),
    id_column: str = DEFAULT_ID,
    time_column: str | None = None,
    calendar: Seq[str] = (),
    split: str | None = None,
) -> SequenceDataset:
    """Load sequences from wherever they are.

    Args:
        source: a file (`.csv`, `.tsv`, `.txt`, gzipped or not; `.parquet`; `.npy` of shape
            (N, T, D) or (N, T)); the name of a bundled data set, also as `name:train` or
            `name:test`; a frame; an array (N, T, D) or (N, T); a list of arrays (T_i, D) or
            (T_i,); or a `SequenceDataset`, to which only `calendar` applies.
        targets: columns to model; of arrays, the names of their channels.
        covariates: columns known in advance of every step.
        id_column: the column with each sequence's name.
        time_column: the column with timestamps or integer steps.
        calendar: cycles to add as covariates: `hour`, `day`, `week`, `month`, `year`.
        split: `train` or `test`, of a bundled data set.

    Raises:
        InputError: what cannot be found or read, or an option that the source does not have.
    """
    roles = {"covariates": covariates, "id_column": id_column, "time_column": time_column}
    table = {"targets": targets, **roles}
    if isinstance(source, (str, os.PathLike)):
        data = _load_named(source, split, table)
    elif split is not None:
        raise InputError(f"split '{split}' is for bundled data sets, and this is none")
    elif isinstance(source, SequenceDataset):
        _refuse(table, "a SequenceDataset")
        data = source
    elif isinstance(source, pd.DataFrame):
        data = SequenceDataset.from_frame(source, **table)
    elif isinstance(source, (list, tuple)):
        _refuse(roles, "a list of arrays")
        data = SequenceDataset.from_list(source, targets)
    elif hasattr(source, "__array__"):
        _refuse(roles, "an array")
        data = SequenceDataset.from_arrays(np.asarray(source), targets)
    else:
        raise InputError(
            f"cannot load sequences from {type(source).__name__}; give a file, a bundled name, a "
            "frame, an array or a list of arrays"
        )
    return with_calendar(data, calendar)


def load_future(
    source: Any, covariates: Seq[str], id_column: str = DEFAULT_ID, time_column: str | None = None
) -> SequenceDataset:
    """The covariates of steps ahead, from a table or a frame without targets.

    Raises:
        InputError: what cannot be read, or lacks a covariate.
    """
    if isinstance(source, SequenceDataset):
        return source
    if not covariates:
        raise InputError(
            "the model was fitted without covariates of the data: it needs none of the steps "
            "ahead; leave them out (--future)"
        )
    frame, name = source, "future"
    if not isinstance(source, pd.DataFrame):
        frame, name = read_table(source, text_columns=(id_column,)), Path(source).name
    # A data set has a target; what the steps ahead hold is not known.
    placeholder = "the target of the steps ahead"
    return SequenceDataset.from_frame(
        frame.assign(**{placeholder: 0.0}), [placeholder], covariates, id_column, time_column, name
    )


def _load_named(
    source: str | os.PathLike[str], split: str | None, table: dict[str, Any]
) -> SequenceDataset:
    """A file, or else a bundled data set."""
    path = Path(source)
    name, colon, part = str(source).partition(":")
    if os.path.exists(source):
        if split is not None:
            raise InputError(f"split '{split}' is for bundled data sets, and {path} is a file")
        return _load_file(path, table)
    if name not in dataset_names():
        raise InputError(
            f"'{source}' is neither a file nor a bundled data set"
            f"{did_you_mean(name, dataset_names())}"
        )
    if colon and split not in (None, part):
        raise InputError(f"'{source}' and split '{split}' are different parts; choose one")
    _refuse({key: table[key] for key in ("id_column", "time_column")}, "a bundled data set")
    return load_bundled(name, part if colon else split, table["targets"], table["covariates"])


def _load_file(path: Path, table: dict[str, Any]) -> SequenceDataset:
    if path.suffix.lower() != ".npy":
        frame = read_table(path, text_columns=(table["id_column"],))
        return SequenceDataset.from_frame(frame, name=path.name, **table)
    _refuse({key: table[key] for key in table if key != "targets"}, "an array")
    try:
        # Pickled objects could run code of their own.
        x = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        raise InputError(f"{path} is not an .npy file of numbers, or it is cut short") from None
    return SequenceDataset.from_arrays(x, table["targets"], path.name)


def _refuse(options: dict[str, Any], what: str) -> None:
    """Raise InputError if an option is given that this kind of source does not have."""
    for option, value in options.items():
        if value is not None and value != () and (option, value) != ("id_column", DEFAULT_ID):
            raise InputError(f"{option} does not apply to {what}; leave it out")
