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
    Threads,
    TimeColumn,
    check_outputs,
    set_up,
    show,
)


def forecast(
    run: Run,
    data: Data,
    prediction_length: Annotated[int, typer.Option(metavar="H", help="Steps ahead.")],
    num_samples: Annotated[int, typer.Option(help="Sample paths of each series.")] = 500,
    future: Annotated[
        str | None, typer.Option(help="Data with the covariates of the steps ahead.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Table of mean and quantiles.")] = None,
    samples_out: Annotated[Path | None, typer.Option(help="Table of all paths.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw fans with their history.")] = None,
    seed: Seed = 0,
    id_column: IdColumn = None,
    time_column: TimeColumn = None,
    threads: Threads = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Sample what comes after each sequence."""
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
        loaded, prediction_length, num_samples, seed, ahead, show(quiet or as_json)
    )
    frame = result.to_frame()
    if out:
        write_table(frame, out)
    if samples_out:
        write_table(result.samples_frame(), samples_out)
    if plot:
        result.plot(str(plot))
    if as_json:
        print(frame.to_json(orient="records", date_format="iso", double_precision=15))
    elif not quiet:
        print(frame_text(frame, written=out is not None))


def sample(
    run: Run,
    num_samples: Annotated[int, typer.Option(help="How many sequences.")],
    length: Annotated[int, typer.Option(help="Steps of each.")],
    out: Annotated[Path, typer.Option(help="Table of the sequences.")],
    start: Annotated[str | None, typer.Option(help="First step (default: training's).")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the sequences.")] = None,
    seed: Seed = 0,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Draw new sequences from the model."""
    from seqlatent.api import load_model
    from seqlatent.data.tables import write_table
    from seqlatent.plots.rolls import MANY, plot_sample_rolls
    from seqlatent.plots.series import plot_samples
    from seqlatent.text import counted

    set_up(quiet, threads)
    check_outputs([out], [plot])
    drawn = load_model(run).sample(num_samples, length, seed, start)
    write_table(drawn.to_frame().rename(columns={"unique_id": "sample_id"}), out)
    if plot:
        draw = plot_sample_rolls if drawn.num_channels > MANY else plot_samples
        draw(drawn, plot)
    if not quiet:
        print(f"wrote {counted(num_samples, 'sequence')} of {length} steps to {out}")
