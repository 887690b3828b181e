"""`scripts/benchmark seeds`: does a model train whatever the seed? See benchmark.py.

A fit may break down (a loss that is not finite) or *collapse*: the latents end unused, and
no prediction is worse by 0.001 nats per step without their values. The first must not happen; the
second must not go unsaid.
"""

import argparse
import logging
import math
import time
from collections.abc import Iterator
from typing import Any

from benchmark_tools import say, show

from seqlatent.api import CLASSES
from seqlatent.data.batch import collate
from seqlatent.data.readers import load
from seqlatent.errors import TrainingError
from seqlatent.models.latent.diagnostics import LEAST, prior_kl, quick_losses
from seqlatent.models.latent.model import LatentModel


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
    for name in args.data:
        data = load(name)
        for family in args.models:
            rows = []
            for seed in range(args.num_seeds):
                row = {"data": name, "model": family, "fit_seed": seed, "steps": args.steps}
                rows.append(row | fit_once(family, data, seed, args.steps))
                yield rows[-1]
            table.append(summary(name, family, rows))
            say("  ".join(table[-1]))
    show(
        ["data", "model", "fits", "broke down", "collapsed", "warned of it", "collapsed unwarned",
         "nats/step, worst", "best"], table,
    )  # fmt: skip


def fit_once(family: str, data: Any, seed: int, steps: int) -> dict[str, Any]:
    logger, warnings = logging.getLogger("seqlatent"), Warnings()
    logger.addHandler(warnings)
    start = time.perf_counter()
    try:
        model = CLASSES[family]().fit(data, seed=seed, device="cpu", max_steps=steps)
    except TrainingError as error:
        return {"error": str(error)}
    finally:
        logger.removeHandler(warnings)
    module, result = model.module, model.result
    assert isinstance(module, LatentModel) and result is not None
    batch = collate(data.sequences[:64]).steps(0, 1024)
    return {
        "error": None,
        "kl": prior_kl(module, batch),
        "loss": float(quick_losses(module, batch).joint.max()),
        "valid": result.valid_score,
        "warned": any("latents are not used" in text for text in warnings.texts),
        "seconds": time.perf_counter() - start,
    }


def summary(name: str, family: str, rows: list[dict[str, Any]]) -> list[str]:
    done = [r for r in rows if r["error"] is None and math.isfinite(r["valid"])]
    collapsed = [r for r in done if r["loss"] < LEAST]
    scores = [r["valid"] for r in done] or [math.nan]
    return [
        name,
        family,
        str(len(rows)),
        str(len(rows) - len(done)),
        str(len(collapsed)),
        str(sum(r["warned"] for r in done)),
        str(sum(not r["warned"] for r in collapsed)),
        f"{min(scores):.3f}",
        f"{max(scores):.3f}",
    ]
