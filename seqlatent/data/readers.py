"""`load`: one function that reads every kind of data."""

import math
import os
import warnings
from collections.abc import Sequence as Seq
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seqlatent.data.calendar import cycles_of, from_data, has_timestamps, with_calendar
from seqlatent.data.catalog import dataset_names, load_bundled
from seqlatent.data.columns import missing_cells
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.folders import ParquetFolder, is_folder
from seqlatent.data.frames import DEFAULT_ID
from seqlatent.data.limits import require_cells, require_file
from seqlatent.data.stored import load_stored
from seqlatent.data.tables import read_table, write_table
from seqlatent.errors import InputError, did_you_mean

__all__ = ["load", "load_future", "load_like", "read_table", "write_table"]


IN_MEMORY = 2**22  # cells of a folder's table


def load(
    source: Any,
    *,
    targets: Seq[str] | None = None,
    covariates: Seq[str] = (),
    static: Seq[str] = (),
    past_covariates: Seq[str] = (),
    id_column: str = DEFAULT_ID,
    time_column: str | None = None,
    calendar: Seq[str] = (),
    split: str | None = None,
) -> SequenceDataset:
    """Load sequences from wherever they are.

    Args:
        source: one of

            - a folder of Parquet files, or a pattern such as `sales/*.parquet`; of more cells than
              memory should hold, the series are kept in a temporary folder and read when needed;
            - a file: `.csv`, `.tsv` or `.txt`, gzipped or not; `.parquet`, `.feather`, `.arrow`,
              `.json`, `.jsonl`; or `.npy`, an array;
            - the name of a bundled data set, also as `name:train` or `name:test`;
            - a frame of pandas, or one that has `to_pandas`, such as those of polars;
            - a pandas `Series`, one sequence; dates in its index are the steps;
            - an array (N, T, D), (N, T) or, as one sequence, (T,);
            - a list of arrays (T_i, D) or (T_i,), or of numbers, one sequence;
            - a `SequenceDataset`, to which only `calendar` applies.
        targets: columns to model; of arrays, the names of their channels; of a `Series`, the name
            of its values.
        covariates: columns known in advance of every step.
        static: columns with one value for each series: numbers, or texts, which are categories;
            `unique_id` makes the series itself a category.
        past_covariates: columns known up to the present only: the values of step t are used from
            step t + 1 on.
        id_column: the column with each sequence's name.
        time_column: the column with timestamps or integer steps.
        calendar: cycles to add as covariates: `hour`, `day`, `week`, `month`, `year`.
        split: `train` or `test`, of a bundled data set.

    Raises:
        InputError: what cannot be found or read, or an option that the source does not have.
    """
    roles = {
        "covariates": covariates,
        "static": static,
        "past_covariates": past_covariates,
        "id_column": id_column,
        "time_column": time_column,
    }
    table = {"targets": targets, **roles}
    source = _to_pandas(source)
    if isinstance(source, (str, os.PathLike)):
        data = _load_named(source, split, table)
    elif split is not None:
        raise InputError(f"split '{split}' is for bundled data sets, and this is none")
    elif isinstance(source, SequenceDataset):
        _refuse(table, "a SequenceDataset")
        data = source
    elif isinstance(source, pd.DataFrame):
        data = SequenceDataset.from_frame(source, **table)
    elif isinstance(source, pd.Series):
        _refuse(roles, "a pandas Series")
        data = _from_series(source, targets)
    elif isinstance(source, (list, tuple)):
        _refuse(roles, "a list of arrays")
        if source and all(value is None or np.isscalar(value) for value in source):
            source = [source]
        data = SequenceDataset.from_list(source, targets)
    elif hasattr(source, "__array__"):
        _refuse(roles, "an array")
        data = SequenceDataset.from_arrays(np.asarray(source), targets)
    else:
        raise InputError(
            f"cannot load sequences from {type(source).__name__}; give a file, a bundled name, a "
            "frame, a Series, an array or a list of arrays"
        )
    return with_calendar(data, calendar)


def load_like(
    source: Any,
    like: SequenceDataset | DataDescription,
    id_column: str | None = None,
    time_column: str | None = None,
    name: str | None = None,
) -> SequenceDataset:
    """Load data by the names that other data were loaded by.

    Args:
        source: whatever `load` reads; a `SequenceDataset` is returned as it is.
        like: the other data, or a model's description of its training data.
        id_column, time_column: in place of those of `like`.
        name: what messages call a frame that is a part of a larger table.

    Raises:
        InputError: as `load` does.
    """
    if isinstance(source, SequenceDataset):
        return source
    source = _to_pandas(source)
    names: dict[str, Any] = {"targets": like.targets}
    if not _is_array(source):
        names["covariates"] = from_data(like.covariate_names)
        names |= {"static": like.static_names, "past_covariates": like.past_names}
    if _is_table(source):
        id_column, time_column = id_column or like.id_column, time_column or like.time_column
    names |= {"id_column": id_column or DEFAULT_ID, "time_column": time_column}
    if name is not None and isinstance(source, pd.DataFrame):
        data = SequenceDataset.from_frame(source, **names, name=name, part=True)
    else:
        data = load(source, **names)
    # Whole numbers have no calendar. A model that needs it says so (`tasks/prepare.py`).
    return with_calendar(data, cycles_of(like.covariate_names)) if has_timestamps(data) else data


def load_future(
    source: Any,
    covariates: Seq[str],
    id_column: str = DEFAULT_ID,
    time_column: str | None = None,
    targets: Seq[str] = (),
) -> SequenceDataset:
    """What is known of steps ahead, from a table or a frame: covariates, and values of targets.

    Args:
        source: a file or a frame; a `SequenceDataset` is returned as it is.
        covariates: that it must have.
        id_column, time_column: as in `load`.
        targets: that it may have, with empty cells where a value is not known.

    Returns:
        sequences with the targets that have any value, and one more target that means nothing.

    Raises:
        InputError: what cannot be read, a covariate that is missing, or a table with neither
            covariates nor values.
    """
    source = _to_pandas(source)
    if isinstance(source, SequenceDataset):
        return source
    frame, name = source, "future"
    if not isinstance(source, pd.DataFrame):
        frame, name = read_table(source, text_columns=(id_column,)), Path(source).name
    columns = {str(column): cells for column, cells in frame.items()}
    known = [t for t in targets if t in columns and not missing_cells(columns[t]).all()]
    if not covariates and not known:
        named = f" ({', '.join(targets)})" if targets else ""
        raise InputError(
            f"{name}: the model was fitted without covariates of the data, and no value of its "
            f"targets{named} is there; leave the table out (--future)"
        )
    # A series has an observed value, and of the steps ahead perhaps none is known.
    placeholder = "the target of the steps ahead"
    frame = frame.assign(**{placeholder: 0.0})
    return SequenceDataset.from_frame(
        frame, [*known, placeholder], covariates, id_column, time_column, name,
        regular=bool(covariates),
    )  # fmt: skip


def _to_pandas(source: Any) -> Any:
    """Frames and series of other libraries (polars, Arrow) as those of pandas."""
    return source.to_pandas() if hasattr(source, "to_pandas") else source


def _is_table(source: Any) -> bool:
    """Whether a source has columns that options can name; those of bundled sets are known."""
    if isinstance(source, (str, os.PathLike)):
        return os.path.exists(source) and not _is_array(source)
    return isinstance(source, pd.DataFrame)


def _is_array(source: Any) -> bool:
    """Whether a source holds values alone."""
    if isinstance(source, (str, os.PathLike)):
        return Path(source).suffix.lower() == ".npy"
    return not isinstance(source, pd.DataFrame)


def _from_series(source: pd.Series, targets: Seq[str] | None) -> SequenceDataset:
    """One sequence, whose steps are the dates of the index where it holds dates."""
    names = [source.name or "y"] if targets is None else targets
    names = [names] if isinstance(names, str) else [str(name) for name in names]
    if len(names) != 1:
        raise InputError(f"a pandas Series is one channel, and {len(names)} targets are named")
    return SequenceDataset.from_frame(source.to_frame(names[0]), names)


def _load_named(
    source: str | os.PathLike[str], split: str | None, table: dict[str, Any]
) -> SequenceDataset:
    """A file, or else a bundled data set."""
    if is_folder(source):
        if split is not None:
            raise InputError(f"split '{split}' is for bundled data sets, and {source} is a folder")
        return _load_folder(source, table)
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
    roles = {key: table[key] for key in ("targets", "covariates", "static", "past_covariates")}
    return load_bundled(name, part if colon else split, **roles)


def _load_folder(source: str | os.PathLike[str], table: dict[str, Any]) -> SequenceDataset:
    """The table of a folder, in memory unless it is large."""
    folder = ParquetFolder(source, table["id_column"])
    if folder.num_rows * len(folder.columns) > IN_MEMORY:
        return load_stored(folder, table)
    frame = pd.concat(list(folder.read()), ignore_index=True)
    return SequenceDataset.from_frame(frame, **table, name=folder.source.name)


def _load_file(path: Path, table: dict[str, Any]) -> SequenceDataset:
    if not _is_array(path):
        static = table["static"]
        static = (static,) if isinstance(static, str) else static
        frame = read_table(path, text_columns=(table["id_column"], *static))
        return SequenceDataset.from_frame(frame, name=path.name, **table)
    _refuse({key: table[key] for key in table if key != "targets"}, "an array")
    return SequenceDataset.from_arrays(_read_array(path), table["targets"], path.name)


def _read_array(path: Path) -> np.ndarray:
    """The numbers of an .npy file, whose header claims no more than the file holds."""
    require_file(path)
    broken = InputError(f"{path} is not an .npy file of numbers, or it is cut short")
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers that Python 2 wrote
            version = np.lib.format.read_magic(file)
            read = {(1, 0): np.lib.format.read_array_header_1_0}.get(
                version, np.lib.format.read_array_header_2_0
            )
            shape, _, kind = read(file)
            if kind.hasobject:  # pickled objects could run code of their own
                raise broken
            claimed, held = math.prod(shape) * kind.itemsize, path.stat().st_size - file.tell()
            if claimed > held:
                raise InputError(
                    f"{path} is cut short: its header claims an array {shape} of {claimed} bytes, "
                    f"and {held} follow"
                )
            if len(shape) <= 3:  # others are refused by their shape
                columns = shape[2] if len(shape) == 3 else 1
                require_cells(path, math.prod(shape[:2]), columns)
            file.seek(0)
            return np.lib.format.read_array(file, allow_pickle=False)
    except InputError:
        raise
    except Exception:  # a header is Python source, which fails in many ways
        raise broken from None


def _refuse(options: dict[str, Any], what: str) -> None:
    """Raise InputError if an option is given that this kind of source does not have."""
    for option, value in options.items():
        if value is not None and value != () and (option, value) != ("id_column", DEFAULT_ID):
            raise InputError(f"{option} does not apply to {what}; leave it out")
