"""`seqlatent stream`."""

import csv
import logging
import math
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from seqlatent.cli.common import (
    Device,
    IdColumn,
    Quiet,
    Run,
    Threads,
    TimeColumn,
    set_up,
)
from seqlatent.errors import InputError, Interrupted

logger = logging.getLogger("seqlatent")

QUANTILES = (0.05, 0.5, 0.95)  # of the next step's samples
STOPPED = {signal.SIGINT: 130, signal.SIGTERM: 143}  # exit statuses


def stream(
    run: Run,
    *,
    state: Annotated[
        Path | None,
        typer.Option(
            help="File of the stream's state: it goes on from there if the file exists, and the "
            "state is saved there at the end, and when it is interrupted."
        ),
    ] = None,
    save_every: Annotated[
        int, typer.Option(help="Rows after which --state is saved on the way.", min=1)
    ] = 10_000,
    samples: Annotated[
        int,
        typer.Option(
            help="Samples of the next step, such as 200, whose mean and quantiles are written with "
            "each row. 0: none.",
            min=0,
        ),
    ] = 0,
    intervals: Annotated[
        str | None,
        typer.Option(
            metavar="LEVELS",
            help="Levels in percent, such as 50,80,95, of the central intervals that each value "
            "was expected in before it came: columns y_lower80, y_upper80, and with --samples "
            "those of the next step too, next_y_lower80, next_y_upper80.",
        ),
    ] = None,
    conformal: Annotated[
        bool,
        typer.Option(
            "--conformal",
            help="Recalibrate the intervals as values come, so that in the long run each holds its "
            "share of them, even if the model is wrong.",
        ),
    ] = False,
    gamma: Annotated[
        float | None,
        typer.Option(
            help="Step of --conformal, up to 1: larger ones follow changes faster, with ends that "
            "vary more. (default: 0.01)"
        ),
    ] = None,
    interval_draws: Annotated[
        int | None,
        typer.Option(help="Draws of each step, to find its intervals. (default: 500)"),
    ] = None,
    tail_draws: Annotated[
        int | None,
        typer.Option(
            help="Draws of each step, such as 200, to estimate its tail probability where the "
            "likelihood is exact and that has no closed form. (default: 0, none)"
        ),
    ] = None,
    num_particles: Annotated[
        int | None,
        typer.Option(
            help="Particles of the estimate, if the likelihood is not exact. (default: 64)"
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the random numbers. (default: 0)")
    ] = None,
    id_column: IdColumn = None,
    time_column: TimeColumn = None,
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Score rows as they come, from standard input to standard output.

    The input is a table as text, with a header; series may be interleaved. A line is written for
    each row as soon as it is read: its log-density given the rows before, in nats and data units,
    how rare it is, the filtered latents or regimes, and with --intervals what was expected. A row
    that cannot be read ends the command, and the state of the rows before it is kept.
    """
    from seqlatent.api import load_model

    set_up(quiet, threads)
    if gamma is not None and not (conformal and 0 < gamma <= 1):
        raise InputError("--gamma is the step of --conformal, above 0 and at most 1; give both")
    if state is not None:
        from seqlatent.data.tables import check_writable

        check_writable(state)
    model = load_model(run, device=device)
    begun = state if state is not None and state.exists() else None
    streams = model.stream(
        begun, many=True, num_particles=num_particles, tail_draws=tail_draws, seed=seed,
        intervals=None if intervals is None else _levels(intervals),
        conformal=(gamma or True) if conformal else None, interval_draws=interval_draws,
    )  # fmt: skip
    signals = _Signals()
    described = model.module.description
    table = _Table(described, id_column, time_column, signals)
    writer = _Writer(streams, samples, described)
    try:
        with signals:
            for number, (unique_id, step, row) in enumerate(table.rows(sys.stdin), 1):
                with table.naming():
                    found = streams.update({unique_id: row})
                    writer.write(unique_id, step, found)
                if state is not None and number % save_every == 0:
                    streams.save(state)
                signals.stop_if_asked()
    finally:
        if state is not None and streams.ids:
            streams.save(state)


def _levels(text: str) -> tuple[float, ...]:
    """`80,95` -> (0.8, 0.95).

    Raises:
        InputError: for what is no percentage.
    """
    try:
        levels = tuple(float(word) / 100 for word in text.split(","))
    except ValueError:
        levels = ()
    if not levels or not all(0 < level < 1 for level in levels):
        raise InputError(f"--intervals are percentages such as 80,95, not '{text}'")
    return levels


class _Signals:
    """Ctrl-C and requests to end: at once where the next row is waited for, else when the row that
    is read has been written."""

    def __init__(self) -> None:
        self.waiting = False
        self._received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> None:
        usual = (signal.default_int_handler, signal.SIG_DFL)
        for number in STOPPED:
            if signal.getsignal(number) in usual:
                self._before[number] = signal.signal(number, self._note)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._received = number
        if self.waiting:
            self.stop_if_asked()

    def stop_if_asked(self) -> None:
        if self._received is not None:
            raise Interrupted("interrupted", STOPPED[signal.Signals(self._received)])


class _Table:
    """The rows of a table of text, as they come."""

    def __init__(
        self, described: Any, id_column: str | None, time_column: str | None, signals: _Signals
    ):
        from seqlatent.data.columns import MISSING

        self.described, self.signals, self._missing = described, signals, MISSING
        self.id_column, self.time_column = id_column or described.id_column, time_column
        self.line = 0

    def naming(self) -> "_Line":
        return _Line(self)

    def rows(self, source: Any) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
        """Each row's series, its step as it stands there, and its cells by their columns."""
        lines = self._lines(source)
        header_line = next(lines, None)
        if header_line is None:
            raise InputError("there is no input; give a table with a header on standard input")
        separator = max(",\t;", key=header_line.count)
        header = next(csv.reader([header_line], delimiter=separator, skipinitialspace=True))
        header = [name.strip().removeprefix("\ufeff") for name in header]
        self._check(header)
        reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
        while True:
            with self.naming():
                try:
                    cells = next(reader, None)
                except csv.Error as error:
                    raise InputError(f"it cannot be read: {error}") from None
                if cells is None:
                    return
                if not cells and len(header) > 1:
                    continue
                row = self._row(header, cells or [""])
            yield row

    def _lines(self, source: Any) -> Iterator[str]:
        while True:
            self.signals.waiting = True
            self.signals.stop_if_asked()
            try:
                line = source.readline()
            except UnicodeDecodeError:
                raise InputError(f"line {self.line + 1} is not UTF-8 text") from None
            self.signals.waiting = False
            if not line:
                return
            self.line += 1
            yield line

    def _check(self, header: list[str]) -> None:
        for name in header:
            if header.count(name) > 1:
                raise InputError(f"two columns of the input are named '{name}'; rename one")
        wanted = [*self.described.targets, self.time_column]
        if self.id_column != "unique_id":
            wanted.append(self.id_column)
        for name in wanted:
            if name is not None and name not in header:
                raise InputError(
                    f"the input has no column '{name}'; its header is {', '.join(header)}"
                )

    def _row(self, header: list[str], cells: list[str]) -> tuple[str, str | None, dict[str, Any]]:
        if len(cells) != len(header):
            raise InputError(f"{len(cells)} cells where the header has {len(header)}")
        row: dict[str, Any] = {}
        for name, cell in zip(header, cells, strict=True):
            text = cell.strip()
            row[name] = None if text in self._missing else text
        unique_id = row.pop(self.id_column, None) if self.id_column in row else "series"
        if unique_id is None:
            raise InputError(f"the row has no series name in column '{self.id_column}'")
        time = self.time_column or next(
            (n for n in (self.described.time_column, "ds") if n in row), None
        )
        step = None
        if time is not None:
            step = row.pop(time)
            if step is None:
                raise InputError(f"the row has no step in column '{time}'")
            row[self.described.time_column or "ds"] = _whole(step)
        return unique_id, step, row


class _Line:
    """Where a line is read, a message begins with its number."""

    def __init__(self, table: _Table):
        self.table = table

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, InputError):
            text = str(error).removeprefix(f"line {self.table.line}: ")
            raise InputError(f"line {self.table.line}: {text}") from None


def _whole(text: str) -> Any:
    """A step as a whole number, where it is one; else the text."""
    return int(text) if text.removeprefix("-").isdecimal() else text


class _Writer:
    """Writes a line for each row, the header with the first."""

    def __init__(self, streams: Any, samples: int, described: Any):
        self.streams, self.samples, self.described = streams, samples, described
        self._out = csv.writer(sys.stdout, lineterminator="\n")
        self._begun = False
        self._told = False

    def write(self, unique_id: str, step: str | None, found: Any) -> None:
        columns = found.columns()
        columns = {n: c if isinstance(c, str) else c[0] for n, c in columns.items()}
        if step is not None:
            columns["ds"] = step  # as it was written
        if self.samples:
            columns |= self._next(unique_id)
        if not self._begun:
            self._out.writerow(columns)
            self._begun = True
        if not self._told and not math.isnan(found.log_prob[0]):
            self._told = True
            if math.isnan(found.tail_probability[0]):
                exact = columns["kind"] == "exact"
                logger.info(
                    "tail_probability stays empty: %s",
                    "it has no closed form here; --tail-draws 200 estimates it" if exact
                    else "it is worked out for exact likelihoods alone",
                )  # fmt: skip
        self._out.writerow("" if value != value else value for value in columns.values())
        sys.stdout.flush()

    def _next(self, unique_id: str) -> dict[str, Any]:
        """Mean and quantiles of samples of the next step, and its intervals; of labels the most
        frequent one."""
        import numpy as np

        x, columns = self.streams.predict([unique_id], self.samples)[0], {}
        for d, name in enumerate(self.described.targets):
            labels = self.described.categories.get(name)
            if labels is not None:
                counts = np.bincount(x[:, d].astype(int), minlength=len(labels))
                columns[f"next_{name}"] = labels[int(counts.argmax())]
                continue
            columns[f"next_{name}_mean"] = float(x[:, d].mean())
            for q, value in zip(QUANTILES, np.quantile(x[:, d], QUANTILES), strict=True):
                columns[f"next_{name}_q{q}"] = float(value)
        if self.streams.settings.intervals:
            ahead = self.streams.predict_intervals([unique_id]).columns()
            columns |= {f"next_{name}": float(ends[0]) for name, ends in ahead.items()}
        return columns
