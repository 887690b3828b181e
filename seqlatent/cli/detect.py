"""`seqlatent detect`."""

import json
from pathlib import Path
from typing import Annotated, Any

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


def detect(
    run: Run,
    data: Data,
    *,
    false_alarms: Annotated[
        float, typer.Option(help="Alarms per thousand steps of ordinary data.")
    ] = 1.0,
    calibrate: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Data that set the threshold; of the training data the held-out part. "
            "(default: that part, where the training data are bundled)",
        ),
    ] = None,
    half_life: Annotated[
        float, typer.Option(help="Half-life of the smoothing, in steps; 0: none.")
    ] = 8.0,
    memory: Annotated[
        float,
        typer.Option(
            help="Steps of each series that the score looks back on; 0: it is the smoothed "
            "surprise, and the threshold stays as calibrated."
        ),
    ] = 2000.0,
    gap: Annotated[
        int, typer.Option(help="Steps without alarm that an interval of alarm may span.")
    ] = 0,
    num_particles: Annotated[
        int, typer.Option(help="Particles of the estimate, if the likelihood is not exact.")
    ] = 64,
    out: Annotated[Path | None, typer.Option(help="Table of alarms, one row per interval.")] = None,
    steps_out: Annotated[
        Path | None, typer.Option(help="Table of surprise and alarm, one row per step.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Picture of the series with their alarms.")
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
    """Find anomalies: intervals of steps that surprise the model.

    Surprise is -log p(x_t | x_{<t}), in nats. A step's score is how rare the moving mean of its
    surprise and its values are among the last ones. An alarm is raised where the score is above a
    threshold, which begins at the rate of --false-alarms and follows the alarms of each series, so
    that the rate holds where the data drift; a rest after each, which only a much rarer step ends,
    makes one alarm of one event. An autoencoder has no likelihood: in the place of surprise is the
    error of its reconstruction, in standard deviations of the channels, and the tables' columns are
    called error. With a folder of Parquet files as data and folders as --out and --steps-out,
    tables are written in parts.
    """
    from seqlatent.api import load_model
    from seqlatent.data.readers import load_like
    from seqlatent.data.tables import write_table
    from seqlatent.text import text_table

    set_up(quiet, threads, as_json)
    estimate = {"num_particles": num_particles, "seed": seed}

    def held_out(model: Any) -> Any:
        described = model.module.description
        return calibrate and load_like(calibrate, described, id_column, time_column)

    def calibrated(model: Any) -> dict[str, Any]:
        known = held_out(model)
        threshold = model.calibration(known, false_alarms, half_life, memory, **estimate)
        return {"calibrated": threshold, "gap": gap, **estimate}

    if writes_folders(
        "detect", run, data, {"alarms": out, "steps": steps_out}, calibrated,
        Sharding(workers, engine, overwrite), others={"--plot": plot},
        device=device, columns=(id_column, time_column), bar=show(quiet or as_json),
        as_json=as_json,
    ):  # fmt: skip
        return
    check_outputs([out, steps_out], [plot])
    model = load_model(run, device=device)
    found = model.detect(
        load_like(data, model.module.description, id_column, time_column),
        calibrate=held_out(model),
        false_alarms=false_alarms,
        half_life=half_life,
        memory=memory,
        gap=gap,
        **estimate,
        progress=show(quiet or as_json),
    )
    if out:
        write_table(found.alarms, out, spreadsheet_safe)
    if steps_out:
        write_table(found.steps, steps_out, spreadsheet_safe)
    if plot:
        found.plot(plot)
    if as_json:
        print(json.dumps(found.to_json(), indent=2))
        return
    say(found.to_text().split("\n")[0] if quiet else found.to_text())
    if len(found.alarms) and not quiet:
        say("\nrarest, by score:")
        worst = found.alarms.nlargest(12, "score").astype({"start": str, "end": str, "peak": str})
        say(text_table(worst.to_numpy(dtype=object).tolist(), list(worst.columns)))
