"""Every model fitted to the same data, one after another, each for an equal share of the time.

The time is that of the processor, of all threads together: on a machine with other work to do the
fits take longer, and none has less than another.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from seqlatent.api import CLASSES, Model, load_model
from seqlatent.comparing.parts import Parts
from seqlatent.errors import InputError, TrainingError, one_line
from seqlatent.training.clock import processor_time
from seqlatent.training.folder import is_finished, run_folder

logger = logging.getLogger("seqlatent")

RUNS = "runs"
FACTS = "compared"  # where the saved facts of a fit hold its times


@dataclass(frozen=True)
class Fit:
    """A fit, or why there is none.

    Attributes:
        name: of the model.
        model: fitted; None where that failed.
        failure: a sentence; "" where it did not.
        seconds: from beginning to end, choices of options included.
        processor_seconds: of the process meanwhile, which the budget limits.
    """

    name: str
    model: Model | None
    failure: str
    seconds: float
    processor_seconds: float


def fit_one(
    name: str, parts: Parts, folder: Path | None, *, seed: int, device: str, resume: bool
) -> Fit:
    """Fit a model within its budget; a finished fit in the folder is loaded.

    Args:
        name: of the model.
        parts: of the data, with the budget of each model.
        folder: of the comparison; the fit is saved in `runs/NAME` of it.
        seed: of the fit.
        device: of the fit.
        resume: whether to go on from what the folder holds.
    """
    run = None if folder is None else folder / RUNS / name
    start, processor = time.perf_counter(), time.process_time()
    try:
        if run is not None and resume and is_finished(run):
            model = load_model(run, device=device)
            times = model.fitted.get(FACTS, {})
            spent = (times.get("seconds", 0.0), times.get("processor_seconds", 0.0))
            return Fit(name, model, "", *spent)
        with run_folder(run, resume, not resume), processor_time():
            model = CLASSES[name]().fit_divided(
                parts.division, seed=seed, device=device, folder=run, resume=resume,
                overwrite=not resume, progress=False,
            )  # fmt: skip
        seconds, worked = time.perf_counter() - start, time.process_time() - processor
        model.fitted[FACTS] = {"seconds": round(seconds, 2), "processor_seconds": round(worked, 2)}
        if run is not None:
            model.save(run)
        return Fit(name, model, "", seconds, worked)
    except Exception as error:  # whatever a model breaks on, the others go on
        seconds, worked = time.perf_counter() - start, time.process_time() - processor
        return Fit(name, None, sentence_of(error), seconds, worked)


def sentence_of(error: Exception) -> str:
    """What failed, in one line; what no one foresaw, with its kind."""
    text = one_line(" ".join(str(error).split()))
    if isinstance(error, InputError | TrainingError):
        return text
    logger.debug("a model of the comparison failed", exc_info=error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def on_threads(number: int) -> Iterator[None]:
    """So many threads of torch meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def quietly() -> Iterator[None]:
    """Without messages about each fit; a comparison says a line of its own for each."""
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
