"""The command line: `seqlatent COMMAND`.

Nothing heavy is imported before a command needs it, so that `--help` answers at once. Bad input
ends with one sentence on standard error and exit status 2; a training that breaks down with 1.
"""

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from seqlatent import __version__
from seqlatent.cli_common import (
    Data,
    Device,
    IdColumn,
    Json,
    Quiet,
    Run,
    Seed,
    Threads,
    TimeColumn,
    check_outputs,
    load_for,
    names,
    set_up,
    show,
)
from seqlatent.cli_latents import decode, encode, impute, inspect
from seqlatent.errors import InputError

app = typer.Typer(
    help="Sequential latent-variable models for time series: fit, score, forecast.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

INTERRUPTED = 130


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def datasets(
    name: Annotated[str | None, typer.Argument(help="One data set, to see its card.")] = None,
    as_json: Json = False,
) -> None:
    """List the bundled data sets, or describe one."""
    from seqlatent.data.catalog import card, dataset_names
    from seqlatent.listing import card_text, datasets_text

    cards = [card(n) for n in ([name] if name else dataset_names())]
    if as_json:
        fields = ("name", "title", "frequency", "units", "targets", "licence", "source")
        print(json.dumps([{f: getattr(c, f) for f in fields} for c in cards], indent=2))
    else:
        print(card_text(cards[0]) if name else datasets_text(cards))


@app.command()
def models(
    name: Annotated[str | None, typer.Argument(help="One model, to see its options.")] = None,
) -> None:
    """List the models, or the options of one with their defaults."""
    from seqlatent.listing import model_text, models_text

    print(model_text(name) if name else models_text())


@app.command()
def fit(
    data: Data,
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder for the fitted model.")],
    model: Annotated[str, typer.Option(help="One of 'seqlatent models'.")] = "rnn",
    config: Annotated[Path | None, typer.Option(help="TOML file of options.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option; see 'seqlatent models NAME'."),
    ] = None,
    emission: Annotated[str | None, typer.Option(help="Law of a value (default: auto).")] = None,
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
    from seqlatent.checkpoint import check_folder
    from seqlatent.data.frames import DEFAULT_ID
    from seqlatent.data.readers import load
    from seqlatent.models.registry import model_class
    from seqlatent.options import parse_assignments, read_config
    from seqlatent.reporting import plot_curve
    from seqlatent.training import check_device, is_main_process
    from seqlatent.training_options import TrainingOptions

    quiet = quiet or os.environ.get("RANK", "0") != "0"  # of several processes, one speaks
    set_up(quiet, threads, as_json)
    option_classes = [model_class(model).Options, TrainingOptions]
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
        progress=False if quiet or as_json else None,
        **training,
    )
    if plot and fitter.result and is_main_process():
        plot_curve(pd.DataFrame(fitter.result.history), plot, f"{model} on {loaded.name}")
    summary = fitter.fitted
    if as_json:
        print(json.dumps({"run": str(out), "family": model, **summary}))
    elif not quiet:
        print(
            f"held-out log-likelihood {summary['valid_nats_per_step']:.4f} nats per step "
            f"({summary['valid_kind']}) at step {summary['best_step']} of {summary['steps']}, "
            f"{summary['seconds']:.0f} s; {summary['stopped']}\nsaved to {out}"
        )


@app.command()
def score(
    run: Run,
    data: Data,
    num_particles: Annotated[int, typer.Option(help="Particles, where not exact.")] = 64,
    estimator: Annotated[
        str, typer.Option(help="Where not exact: auto, per-step, joint or smc.")
    ] = "auto",
    target_error: Annotated[
        float | None,
        typer.Option(help="Raise the particles until the standard error per step is this."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Table of scores, a row per series.")] = None,
    steps_out: Annotated[Path | None, typer.Option(help="Table with a row per step.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw scores and unusual sequences.")] = None,
    seed: Seed = 0,
    id_column: IdColumn = None,
    time_column: TimeColumn = None,
    threads: Threads = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Log-likelihood of every sequence, in nats and data units."""
    from seqlatent.api import load_model
    from seqlatent.data.tables import write_table
    from seqlatent.reporting import score_lines, text_table
    from seqlatent.score_plots import plot_scores

    set_up(quiet, threads, as_json)
    check_outputs([out, steps_out], [plot])
    model = load_model(run)
    loaded = load_for(model, data, id_column, time_column)
    scores, steps = model.score(
        loaded, num_particles, seed, show(quiet or as_json), estimator, target_error
    )
    if out:
        write_table(scores, out)
    if steps_out:
        write_table(steps, steps_out)
    if plot:
        plot_scores(loaded, scores, steps, plot, marks=_anomalies(loaded))
    if as_json:
        print(scores.to_json(orient="records", double_precision=15))
        return
    lines = score_lines(scores, len(steps))
    print("\n".join(lines[:1] if quiet else lines))
    if len(scores) > 1 and not quiet:
        print("\nmost unusual, by nats per step:")
        worst = scores.nsmallest(5, "nats_per_step")
        columns = ["unique_id", "log_prob", "std_error", "num_observed", "nats_per_step"]
        print(text_table(worst[columns].to_numpy(dtype=object).tolist(), columns))


@app.command()
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
    from seqlatent.data.readers import load_future
    from seqlatent.data.tables import write_table
    from seqlatent.reporting import frame_text

    set_up(quiet, threads, as_json)
    check_outputs([out, samples_out], [plot])
    model = load_model(run)
    loaded = load_for(model, data, id_column, time_column)
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


@app.command()
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
    from seqlatent.reporting import counted, plot_samples
    from seqlatent.roll_plots import MANY, plot_sample_rolls

    set_up(quiet, threads)
    check_outputs([out], [plot])
    drawn = load_model(run).sample(num_samples, length, seed, start)
    write_table(drawn.to_frame().rename(columns={"unique_id": "sample_id"}), out)
    if plot:
        draw = plot_sample_rolls if drawn.num_channels > MANY else plot_samples
        draw(drawn, plot)
    if not quiet:
        print(f"wrote {counted(num_samples, 'sequence')} of {length} steps to {out}")


app.command()(encode)
app.command()(decode)
app.command()(impute)
app.command()(inspect)


def _anomalies(data: Any) -> Any:
    """Labelled anomalies of a bundled data set that has them, to draw."""
    from seqlatent.data.catalog import card, dataset_names, load_anomalies

    name = data.name.split(":")[0]
    return load_anomalies(name) if name in dataset_names() and card(name).anomalies else None


def _share(valid: str) -> float | str:
    """`0.1` is a share; anything else names held-out data."""
    try:
        return float(valid)
    except ValueError:
        return valid


def main(arguments: list[str] | None = None) -> None:
    """Run a command and leave with its exit status."""
    sys.exit(run_command(arguments))


def run_command(arguments: list[str] | None = None) -> int:
    """Run a command; its exit status."""
    try:
        status = int(app(args=arguments, standalone_mode=False) or 0)
        return _interrupted() if status == INTERRUPTED else status  # where typer caught it
    except InputError as error:
        return _fail(str(error), 2)
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:
        if hasattr(error, "format_message"):  # a mistake in the command line itself
            message = " ".join(error.format_message().split())  # type: ignore[attr-defined]
            context = getattr(error, "ctx", None)
            command = f" {context.info_name}" if context and context.parent else ""
            return _fail(f"{message.rstrip('.')} (see 'seqlatent{command} --help')", 2)
        if type(error).__name__ == "TrainingError":
            return _fail(str(error), 1)
        if type(error).__name__ == "Abort":
            return _interrupted()
        raise


def _interrupted() -> int:
    return _fail("interrupted; a fit goes on with --resume", INTERRUPTED)


def _fail(sentence: str, status: int) -> int:
    print(f"seqlatent: {sentence}", file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
