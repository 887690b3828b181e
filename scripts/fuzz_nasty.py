"""Nasty data by the hundred: fits, scores and forecasts are finite, or refused in one sentence.

    .venv/bin/python scripts/fuzz_nasty.py [--seeds 300] [--first 0] [--minutes 20] [--together 1]

Every registered model, a mixture of two fits and the variants of `VARIANTS` meet every set of
`SETS`: a fit of a few steps, the scores and forecasts of the data and of the same data hidden in
part. A model without a likelihood is not scored. A case is wrong if it raises anything but an
`InputError` or a `TrainingError`, if a score or a sampled value is not finite, or if a step has
more than 10,000 nats in absolute value. Case (seed, set, model) is the same every time. With
`--together K` the series of K seeds are one data set, which costs less than K data sets and mixes
their levels. Ctrl-C, or the first case that begins after `--minutes` of processor time, ends it.

Prints a JSON object of counts, seeds done, seconds by model, and what went wrong; the exit status
is 1 if anything did.
"""

import argparse
import json
import logging
import sys
import time
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import torch

from seqlatent.api import CLASSES, Model
from seqlatent.data.dataset import SequenceDataset
from seqlatent.errors import InputError, TrainingError
from seqlatent.inference.protocols import Density, EstimatedDensity

NUM, STEPS, AHEAD, PATHS, PARTICLES = 4, 60, 5, 8, 8
MOST = 1e4  # nats of a step
SMALL = {"hidden_dim": 4}
VARIANTS: dict[str, tuple[str, dict]] = {  # beside the defaults: a name, the family, its options
    "rnn-mingru": ("rnn", {"cell": "mingru"}),
    "rnn-ssd": ("rnn", {"cell": "ssd"}),
    "diffusion-blocks": ("diffusion", {"block": 4, "denoiser_dim": 4}),
}
CHAINS = ("auto", "running", "log", "increments")  # of scaling, in turn; `auto` takes the longest
DISCRETE = ("counts", "rare counts", "alternating", "two classes, one seen once", "constant")
FIT = {"max_steps": 4, "eval_every": 4, "progress": False}
Values = np.ndarray | list[np.ndarray]


# -- the sets: from a generator to (N, T, D) values, NaN where missing, or a list of series --------


def one_wild(rng: np.random.Generator) -> Values:
    x = rng.normal(size=(NUM, STEPS, 1))
    x[rng.integers(NUM), rng.integers(STEPS)] = 10.0 ** rng.integers(3, 13) * rng.choice([-1, 1])
    return x


def alternating(rng: np.random.Generator) -> Values:
    x = np.tile([0.0, rng.choice([1.0, 1e-3, 1e6])], STEPS // 2)
    return np.tile(x[None, :, None], (NUM, 1, 1))


def mostly_missing(rng: np.random.Generator) -> Values:
    x = rng.normal(size=(NUM, STEPS, 2))
    x[rng.random(x.shape) < 0.95] = np.nan
    x[:, 0] = rng.normal(size=(NUM, 2))  # every series and channel has a value
    return x


def levels(rng: np.random.Generator) -> Values:
    """A few steps up and down, of any height."""
    jumps = rng.normal(size=(NUM, STEPS, 1)) * 10.0 ** rng.integers(-3, 7)
    return np.where(rng.random(jumps.shape) < 0.05, jumps, 0.0).cumsum(1)


def far_apart(rng: np.random.Generator) -> Values:
    """Two channels of which one is 1e18 times the other."""
    return rng.normal(size=(NUM, STEPS, 2)) * [1e-9, 1e9]


def seen_once(rng: np.random.Generator) -> Values:
    x = np.zeros((NUM, STEPS, 1))
    x[rng.integers(NUM), rng.integers(STEPS)] = 1.0
    return x


def ragged(rng: np.random.Generator) -> Values:
    return [rng.normal(size=(n, 1)) for n in (1, 1, 2, 3, STEPS)]


SETS: dict[str, Callable[[np.random.Generator], Values]] = {
    "constant": lambda rng: np.full((NUM, STEPS, 1), rng.choice([0.0, 1.0, -7.3, 1e9, 1e-9])),
    "one wild value": one_wild,
    "tiny": lambda rng: 1e-12 * rng.normal(size=(NUM, STEPS, 1)),
    "huge": lambda rng: 1e12 * (1 + rng.normal(size=(NUM, STEPS, 1))),
    "huge level, tiny noise": lambda rng: 1e6 + 1e-6 * rng.normal(size=(NUM, STEPS, 1)),
    "alternating": alternating,
    "mostly missing": mostly_missing,
    "steps": levels,
    "far apart": far_apart,
    "single steps": lambda rng: list(rng.normal(size=(3 * NUM, 1, 1))),
    "ragged": ragged,
    "cauchy": lambda rng: rng.standard_cauchy((NUM, STEPS, 1)),
    "counts": lambda rng: rng.integers(0, 10 ** rng.integers(1, 7), (NUM, STEPS, 1)).astype(float),
    "rare counts": lambda rng: rng.poisson(0.02, (NUM, STEPS, 1)) * 10.0 ** rng.integers(0, 7),
    "two classes, one seen once": seen_once,
    "growth": lambda rng: np.exp(rng.normal(0.3, 0.1, (NUM, STEPS, 1)).cumsum(1)),
}


# -- one case --------------------------------------------------------------------------------------


def fitted(name: str, data: SequenceDataset, seed: int, kind: str) -> Model:
    chain = CHAINS[seed % len(CHAINS)]
    if kind in DISCRETE and chain != "auto":  # others are for real values
        chain = "global"
    if name == "mixture":
        return CLASSES["rnn"](scaling=chain, **SMALL).fit(data, members=2, seed=seed, **FIT)
    family, options = VARIANTS.get(name, (name, {}))
    if family != "linear-gaussian":
        options = SMALL | options
    return CLASSES[family](scaling=chain, **options).fit(data, seed=seed, **FIT)


def check(model: Model, data: SequenceDataset, seed: int) -> str:
    """What is wrong with the scores and forecasts of a model, or ""."""
    if isinstance(model.module, (Density, EstimatedDensity)):
        scores, steps = model.score(data, num_particles=PARTICLES, seed=seed)
        nats = steps["log_prob"].to_numpy()
        if not np.isfinite(nats).all() or not np.isfinite(scores["log_prob"]).all():
            return "a score is not finite"
        if len(nats) and np.abs(nats).max() > MOST:
            return f"a step has {nats[np.abs(nats).argmax()]:.3g} nats"
    paths = model.forecast(data, AHEAD, num_samples=PATHS, seed=seed)
    if not all(np.isfinite(f.samples).all() for f in paths):
        return "a sampled value is not finite"
    return ""


def hidden(series: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """The same series with a third of the values missing."""
    return [np.where(rng.random(x.shape) < 0.3, np.nan, x) for x in series]


def case(seeds: range, kind: str, name: str) -> tuple[str, str]:
    """`fine`, `refused` or `wrong`, and a word about it."""
    seed, series, parts = seeds[0], [], []
    for each in seeds:
        rng = np.random.default_rng([each, list(SETS).index(kind)])
        series += (values := list(SETS[kind](rng)))
        parts += hidden(values, rng)
    where = "data"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            data = SequenceDataset.from_list(series)
            where = "fit"
            model = fitted(name, data, seed, kind)
            where = "score"
            if seed % 4 == 0:  # values that are all there may take another way
                found = check(model, data, seed) or check(
                    model, SequenceDataset.from_list(parts), seed
                )
            else:
                found = check(model, SequenceDataset.from_list(series + parts), seed)
    except (InputError, TrainingError) as error:
        return "refused", f"{where}: {error}"
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)
        ours = [f for f in last if "/seqlatent/" in f.filename] or last
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
        return "wrong", f"{where}: {type(error).__name__} at {place}: {error}"[:300]
    return ("wrong", found) if found else ("fine", "")


def main() -> int:
    parser = argparse.ArgumentParser(description="Nasty data by the hundred.")
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--minutes", type=float, default=20.0, help="of processor time")
    parser.add_argument("--together", type=int, default=1, help="seeds in one data set")
    parser.add_argument("--models", nargs="*", default=[*CLASSES, *VARIANTS])
    parser.add_argument("--sets", nargs="*", default=[*SETS])
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("seqlatent").setLevel(logging.CRITICAL)
    counts, refusals, wrong = Counter(), Counter(), []
    seconds: dict[str, float] = defaultdict(float)
    last, pairs = args.first + args.seeds, list(product(args.sets, args.models))
    groups = [
        range(n, min(n + args.together, last)) for n in range(args.first, last, args.together)
    ]
    try:
        for done, (seeds, (kind, name)) in enumerate(product(groups, pairs)):
            if (begun := time.process_time()) > 60 * args.minutes:
                break
            if done and done % len(pairs) == 0:
                print(f"seeds to {seeds[0] - 1}, {begun:.0f} s", file=sys.stderr, flush=True)
            outcome, word = case(seeds, kind, name)
            seconds[name] += time.process_time() - begun
            counts[outcome] += 1
            if outcome == "refused":
                refusals[f"{kind}, {name}: {word}"] += 1
            if outcome == "wrong":
                wrong.append([seeds[0], len(seeds), kind, name, word])
                print(f"{seeds[0]} {kind}, {name}: {word}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    rounded = {name: round(s) for name, s in sorted(seconds.items(), key=lambda x: -x[1])}
    whole = sum(len(seeds) for seeds in groups[: sum(counts.values()) // len(pairs)])
    found = {**counts, "seeds": whole, "refusals": refusals, "wrong": wrong, "seconds": rounded}
    print(json.dumps(found, indent=1))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
