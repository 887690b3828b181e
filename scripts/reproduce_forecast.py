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

A ratio is to the WQL or MASE of the seasonal naive with normal intervals, worked out here from all
steps of a history. The script works out the published seasonal naive again; where it is not found,
the published figures are of other data (`etth1`), and their ratios are to their own.

`--select` never sees a test value: it drops the test windows before anything else and forecasts as
many windows before them. Options are chosen by it.

Ours and DeepAR have `--minutes` of processor time of one thread to train, the statistical methods
`--limit` minutes for a whole set; what does not finish has no figure. The minutes of the table are
those of training and forecasting together. The methods of others run in
environments of their own, which the script makes at first use (`forecast_baselines.py`). DeepAR
wants dates; where the data have none it is told a made-up first one. A row that the JSON file
already holds for the same options, and of ours for the same commit, is not measured again.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import date, datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from benchmark_tools import add_row, commit, find, parse_model, say
from forecast_measures import ASKED, INTERVALS, measures, values_of, weighted_quantile_loss
from forecast_sets import (
    LEVELS,
    SETS,
    ForecastSet,
    published,
    published_naive,
    read,
    seasonal_naive,
)

from seqlatent.api import CLASSES
from seqlatent.data.calendar import with_calendar
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.sequence import Sequence
from seqlatent.errors import InputError
from seqlatent.several.auto import Auto
from seqlatent.training.clock import processor_time

HERE = Path(__file__).resolve().parent
# The methods of others that take an environment: its name.
BASELINES = {"ets": "statsforecast", "arima": "statsforecast", "deepar": "gluonts"}
PACKAGES = {
    "statsforecast": ["statsforecast==2.1.1"],
    "gluonts": ["gluonts[torch]==0.17.0", "lightning==2.5.6"],
}
NAMES = {"ours": "ours", "seasonal-naive": "seasonal naive", "ets": "AutoETS",
         "arima": "AutoARIMA", "deepar": "DeepAR"}  # fmt: skip
PATHS = 500  # of ours
AUTO = "auto"  # the race of families
UNDATED = datetime(2000, 1, 3)  # DeepAR's first step where the data have no dates


def main() -> int:
    args = arguments()
    torch.set_num_threads(1)
    try:
        for entry in args.models:
            parse_entry(entry)  # a misspelt option is refused before any fit
        for name in args.sets:
            data = read(name, args.data)
            if args.select:
                data = data.before_test()
            rows = [row for method in args.methods for row in measured(data, method, args)]
            report(data, rows, args)
    except (InputError, OSError, json.JSONDecodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Forecasts beside the methods people use.")
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with `collections/`, `multivariate/`")
    add("--sets", nargs="+", default=list(SETS), choices=list(SETS), metavar="SET",
        help=f"of {', '.join(SETS)}")  # fmt: skip
    add("--methods", nargs="+", default=list(NAMES), choices=list(NAMES), metavar="METHOD",
        help=f"of {', '.join(NAMES)}")  # fmt: skip
    add("--models", nargs="+", default=["rnn"],
        help="ours: NAME:option=value,...; NAME may be auto, an option members")  # fmt: skip
    add("--calendar", nargs="+", default=[], help="ours: cycles as covariates, if there are dates")
    add("--select", action="store_true", help="forecast windows before the test; see none of it")
    add("--minutes", type=float, default=4, help="of training, processor time of one thread")
    add("--limit", type=float, default=10, help="minutes of a statistical method for a set")
    add("--seeds", type=int, nargs="+", default=[0], help="of ours and of DeepAR")
    add("--envs", type=Path, default=Path(".venv-baselines"), help="environments and forecasts")
    add("--out", type=Path, default=Path("reproduce.json"), help="JSON file of rows")
    return parser.parse_args()


def measured(data: ForecastSet, method: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """A method's rows, one for each model and seed; the file's own where it holds them."""
    models, seeds, told = [""], [0], {}
    if method == "ours":
        models, seeds = args.models, args.seeds
        told = {"calendar": args.calendar, "minutes": args.minutes, "commit": commit()}
    elif method in BASELINES:
        models = [PACKAGES[BASELINES[method]][0]]
        told = {"minutes": args.limit}
    if method == "deepar":
        seeds, told = args.seeds, {"minutes": args.minutes}
    rows = []
    for model, seed in product(models, seeds):
        identity = {"set": data.name, "method": method, "model": model, "seed": seed,
                    "select": args.select, **told}  # fmt: skip
        row = find(args.out, "forecast", identity)
        if row is None:
            say(f"{data.name}: {NAMES[method]} {model}, seed {seed}".replace(" ,", ","))
            start = time.process_time()
            if method == "ours":
                quantiles, facts = ours(data, model, args.minutes, args.calendar, seed)
            elif method in BASELINES:
                quantiles, facts = baseline(data, method, told["minutes"], seed, args.envs)
            else:
                quantiles = seasonal_naive(data, data.season, ASKED)
                facts = {"seconds": time.process_time() - start, "steps": 0}
            row = identity | facts | measures(data, quantiles) | {"date": date.today().isoformat()}
            add_row(args.out, "forecast", row)
        rows.append(row)
    return rows


def ours(
    data: ForecastSet, entry: str, minutes: float, calendar: list[str], seed: int
) -> tuple[np.ndarray, dict[str, Any]]:
    """(N, W, Q, H) quantiles of sample paths, and how training went."""
    family, options, training = parse_entry(entry)
    if "max_steps" not in training:
        training.setdefault("max_minutes", minutes)
    model = Auto(**options) if family == AUTO else CLASSES[family](**options)
    start = time.process_time()
    with processor_time():
        model = model.fit(histories(data, 0, calendar), seed=seed, device="cpu", **training)
    assert model.result is not None
    quantiles = []
    for window in range(data.windows):
        past = histories(data, window, calendar)
        forecast = model.forecast(past, data.horizon, num_samples=PATHS, seed=seed)
        quantiles.append(forecast.quantile(ASKED)[..., 0])
    return np.stack(quantiles, 1), {
        "seconds": time.process_time() - start,
        "train_seconds": model.result.seconds,
        "steps": model.result.steps,
        "valid": model.result.valid_score,
    }


def parse_entry(entry: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """A name, options of the model and of its fit. `auto` takes those of `rnn`; `members` is a
    number, or auto."""
    name, _, words = entry.partition(":")
    mine = [word for word in words.split(",") if word.startswith("members=")]
    others = ",".join(word for word in words.split(",") if not word.startswith("members="))
    _, options, training = parse_model(f"{'rnn' if name == AUTO else name}:{others}")
    for word in mine:
        given = word.removeprefix("members=")
        training["members"] = int(given) if given.isdecimal() else given
    return name, options, training


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
    return with_calendar(made, calendar)


def baseline(
    data: ForecastSet, method: str, minutes: float, seed: int, envs: Path
) -> tuple[np.ndarray, dict[str, Any]]:
    """(N, W, Q, H) quantiles of a method of others, NaN where it did not finish. Its forecasts are
    kept in `envs`, under the digest of all that it was told."""
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
        command = [python, HERE / "forecast_baselines.py", asked, said]
        run(command, f"{data.name}: {NAMES[method]}", done.with_suffix(".log"))
        asked.unlink()
        said.rename(done)
    with np.load(done, allow_pickle=False) as z:
        shape = data.windows, len(data.series), len(ASKED), data.horizon
        quantiles = z["quantiles"].reshape(shape).swapaxes(0, 1)
        facts = {name: z[name].item() for name in ("seconds", "steps", "fallbacks")}
    return quantiles, facts


def make_job(data: ForecastSet, method: str, minutes: float, seed: int) -> dict[str, Any]:
    """What `forecast_baselines.py` reads: the histories of window 0, of window 1, ..."""
    past = [x for window in range(data.windows) for x in data.cut(window)[0]]
    starts = [s.isoformat() for s in data.starts or [UNDATED] * len(data.series)]
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
        what, log = f"installing {name}", envs / f"{name}.log"
        run([sys.executable, "-m", "venv", folder], what, log)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        run([*pip, "--constraint", HERE / "constraints.txt", *PACKAGES[name]], what, log)
        stamp.write_text(wanted, encoding="utf-8")
    return python


def run(command: Iterable[str | Path], what: str, log: Path) -> None:
    """Run a command, its messages in a file.

    Raises:
        InputError: where it fails; it names the file.
    """
    with log.open("w", encoding="utf-8") as file:
        done = subprocess.run([*command], stdout=file, stderr=file, check=False)
    if done.returncode:
        raise InputError(f"{what} failed with status {done.returncode}; {log} says why")


def report(data: ForecastSet, rows: list[dict[str, Any]], args: argparse.Namespace) -> None:
    """The set's table, as Markdown."""
    base = measures(data, seasonal_naive(data, data.season, ASKED))
    plural = "s" if data.windows > 1 else ""
    where = f"window{plural} before the test" if args.select else f"test window{plural}"
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
        print(f"| {name} | {r['seed']} | {r['wql']:.4f} | {r['wql'] / base['wql']:.3f} "
              f"| {r['mase']:.3f} | {r['mase'] / base['mase']:.3f} | {coverage} | {minutes} "
              f"| {r['steps'] or ''} |")  # fmt: skip
    if not args.select:
        report_published(data, args.data / "published", base)
    print(flush=True)


def report_published(data: ForecastSet, folder: Path, base: dict[str, Any]) -> None:
    """Rows of published figures, and whether the seasonal naive among them is found again."""
    figures, scaled = published(data, folder), published(data, folder, "mase")
    if not figures:
        return
    stated = figures["seasonal naive"]
    found = weighted_quantile_loss(values_of(data), published_naive(data), LEVELS)
    same = abs(found / stated - 1) < 5e-4
    if not same:
        base = {"wql": stated, "mase": scaled.get("seasonal naive")}
    for name, wql in figures.items():
        other = "| |"
        if name in scaled:
            other = f"| {scaled[name]:.3f} | {scaled[name] / base['mase']:.3f}"
        print(f"| *published:* {name} | | {wql:.4f} | {wql / base['wql']:.3f} {other} | | | | | |")
    verdict = "the same" if same else "NOT the same data; the published ratios are to their own"
    print(f"\nPublished seasonal naive, worked out again: {found:.5f}; published {stated:.5f}: "
          f"{verdict}. Published figures were not run here.")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
