"""Latents and imputation: `seqlatent encode`, `decode`, `reconstruct`, `impute` and `inspect`."""

import json
import logging
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
from seqlatent.errors import InputError


def encode(
    run: Run,
    data: Data,
    *,
    out: Annotated[Path, typer.Option(help="Table of latents or regimes, one row per step.")],
    num_samples: Annotated[int, typer.Option(help="Samples of the latents.")] = 64,
    posterior: Annotated[
        str,
        typer.Option(
            help="The distribution to use: auto, guide, predicted, filtering or smoothing."
        ),
    ] = "auto",
    samples_out: Annotated[Path | None, typer.Option(help="Table of all samples.")] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Picture of the latents of the first series, of exact ones of all series, or of "
            "the first series coloured by regime."
        ),
    ] = None,
    plot_map: Annotated[
        Path | None,
        typer.Option(
            help="Picture of a flow's maps from value to latent at two steps of a series."
        ),
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
) -> None:
    """Infer the latents: mean and scale at each step.

    Of 'latent', the latents of the next step, given the values up to this one (predicted); those
    of the step itself are given by --posterior guide. The latents of a flow are exact and the codes
    of an autoencoder are computed, both with scale 0.

    Of 'switching', infer the regimes: the most probable one at each step, and the probability of
    each.
    """
    from seqlatent.api import load_model
    from seqlatent.data.readers import load_like
    from seqlatent.data.tables import write_table
    from seqlatent.inference.protocols import InvertibleLatents
    from seqlatent.plots import (
        has_exact_latents,
        plot_exact_latents,
        plot_latents,
        plot_maps,
        plot_regimes,
    )
    from seqlatent.tasks.decoding import step_maps
    from seqlatent.tasks.regimes import FoundRegimes
    from seqlatent.text import counted

    set_up(quiet, threads)
    options: dict[str, Any] = {"num_samples": num_samples, "seed": seed, "posterior": posterior}
    if writes_folders(
        "encode", run, data, {"latents": out, "samples": samples_out}, lambda model: options,
        Sharding(workers, engine, overwrite), others={"--plot": plot, "--plot-map": plot_map},
        device=device, columns=(id_column, time_column), bar=show(quiet),
    ):  # fmt: skip
        return
    check_outputs([out, samples_out], [plot, plot_map])
    model = load_model(run, device=device)
    if plot_map and not isinstance(model.module, InvertibleLatents):
        raise InputError(
            f"model '{model.family}' has no map from values to latents to plot (--plot-map); "
            "fit --model flow"
        )
    loaded = load_like(data, model.module.description, id_column, time_column)
    latents = model.latents(loaded, progress=show(quiet), **options)
    frame = latents.to_frame()
    write_table(frame, out, spreadsheet_safe)
    if samples_out:
        write_table(latents.samples_frame(), samples_out, spreadsheet_safe)
    if plot and isinstance(latents, FoundRegimes):
        s = latents.series[0]
        plot_regimes(s.unique_id, s.ds, s.x, s.regime, s.probability, latents.targets, plot)
    elif plot:
        normal = has_exact_latents(frame) and isinstance(model.module, InvertibleLatents)
        (plot_exact_latents if normal else plot_latents)(frame, plot)
    if plot_map:
        plot_maps(step_maps(model.module, loaded, frame), plot_map)
    if not quiet:
        what = "regimes" if isinstance(latents, FoundRegimes) else "latents"
        say(f"wrote {what} of {counted(len(loaded), 'sequence')} to {out}")


def decode(
    run: Run,
    codes: Annotated[
        str,
        typer.Argument(metavar="LATENTS", help="Table of latents or codes, as 'encode' writes it."),
    ],
    out: Annotated[Path, typer.Option(help="Table of the decoded sequences.")],
    spreadsheet_safe: SpreadsheetSafe = False,
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Recover sequences from the latents of a flow, or from the codes of an autoencoder.

    Of a flow, this is the exact inverse of 'encode'; codes lose something.
    """
    from seqlatent.api import load_model
    from seqlatent.data.tables import write_table
    from seqlatent.text import counted

    set_up(quiet, threads)
    check_outputs([out], [])
    decoded = load_model(run, device=device).decode(codes, progress=show(quiet))
    write_table(decoded.to_frame(), out, spreadsheet_safe)
    if not quiet:
        say(f"wrote {counted(len(decoded), 'sequence')} to {out}")


def reconstruct(
    run: Run,
    data: Data,
    *,
    out: Annotated[
        Path | None,
        typer.Option(help="Table of values, reconstructions and errors, one row per value."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Picture of the series with the largest errors.")
    ] = None,
    id_column: IdColumn = None,
    time_column: TimeColumn = None,
    spreadsheet_safe: SpreadsheetSafe = False,
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Reconstruct the values from their codes: large errors tell unusual steps.

    Of 'autoencoder'. Errors are values less reconstructions, in the units of the data.
    """
    from seqlatent.api import load_model
    from seqlatent.data.readers import load_like
    from seqlatent.data.tables import write_table
    from seqlatent.tasks.progress import counting
    from seqlatent.tasks.reconstructing import reconstruct_codes

    set_up(quiet, threads, as_json)
    check_outputs([out], [plot])
    module = load_model(run, device=device).module
    loaded = load_like(data, module.description, id_column, time_column)
    with counting("reconstructing", len(loaded), show(quiet or as_json)) as count:
        found = reconstruct_codes(module, loaded, count)
    if out:
        write_table(found.frame, out, spreadsheet_safe)
    if plot:
        found.plot(plot)
    if as_json:
        summary = found.by_series()
        print(summary.to_json(orient="records", date_format="iso", double_precision=15))
    else:
        say(found.to_text())


def impute(
    run: Run,
    data: Data,
    *,
    num_samples: Annotated[int, typer.Option(help="Samples of each missing value.")] = 500,
    lag: Annotated[
        int,
        typer.Option(
            help="Number of observed steps after a gap that its samples take into account."
        ),
    ] = 32,
    out: Annotated[
        Path | None, typer.Option(help="Table of means and quantiles of the missing values.")
    ] = None,
    filled_out: Annotated[
        Path | None, typer.Option(help="Table of the data with all gaps filled.")
    ] = None,
    samples_out: Annotated[Path | None, typer.Option(help="Table of all samples.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Picture of the gaps and what fills them.")
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
    """Impute missing values from all observed ones, before and after."""
    from seqlatent.api import load_model
    from seqlatent.data.readers import load_like
    from seqlatent.data.tables import write_table
    from seqlatent.text import counted, frame_text

    set_up(quiet, threads, as_json)
    options = {"num_samples": num_samples, "seed": seed, "lag": lag}
    if writes_folders(
        "impute", run, data, {"imputed": out, "filled": filled_out, "samples": samples_out},
        lambda model: options, Sharding(workers, engine, overwrite), others={"--plot": plot},
        device=device, columns=(id_column, time_column), bar=show(quiet or as_json),
        as_json=as_json,
    ):  # fmt: skip
        return
    check_outputs([out, filled_out, samples_out], [plot])
    model = load_model(run, device=device)
    loaded = load_like(data, model.module.description, id_column, time_column)
    result = model.impute(loaded, progress=show(quiet or as_json), **options)
    frame = result.to_frame()
    if out:
        write_table(frame, out, spreadsheet_safe)
    if filled_out:
        write_table(result.filled().to_frame(), filled_out, spreadsheet_safe)
    if samples_out:
        write_table(result.samples_frame(), samples_out, spreadsheet_safe)
    if plot:
        result.plot(str(plot))
    if as_json:
        print(frame.to_json(orient="records", date_format="iso", double_precision=15))
    elif not quiet:
        say(
            f"imputed {counted(result.num_missing, 'value')} in "
            f"{len(result.series)} of {counted(len(loaded), 'sequence')}\n"
        )
        say(frame_text(frame, written=out is not None))


def inspect(
    run: Run,
    data: Data,
    *,
    num_particles: Annotated[
        int, typer.Option(help="Particles of the estimate of log p(x).")
    ] = 256,
    plot: Annotated[Path | None, typer.Option(help="Picture of all results.")] = None,
    seed: Seed = 0,
    id_column: IdColumn = None,
    time_column: TimeColumn = None,
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Report how a model uses its latents.

    The report says which latents are used, which of them carry state and which hold what is new at
    a step, what it costs to replace them, and how close the guide is to prior and posterior.
    """
    from seqlatent.api import load_model
    from seqlatent.data.readers import load_like

    set_up(quiet, threads, as_json)
    check_outputs([], [plot])
    model = load_model(run, device=device)
    loaded = load_like(data, model.module.description, id_column, time_column)
    found = model.inspect(loaded, num_particles=num_particles, seed=seed)
    if plot:
        found.plot(plot)
    print(json.dumps(found.to_dict()) if as_json else found.to_text())
    if found.warning:
        logging.getLogger("seqlatent").warning("%s", found.warning)
