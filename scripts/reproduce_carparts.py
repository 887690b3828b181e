"""Intermittent demand: monthly sales of 2,674 car parts (`carparts`, Hyndman et al. 2008).

    scripts/reproduce carparts --data carparts.npz [--models rnn rnn:emission=zero-inflated]

FILE holds `values` (series, months; NaN where nothing was recorded). Models train on all but the
last 12 months, with a tenth of the series for validation. Each of the last 12 months is then scored
given those before it: nats per recorded month, a flat average. Two distributions fitted
to each series' own training months stand beside the models:

    poisson              its rate the mean, (sum of x + 1/2) / months: never 0 (Jeffreys' prior)
    negative binomial    the same mean, and the dispersion of the greatest likelihood
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmark_tools import add_row, parse_model, say, show
from torch.distributions import NegativeBinomial, Poisson

from seqlatent.api import CLASSES
from seqlatent.data.dataset import SequenceDataset
from seqlatent.errors import InputError

AHEAD = 12  # months held out at the end
SIZES = torch.logspace(-2, 4, 241, dtype=torch.float64)  # dispersions tried; large ones are Poisson


def main() -> int:
    parser = argparse.ArgumentParser(description="Held-out likelihood on carparts.")
    parser.add_argument("--data", type=Path, required=True, help=".npz with the array `values`")
    parser.add_argument("--models", nargs="+", default=["rnn"], help="NAME:option=value,...")
    parser.add_argument("--seed", type=int, default=0, help="of the fits")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument(
        "--out", type=Path, default=Path("reproduce.json"), help="JSON file of rows"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    try:
        x = read(args.data)
        own = per_series(x)
        for entry in args.models:
            say(f"carparts: fitting {entry}")
            row, months = measure(x, entry, args.seed)
            for name, theirs in own.items():
                gain = (months - theirs)[np.isfinite(months)]
                row[f"above {name}"] = float(gain.mean())
                row[f"above {name}, s.e."] = float(gain.std(ddof=1) / np.sqrt(len(gain)))
            rows.append(row)
            add_row(args.out, "carparts", {**row, "seed": args.seed, "threads": args.threads})
    except (InputError, OSError, json.JSONDecodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    table = [[name, f"{np.nanmean(v):.4f}", "exact", *[""] * 5] for name, v in own.items()]
    for r in rows:
        gains = [f"{r[f'above {n}']:.4f} ({r[f'above {n}, s.e.']:.4f})" for n in own]
        table.append([r["model"], f"{r['log_prob']:.4f}", r["kind"], *gains, f"{r['valid']:.4f}",
                      f"{r['seconds']:.0f}", str(args.seed)])  # fmt: skip
    header = [f"above {name} (s.e.)" for name in own]
    show(
        ["distribution", "held-out nats/month", "kind", *header, "valid", "seconds", "seed"], table
    )
    return 0


def read(path: Path) -> np.ndarray:
    """(N, T) counts.

    Raises:
        InputError: where the array is not there, or is no table of counts.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file (--data)")
    with np.load(path) as arrays:
        if "values" not in arrays:
            raise InputError(f"{path}: the array 'values' is not there")
        x = arrays["values"].astype(float)
    seen = x[np.isfinite(x)]
    if x.ndim != 2 or x.shape[1] <= AHEAD or (seen < 0).any() or (seen % 1 != 0).any():
        raise InputError(f"{path}: 'values' must be counts, (series, more than {AHEAD} months)")
    return x


def per_series(x: np.ndarray) -> dict[str, np.ndarray]:
    """(N, AHEAD) nats of every held-out month under each series' own distributions, NaN where there
    is no value."""
    past, future = (torch.from_numpy(part)[:, None] for part in (x[:, :-AHEAD], x[:, -AHEAD:]))
    seen = past.isfinite()
    past = torch.where(seen, past, 0.0)
    mean = (past.sum(-1) + 0.5) / seen.sum(-1).clamp(min=1)  # (N, 1)
    # NB of a mean m and size r, as torch writes it: r failures, odds m / r.
    sizes = SIZES.expand(len(x), -1)[..., None]  # (N, R, 1)
    fitted = torch.where(seen, _negative_binomial(mean, sizes).log_prob(past), 0.0).sum(-1)
    best = SIZES[fitted.argmax(1)][:, None, None]
    distributions = {
        "poisson": Poisson(mean[..., None]),
        "negative binomial": _negative_binomial(mean, best),
    }
    known = future.isfinite()
    filled = torch.where(known, future, 0.0)
    return {
        name: torch.where(known, d.log_prob(filled), torch.nan)[:, 0].numpy()
        for name, d in distributions.items()
    }


def _negative_binomial(mean: torch.Tensor, sizes: torch.Tensor) -> NegativeBinomial:
    """Distributions of means (N, 1) and sizes (N, R, 1)."""
    return NegativeBinomial(sizes, logits=(mean[..., None] / sizes).log())


def measure(x: np.ndarray, entry: str, seed: int) -> tuple[dict[str, Any], np.ndarray]:
    """Fit on the training months, and (N, AHEAD) nats of each held-out one given all before it."""
    family, options, training = parse_model(entry)
    train = SequenceDataset.from_list(list(x[:, :-AHEAD]), name="carparts")
    model = CLASSES[family](**options).fit(train, seed=seed, device="cpu", **training)
    assert model.result is not None
    scores, steps = model.score(SequenceDataset.from_list(list(x), name="carparts"))
    log_prob = np.full(x.shape, np.nan)  # a month without a record has no row
    log_prob[steps["unique_id"].astype(int), steps["ds"]] = steps["log_prob"]
    months = log_prob[:, -AHEAD:]
    return {
        "model": entry,
        "log_prob": float(np.nanmean(months)),
        "kind": str(scores["kind"].iloc[0]),
        "valid": model.result.valid_score,
        "seconds": model.result.seconds,
        "steps": model.result.steps,
    }, months


if __name__ == "__main__":
    sys.exit(main())
