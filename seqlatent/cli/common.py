"""What the commands share: their arguments, messages, and checks of what they are given."""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from seqlatent.errors import InputError

DATA = "A table (.csv, .parquet, .feather, .json), a .npy array, or a bundled name, NAME:train"
Data = Annotated[str, typer.Argument(metavar="DATA", help=DATA)]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a fitted model.")]
Seed = Annotated[int, typer.Option(help="Seed of all randomness.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print results and errors alone.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
IdColumn = Annotated[
    str | None, typer.Option(help="Column with the series' names (default: unique_id).")
]
TimeColumn = Annotated[
    str | None,
    typer.Option(help="Column with timestamps or integer steps (default: ds, date, ...)."),
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Threads = Annotated[int | None, typer.Option(help="CPU threads (default: torch's choice).")]


def set_up(quiet: bool, threads: int | None, as_json: bool = False) -> None:
    """Messages to standard error, one plain line each: none with --quiet, with --json warnings."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("seqlatent")
    logger.handlers = [handler]
    logger.setLevel(logging.ERROR if quiet else logging.WARNING if as_json else logging.INFO)
    logger.propagate = False
    if threads is not None:
        import torch

        if threads < 1:
            raise InputError(f"--threads {threads} must be at least 1")
        torch.set_num_threads(threads)


def show(quiet: bool) -> bool:
    return not quiet and sys.stderr.isatty()


def names(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else ()


def check_outputs(tables: list[Path | None], pictures: list[Path | None]) -> None:
    """Refuse, before long work, files that could not be written."""
    from seqlatent.data.tables import check_table_path
    from seqlatent.plots.figure import check_picture

    for path in tables:
        if path:
            check_table_path(path)
    for path in pictures:
        if path:
            check_picture(path)
    given = [path for path in tables + pictures if path]
    for path in given:
        if given.count(path) > 1:
            raise InputError(f"{path}: two outputs would be written to one file; rename one")
