"""What the commands share: arguments, messages and checks of the input."""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from seqlatent.errors import InputError, one_line

INTERRUPTED = 130  # the exit status after Ctrl-C

DATA = (
    "A table (.csv, .parquet, .feather, .json; .gz too), a folder of .parquet files, a .npy array, "
    "or a bundled data set, as NAME:train."
)
Data = Annotated[str, typer.Argument(metavar="DATA", help=DATA)]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a fitted model.")]
Seed = Annotated[int, typer.Option(help="Seed of the random numbers.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print only results, warnings and errors.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
IdColumn = Annotated[
    str | None, typer.Option(help="Column that names the series (default: unique_id).")
]
TimeColumn = Annotated[
    str | None,
    typer.Option(help="Column of timestamps or integer steps (default: ds, date, ...)."),
]
Targets = Annotated[
    str | None,
    typer.Option(metavar="A,B", help="Columns to model (default: y, or all numeric ones)."),
]
Covariates = Annotated[
    str | None, typer.Option(metavar="C,D", help="Columns whose future values are known.")
]
Static = Annotated[
    str | None,
    typer.Option(
        metavar="E,F",
        help="Columns with one value for each series: numbers, or texts, which are categories; "
        "unique_id makes the series itself a category.",
    ),
]
Calendar = Annotated[
    str | None,
    typer.Option(
        help="Calendar cycles as covariates, such as day,week (hour, day, week, month, year), "
        "or none (default: those that suit the steps)."
    ),
]
SpreadsheetSafe = Annotated[
    bool,
    typer.Option(
        "--spreadsheet-safe",
        help="In .csv tables, put ' before text that a spreadsheet would take for a formula "
        "(= + - @).",
    ),
]
Device = Annotated[
    str, typer.Option(help="Where it is computed: auto, on a GPU if there is one; cpu or cuda.")
]
Threads = Annotated[
    int | None, typer.Option(help="Number of CPU threads (default: chosen by torch).")
]


class _OneLine(logging.Formatter):
    """The plain message; from warnings upwards with its level: `warning: ...`."""

    def format(self, record: logging.LogRecord) -> str:
        text = one_line(super().format(record))
        return f"{record.levelname.lower()}: {text}" if record.levelno >= logging.WARNING else text


def set_up(quiet: bool, threads: int | None, as_json: bool = False) -> None:
    """Send messages to standard error, one line each; with --quiet or --json only warnings.

    Where several processes train together, only rank 0 logs.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(message)s"))
    logger = logging.getLogger("seqlatent")
    logger.handlers = [handler]
    level = logging.WARNING if quiet or as_json else logging.INFO
    logger.setLevel(level if is_rank_zero() else logging.ERROR)
    logger.propagate = False
    if threads is not None:
        import torch

        if threads < 1:
            raise InputError(f"--threads {threads} must be at least 1")
        torch.set_num_threads(threads)


def is_rank_zero() -> bool:
    """Whether this process is alone, or the first of several that train together."""
    return os.environ.get("RANK", "0") == "0"


def show(quiet: bool) -> bool:
    return not quiet and sys.stderr.isatty()


def say(text: str) -> None:
    """Print lines of a result, in which names from data cannot control the terminal."""
    print("\n".join(one_line(line) for line in text.split("\n")))


def names(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else ()


def check_outputs(tables: list[Path | None], pictures: list[Path | None]) -> None:
    """Refuse output files that cannot be written, before any long work."""
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
            raise InputError(f"{path}: two outputs have the same file name; rename one")
