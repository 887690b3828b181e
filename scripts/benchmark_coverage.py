"""`scripts/benchmark coverage`: how often the stated 95 % interval holds log p(x).

The models are linear and Gaussian, their log p(x) known, and their guides set by hand
(tests/exact.py): the posterior of each step, moved by `shift` of its standard deviations and of
`width` times its scale. `per-step` and `joint` score x_t = a x_{t-1} + b z_t + noise, whose
posterior factorises; `smc` scores x_t = b z_t + noise with z_t = a z_{t-1} + noise, by the guide
q(z_t | z_{t-1}, x_t). Every repeat has a sequence of its own, sampled from the model.

Printed are, over the repeats, the share of intervals that hold the truth, two-sided where an error
is told and one-sided where none is; the share of estimates of which an error is told; the share
told whose interval does not hold the truth; and how far the estimates are off.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_tools import say, show

from seqlatent.data.dataset import SequenceDataset
from seqlatent.tasks.scoring import score

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from exact import guided_chain, guided_last_value

GUIDES = {
    "the posterior": (0.0, 1.0),
    "a little wrong": (0.3, 0.9),
    "too wide": (0.0, 2.0),
    "wrong": (1.0, 0.7),
    "narrow": (0.0, 0.4),
    "far off": (3.0, 1.0),
    "very narrow": (0.0, 0.02),
    "far off and narrow": (6.0, 0.1),
}
CASES = [("per-step", 7), ("per-step", 100), ("joint", 7), ("smc", 25)]


def run_coverage(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    say(f"seed {args.seed}, {args.threads} thread(s), {args.repeats} repeats")
    rows = []
    for estimator, steps in CASES:
        if estimator not in args.estimators:
            continue
        for guide in GUIDES:
            rows.append(measure(estimator, steps, guide, args.repeats, args.seed))
            say("  ".join(f"{key} {value}" for key, value in rows[-1].items()))
            yield rows[-1]
    show(
        ["estimator", "steps", "guide", "holds", "told", "told, and does not hold", "off, nats"],
        [
            [r["estimator"], str(r["steps"]), r["guide"], f"{r['holds']:.3f}", f"{r['told']:.3f}",
             f"{r['told_wrong']:.3f}", f"{r['off']:.3g}"]
            for r in rows
        ],
    )  # fmt: skip


def measure(estimator: str, steps: int, guide: str, repeats: int, seed: int) -> dict[str, Any]:
    """One row: coverage over repeats, with the defaults of `score`."""
    start = time.perf_counter()
    build = guided_chain if estimator == "smc" else guided_last_value
    model, sample, log_prob = build(*GUIDES[guide])
    x = sample(repeats, steps, seed)
    data = SequenceDataset.from_arrays(x[..., None])
    frame, _ = score(model, data, seed=seed, estimator=estimator)
    truth = log_prob(x)
    told = frame["std_error"].notna().to_numpy()
    holds = (frame["lower"].to_numpy() <= truth) & (truth <= frame["upper"].to_numpy())
    return {
        "estimator": estimator,
        "steps": steps,
        "guide": guide,
        "repeats": repeats,
        "holds": float(holds.mean()),
        "told": float(told.mean()),
        "told_wrong": float((told & ~holds).mean()),
        "holds_told": float(holds[told].mean()) if told.any() else None,
        "off": float(np.abs(frame["log_prob"].to_numpy() - truth).mean()),
        "std_error": float(np.mean(frame["std_error"].to_numpy()[told])) if told.any() else None,
        "seconds": round(time.perf_counter() - start, 1),
    }
