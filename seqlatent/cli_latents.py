"""Commands that look behind the values: latents of sequences."""

from pathlib import Path
from typing import Annotated

import typer

from seqlatent.cli_common import (
    Data,
    IdColumn,
    Quiet,
    Run,
    Seed,
    Threads,
    TimeColumn,
    check_outputs,
    load_for,
    set_up,
    show,
)


def encode(
    run: Run,
    data: Data,
    out: Annotated[Path, typer.Option(help="Table of latents, a row per step.")],
    num_samples: Annotated[int, typer.Option(help="Draws of the latents.")] = 64,
    posterior: Annotated[
        str, typer.Option(help="Whose law: auto, guide, filtering or smoothing.")
    ] = "auto",
    samples_out: Annotated[Path | None, typer.Option(help="Table of all draws.")] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the first series' latents; all of exact ones.")
    ] = None,
    seed: Seed = 0,
    id_column: IdColumn = None,
    time_column: TimeColumn = None,
    threads: Threads = None,
    quiet: Quiet = False,
) -> None:
    """Latent codes: mean and scale of every latent at every step; a flow's are exact, scale 0."""
    from seqlatent.api import load_model
    from seqlatent.code_plots import is_exact, plot_codes
    from seqlatent.data.tables import write_table
    from seqlatent.reporting import counted, plot_latents

    set_up(quiet, threads)
    check_outputs([out, samples_out], [plot])
    model = load_model(run)
    loaded = load_for(model, data, id_column, time_column)
    codes = model.codes(loaded, num_samples, seed, show(quiet), posterior)
    frame = codes.to_frame()
    write_table(frame, out)
    if samples_out:
        write_table(codes.samples_frame(), samples_out)
    if plot:
        (plot_codes if is_exact(frame) else plot_latents)(frame, plot)
    if not quiet:
        print(f"wrote latents of {counted(len(loaded), 'sequence')} to {out}")
