"""`seqlatent fit`."""

import json
from pathlib import Path
from typing import Annotated, Any

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
    Threads,
    TimeColumn,
    check_outputs,
    is_rank_zero,
    names,
    say,
    set_up,
)


def fit(
    data: Data,
    *,
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder for the fitted model.")],
    model: Annotated[
        str,
        typer.Option(
            help="Model to fit; 'seqlatent models' lists them; auto: the one of several that "
            "held-out data choose."
        ),
    ] = "rnn",
    config: Annotated[Path | None, typer.Option(help="TOML file with options.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Set an option; 'seqlatent models NAME' lists them."
        ),
    ] = None,
    emission: Annotated[
        str | None, typer.Option(help="Distribution of the values (default: chosen from the data).")
    ] = None,
    targets: Targets = None,
    covariates: Covariates = None,
    static: Static = None,
    past_covariates: Annotated[
        str | None,
        typer.Option(metavar="G,H", help="Columns whose values are known up to the present only."),
    ] = None,
    calendar: Calendar = None,
    id_column: IdColumn = None,
    time_column: TimeColumn = None,
    valid: Annotated[
        str | None,
        typer.Option(
            help="Share of the data to hold out for validation, or a file (default: 0.1)."
        ),
    ] = None,
    prediction_length: Annotated[
        int | None,
        typer.Option(
            metavar="H",
            help="Steps ahead that forecasts will be for: the last windows of H steps of every "
            "series are held out, and scored given their past (default: see valid_by).",
        ),
    ] = None,
    max_steps: Annotated[int | None, typer.Option(help="Largest number of training steps.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Largest number of minutes.")] = None,
    members: Annotated[
        str | None,
        typer.Option(
            metavar="K",
            help="Number of fits, which share the budget; above 1, RUN is their mixture. auto: as "
            "many as the budget has time for, at most 4 (default: 1; auto with --model auto).",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Weights of the members: equal; fixed, chosen by the held-out data; moving, by "
            "how well each did on the series so far (default: fixed)."
        ),
    ] = None,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume an interrupted fit.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the model in RUN.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="Picture of the training curve.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fit a model to sequences."""
    import pandas as pd

    from seqlatent.api import CLASSES, score_text
    from seqlatent.data.frames import DEFAULT_ID
    from seqlatent.data.readers import load, read_table
    from seqlatent.errors import InputError, Interrupted
    from seqlatent.models.registry import MODELS
    from seqlatent.nn.devices import find_device
    from seqlatent.options import parse_assignments, read_config
    from seqlatent.plots import plot_training_curve
    from seqlatent.several.auto import Auto
    from seqlatent.training.checkpoint import CURVE, STATE
    from seqlatent.training.folder import check_folder
    from seqlatent.training.options import TrainingOptions

    set_up(quiet, threads, as_json)
    if model == "auto" and resume:
        raise InputError("--resume is for the fit of one model, and --model auto fits several")
    racing = model == "auto"
    option_classes = [MODELS["rnn" if racing else model].Options, TrainingOptions]
    chosen = read_config(config, option_classes) if config else {}
    chosen |= parse_assignments(settings or [], option_classes)
    given = {"emission": emission, "max_steps": max_steps, "max_minutes": max_minutes}
    given["prediction_length"] = prediction_length
    chosen |= {name: value for name, value in given.items() if value is not None}
    of_training = set(TrainingOptions.__dataclass_fields__)
    training = {k: chosen.pop(k) for k in list(chosen) if k in of_training}
    check_outputs([], [plot])
    find_device(device)
    check_folder(out, resume, overwrite)
    columns = {
        "covariates": names(covariates),
        "static": names(static),
        "past_covariates": names(past_covariates),
        "id_column": id_column or DEFAULT_ID,
        "time_column": time_column,
    }
    fitter = Auto(**chosen) if racing else CLASSES[model](**chosen)
    loaded = load(data, targets=names(targets) or None, **columns)
    held_out: Any = _share(valid) if valid is not None else training.pop("valid", 0.1)
    if isinstance(held_out, str):
        held_out = load(held_out, targets=loaded.targets, **columns)
    going_on = {} if racing else {"resume": resume}
    try:
        fitted = fitter.fit(
            loaded,
            valid=held_out,
            calendar=calendar or "auto",
            members=_members(members, racing),
            weights=weights,
            seed=seed,
            device=device,
            run=out,
            **going_on,
            overwrite=overwrite,
            progress=False if quiet or as_json or not is_rank_zero() else None,
            **training,
        )
    except (KeyboardInterrupt, SystemExit) as stop:
        status = stop.code if isinstance(stop, SystemExit) else INTERRUPTED
        kept = (out / STATE).is_file()
        raise Interrupted(
            f"interrupted; the same command with --resume goes on from the checkpoint in {out}"
            if kept
            else "interrupted before anything was saved",
            int(status or 0),
        ) from None
    if not is_rank_zero():
        return
    if plot and (fitted.result or (out / CURVE).is_file()):
        curve = pd.DataFrame(fitted.result.curve) if fitted.result else read_table(out / CURVE)
        plot_training_curve(curve, plot, f"{fitted.family} on {loaded.name}")
    summary = fitted.fitted
    if as_json:
        print(json.dumps({"run": str(out), "family": fitted.module.family, **summary}))
    elif not quiet:
        steps = f"at step {summary['best_step']} of {summary['steps']}"
        if "members" in summary:
            steps = f"of {len(summary['members'])} fits, {summary['steps']} steps in all"
        say(
            f"held-out score {score_text(summary)} {steps}, {summary['seconds']:.0f} s; "
            f"{summary['stopped']}\nsaved to {out}"
        )


def _members(given: str | None, racing: bool) -> int | str:
    if given is None:
        return "auto" if racing else 1
    return int(given) if given.isdigit() else given


def _share(valid: str) -> float | str:
    """A number is a share of the data; anything else names held-out data."""
    try:
        return float(valid)
    except ValueError:
        return valid
