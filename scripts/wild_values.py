"""What a wild value costs, at its step and later: the table *Wild values* of RESULTS.md.

    .venv/bin/python scripts/wild_values.py [--steps 300] [--only WORD ...]

Short fits of AR(2) series by every family with its default emission, of the same by `rnn` with
every emission of real values, and of Poisson counts by `rnn` with every emission of counts. In each
series of the test part one value in the middle becomes the mean plus 50 or 500 standard deviations;
of counts, 50 or 500 times the mean. Later steps are also compared to those after a missing value,
which is what the models take a wild one for. Estimates have 64 particles, of the same noise.
"""

import argparse
import logging
import sys
import time
from dataclasses import replace

import numpy as np
import torch

from seqlatent.api import CLASSES, Model
from seqlatent.data.dataset import SequenceDataset
from seqlatent.inference.protocols import Density, EstimatedDensity
from seqlatent.models.registry import MODELS
from seqlatent.processes import AutoregressiveTwo, PoissonCounts

FAMILIES = [
    name
    for name, model in MODELS.items()
    if issubclass(model, (Density, EstimatedDensity)) and name != "mixture"
]
REAL = ("normal", "student-t", "mixture", "covariance-mixture", "sinh-arcsinh", "spline",
        "sinh-arcsinh-spline")  # fmt: skip
COUNTS = ("poisson", "negative-binomial", "zero-inflated")
STEPS, PLACE, SERIES = 60, 30, 30  # of the test part


def changed(data: SequenceDataset, value: float) -> SequenceDataset:
    """The data with one value of every series replaced."""
    series = []
    for s in data:
        x = s.x.copy()
        x[PLACE] = value
        series.append(replace(s, x=x))
    return replace(data, sequences=tuple(series))


def nats(model: Model, data: SequenceDataset) -> np.ndarray:
    """(N, T) log densities of the steps, 0 of missing ones."""
    steps = model.score(data, num_particles=64, seed=0)[1]
    found = np.zeros((SERIES, STEPS))
    for row, (_, g) in zip(found, steps.groupby("unique_id", sort=False), strict=True):
        row[g["ds"]] = g["log_prob"]
    return found


def row(label: str, model: Model, test: SequenceDataset, values: tuple[float, float]) -> str:
    clean, near, far, gap = (
        nats(model, d) for d in (test, *(changed(test, v) for v in (*values, np.nan)))
    )
    cells = [f"{c.mean():.1f} ({c.max():.1f})" for w in (near, far)
             for c in [(clean - w)[:, PLACE]]]  # fmt: skip
    for base in (clean, gap):
        later = np.concatenate([(base - w)[:, PLACE + 1 :].sum(1) for w in (near, far)])
        cells.append(f"{later.mean():.2f} ({later.max():.2f})")
    return f"| {label} | " + " | ".join(cells) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description="What wild values cost.")
    parser.add_argument("--steps", type=int, default=300, help="of training")
    parser.add_argument("--only", nargs="+", help="words of the labels of rows")
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("seqlatent").setLevel(logging.CRITICAL)
    ar2, counts = AutoregressiveTwo(), PoissonCounts()
    cases = [(f"ar2, `{n}`", n, {}, ar2) for n in FAMILIES]
    cases += [(f"ar2, `rnn`, {e}", "rnn", {"emission": e}, ar2) for e in REAL]
    cases += [(f"counts, `rnn`, {e}", "rnn", {"emission": e}, counts) for e in COUNTS]
    for label, name, options, process in cases:
        if args.only and not any(w in label for w in args.only):
            continue
        start = time.process_time()
        train, test = process.sample(100, STEPS, seed=0), process.sample(SERIES, STEPS, seed=1)
        x = np.concatenate([s.x for s in train])
        if process is counts:
            values = tuple(float(np.round(k * x.mean())) for k in (50, 500))
        else:
            values = tuple(float(x.mean() + k * x.std()) for k in (50, 500))
        if "hidden_dim" in CLASSES[name]().get_params():
            options = {"hidden_dim": 16} | options
        fit = {"max_steps": args.steps, "eval_every": 100, "seed": 0, "progress": False}
        model = CLASSES[name](scaling="global", **options).fit(train, **fit)
        print(row(label, model, test, (values[0], values[1])), flush=True)
        print(f"{label}: {time.process_time() - start:.0f} s", file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
