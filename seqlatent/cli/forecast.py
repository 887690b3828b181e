"""`seqlatent forecast` and `seqlatent sample`."""

from pathlib import Path
from typing import Annotated

import typer

from seqlatent.cli.common import (
    Data,
    IdColumn,
    Json,
    Quiet,
    Run,
    Seed,
    SpreadsheetSafe,
    Threads,
    TimeColumn,
    check_outputs,
    say,
    set_up,
    show,
)


def forecast(
    run: Run,
    data: Data,
    *,
    prediction_length: Annotated[
        int, typer.Option(metavar="H", help="Number of steps to forecast.")
    ],
    num_samples: Annotated[int, typer.Option(help="Sample paths for each series.")] = 500,
    future: Annotated[
        str | None, typer.Option(help="Data with the covariates of the steps to forecast.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Table of means and quantiles.")] = None,
    samples_out: Annotated[Path | None, typer.Option(help="Table of all sample paths.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Picture of the forecasts after their history.")
    ] = None,
    seed: Seed = 0,
    id_column: IdColumn = None,
    time_column: TimeColumn = None,
    spreadsheet_safe: SpreadsheetSafe = False,
    threads: Threads = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Forecast the steps that follow each sequence.

    The result holds means, quantiles and sample paths.
    """
    from seqlatent.api import load_model
    from seqlatent.data.readers import load_future, load_like
    from seqlatent.data.tables import write_table
    from seqlatent.text import frame_text

    set_up(quiet, threads, as_json)
    check_outputs([out, samples_out], [plot])
    model = load_model(run)
    loaded = load_like(data, model.module.description, id_column, time_column)
    ahead = None
    if future is not None:
        described = model.module.description
        id_column = id_column or described.id_column
        time_column = time_column or described.time_column
        ahead = load_future(future, model.covariates, id_column, time_column)
    result = model.forecast(
        loaded,
        prediction_length,
        num_samples=num_samples,
        seed=seed,
        future=ahead,
        progress=show(quiet or as_json),
    )
    frame = result.to_frame()
    if out:
        write_table(frame, out, spreadsheet_safe)
    if samples_out:
        write_table(result.samples_frame(), samples_out, spreadsheet_safe)
    if plot:
        result.plot(str(plot))
    if as_json:
        print(frame.to_json(orient="records", date_format="iso", double_precision=15))
    elif not quiet:
        say(frame_text(frame, written=out is not None))


def sample(
    run: Run,
    *,
    num_samples: Annotated[int, typer.Option(help="Number of sequences.")],
    length: Annotated[int, typer.Option(help="Number of steps of each sequence.")],
    out: Annotated[Path, typer.Option(help="Table of the sequences.")],
    start: Annotated[
        str | None, typer.Option(help="First step (default: that of the training data).")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Picture of the sequences.")] = None,
    seed: Seed = 0,
    spreadsheet_safe: SpreadsheetSafe = False,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Sample new sequences from the model."""
    from seqlatent.api import load_model
    from seqlatent.data.tables import write_table
    from seqlatent.plots import plot_samples
    from seqlatent.text import counted

    set_up(quiet, threads)
    check_outputs([out], [plot])
    drawn = load_model(run).sample(num_samples, length, seed=seed, start=start)
    write_table(drawn.to_frame().rename(columns={"unique_id": "sample_id"}), out, spreadsheet_safe)
    if plot:
        plot_samples(drawn, plot)
    if not quiet:
        say(f"wrote {counted(num_samples, 'sequence')} of {length} steps to {out}")
