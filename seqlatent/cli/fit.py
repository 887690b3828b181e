"""`seqlatent fit`."""

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
    Seed,
    Threads,
    TimeColumn,
    check_outputs,
    is_rank_zero,
    names,
    set_up,
)


def fit(
    data: Data,
    *,
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder for the fitted model.")],
    model: Annotated[str, typer.Option(help="One of 'seqlatent models'.")] = "rnn",
    config: Annotated[Path | None, typer.Option(help="TOML file of options.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option; see 'seqlatent models NAME'."),
    ] = None,
    emission: Annotated[
        str | None, typer.Option(help="Distribution of a value (default: auto).")
    ] = None,
    targets: Annotated[str | None, typer.Option(metavar="A,B", help="Columns to model.")] = None,
    covariates: Annotated[
        str | None, typer.Option(metavar="C,D", help="Columns known in advance of every step.")
    ] = None,
    calendar: Annotated[
        str | None, typer.Option(help="Cycles as covariates: hour,day,week,month,year.")
    ] = None,
    id_column: IdColumn = None,
    time_column: TimeColumn = None,
    valid: Annotated[
        str | None, typer.Option(help="Share held out for validation, or data (default: 0.1).")
    ] = None,
    max_steps: Annotated[int | None, typer.Option(help="Training steps at the most.")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="Minutes at the most.")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    threads: Threads = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a killed fit.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what RUN holds.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Draw the training curve.")] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Fit a model to sequences."""
    import pandas as pd

    from seqlatent.api import CLASSES
    from seqlatent.data.frames import DEFAULT_ID
    from seqlatent.data.readers import load
    from seqlatent.models.registry import MODELS
    from seqlatent.options import parse_assignments, read_config
    from seqlatent.plots import plot_training_curve
    from seqlatent.training.checkpoint import check_folder
    from seqlatent.training.options import TrainingOptions
    from seqlatent.training.trainer import check_device

    set_up(quiet, threads, as_json)
    option_classes = [MODELS[model].Options, TrainingOptions]
    chosen = read_config(config, option_classes) if config else {}
    chosen |= parse_assignments(settings or [], option_classes)
    given = {"emission": emission, "max_steps": max_steps, "max_minutes": max_minutes}
    chosen |= {name: value for name, value in given.items() if value is not None}
    of_training = set(TrainingOptions.__dataclass_fields__)
    training = {k: chosen.pop(k) for k in list(chosen) if k in of_training}
    check_outputs([], [plot])
    check_device(device)
    check_folder(out, resume, overwrite)
    columns = {
        "covariates": names(covariates),
        "id_column": id_column or DEFAULT_ID,
        "time_column": time_column,
        "calendar": names(calendar),
    }
    fitter = CLASSES[model](**chosen)
    loaded = load(data, targets=names(targets) or None, **columns)
    held_out: Any = _share(valid) if valid is not None else training.pop("valid", 0.1)
    if isinstance(held_out, str):
        held_out = load(held_out, targets=loaded.targets, **columns)
    fitter.fit(
        loaded,
        valid=held_out,
        seed=seed,
        device=device,
        run=out,
        resume=resume,
        overwrite=overwrite,
        progress=False if quiet or as_json or not is_rank_zero() else None,
        **training,
    )
    if not is_rank_zero():
        return
    if plot and fitter.result:
        curve = pd.DataFrame(fitter.result.curve)
        plot_training_curve(curve, plot, f"{model} on {loaded.name}")
    summary = fitter.fitted
    if as_json:
        print(json.dumps({"run": str(out), "family": model, **summary}))
    elif not quiet:
        print(
            f"held-out {_score_text(summary)} at step {summary['best_step']} of "
            f"{summary['steps']}, {summary['seconds']:.0f} s; {summary['stopped']}\nsaved to {out}"
        )


def _score_text(summary: dict[str, Any]) -> str:
    """The validation score of a fit, with its name and kind."""
    if "valid_kind" in summary:
        value, kind = summary["valid_nats_per_step"], summary["valid_kind"]
        return f"log-likelihood {value:.4f} nats per step ({kind})"
    name, value = next((k, v) for k, v in summary.items() if k.startswith("valid_"))
    return f"{name.removeprefix('valid_').replace('_', ' ')} {value:.4f}"


def _share(valid: str) -> float | str:
    """`0.1` is a share; anything else names held-out data."""
    try:
        return float(valid)
    except ValueError:
        return valid
