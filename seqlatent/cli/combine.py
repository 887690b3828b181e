"""`seqlatent combine`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from seqlatent.cli.common import (
    Device,
    IdColumn,
    Json,
    Quiet,
    Threads,
    TimeColumn,
    say,
    set_up,
)


def combine(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN ...", help="Folders of fitted models.")
    ],
    *,
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder for the mixture.")],
    data: Annotated[
        str | None,
        typer.Option(help="Data held out from all fits, by which the weights are chosen."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="equal; fixed, those with the highest likelihood of --data; moving, by how well "
            "each model did on the series so far (default: fixed with --data, else equal)."
        ),
    ] = None,
    id_column: IdColumn = None,
    time_column: TimeColumn = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the model in --out.")
    ] = False,
    device: Device = "auto",
    threads: Threads = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Combine fitted models into a mixture.

    Its likelihood is the weighed mean of theirs at every step, and exact unless a solver
    computes one of them (diffusion).
    """
    from seqlatent.api import load_model, score_text
    from seqlatent.data.readers import load_like
    from seqlatent.several.combining import combine as combined
    from seqlatent.training.folder import run_folder

    set_up(quiet, threads, as_json)
    with run_folder(out, resume=False, overwrite=overwrite):
        held_out = None
        if data is not None:
            described = load_model(runs[0], device="cpu").module.description
            held_out = load_like(data, described, id_column, time_column)
        mixture = combined(runs, held_out, weights=weights, device=device)
        mixture.save(out)
    if as_json:
        print(json.dumps({"run": str(out), "family": mixture.family, **mixture.fitted}))
    elif not quiet:
        width = max(len(str(run)) for run in runs)
        for run, member in zip(runs, mixture.fitted["members"], strict=True):
            say(f"{str(run).ljust(width)}  weight {member['weight']:.3f}")
        if score := score_text(mixture.fitted):
            say(f"score of {mixture.fitted['weighed_by']}: {score}")
        say(f"saved to {out}")
