"""`compare`: fit all models under one budget, measure them on untouched data, write it all down."""

import json
import logging
import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seqlatent import __version__
from seqlatent.comparing.families import Family, chosen_names, family
from seqlatent.comparing.fitting import Fit, fit_one, on_threads, quietly, sentence_of
from seqlatent.comparing.measuring import Measured, Trials, measure
from seqlatent.comparing.page import write_page
from seqlatent.comparing.parts import divide_in_three
from seqlatent.comparing.results import DETAILS, Comparison, Settings
from seqlatent.data.writing import replacing
from seqlatent.errors import InputError, one_line
from seqlatent.nn.devices import find_device
from seqlatent.options import check_count, check_positive, check_seed
from seqlatent.text import counted
from seqlatent.training.checkpoint import fingerprint, make_folder

logger = logging.getLogger("seqlatent")

MAX_MINUTES = 5.0  # of the processor, of all fits together
PLAN = "plan.json"  # what a comparison that is resumed must have in common with the first run


def compare(
    data: Any,
    models: str | Sequence[str] = "all",
    *,
    test: Any = None,
    valid: Any = 0.1,
    prediction_length: int | None = None,
    max_minutes: float | None = None,
    max_steps: int | None = None,
    calendar: str = "auto",
    num_particles: int = 64,
    seed: int = 0,
    device: str = "auto",
    threads: int = 1,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Comparison:
    """Fit several models to the same data under one budget, and measure them on test data.

        result = sl.compare("seattle-temps", models=["rnn", "latent"], out="comparison")

    Every model has the same training and held-out data and an equal share of the processor's time,
    one after another. The test part is looked at when all are fitted. A model that fails, or that
    cannot take the data, has a row that says why.

    Args:
        data: whatever `seqlatent.load` reads.
        models: names of the registry, as a list or joined by commas; `all`: every one that can be
            fitted to data.
        test: the share of the data that tests, or test data; by default the test part of a bundled
            data set, and of other data a fifth.
        valid: of the other data, the share that is held out for choices of the fits, or data.
        prediction_length: H, the steps of forecasts; by default a season, where the test part holds
            two, else a quarter of it and at most 24.
        max_minutes: of processor time, of all fits together; by default 5, or no limit where
            `max_steps` is given. The measures take time besides.
        max_steps: of each fit.
        calendar: as of a fit.
        num_particles: of estimated likelihoods.
        seed: of the division, the fits and all draws.
        device: of the fits and measures: `auto`, a GPU if there is one; `cpu` or `cuda`.
        threads: of torch, for each fit.
        out: a folder for tables, pictures, the page `index.html` and the fitted models (`runs/`).
        resume: go on in a folder: models that are fitted there are not fitted again.
        overwrite: replace what the folder holds.
        progress: called with a line of text for every finished model.

    Returns:
        the models with all that was measured; `result.table` is a frame.

    Raises:
        InputError: for data, names or options that cannot be used, or if no model could be fitted.
    """
    seed, threads = check_seed(seed), check_count("threads", threads)
    num_particles = check_count("num_particles", num_particles)
    find_device(device)
    names = chosen_names(models)
    folder = None if out is None else Path(out)
    _check_folder(folder, resume, overwrite)
    before = _plan_before(folder, resume)
    training = _budget_of_each(max_minutes, max_steps, len(names), before)
    with quietly():
        parts = divide_in_three(data, test, valid, training, calendar=calendar, seed=seed)
        trials = Trials.of(parts, prediction_length, seed)
    if folder is not None:
        _keep_plan(folder, before, {
            "data": [fingerprint(parts.division.train), fingerprint(parts.division.held_out),
                     fingerprint(parts.test)],
            "seed": seed, **training,
        })  # fmt: skip
    say = progress or (lambda line: None)
    settings = Settings(
        parts.division.whole.name.removesuffix(":train"), seed, _budget_text(**training), threads,
        _machine(), __version__,
    )  # fmt: skip
    with on_threads(threads):
        fits = _fit_all(names, trials, folder, resume, seed, device, say)
        measured = _measure_all(names, fits, trials, num_particles, say)
    result = Comparison(tuple(_comparable(measured)), trials, settings)
    if folder is not None:
        result.write(folder)
        write_page(result, folder)
    return result


def _fit_all(
    names: list[str], trials: Trials, folder: Path | None, resume: bool, seed: int,
    device: str, say: Callable[[str], None],
) -> dict[str, Fit]:  # fmt: skip
    fits: dict[str, Fit] = {}
    for i, name in enumerate(names):
        with quietly():
            fit = fit_one(name, trials.parts, folder, seed=seed, device=device, resume=resume)
        fits[name] = fit
        what = f"not fitted: {fit.failure}" if fit.failure else f"fitted in {fit.seconds:.0f} s"
        say(f"{i + 1} of {len(names)}: {name} {what}")
    if all(f.failure for f in fits.values()):
        name, fit = next(iter(fits.items()))
        raise InputError(f"no model could be fitted; the first, {name}: {fit.failure}")
    return fits


def _measure_all(
    names: list[str], fits: dict[str, Fit], trials: Trials, num_particles: int,
    say: Callable[[str], None],
) -> list[Measured]:  # fmt: skip
    measured = []
    for name in names:
        fit = fits[name]
        if fit.model is None:
            measured.append(Measured(_family(name), fit))
            continue
        with quietly():
            found = measure(_family(name), fit, trials, num_particles)
        measured.append(found)
        text = "no likelihood"
        if found.nats is not None:
            value = found.nats[0].sum() / found.nats[1].sum()
            text = f"{value:.4f} nats per step ({found.kind})"
        say(f"{name}: {text} on test data")
    return measured


def _family(name: str) -> Family:
    """What a class says; of a package that cannot be loaded, why not."""
    try:
        return family(name)
    except InputError as error:
        return Family(name, sentence_of(error), "-", "-")


def _comparable(models: list[Measured]) -> list[Measured]:
    """The models, those marked whose likelihood cannot be held against that of the others."""
    scored = [m for m in models if m.nats is not None and m.fit.model is not None]
    masses = {m.name: tuple(m.fit.model.module.scaler.unscaled) for m in scored if m.fit.model}
    counts = {m.name: tuple(m.nats[1]) for m in scored if m.nats is not None}
    marked = []
    for m in models:
        note = ""
        if m in scored and m.nats is not None:
            if masses[m.name] != _usual(masses):
                note = UNITS
            elif counts[m.name] != _usual(counts):
                note = "It scores other steps of the test data than the others do."
            elif not np.isfinite(m.nats[0]).all():
                note = "Some test steps have no finite log-likelihood."
        marked.append(replace(m, comparable=False, notes=(*m.notes, note)) if note else m)
    return marked


UNITS = (
    "Its likelihood is of densities where others have probabilities of counts or labels, or the "
    "other way round: the two cannot be compared."
)


def _usual(values: dict[str, tuple]) -> tuple:
    every = list(values.values())
    return max(every, key=every.count)


def _check_folder(folder: Path | None, resume: bool, overwrite: bool) -> None:
    """Refuse, before long work, a folder whose content would be lost."""
    if folder is None:
        if resume:
            raise InputError("there is no folder to resume in; give one (out, --out)")
        return
    if resume and overwrite:
        raise InputError("a comparison is resumed or overwritten, not both; leave one out")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; choose another folder (--out)")
    if (resume or overwrite) or not any((folder / name).exists() for name in (PLAN, DETAILS)):
        return
    raise InputError(
        f"{folder} holds a comparison; go on with --resume, replace it with --overwrite, or choose "
        "another --out"
    )


def _plan_before(folder: Path | None, resume: bool) -> dict[str, Any]:
    """What a comparison that is resumed began with; nothing for a new one.

    Raises:
        InputError: for a damaged file.
    """
    if folder is None or not resume or not (folder / PLAN).is_file():
        return {}
    try:
        return dict(json.loads((folder / PLAN).read_text(encoding="utf-8")))
    except ValueError:
        raise InputError(f"{folder / PLAN} is damaged; start again with --overwrite") from None


def _keep_plan(folder: Path, before: dict[str, Any], plan: dict[str, Any]) -> None:
    """Write down what a resumed comparison must have in common with this one, and check it.

    Raises:
        InputError: for other data or options, with which models could not be compared.
    """
    changed = [name for name, value in plan.items() if before and before.get(name) != value]
    if changed:
        raise InputError(
            f"{folder} holds a comparison with other {' and '.join(changed)} (of each model: "
            f"{', '.join(f'{n} {before.get(n)}' for n in changed if n != 'data') or 'see there'}); "
            "give the same, or --overwrite it"
        )
    make_folder(folder)
    with replacing(folder / PLAN) as unfinished:
        unfinished.write_text(json.dumps(plan), encoding="utf-8")


def _budget_of_each(
    max_minutes: float | None, max_steps: int | None, number: int, before: dict[str, Any]
) -> dict[str, Any]:
    """The options of training that limit each of so many fits: those of a resumed comparison, where
    none are given."""
    if max_minutes is None and max_steps is None:
        if before:
            return {"max_minutes": before.get("max_minutes"), "max_steps": before.get("max_steps")}
        max_minutes = MAX_MINUTES
    return {
        "max_minutes": max_minutes and check_positive("max_minutes", max_minutes) / number,
        "max_steps": max_steps if max_steps is None else check_count("max_steps", max_steps),
    }


def _budget_text(max_minutes: float | None, max_steps: int | None) -> str:
    limits = []
    if max_minutes is not None:
        short = max_minutes < 2
        text = f"{60 * max_minutes:.3g} s" if short else f"{max_minutes:.3g} minutes"
        limits.append(f"{text} of processor time")
    if max_steps is not None:
        limits.append(counted(max_steps, "training step"))
    return " and at most ".join(limits)


def _machine() -> str:
    system, kind = platform.system(), platform.machine()
    cores = counted(os.cpu_count() or 1, "core")
    python = platform.python_version()
    return one_line(f"{system} {kind}, {cores}, Python {python}, torch {torch.__version__}")
