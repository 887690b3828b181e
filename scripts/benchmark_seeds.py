"""`scripts/benchmark seeds`: does a model fit and draw whatever the seed? See benchmark.py.

A fit may *fail*: it raises, its validation score is not finite, or its samples or forecasts are not
finite or raise something else than a refusal. Latents may *collapse*: they end unused, and no
prediction is worse by 0.001 nats per step without their values. The first must not happen; the
second must not go unsaid. What `inspect` says of single latents is held against the mean of four
other inspections, with other noise from other steps. It is *false* that a latent is used where
these show at all horizons that it is not, at 0.001 nats per step, and that it is unused where they
show that it matters by 0.01 at one.
"""

import argparse
import logging
import math
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from benchmark_tools import say, show

from seqlatent.api import CLASSES, Model
from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.readers import load
from seqlatent.errors import InputError
from seqlatent.models.latent.diagnostics import (
    LEAST,
    UNCLEAR,
    is_felt,
    is_idle,
    prior_kl,
    quick_losses,
)
from seqlatent.models.latent.model import LatentModel
from seqlatent.tasks.prepare import check_data
from seqlatent.tasks.probing import replaced
from seqlatent.training.clock import processor_time

PATHS, SAMPLES, AHEAD = 20, 5, 12
REFEREES = 4
SEQUENCES, STEPS = 64, 1024  # that latents are inspected on, at most


class Warnings(logging.Handler):
    """Keeps what a fit warns of."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def run_seeds(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for every fit; a table with a row for every model and data set."""
    table = []
    families = list(CLASSES) if args.models == ["all"] else args.models
    budget = {"max_minutes": args.minutes} if args.minutes else {"max_steps": args.steps}
    for name in args.data:
        data = load(name)
        for family in families:
            rows = []
            for seed in range(args.seed, args.seed + args.num_seeds):
                row = {"data": name, "model": family, "fit_seed": seed, **budget}
                rows.append(row | fit_once(family, data, seed, budget))
                yield rows[-1]
            table.append(summary(name, family, rows))
            say("  ".join(table[-1]))
    show(
        ["data", "model", "fits", "failed", "warned", "collapsed", "of these unwarned", "false",
         "validation, worst", "best", "seconds, most"], table,
    )  # fmt: skip


def fit_once(
    family: str, data: SequenceDataset, seed: int, budget: dict[str, Any]
) -> dict[str, Any]:
    """What a fit, its samples and its forecasts come to."""
    found: dict[str, Any] = {"error": None, "warnings": []}
    model = CLASSES[family]()  # an unknown name ends the command
    start = time.process_time()
    try:
        with warnings_in(found["warnings"]), processor_time():
            model.fit(data, seed=seed, device="cpu", progress=False, **budget)
        assert model.result is not None
        found |= {"seconds": time.process_time() - start, "valid": model.result.valid_score}
        if not math.isfinite(found["valid"]):
            raise ValueError(f"the validation score is {found['valid']}")
        found |= {"draws": draw(model, data, seed)}
        if isinstance(model.module, LatentModel):
            found |= latents_of(model.module, data, found["warnings"])
    except Exception as error:
        found["error"] = "".join(traceback.format_exception_only(error)).strip()
    return found


@contextmanager
def warnings_in(texts: list[str]) -> Iterator[None]:
    logger, handler = logging.getLogger("seqlatent"), Warnings()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        texts += handler.texts


def draw(model: Model, data: SequenceDataset, seed: int) -> dict[str, str]:
    """What samples from nothing and forecasts came to: `finite`, or why the model refuses.

    Raises:
        ValueError: when a drawn value is not finite.
    """
    tasks = {
        "samples": lambda: [s.x for s in model.sample(SAMPLES, 50, seed=seed)],
        "forecasts": lambda: [
            f.samples for f in model.forecast(data[:SAMPLES], AHEAD, num_samples=PATHS, seed=seed)
        ],
    }
    came = {}
    for name, task in tasks.items():
        try:
            values = task()
        except InputError as refusal:
            came[name] = str(refusal)
            continue
        if not all(np.isfinite(v).all() for v in values):
            raise ValueError(f"{name} are not finite")
        came[name] = "finite"
    return came


def latents_of(module: LatentModel, data: SequenceDataset, told: list[str]) -> dict[str, Any]:
    """How much the latents matter, whether it was warned that they do not, and how many
    sentences of an inspection others show to be false."""
    data = check_data(module, data)  # with the phases of the calendar
    batch = collate(data.sequences[:SEQUENCES]).steps(0, STEPS)
    said, *others = [replaced(module, [batch], seed)[1] for seed in range(1 + REFEREES)]
    loss = np.mean([o.each for o in others], 0)
    error = np.sqrt(np.mean([o.each_error**2 for o in others], 0) / REFEREES)
    used = is_felt(said.each, said.each_error).any(1)
    unused = [is_idle(*each) for each in zip(said.each, said.each_error, strict=True)]
    false = used & (loss + 2 * error < LEAST).all(1)
    false |= unused & (loss - 2 * error > UNCLEAR).any(1)
    return {
        "kl": prior_kl(module, batch),
        "loss": float(quick_losses(module, batch).joint.max()),
        "warned": any("latents are not used" in text for text in told),
        "used": int(used.sum()),
        "false": int(false.sum()),
    }


def summary(name: str, family: str, rows: list[dict[str, Any]]) -> list[str]:
    done = [r for r in rows if r["error"] is None]
    inspected = [r for r in done if "loss" in r]
    collapsed = [r for r in inspected if r["loss"] < LEAST]
    scores = [r["valid"] for r in done] or [math.nan]
    numbers = [
        len(rows),
        len(rows) - len(done),
        sum(bool(r["warnings"]) for r in done),
        len(collapsed),
        sum(not r["warned"] for r in collapsed),
        sum(r["false"] for r in inspected),
    ]
    times = [r["seconds"] for r in done] or [math.nan]
    ends = [f"{min(scores):.3f}", f"{max(scores):.3f}", f"{max(times):.0f}"]
    return [name, family, *map(str, numbers), *ends]
