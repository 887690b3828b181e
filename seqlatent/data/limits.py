"""How much a file may unfold to: refused before memory is taken for it, with the limit named.

A file of a megabyte can claim terabytes (a header), or unpack to gigabytes (gzip, Parquet,
Feather).
"""

import gzip
import os
import stat
import zlib
from pathlib import Path

from seqlatent.errors import InputError

# What a file may unfold to: this much, and so many times its own size.
FREE_TEXT, TEXT = 2**26, 100  # bytes of text, packed by gzip
FREE_CELLS, CELLS = 2**23, 64  # of a table or an array
MAX_COLUMNS = 10_000  # of a table
MOST_UNPACKED = 1032  # times its size: what deflate can reach
CHUNK = 2**20


def require_file(path: Path) -> None:
    """Refuse a pipe, socket or device, from which reading may never end.

    Raises:
        InputError: for anything but a file, and for what is not there.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    if stat.S_ISDIR(mode):
        raise InputError(f"{path} is a folder; name a file in it")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path} is a pipe or device, not a file; save its content as a file")


def require_cells(path: Path, rows: int, columns: int) -> int:
    """Refuse a table or array of too many columns or cells, by its shape alone; the cells that the
    file may have."""
    if columns > MAX_COLUMNS:
        raise InputError(
            f"{path} has {columns} columns, more than the {MAX_COLUMNS} that are read; leave some "
            "out, or write a series in rows of its own (unique_id, ds, y)"
        )
    size = path.stat().st_size
    limit = FREE_CELLS + CELLS * size
    if rows * columns > limit:
        raise InputError(
            f"{path} has {rows} x {columns} cells, more than the {limit} that are read of a file "
            f"of {size} bytes; if it is sound, split it, or load it in Python as a frame"
        )
    return limit


def require_size(path: Path, size: int, columns: int) -> None:
    """Refuse a table of Arrow that unfolds to this many bytes, eight for each of the cells that the
    file may have."""
    limit = 8 * require_cells(path, 0, columns)
    if size > limit:
        raise InputError(
            f"{path} unfolds to more than {limit // 2**20} MiB, the most that is read of a "
            "file of its size; if it is sound, split it, or load it in Python as a frame"
        )


def unpack(path: Path) -> bytes:
    """The content of a gzip file.

    Raises:
        InputError: when it is damaged or cut short, or unpacks to too much.
    """
    try:
        size = path.stat().st_size
        if size * MOST_UNPACKED > FREE_TEXT:
            _require_text(path, FREE_TEXT + TEXT * size)
        with gzip.open(path) as file:
            return file.read()
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError(
            f"{path} is not a whole gzip file; it may be cut short, so fetch or write it again"
        ) from None


def _require_text(path: Path, limit: int) -> None:
    """Count what a gzip file unpacks to, without keeping it."""
    total = 0
    with gzip.open(path) as file:
        while piece := file.read(CHUNK):
            total += len(piece)
            if total > limit:
                raise InputError(
                    f"{path} unpacks to more than {limit // 2**20} MiB of text, the most that is "
                    "read of a file of its size; if it is sound, unpack it with gunzip"
                )
