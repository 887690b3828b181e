"""Files that appear whole or not at all, whatever stops the process that writes them."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from seqlatent.errors import InputError

UNFINISHED = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d+)\.part")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write beside `path`, which takes its place at the end.

    A crash leaves either the old file or the new one. What a killed process left unfinished under
    the same name is deleted first.

    Raises:
        InputError: when the file cannot be written; the old one is still there.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    clear_unfinished(path.parent, path.name)
    try:
        yield unfinished
        with open(unfinished, "rb") as file:
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        with suppress(OSError):  # such as that the disk is read-only by now
            unfinished.unlink(missing_ok=True)


def clear_unfinished(folder: Path, name: str | None = None) -> None:
    """Delete what killed processes left unfinished in a folder, or of the file `name` there."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        match = UNFINISHED.fullmatch(entry.name)
        if match and name in (None, match["name"]) and not _lives(int(match["pid"])):
            with suppress(OSError):
                os.unlink(entry.path)


def _lives(pid: int) -> bool:
    """Whether there is such a process; where that cannot be told, it is taken to live."""
    if os.name != "posix":
        return True  # asking by a signal would end the process
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
