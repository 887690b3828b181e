"""A table of any size and order as a folder of Parquet files, each with whole series.

Rows are dealt to *buckets* by a hash of their series' name, in one pass, and each bucket is sorted
by itself: memory holds one bucket at a time. This is the external sort of Knuth (1998, section 5.4)
with a hash in place of a merge, since series need no order among themselves.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pandas as pd

from seqlatent.data.folders import ENDING, ParquetFolder, is_folder
from seqlatent.data.frames import DEFAULT_ID, TIME_NAMES
from seqlatent.data.tables import read_table
from seqlatent.data.writing import replacing
from seqlatent.errors import InputError

FILE_ROWS = 2**20  # of a file, about
GROUP_ROWS = 2**17  # of a row group
MOST_BUCKETS = 512  # files that are open at once
CUT = 2**14  # rows that a bucket collects before it writes them


def partition(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    id_column: str = DEFAULT_ID,
    time_column: str | None = None,
    rows: int = FILE_ROWS,
    progress: Callable[[int], None] | None = None,
) -> list[Path]:
    """Write a table as Parquet files of whole series, sorted by series and step.

    Args:
        source: a folder of Parquet files or a pattern, in any order of rows and of any size; or
            a file that `seqlatent.load` reads as a table, which must fit into memory.
        out: a folder that is not there yet, or empty.
        id_column: the column that names the series.
        time_column: timestamps or integer steps; by default `ds`, or the one column with a usual
            name. Without any, the rows of a series keep their order.
        rows: of a file, about.
        progress: called with the number of rows of every finished part, of two passes.

    Returns:
        the files.

    Raises:
        InputError: when the source cannot be read, has no such column, or the folder is not empty.
    """
    out = Path(out)
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise InputError(f"{out} is not an empty folder; name a new one")
    total, columns, frames = _frames(source, id_column)
    time_column = _time(source, columns, id_column, time_column)
    out.mkdir(parents=True, exist_ok=True)
    count = int(np.clip(-(-total // rows), 1, MOST_BUCKETS))
    told = progress or (lambda number: None)
    scratch = Path(tempfile.mkdtemp(prefix=".unsorted-", dir=out))
    try:
        _deal(frames, id_column, scratch, count, told)
        files = []
        for bucket in range(count):
            frame = _gathered(scratch / str(bucket))
            if frame is None:
                continue
            path = out / f"part-{len(files):05d}{ENDING}"
            _write(_sorted(frame, id_column, time_column), path)
            files.append(path)
            told(len(frame))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return files


def _frames(
    source: str | os.PathLike[str], id_column: str
) -> tuple[int, list[str], Iterator[pd.DataFrame]]:
    """The number of rows, the columns and the rows in parts."""
    if is_folder(source) or os.fspath(source).lower().endswith(ENDING):
        folder = ParquetFolder(source, id_column)
        return folder.num_rows, folder.columns, folder.read()
    frame = read_table(source, text_columns=(id_column,))
    if id_column not in frame.columns:
        raise InputError(
            f"{source} has no id column '{id_column}'; name the column of series' names "
            "(--id-column)"
        )
    return len(frame), [str(c) for c in frame.columns], iter([frame])


def _time(
    source: str | os.PathLike[str], columns: list[str], id_column: str, time_column: str | None
) -> str | None:
    if time_column is not None and time_column not in columns:
        raise InputError(f"{source} has no time column '{time_column}'")
    if time_column is not None or "ds" in columns:
        return time_column or "ds"
    likely = [c for c in columns if c.lower() in TIME_NAMES and c != id_column]
    if len(likely) > 1:
        raise InputError(
            f"{source}: any of the columns {', '.join(likely)} could be the time; choose one with "
            "--time-column"
        )
    return likely[0] if likely else None


def _deal(
    frames: Iterator[pd.DataFrame],
    id_column: str,
    scratch: Path,
    count: int,
    told: Callable[[int], None],
) -> None:
    """Write every row to the file of its series' bucket."""
    import pyarrow as pa

    schema: Any = None
    with ExitStack() as stack:
        writers: dict[int, Any] = {}
        waiting: dict[int, list[pd.DataFrame]] = {}
        sizes = np.zeros(count, dtype=np.int64)

        def write(bucket: int) -> None:
            nonlocal schema
            frame = pd.concat(waiting.pop(bucket), ignore_index=True)
            table = pa.Table.from_pandas(frame, schema, preserve_index=False)
            schema = schema or table.schema
            if bucket not in writers:
                file = stack.enter_context(pa.OSFile(str(scratch / str(bucket)), "wb"))
                writers[bucket] = stack.enter_context(pa.ipc.new_stream(file, schema))
            writers[bucket].write_table(table)
            sizes[bucket] = 0

        for frame in frames:
            codes, names = pd.factorize(frame[id_column], use_na_sentinel=False)
            buckets = np.array([crc32(str(name).encode()) % count for name in names])[codes]
            for bucket in np.unique(buckets).tolist():
                part = frame.loc[buckets == bucket]
                waiting.setdefault(bucket, []).append(part)
                sizes[bucket] += len(part)
                if sizes[bucket] >= CUT:
                    write(bucket)
            told(len(frame))
        for bucket in list(waiting):
            write(bucket)


def _gathered(path: Path) -> pd.DataFrame | None:
    import pyarrow as pa

    if not path.exists():
        return None
    with pa.OSFile(str(path), "rb") as file, pa.ipc.open_stream(file) as reader:
        frame = reader.read_pandas()
    path.unlink()
    return frame


def _sorted(frame: pd.DataFrame, id_column: str, time_column: str | None) -> pd.DataFrame:
    by = [id_column] if time_column is None else [id_column, time_column]
    return frame.sort_values(by, kind="stable", ignore_index=True)


def _write(frame: pd.DataFrame, path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    with replacing(path) as unfinished:
        table = pa.Table.from_pandas(frame, preserve_index=False)
        parquet.write_table(table, unfinished, row_group_size=GROUP_ROWS)
