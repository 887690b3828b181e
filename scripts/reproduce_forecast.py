"""Forecasts of ten sets beside the methods people use, by published protocols.

    scripts/reproduce forecast --data FOLDER [--sets nn5_daily] [--methods ours ets] [--select]

FOLDER holds `collections/` and `multivariate/`; figures of the literature are shown where it also
holds `published/`. `forecast_sets.py` has the sets, their windows and protocols. Each method
forecasts every window of H steps from all steps before it; models train once, on the steps before
the first window. The measures:

    WQL       mean over levels q = .1, ..., .9 of  sum 2 |(y - f(q)) (1{y <= f(q)} - q)| / sum |y|,
              sums over all series, windows and steps (GIFT-Eval's "CRPS")
    MASE      mean absolute error of the median over that of the seasonal naive within the history
    coverage  share of values within the central 50, 80 and 95 % intervals

The ratio is to the WQL or MASE of the seasonal naive with normal intervals. Where the published
seasonal naive is of another kind (a point) or of other data (`etth1`), the table says so: the
script works it out again and shows it beside the published figure.

`--select` never sees a test value: it drops the test windows before anything else and forecasts as
many windows before them. Options are chosen by it.

Ours and DeepAR have `--minutes` of processor time of one thread to train, the statistical methods
`--limit` minutes for a whole set; what does not finish has no figure. The methods of others run in
environments of their own, which the script makes at first use (`forecast_baselines.py`). A row that
the JSON file already holds for the same options, and of ours for the same commit, is not measured
again.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from benchmark_tools import add_row, commit, find, parse_model, processor_time, say
from forecast_sets import LEVELS, SETS, ForecastSet, published, published_naive, read, seasonal_naive

from seqlatent.api import CLASSES
from seqlatent.data.calendar import with_calendar
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.sequence import Sequence
from seqlatent.errors import InputError

HERE = Path(__file__).resolve().parent
# method -> the environment it runs in
BASELINES = {"seasonal-naive": "statsforecast", "ets": "statsforecast", "arima": "statsforecast",
             "deepar": "gluonts"}  # fmt: skip
PACKAGES = {
    "statsforecast": ["statsforecast==2.1.1"],
    "gluonts": ["gluonts[torch]==0.17.0", "lightning==2.5.6"],
}
NAMES = {"ours": "ours", "seasonal-naive": "seasonal naive", "ets": "AutoETS",
         "arima": "AutoARIMA", "deepar": "DeepAR"}  # fmt: skip
INTERVALS = (0.5, 0.8, 0.95)
# Levels of every forecast: those of the loss, and the ends of the intervals.
ASKED = np.unique(np.round([*LEVELS, *(0.5 + s * c / 2 for c in (*INTERVALS, 0.9) for s in (-1, 1))], 6))  # fmt: skip
PATHS = 500  # of ours
UNDATED = pd.Timestamp("2000-01-03")  # DeepAR's first step where the data have no dates


def main() -> int:
    args = arguments()
    torch.set_num_threads(args.threads)
    try:
        entry = args.model + (":" + ",".join(args.set) if args.set else "")
        parse_model(entry)  # a misspelt option is refused before any fit
        for name in args.sets:
            data = read(name, args.data)
            if args.select:
                data = data.before_test()
            rows = [row for method in args.methods for row in measured(data, method, entry, args)]
            report(data, rows, args)
    except (InputError, OSError, json.JSONDecodeError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Forecasts beside the methods people use.")
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with `collections/`, `multivariate/`")
    add("--sets", nargs="+", default=list(SETS), choices=list(SETS), metavar="SET")
    add("--methods", nargs="+", default=list(NAMES), choices=list(NAMES), metavar="METHOD",
        help=f"of {', '.join(NAMES)}")  # fmt: skip
    add("--select", action="store_true", help="forecast windows before the test; see none of it")
    add("--minutes", type=float, default=4, help="of training, processor time of one thread")
    add("--limit", type=float, default=10, help="minutes of a statistical method for a set")
    add("--model", default="rnn", help="ours: its name")
    add("--set", nargs="+", default=[], metavar="KEY=VALUE", help="its options and training's")
    add("--calendar", nargs="+", default=[], help="cycles as covariates, where there are dates")
    add("--seeds", type=int, nargs="+", default=[0], help="of ours and of DeepAR")
    add("--threads", type=int, default=1, help="of torch")
    add("--envs", type=Path, default=Path(".venv-baselines"), help="environments and forecasts")
    add("--out", type=Path, default=Path("reproduce.json"), help="JSON file of rows")
    return parser.parse_args()


def measured(
    data: ForecastSet, method: str, entry: str, args: argparse.Namespace
) -> list[dict[str, Any]]:
    """A method's rows, one for each seed; those that the file holds are taken from there."""
    rows = []
    for seed in args.seeds if method in ("ours", "deepar") else [0]:
        identity = {"set": data.name, "method": method, "seed": seed, "select": args.select}
        if method == "ours":
            identity |= {"model": entry, "calendar": args.calendar, "minutes": args.minutes,
                         "threads": args.threads, "commit": commit()}  # fmt: skip
        else:
            minutes = args.minutes if method == "deepar" else args.limit
            identity |= {"model": PACKAGES[BASELINES[method]][0], "minutes": minutes}
        row = find(args.out, "forecast", identity)
        if row is None:
            say(f"{data.name}: {NAMES[method]}, seed {seed}, {identity['minutes']:g} minutes")
            if method == "ours":
                quantiles, facts = ours(data, entry, args, seed)
            else:
                quantiles, facts = baseline(data, method, identity["minutes"], seed, args.envs)
            row = identity | facts | measures(data, quantiles) | {"date": date.today().isoformat()}
            add_row(args.out, "forecast", row)
        rows.append(row)
    return rows


def ours(
    data: ForecastSet, entry: str, args: argparse.Namespace, seed: int
) -> tuple[np.ndarray, dict[str, Any]]:
    """(N, W, Q, H) quantiles of sample paths, and how training went."""
    family, options, training = parse_model(entry)
    model = CLASSES[family](**options)
    budget = {} if "max_steps" in training else {"max_minutes": args.minutes}
    with processor_time():
        model.fit(histories(data, 0, args.calendar), seed=seed, device="cpu",
                  **training, **budget)  # fmt: skip
    assert model.result is not None
    start = time.process_time()
    quantiles = []
    for window in range(data.windows):
        past = histories(data, window, args.calendar)
        forecast = model.forecast(past, data.horizon, num_samples=PATHS, seed=seed)
        quantiles.append(forecast.quantile(ASKED)[..., 0])
    return np.stack(quantiles, 1), {
        "seconds": model.result.seconds,
        "forecast_seconds": time.process_time() - start,
        "steps": model.result.steps,
        "valid": model.result.valid_score,
    }


def histories(data: ForecastSet, window: int, calendar: list[str]) -> SequenceDataset:
    """Each series before a window, with dates where they are known."""
    past = data.cut(window)[0]
    if data.starts is None:
        return SequenceDataset.from_list(past, name=data.name)
    sequences = []
    for i, (x, start) in enumerate(zip(past, data.starts, strict=True)):
        steps = pd.date_range(start, periods=len(x), freq=data.frequency).to_numpy("datetime64[ns]")
        sequences.append(Sequence(str(i), steps, x[:, None], np.zeros((len(x), 0))))
    made = SequenceDataset(tuple(sequences), ("y",), frequency=data.frequency, name=data.name)
    return with_calendar(made, calendar) if calendar else made


def baseline(
    data: ForecastSet, method: str, minutes: float, seed: int, envs: Path
) -> tuple[np.ndarray, dict[str, Any]]:
    """(N, W, Q, H) quantiles of a method of others, NaN where it did not finish."""
    job = make_job(data, method, minutes, seed)
    digest = hashlib.sha256()
    for name in sorted(job):
        digest.update(name.encode() + np.asarray(job[name]).tobytes())
    folder = envs / "forecasts"
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / f"{data.name}-{method}-{digest.hexdigest()[:12]}.npz"
    if not done.exists():
        python = environment(envs, BASELINES[method])
        asked, said = done.with_suffix(".job.npz"), done.with_suffix(".partial.npz")
        np.savez(asked, **job)
        with done.with_suffix(".log").open("w", encoding="utf-8") as log:
            command = [python, HERE / "forecast_baselines.py", asked, said]
            subprocess.run(command, check=True, stderr=log, stdout=log)
        asked.unlink()
        said.rename(done)
    with np.load(done, allow_pickle=False) as z:
        shape = data.windows, len(data.series), len(ASKED), data.horizon
        quantiles = z["quantiles"].reshape(shape).swapaxes(0, 1)
        facts = {name: z[name].item() for name in ("seconds", "steps", "fallbacks")}
    return quantiles, facts


def make_job(data: ForecastSet, method: str, minutes: float, seed: int) -> dict[str, np.ndarray]:
    """What `forecast_baselines.py` reads."""
    past = [x for window in range(data.windows) for x in data.cut(window)[0]]
    starts = [str(s.date()) for s in data.starts or [UNDATED] * len(data.series)]
    return {
        "method": np.array(method),
        "values": np.concatenate(past),
        "lengths": np.array([len(x) for x in past]),
        "starts": np.array(starts * data.windows),
        "train": np.arange(len(past)) < len(data.series),
        "horizon": np.array(data.horizon),
        "season": np.array(data.season),
        "frequency": np.array(data.frequency),
        "levels": ASKED,
        "minutes": np.array(float(minutes)),
        "seed": np.array(seed),
    }


def environment(envs: Path, name: str) -> Path:
    """The Python of an environment, made where there is none."""
    folder = envs / name
    python = folder / "bin" / "python"
    stamp = folder / ".installed"
    wanted = " ".join(PACKAGES[name])
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        say(f"installing {wanted} into {folder} (this takes a minute or two)")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        constraints = ["--constraint", HERE / "constraints.txt"]
        subprocess.run([*pip, *constraints, *PACKAGES[name]], check=True)
        stamp.write_text(wanted, encoding="utf-8")
    return python


def measures(data: ForecastSet, quantiles: np.ndarray) -> dict[str, Any]:
    """WQL, MASE and coverage of (N, W, Q, H) quantiles at the levels asked for; None in their place
    where a method did not finish."""
    done = np.isfinite(quantiles).all((2, 3))
    if not done.all():
        return {"wql": None, "mase": None, "finished": float(done.mean())}
    values = np.stack([data.cut(w)[1] for w in range(data.windows)], 1)  # (N, W, H)

    def at(level: float) -> np.ndarray:
        return quantiles[:, :, np.abs(ASKED - level).argmin()]

    chosen = np.stack([at(level) for level in LEVELS], 2)
    coverage = {}
    for width in INTERVALS:
        within = (at(0.5 - width / 2) <= values) & (values <= at(0.5 + width / 2))
        coverage[f"coverage_{100 * width:.0f}"] = float(within[np.isfinite(values)].mean())
    return {
        "wql": weighted_quantile_loss(values, chosen, LEVELS),
        "mase": mase(data, values, at(0.5)),
        **coverage,
        "finished": 1.0,
    }


def weighted_quantile_loss(values: np.ndarray, quantiles: np.ndarray, levels: np.ndarray) -> float:
    """Of values (..., H) and quantiles (..., Q, H)."""
    error = values[..., None, :] - quantiles
    level = levels[:, None]
    loss = np.nansum(2 * np.maximum(level * error, (level - 1) * error))
    return float(loss / np.nansum(np.abs(values)) / len(levels))


def mase(data: ForecastSet, values: np.ndarray, median: np.ndarray) -> float:
    """Mean over series and windows; without those whose history never changes over a season."""
    ratios = []
    for window in range(data.windows):
        past = data.cut(window)[0]
        for i, x in enumerate(past):
            m = data.published_season
            changes = np.abs(x[m:] - x[:-m])
            errors = np.abs(values[i, window] - median[i, window])
            changes, errors = changes[np.isfinite(changes)], errors[np.isfinite(errors)]
            if changes.size and errors.size and changes.mean() > 0:
                ratios.append(errors.mean() / changes.mean())
    return float(np.mean(ratios))


def report(data: ForecastSet, rows: list[dict[str, Any]], args: argparse.Namespace) -> None:
    """The set's table, as Markdown."""
    naive = measures(data, seasonal_naive(data, data.season, ASKED))
    where = "windows before the test" if args.select else "test windows"
    print(f"### {data.name}\n\n{data.protocol}: {len(data.series)} series, {data.windows} {where} "
          f"of {data.horizon} steps, season {data.season}\n")  # fmt: skip
    print("| method | seed | WQL | ratio | MASE | ratio | 50 % | 80 % | 95 % | minutes | steps |")
    print("|---" * 11 + "|")
    for r in rows:
        name = NAMES[r["method"]] + (f" `{r['model']}`" if r["method"] == "ours" else "")
        minutes = f"{r['seconds'] / 60:.1f}"
        if r["wql"] is None:
            share = f"not finished ({100 * r['finished']:.0f} % done)"
            print(f"| {name} | {r['seed']} | {share} | | | | | | | {minutes} | |")
            continue
        coverage = " | ".join(f"{100 * r[f'coverage_{100 * w:.0f}']:.0f}" for w in INTERVALS)
        print(f"| {name} | {r['seed']} | {r['wql']:.4f} | {r['wql'] / naive['wql']:.3f} "
              f"| {r['mase']:.3f} | {r['mase'] / naive['mase']:.3f} | {coverage} | {minutes} "
              f"| {r['steps'] or ''} |")  # fmt: skip
    if not args.select:
        report_published(data, args.data / "published", naive)
    print(flush=True)


def report_published(data: ForecastSet, folder: Path, naive: dict[str, Any]) -> None:
    """Rows of published figures, and whether the seasonal naive among them is found again."""
    figures, scaled = published(data, folder), published(data, folder, "mase")
    for name, wql in figures.items():
        other = f"{scaled[name]:.3f}" if name in scaled else ""
        print(f"| *published:* {name} | | {wql:.4f} | | {other} | | | | | | |")
    if figures:
        quantiles = published_naive(data)
        values = np.stack([data.cut(w)[1] for w in range(data.windows)], 1)
        found, stated = weighted_quantile_loss(values, quantiles, LEVELS), figures["seasonal naive"]
        verdict = "the same" if abs(found / stated - 1) < 1e-3 else "NOT the same data or recipe"
        print(f"\nPublished seasonal naive, worked out again: {found:.5f}; published {stated:.5f}: "
              f"{verdict}. Published figures were not run here.")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
