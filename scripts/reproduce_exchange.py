"""Daily exchange rates of eight currencies (Lai et al. 2018), forecast 30 steps ahead: CRPS-sum.

    scripts/reproduce exchange --data exchange_rate.txt.gz [--seeds 0 1 2] [--select]

The convention of the literature (Salinas et al. 2019): train on the first 6,071 rows, forecast from
five rolling origins, rows 6,071 + 30 i, each time given all rows before; 500 paths. The measure is
that of the sum over the currencies, by 19 quantiles:

    CRPS-sum = mean over levels q of  sum_t 2 |(y_t - f_t(q)) (1{y_t <= f_t(q)} - q)| / sum_t |y_t|

where y_t is the sum of the currencies and f_t(q) the q-quantile of its sampled paths. Beside every
model stands a Gaussian random walk with the covariance of the last 1,000 days' increments, as the
mean of ten sets of paths.

`--select` never sees a test row: it trains on the first 5,471 and forecasts from the 20 origins
between them and row 6,071. The default model was chosen by it.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from benchmark_tools import add_row, parse_model, say, show

from seqlatent.api import CLASSES
from seqlatent.data.dataset import SequenceDataset
from seqlatent.errors import InputError

ROWS, AHEAD, ORIGINS, PATHS = 6071, 30, 5, 500
SELECTED = 20  # origins within the training rows, for choosing
LEVELS = np.arange(1, 20) / 20
RECENT = 1000  # days of the random walk's covariance
WALKS = 10  # sets of 500 paths that its figure is a mean of: one alone is off by 2 %
DEFAULT = (
    "flow:scaling=increments,context_length=1,emission=sinh-arcsinh,hidden_dim=16,"
    "window_length=64,window_context=64,max_steps=400,l2=0.01"
)

Paths = Callable[[int, int], np.ndarray]  # an origin and a seed -> (S, H, D) paths from there


def main() -> int:
    parser = argparse.ArgumentParser(description="CRPS-sum on exchange_rate.")
    parser.add_argument("--data", required=True, help="8 columns without a header, gzipped or not")
    parser.add_argument("--models", nargs="+", default=[DEFAULT], help="NAME:option=value,...")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--select", action="store_true", help="within the training rows")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("reproduce.json"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    try:
        x = read(args.data)
        first, num = (ROWS - SELECTED * AHEAD, SELECTED) if args.select else (ROWS, ORIGINS)
        origins = [first + AHEAD * i for i in range(num)]
        rows = []
        for entry in args.models:
            family, options, training = parse_model(entry)
            for seed in args.seeds:
                row = measure(x, origins, family, options, training, seed)
                rows.append({"model": entry, "select": args.select, **row})
                add_row(args.out, "exchange", {**rows[-1], "threads": args.threads})
    except (InputError, OSError, json.JSONDecodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    show(
        ["model", "seed", "CRPS-sum", "random walk", "kind", "held-out nats/step", "steps",
         "seconds"],
        [
            [r["model"].partition(":")[0], str(r["seed"]), f"{r['crps_sum']:.5f}",
             f"{r['random_walk']:.5f}", r["kind"], f"{r['valid']:.3f}", str(r["best_step"]),
             f"{r['seconds']:.0f}"]
            for r in rows
        ],
    )  # fmt: skip
    values = [r["crps_sum"] for r in rows]
    if len(args.models) == 1:
        say(f"mean over {len(values)} seeds {np.mean(values):.5f}, sd {np.std(values):.5f}")
    return 0


def read(path: str) -> np.ndarray:
    """(T, 8) rates."""
    x = pd.read_csv(path, header=None).to_numpy(dtype=float)
    if x.shape[1] != 8 or len(x) < ROWS + AHEAD * ORIGINS:
        raise InputError(f"{path}: holds {x.shape}, not the 8 columns of exchange_rate")
    return x


def measure(
    x: np.ndarray, origins: list[int], family: str, options: dict, training: dict, seed: int
) -> dict:
    """Fit on the rows before the first origin, and forecast from each."""
    start = time.perf_counter()
    train = SequenceDataset.from_list([x[: origins[0]]], name="exchange_rate")
    model = CLASSES[family](**options).fit(train, seed=seed, device="cpu", **training)
    assert model.result is not None

    def paths(origin: int, seed: int) -> np.ndarray:
        history = SequenceDataset.from_list([x[:origin]])
        return model.forecast(history, AHEAD, num_samples=PATHS, seed=seed)[0].samples

    return {
        "seed": seed,
        "crps_sum": crps_sum(x, origins, paths, seed),
        "random_walk": float(
            np.mean([crps_sum(x, origins, random_walk(x), draw) for draw in range(WALKS)])
        ),
        "kind": f"{PATHS} paths",
        "origins": len(origins),
        "valid": model.result.valid_log_prob,
        "best_step": model.result.best_step,
        "seconds": time.perf_counter() - start,
    }


def random_walk(x: np.ndarray) -> Paths:
    def paths(origin: int, seed: int) -> np.ndarray:
        covariance = np.cov(np.diff(x[origin - RECENT - 1 : origin], axis=0).T)
        rng = np.random.default_rng([seed, origin])
        steps = rng.multivariate_normal(np.zeros(x.shape[1]), covariance, (PATHS, AHEAD))
        return x[origin - 1] + steps.cumsum(1)

    return paths


def crps_sum(x: np.ndarray, origins: list[int], paths: Paths, seed: int) -> float:
    """CRPS-sum over the 30 steps from every origin."""
    loss, size = np.zeros(len(LEVELS)), 0.0
    for origin in origins:
        y = x[origin : origin + AHEAD].sum(-1)
        forecast = np.quantile(paths(origin, seed).sum(-1), LEVELS, axis=0)
        level = LEVELS[:, None]
        loss += 2 * np.abs((y - forecast) * ((y <= forecast) - level)).sum(1)
        size += np.abs(y).sum()
    return float((loss / size).mean())


if __name__ == "__main__":
    sys.exit(main())
