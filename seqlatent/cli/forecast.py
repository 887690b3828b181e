"""`seqlatent forecast` and `seqlatent sample`."""

from pathlib import Path
from typing import Annotated

import typer

from seqlatent.cli.common import (
    Data,
    Device,
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
from seqlatent.cli.sharded import Engine, Overwrite, Sharding, Workers, writes_folders


def forecast(
    run: Run,
    data: Data,
    *,
    prediction_length: Annotated[
        int, typer.Option(metavar="H", help="Number of steps to forecast.")
    ],
    num_samples: Annotated[int, typer.Option(help="Sample paths for each series.")] = 500,
    future: Annotated[
        str | None,
        typer.Option(
            help="Table of what is known of the steps to forecast: covariates, and values of "
            "targets, empty where unknown; the rest is forecast given these."
        ),
    ] = None,
    aggregate: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|total",
            help="Forecast sums over series: of all (total), or of the groups in a table with the "
            "columns unique_id and group. Series are taken as independent given their pasts: "
            "intervals of sums are too narrow where series move together.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Table of means and quantiles.")] = None,
    samples_out: Annotated[Path | None, typer.Option(help="Table of all sample paths.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Picture of the forecasts after their history.")
    ] = None,
    seed: Seed = 0,
    workers: Workers = 1,
    engine: Engine = "processes",
    overwrite: Overwrite = False,
    id_column: IdColumn = None,
    time_column: TimeColumn = None,
    spreadsheet_safe: SpreadsheetSafe = False,
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Forecast the steps that follow each sequence.

    The result holds means, quantiles and sample paths, of each series or, with --aggregate, of
    sums over series. With a folder of Parquet files as data and folders as --out and --samples-out,
    tables are written in parts, and the same command goes on where it stopped.
    """
    from seqlatent.api import load_model
    from seqlatent.data.readers import load_future, load_like
    from seqlatent.data.tables import write_table
    from seqlatent.tasks.sums import members_of, read_groups
    from seqlatent.text import frame_text

    set_up(quiet, threads, as_json)
    options = {"prediction_length": prediction_length, "num_samples": num_samples, "seed": seed}
    if writes_folders(
        "forecast", run, data, {"forecast": out, "samples": samples_out}, lambda model: options,
        Sharding(workers, engine, overwrite),
        others={"--plot": plot, "--aggregate": aggregate, "--future": future},
        device=device, columns=(id_column, time_column), bar=show(quiet or as_json),
        as_json=as_json,
    ):  # fmt: skip
        return
    check_outputs([out, samples_out], [plot])
    model = load_model(run, device=device)
    loaded = load_like(data, model.module.description, id_column, time_column)
    described = model.module.description
    id_column = id_column or described.id_column
    groups = None
    if aggregate is not None:
        groups = read_groups(aggregate, id_column)
        # Before long work; the forecast's own steps are looked at again after it.
        steps = [loaded.future_steps(s, max(1, prediction_length)) for s in loaded]
        members_of(loaded, groups, steps)
    ahead = None
    if future is not None:
        time_column = time_column or described.time_column
        ahead = load_future(future, model.covariates, id_column, time_column, described.targets)
    bar = show(quiet or as_json)
    result = model.forecast(loaded, future=ahead, progress=bar, **options)
    if groups is not None:
        result = result.aggregate(groups)
    frame = result.to_frame()
    if out:
        write_table(frame, out, spreadsheet_safe)
    if samples_out:
        result.write_samples(samples_out, spreadsheet_safe)
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
    device: Device = "auto",
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
    drawn = load_model(run, device=device).sample(num_samples, length, seed=seed, start=start)
    write_table(drawn.to_frame().rename(columns={"unique_id": "sample_id"}), out, spreadsheet_safe)
    if plot:
        plot_samples(drawn, plot)
    if not quiet:
        say(f"wrote {counted(num_samples, 'sequence')} of {length} steps to {out}")
