"""`seqlatent compare`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from seqlatent.cli.common import (
    INTERRUPTED,
    Calendar,
    Covariates,
    Data,
    Device,
    IdColumn,
    Json,
    Quiet,
    Seed,
    Static,
    Targets,
    TimeColumn,
    names,
    say,
    set_up,
)


def compare(
    data: Data,
    *,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the page, tables and fitted models.")
    ],
    models: Annotated[
        str,
        typer.Option(metavar="A,B", help="Models to compare; 'seqlatent models' lists them."),
    ] = "all",
    prediction_length: Annotated[
        int | None,
        typer.Option(
            metavar="H",
            help="Steps of forecasts (default: a season, where the test part holds two, else a "
            "quarter of it and at most 24).",
        ),
    ] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option(
            help="Minutes of processor time of all fits together, shared equally (default: 5). The "
            "measures take time besides."
        ),
    ] = None,
    max_steps: Annotated[
        int | None, typer.Option(help="Largest number of training steps of each fit.")
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            help="Share of the data that tests, or a file (default: the test part of a bundled "
            "data set, else 0.2)."
        ),
    ] = None,
    valid: Annotated[
        str,
        typer.Option(help="Share of the rest that is held out for choices of the fits, or a file."),
    ] = "0.1",
    targets: Targets = None,
    covariates: Covariates = None,
    static: Static = None,
    calendar: Calendar = None,
    id_column: IdColumn = None,
    time_column: TimeColumn = None,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Annotated[int, typer.Option(help="Number of CPU threads of each fit.")] = 1,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on in DIR; what is fitted there is kept.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the comparison in DIR.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fit several models to the same data, and compare them on test data.

    Each fit has an equal share of the processor's time. DIR/index.html is a page with tables and
    pictures that opens in any browser, without a network.
    """
    from seqlatent.comparing.compare import compare as compare_models
    from seqlatent.comparing.headline import headline
    from seqlatent.data.frames import DEFAULT_ID
    from seqlatent.data.readers import load
    from seqlatent.errors import Interrupted

    set_up(quiet, None, as_json)
    columns = {
        "covariates": names(covariates),
        "static": names(static),
        "id_column": id_column or DEFAULT_ID,
        "time_column": time_column,
    }
    loaded = load(data, targets=names(targets) or None, **columns)

    def part(given: str | None):
        """A share of the data, or data of its own."""
        try:
            return None if given is None else float(given)
        except ValueError:
            return load(given, targets=loaded.targets, **columns)

    try:
        result = compare_models(
            loaded,
            models,
            test=part(test),
            valid=part(valid),
            prediction_length=prediction_length,
            max_minutes=max_minutes,
            max_steps=max_steps,
            calendar=calendar or "auto",
            seed=seed,
            device=device,
            threads=threads,
            out=out,
            resume=resume,
            overwrite=overwrite,
            progress=None if quiet or as_json else lambda line: typer.echo(line, err=True),
        )
    except (KeyboardInterrupt, SystemExit) as stop:
        status = stop.code if isinstance(stop, SystemExit) else INTERRUPTED
        raise Interrupted(
            f"interrupted; the same command with --resume keeps what is fitted in {out}",
            int(status or 0),
        ) from None
    if as_json:
        print(json.dumps(result.to_json()))
    elif quiet:
        say(result.summary)
    else:
        say(f"{result!r}\n\n{result.summary}\n\n{headline(result)}\n{out / 'index.html'}")
