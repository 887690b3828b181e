"""Commands that look behind the values: latents of sequences, and values that are missing."""

import json
import logging
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
from seqlatent.errors import InputError


def encode(
    run: Run,
    data: Data,
    out: Annotated[Path, typer.Option(help="Table of latents, a row per step.")],
    num_samples: Annotated[int, typer.Option(help="Draws of the latents.")] = 64,
    posterior: Annotated[
        str, typer.Option(help="Whose distribution: auto, guide, filtering or smoothing.")
    ] = "auto",
    samples_out: Annotated[Path | None, typer.Option(help="Table of all draws.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the first series' latents; all of exact ones.")
    ] = None,
    plot_map: Annotated[
        Path | None,
        typer.Option(help="Draw the maps from value to exact code at two steps of one series."),
    ] = None,
    seed: Seed = 0,
    id_column: IdColumn = None,
    time_column: TimeColumn = None,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Latent codes: mean and scale of every latent at every step; a flow's are exact, scale 0."""
    from seqlatent.api import load_model
    from seqlatent.data.readers import load_like
    from seqlatent.data.tables import write_table
    from seqlatent.inference.protocols import InvertibleLatents
    from seqlatent.plots.latents import is_exact, plot_codes, plot_latents, plot_maps
    from seqlatent.tasks.decoding import step_maps
    from seqlatent.text import counted

    set_up(quiet, threads)
    check_outputs([out, samples_out], [plot, plot_map])
    model = load_model(run)
    if plot_map and not isinstance(model.module, InvertibleLatents):
        raise InputError(
            f"model '{model.family}' has no map from values to codes to draw (--plot-map); "
            "fit --model flow"
        )
    loaded = load_like(data, model.module.description, id_column, time_column)
    codes = model.codes(loaded, num_samples, seed, show(quiet), posterior)
    frame = codes.to_frame()
    write_table(frame, out)
    if samples_out:
        write_table(codes.samples_frame(), samples_out)
    if plot:
        (plot_codes if is_exact(frame) else plot_latents)(frame, plot)
    if plot_map:
        plot_maps(step_maps(model.module, loaded, frame), plot_map)
    if not quiet:
        print(f"wrote latents of {counted(len(loaded), 'sequence')} to {out}")


def decode(
    run: Run,
    codes: Annotated[str, typer.Argument(metavar="CODES", help="A table that 'encode' wrote.")],
    out: Annotated[Path, typer.Option(help="Table of the sequences.")],
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """The sequences that codes stand for: encode's exact inverse, of a flow."""
    from seqlatent.api import load_model
    from seqlatent.data.tables import write_table
    from seqlatent.text import counted

    set_up(quiet, threads)
    check_outputs([out], [])
    decoded = load_model(run).decode(codes, show(quiet))
    write_table(decoded.to_frame(), out)
    if not quiet:
        print(f"wrote {counted(len(decoded), 'sequence')} to {out}")


def impute(
    run: Run,
    data: Data,
    num_samples: Annotated[int, typer.Option(help="Draws of each missing value.")] = 500,
    lag: Annotated[
        int, typer.Option(help="Observed steps after a gap that its draws wait for.")
    ] = 32,
    out: Annotated[
        Path | None, typer.Option(help="Table of mean and quantiles of the missing values.")
    ] = None,
    filled_out: Annotated[Path | None, typer.Option(help="The data without gaps.")] = None,
    samples_out: Annotated[Path | None, typer.Option(help="Table of all draws.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw gaps with fans inside them.")] = None,
    seed: Seed = 0,
    id_column: IdColumn = None,
    time_column: TimeColumn = None,
    threads: Threads = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Missing values, given all observed ones before and after."""
    from seqlatent.api import load_model
    from seqlatent.data.readers import load_like
    from seqlatent.data.tables import write_table
    from seqlatent.text import counted, frame_text

    set_up(quiet, threads, as_json)
    check_outputs([out, filled_out, samples_out], [plot])
    model = load_model(run)
    loaded = load_like(data, model.module.description, id_column, time_column)
    result = model.impute(loaded, num_samples, seed, show(quiet or as_json), lag)
    frame = result.to_frame()
    if out:
        write_table(frame, out)
    if filled_out:
        write_table(result.filled().to_frame(), filled_out)
    if samples_out:
        write_table(result.samples_frame(), samples_out)
    if plot:
        result.plot(str(plot))
    if as_json:
        print(frame.to_json(orient="records", date_format="iso", double_precision=15))
    elif not quiet:
        print(
            f"imputed {counted(result.num_missing, 'value')} in "
            f"{len(result.series)} of {counted(len(loaded), 'sequence')}\n"
        )
        print(frame_text(frame, written=out is not None))


def inspect(
    run: Run,
    data: Data,
    num_particles: Annotated[int, typer.Option(help="Particles of log p(x).")] = 256,
    plot: Annotated[Path | None, typer.Option(help="Draw it all in one picture.")] = None,
    seed: Seed = 0,
    id_column: IdColumn = None,
    time_column: TimeColumn = None,
    threads: Threads = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """How latents are used: KL, active units, collapse; the guide against prior and posterior."""
    from seqlatent.api import load_model
    from seqlatent.data.readers import load_like

    set_up(quiet, threads, as_json)
    check_outputs([], [plot])
    model = load_model(run)
    loaded = load_like(data, model.module.description, id_column, time_column)
    found = model.inspect(loaded, num_particles, seed)
    if plot:
        found.plot(plot)
    print(json.dumps(found.to_dict()) if as_json else found.to_text())
    if found.warning:
        logging.getLogger("seqlatent").warning("warning: %s", found.warning)
