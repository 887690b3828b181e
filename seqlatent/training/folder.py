"""The folder of a run while a fit works in it: who may, one at a time, and what is left after."""

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from seqlatent.data.writing import clear_unfinished
from seqlatent.errors import InputError
from seqlatent.models.base import SequenceModel
from seqlatent.training.checkpoint import CONFIG, STATE, clear_state, load_model, make_folder

try:
    import fcntl
except ImportError:  # Windows has none: there a folder is not locked
    fcntl = None

logger = logging.getLogger("seqlatent")


@contextmanager
def run_folder(run: Path | None, resume: bool, overwrite: bool) -> Iterator[None]:
    """Make the folder and keep it locked meanwhile; if the fit fails, a folder that was made for it
    and is still empty is removed.

    Raises:
        InputError: when the folder holds what must not be lost, cannot be written to, or another
            fit works in it.
    """
    if run is None:
        yield
        return
    check_folder(run, resume, overwrite)
    made = [path for path in (run, *run.parents) if not path.exists()]
    make_folder(run)
    try:
        _require_writable(run)
        with _locked(run):
            check_folder(run, resume, overwrite)  # another fit may have ended since
            clear_unfinished(run)
            yield
    except BaseException:
        with suppress(OSError):  # not empty, where there is something to go on from
            for empty in made:
                empty.rmdir()
        raise


def check_folder(run: Path, resume: bool, overwrite: bool) -> None:
    """Refuse, before long work, to overwrite what a folder contains."""
    if run.exists() and not run.is_dir():
        raise InputError(f"{run} is a file; choose another folder (--out)")
    if resume or overwrite:
        return
    if (run / CONFIG).exists():
        raise InputError(f"{run} holds a finished model; choose another --out, or --overwrite it")
    if (run / STATE).exists():
        raise InputError(f"{run} holds an interrupted fit; resume with --resume, or --overwrite it")


def is_finished(run: Path) -> bool:
    """Whether a fit came to its end; `save_model` writes the configuration last."""
    return (run / CONFIG).is_file()


def load_finished(
    run: Path, family: str, asked: Mapping[str, Any], device: str = "auto"
) -> tuple[SequenceModel, dict[str, Any]]:
    """The finished fit in a folder, in place of resuming it, and the facts about it.

    Args:
        run: the folder.
        family: of the model that was to be resumed.
        asked: options of its training, and the seed.
        device: for the model.

    Raises:
        InputError: when the fit is of another model, or damaged.
    """
    module, fitted = load_model(run, device)
    if module.family != family:
        raise InputError(
            f"{run} holds a finished fit of '{module.family}', not of '{family}'; choose another "
            "--out, or --overwrite it"
        )
    clear_state(run)  # of a process that was killed after its last file
    logger.info("%s: the fit is finished; there is nothing left to resume", run)
    had = {"seed": fitted.get("seed"), **fitted.get("training", {})}
    changed = [name for name, value in asked.items() if name in had and had[name] != value]
    if changed:
        logger.warning(
            "%s was fitted with %s; --overwrite it to fit again",
            run,
            ", ".join(f"{name}={had[name]}" for name in changed),
        )
    return module, fitted


def _require_writable(run: Path) -> None:
    try:
        # Permissions alone do not tell: the folder may lie on a file system that is read only.
        with tempfile.TemporaryFile(dir=run):
            pass
    except OSError as error:
        raise InputError(
            f"{run}: cannot be written to ({error.strerror}); choose another --out"
        ) from None


@contextmanager
def _locked(run: Path) -> Iterator[None]:
    """A lock on the folder itself, which ends with the process that holds it, however that ends.

    The first of several processes that train together holds it for all. File systems without locks
    go without.
    """
    if fcntl is None or os.environ.get("RANK", "0") != "0":
        yield
        return
    folder = os.open(run, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{run}: another fit is at work in this folder; wait for it, or choose another "
                "--out"
            ) from None
        except OSError:
            pass
        yield
    finally:
        os.close(folder)
