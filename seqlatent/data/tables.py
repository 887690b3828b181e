"""Tables in files: CSV with any common separator, Parquet, Feather and JSON."""

import io
import json
import os
import tempfile
from collections.abc import Collection, Iterable
from contextlib import ExitStack
from gzip import GzipFile
from pathlib import Path
from typing import Any

import pandas as pd

from seqlatent.data.feather import claimed_bytes
from seqlatent.data.limits import require_cells, require_file, require_size, unpack
from seqlatent.data.text_tables import parse
from seqlatent.data.writing import replacing
from seqlatent.errors import InputError

TEXT_ENDINGS = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")
FEATHER_ENDINGS = (".feather", ".arrow")
JSON_ENDINGS = (".json", ".jsonl")
READ_ENDINGS = (*TEXT_ENDINGS, ".parquet", *FEATHER_ENDINGS, *JSON_ENDINGS)
EXCEL_ENDINGS = (".xlsx", ".xls")
FORMULAS = ("=", "+", "-", "@", "\t", "\r")
WRITE_ENDINGS = (".csv", ".csv.gz", ".parquet")
BATCH_ROWS = 2**14  # of Arrow, read together


def ending(path: Path, known: Iterable[str]) -> str | None:
    """The file's ending, `.gz` included, if it is a known one."""
    return next((e for e in known if path.name.lower().endswith(e)), None)


def read_table(path: str | os.PathLike[str], text_columns: Collection[str] = ()) -> pd.DataFrame:
    """Read a table with one line of column names.

    In text files the separator is whichever of comma, tab and semicolon the header has most of. In
    the last two kinds numbers may have decimal commas.
    Empty cells and NA, NaN, nan, null and None are missing; anything else is kept as written where
    a column is not all numbers, so that a bad cell can be named later.

    Args:
        path: a `.csv`, `.tsv` or `.txt` file, gzipped or not, in UTF-8; `.parquet`; `.feather` or
            `.arrow`; `.json`, a list of rows or an object of columns; or `.jsonl`, a row per line.
        text_columns: columns kept as text: an id such as 007 is not the number 7.

    Raises:
        InputError: naming the file, and the line where there is one, that cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file in it")
    if not path.exists():
        raise InputError(f"there is no file {path}")
    require_file(path)
    if ending(path, EXCEL_ENDINGS):
        raise InputError(
            f"{path}: Excel files are not read; save the sheet as .csv, or load it in Python with "
            f'sl.load(pd.read_excel("{path}"))'
        )
    if ending(path, READ_ENDINGS) is None:
        raise InputError(f"{path}: unknown kind of file; use one of {', '.join(READ_ENDINGS)}")
    try:
        if ending(path, [".parquet"]):
            frame = _from_parquet(path)
        elif ending(path, FEATHER_ENDINGS):
            frame = _from_feather(path)
        elif ending(path, JSON_ENDINGS):
            frame = _from_json(path, _read_text(path))
        else:
            frame = parse(path, _read_text(path), text_columns)
    except InputError:
        raise
    except RecursionError:
        raise InputError(f"{path} cannot be read: it is nested too deeply") from None
    except MemoryError:  # Arrow believes the sizes that the columns of Parquet claim
        raise InputError(f"{path} cannot be read: it claims more memory than there is") from None
    except Exception as error:
        # pandas and Arrow raise errors of every kind about a broken file.
        reason = " ".join(str(error).split()).rstrip(".")[:200]
        if not reason or not isinstance(error, (OSError, ValueError)):
            reason = f"{type(error).__name__} {reason}".strip()
        raise InputError(f"{path} cannot be read: {reason}") from None
    if len(frame.columns) == 0:
        raise InputError(f"{path} has no columns")
    if len(frame) == 0:
        raise InputError(f"{path} has a header but no rows")
    return frame


def _read_text(path: Path) -> str:
    """The file's text, with `\\n` at the end of each line and no blank lines around it."""
    content = unpack(path) if ending(path, [".gz"]) else path.read_bytes()
    if b"\0" in content and not content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{path} is a binary file, not a table of text")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(f"{path} is not UTF-8 text (line {line}); save it as UTF-8") from None
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.strip("\n")
    if not text.strip():
        raise InputError(f"{path} is empty")
    return text + "\n"


def _from_parquet(path: Path) -> pd.DataFrame:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        require_cells(path, file.metadata.num_rows, len(file.schema_arrow.names))
        return _from_arrow(path, file.schema_arrow, file.iter_batches(batch_size=BATCH_ROWS))


def _from_feather(path: Path) -> pd.DataFrame:
    import pyarrow

    content = path.read_bytes()
    with pyarrow.ipc.open_file(pyarrow.py_buffer(content)) as file:
        require_size(path, sum(claimed_bytes(memoryview(content))), len(file.schema.names))
        batches = (file.get_batch(i) for i in range(file.num_record_batches))
        return _from_arrow(path, file.schema, batches)


def _from_arrow(path: Path, schema: Any, batches: Iterable[Any]) -> pd.DataFrame:
    """A frame of Arrow's batches, which are counted as they come: metadata can lie."""
    import pyarrow

    kept, rows, size = [], 0, 0
    for batch in batches:
        rows, size = rows + batch.num_rows, size + batch.nbytes
        require_cells(path, rows, len(schema.names))
        require_size(path, size, len(schema.names))
        kept.append(batch)
    table = pyarrow.Table.from_batches(kept, schema)
    table.validate(full=True)  # such as that text is UTF-8, or it would fail much later
    return table.to_pandas()


def _from_json(path: Path, text: str) -> pd.DataFrame:
    """A list of rows, an object of columns, or a row per line; text such as 007 stays text."""
    # pandas' own reader would take a column named `date` for milliseconds.
    if ending(path, [".jsonl"]):
        content = [_json_line(path, n, line) for n, line in enumerate(text.split("\n"), 1) if line]
    else:
        content = json.loads(text)
    if isinstance(content, dict):
        good = all(isinstance(column, list | dict) for column in content.values())
    else:
        good = isinstance(content, list) and all(isinstance(row, dict) for row in content)
    if not good:
        raise InputError(f"{path} holds neither a list of rows nor an object of columns")
    parts = list(content.values()) if isinstance(content, dict) else content
    # Rows that share no key would make a table of their number squared.
    keys = len({key for part in parts if isinstance(part, dict) for key in part})
    longest = max([keys, *(len(part) for part in parts)])
    rows, columns = (longest, len(parts)) if isinstance(content, dict) else (len(parts), keys)
    require_cells(path, rows, columns)
    return pd.DataFrame(content)


def _json_line(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise InputError(f"{path}: line {number} is not JSON") from None


def check_table_path(path: str | os.PathLike[str]) -> str:
    """The ending of a table that could be written; call it before long work.

    Raises:
        InputError: another ending, no such folder, or one that cannot be written to.
    """
    path = Path(path)
    kind = ending(path, WRITE_ENDINGS)
    if kind is None:
        raise InputError(f"{path}: unknown kind of file; use one of {', '.join(WRITE_ENDINGS)}")
    check_writable(path)
    return kind


def check_writable(path: Path) -> None:
    """Refuse a file that could not be written: a folder, or one whose folder is not there."""
    if os.path.isdir(path):
        raise InputError(f"{path} is a folder; name a file in it")
    if not os.path.isdir(path.parent):
        raise InputError(f"{path}: there is no folder {path.parent}; make it first")
    try:
        # Permissions alone do not tell: the folder may lie on a file system that is read only.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from None


def write_table(
    frame: pd.DataFrame | Iterable[pd.DataFrame],
    path: str | os.PathLike[str],
    spreadsheet_safe: bool = False,
    date_format: str | None = None,
) -> None:
    """Write a table by its ending; under its name there is never half a file.

    Args:
        frame: written without its index; numbers keep all their digits. Or parts of a table, with
            the same columns, which are made and written one by one.
        path: `.csv`, `.csv.gz` or `.parquet`.
        date_format: of timestamps in text; by default as short as all of a part can be.
        spreadsheet_safe: put `'` before text in CSV that a spreadsheet would take for a formula,
            such as a series' name `=cmd()`.

    Raises:
        InputError: another ending, no such folder, or one that cannot be written to.
    """
    path = Path(path)
    kind = check_table_path(path)
    parts = [frame] if isinstance(frame, pd.DataFrame) else frame
    if spreadsheet_safe and kind != ".parquet":
        parts = (_without_formulas(part) for part in parts)
    with replacing(path) as unfinished:
        if kind == ".parquet":
            _write_parquet(parts, unfinished)
        else:
            _write_text(parts, unfinished, kind == ".csv.gz", date_format)


def _write_parquet(parts: Iterable[pd.DataFrame], path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    with ExitStack() as stack:
        writer = None
        for part in parts:
            schema = None if writer is None else writer.schema
            table = pa.Table.from_pandas(part, schema, preserve_index=False)
            if writer is None:
                writer = stack.enter_context(parquet.ParquetWriter(path, table.schema))
            writer.write_table(table)


def _write_text(
    parts: Iterable[pd.DataFrame], path: Path, compressed: bool, date_format: str | None
) -> None:
    with ExitStack() as stack:
        file: Any = stack.enter_context(open(path, "wb"))
        if compressed:
            # Without the time of writing the same table is the same file.
            file = stack.enter_context(GzipFile("", "wb", fileobj=file, mtime=0))
        text = stack.enter_context(io.TextIOWrapper(file, "utf-8", newline=""))
        for number, part in enumerate(parts):
            part.to_csv(text, index=False, header=number == 0, date_format=date_format)


def _without_formulas(frame: pd.DataFrame) -> pd.DataFrame:
    texts = frame.select_dtypes(exclude=["number", "datetime", "bool"]).columns
    frame = frame.assign(**{c: frame[c].map(_no_formula) for c in texts})
    return frame.rename(columns=_no_formula)


def _no_formula(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULAS) else cell
