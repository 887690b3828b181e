"""`seqlatent evaluate`."""

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


def evaluate(
    run: Run,
    data: Data,
    *,
    prediction_length: Annotated[
        int, typer.Option(metavar="H", help="Number of steps of each window.")
    ],
    windows: Annotated[
        int, typer.Option(metavar="W", help="Number of windows at the end of each series.")
    ] = 1,
    step: Annotated[
        int | None,
        typer.Option(metavar="N", help="Steps from one window to the next (default: H)."),
    ] = None,
    num_samples: Annotated[int, typer.Option(help="Sample paths for each window.")] = 500,
    season: Annotated[
        int | None,
        typer.Option(help="Season of the naive forecast, in steps (default: found in the data)."),
    ] = None,
    refit: Annotated[
        bool, typer.Option("--refit", help="Fit again to the steps before each window.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Table of scores, one row per series and method.")
    ] = None,
    frame_out: Annotated[
        Path | None, typer.Option(help="Table of the forecasts beside what came.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Picture of forecasts, calibration and errors.")
    ] = None,
    seed: Seed = 0,
    id_column: IdColumn = None,
    time_column: TimeColumn = None,
    spreadsheet_safe: SpreadsheetSafe = False,
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Forecast the last steps of each sequence, and compare with what came.

    The measures stand beside those of two simple forecasts, each with its standard error.
    crps_growth is the CRPS at the last step ahead over that at the first, to be compared with that
    of the seasonal naive forecast: how the error grows along the horizon.
    """
    from seqlatent.api import load_model
    from seqlatent.data.readers import load_like
    from seqlatent.data.tables import write_table
    from seqlatent.plots.evaluation import check_drawable

    set_up(quiet, threads, as_json)
    check_outputs([out, frame_out], [plot])
    model = load_model(run, device=device)
    loaded = load_like(data, model.module.description, id_column, time_column)
    if plot:
        check_drawable(loaded)
    result = model.evaluate(
        loaded,
        prediction_length,
        windows=windows,
        step=step,
        num_samples=num_samples,
        season=season,
        refit=refit,
        seed=seed,
        progress=show(quiet or as_json),
    )
    if out:
        write_table(result.scores, out, spreadsheet_safe)
    if frame_out:
        write_table(result.to_frame(), frame_out, spreadsheet_safe)
    if plot:
        result.plot(str(plot))
    if as_json:
        print(result.summary.to_json(orient="records", double_precision=15))
    elif quiet:
        say(result.table())
    else:
        say(f"{result!r}\n\n{result.table()}")
