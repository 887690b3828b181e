"""`seqlatent score`."""

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


def score(
    run: Run,
    data: Data,
    *,
    num_particles: Annotated[
        int, typer.Option(help="Particles of the estimate, if the likelihood is not exact.")
    ] = 64,
    estimator: Annotated[
        str,
        typer.Option(
            help="Estimator, if the likelihood is not exact: auto, per-step, joint or smc."
        ),
    ] = "auto",
    target_error: Annotated[
        float | None,
        typer.Option(
            help="Add particles until the standard error per step is at most this, in nats; "
            "not reached where no error can be told."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Table of scores, one row per series.")] = None,
    steps_out: Annotated[
        Path | None, typer.Option(help="Table of scores, one row per step.")
    ] = None,
    tail_draws: Annotated[
        int,
        typer.Option(
            help="Draws at each step, such as 200, to estimate its tail probability in "
            "--steps-out where that has no closed form. It takes as long as a forecast of so many "
            "paths over all steps. 0: none."
        ),
    ] = 0,
    marginal_draws: Annotated[
        int,
        typer.Option(
            help="Draws, such as 64, of the missing channels of each step of which others were "
            "seen, to score these by their marginal distribution. 0: none; they are scored given "
            "that the rest is hidden."
        ),
    ] = 0,
    plot: Annotated[
        Path | None, typer.Option(help="Picture of the scores and the most unusual sequences.")
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
    """Compute the log-likelihood of each sequence.

    It is in nats and refers to data units.

    Data may be a folder of Parquet files that do not fit into memory (seqlatent partition makes
    one). With a folder as --out the table is written in parts, and the same command goes on where
    it stopped.
    """
    from seqlatent.api import load_model
    from seqlatent.data.readers import load_like
    from seqlatent.data.tables import write_table
    from seqlatent.plots import plot_scores
    from seqlatent.text import score_lines, text_table

    set_up(quiet, threads, as_json)
    options: dict[str, Any] = {
        "num_particles": num_particles,
        "seed": seed,
        "estimator": estimator,
        "target_error": target_error,
        "tail_draws": tail_draws if steps_out else None,
        "marginal_draws": marginal_draws or None,
    }
    if writes_folders(
        "score", run, data, {"scores": out, "steps": steps_out}, lambda model: options,
        Sharding(workers, engine, overwrite), others={"--plot": plot},
        device=device, columns=(id_column, time_column), bar=show(quiet or as_json),
        as_json=as_json,
    ):  # fmt: skip
        return
    check_outputs([out, steps_out], [plot])
    model = load_model(run, device=device)
    loaded = load_like(data, model.module.description, id_column, time_column)
    scores, steps = model.score(loaded, progress=show(quiet or as_json), **options)
    if out:
        write_table(scores, out, spreadsheet_safe)
    if steps_out:
        write_table(steps, steps_out, spreadsheet_safe)
    if plot:
        plot_scores(loaded, scores, steps, plot, marks=_anomalies(loaded))
    if as_json:
        print(scores.to_json(orient="records", double_precision=15))
        return
    lines = score_lines(scores, len(steps))
    say("\n".join(lines[:1] if quiet else lines))
    if len(scores) > 1 and not quiet:
        say("\nmost unusual, by nats per step:")
        worst = scores.nsmallest(5, "nats_per_step")
        columns = [
            "unique_id",
            "log_prob",
            "std_error",
            "num_observed",
            "nats_per_step",
            "worst_share",
        ]
        say(text_table(worst[columns].to_numpy(dtype=object).tolist(), columns))


def _anomalies(data: Any) -> Any:
    """The labelled anomalies to draw, if the data are a bundled set that has some."""
    from seqlatent.data.catalog import card, dataset_names, load_anomalies

    name = data.name.split(":")[0]
    return load_anomalies(name) if name in dataset_names() and card(name).anomalies else None
