"""Anomalies in streams of one value: the Numenta Anomaly Benchmark (NAB; Lavin and Ahmad 2015).

    scripts/reproduce anomaly --data FOLDER [--files realKnownCause/nyc_taxi ...] [--seconds 20]

FOLDER holds `nab.zip`, or `data/` and `labels/combined_windows.json` as in NAB's repository. Each
file with a labelled window has a model of its own, fitted to its first 15 % of rows (at most 750),
without labels; NAB does not score these. `detect` with its defaults then reads the whole file. The
part of the probationary rows that the fit holds out (`VALID`) sets the threshold.

Beside it stand, with thresholds by the same rows and rate:

    z-score             (x_t - m)^2 / 2 s^2, m and s those of as many rows before as probation has
    seasonal naive      (x_t - x_{t-d})^2, d rows a day; the row before where a day is too long

Measures (`anomaly_measures.py`):

    NAB                 by the threshold of each file, one false alarm per thousand rows
    NAB, best           by one threshold for all files that gives the highest score, as published
                        figures have it: it is chosen by the labels. Scores are made comparable by
                        (score - mean) / (threshold - mean), both of the calibration
    ROC, PR             areas under the curves over rows, means over files

Published figures are of the whole corpus of 58 files, ours of the files that were read.
"""

import argparse
import io
import json
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from anomaly_measures import Labels, areas, labels, nab_score, probation
from benchmark_tools import add_row, parse_model, processor_time, say, show

from seqlatent.api import CLASSES
from seqlatent.data.dataset import SequenceDataset
from seqlatent.errors import InputError
from seqlatent.tasks.alarms import Calibration, calibration, smooth

VALID = 0.3  # share of the probationary rows that is held out
RATE = 1.0  # false alarms per thousand rows
PUBLISHED = {  # NAB, best; standard profile
    "Numenta HTM (Lavin and Ahmad 2015)": 64.7,
    "Twitter ADVec (Lavin and Ahmad 2015)": 47.1,
    "windowed Gaussian (NAB's scoreboard)": 39.6,
    "Etsy Skyline (Lavin and Ahmad 2015)": 35.7,
    "Bayesian changepoints (Ahmad and Purdy 2016)": 17.7,
    "random (Lavin and Ahmad 2015)": 16.8,
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Anomalies of NAB.")
    parser.add_argument("--data", type=Path, required=True, help="folder with nab.zip, or NAB's")
    parser.add_argument("--files", nargs="+", help="such as realKnownCause/nyc_taxi (default: all)")
    parser.add_argument("--models", nargs="+", default=["rnn"], help="NAME:option=value,...")
    parser.add_argument("--seconds", type=float, default=20, help="of processor time for a fit")
    parser.add_argument("--seed", type=int, default=0, help="of the fits")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument(
        "--out", type=Path, default=Path("reproduce.json"), help="JSON file of rows"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    found: dict[str, list[tuple[Labels, np.ndarray]]] = {}
    try:
        for name, table, known in read(args.data, args.files):
            start = time.process_time()
            simple = {"z-score": z_score, "seasonal naive": seasonal_naive}
            scores = {method: excess_of(score(table), table) for method, score in simple.items()}
            for entry in args.models:
                scores[entry] = excess(table, entry, args.seed, args.seconds)
            for method, score in scores.items():
                found.setdefault(method, []).append((known, score))
                row = {"file": name, "method": method, **measures([(known, score)])}
                add_row(args.out, "anomaly", {**row, "seed": args.seed, "seconds": args.seconds})
            say(f"anomaly: {name}, {time.process_time() - start:.0f} s")
    except (InputError, OSError, json.JSONDecodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    rows = {method: measures(files) for method, files in found.items()}
    columns = ["NAB", "NAB, best", "ROC", "PR", "alarmed per thousand outside windows"]
    show(
        ["method", *columns],
        [[method, *(f"{row[c]:.3f}" if c in ("ROC", "PR") else f"{row[c]:.1f}" for c in columns)]
         for method, row in rows.items()]
        + [[f"published: {method}", "", f"{v:.1f}", "", "", ""] for method, v in PUBLISHED.items()],
    )  # fmt: skip
    files = next(iter(found.values()))
    windows = sum(known.num_windows for known, _ in files)
    say(f"{len(files)} files, {windows} windows; published figures are of 58 files, 116 windows")
    return 0


def measures(files: list[tuple[Labels, np.ndarray]]) -> dict[str, float]:
    """Of the excess of every file, 1 at its threshold."""
    pairs, alarmed, outside = [], 0, 0
    for known, score in files:
        rows = known.scored & ~np.isnan(score)
        pairs.append(areas(known.anomalous[rows], score[rows]))
        ordinary = rows & ~known.anomalous
        alarmed, outside = alarmed + int((score[ordinary] > 1).sum()), outside + int(ordinary.sum())
    roc, pr = np.mean(pairs, axis=0)
    return {
        "NAB": nab_score(files, 1.0),
        "NAB, best": nab_score(files, None),
        "ROC": float(roc),
        "PR": float(pr),
        "alarmed per thousand outside windows": 1000 * alarmed / max(1, outside),
    }


# -- data ------------------------------------------------------------------------------------------


def read(folder: Path, files: list[str] | None) -> list[tuple[str, pd.DataFrame, Labels]]:
    """The name of every labelled file, its rows `ds, y`, and its labels.

    Raises:
        InputError: where the benchmark is not there, or has no such file.
    """
    archive = folder / "nab.zip"
    root = zipfile.Path(archive) if archive.is_file() else folder
    if not (root / "labels/combined_windows.json").is_file():
        raise InputError(f"{folder}: neither nab.zip nor labels/combined_windows.json (--data)")
    text = (root / "labels/combined_windows.json").read_text(encoding="utf-8")
    windows = {k.removesuffix(".csv"): v for k, v in json.loads(text).items() if v}
    found = []
    for name in files or sorted(windows):
        name = name.removesuffix(".csv")
        if name not in windows:
            raise InputError(f"{folder}: '{name}' is no file with labelled windows (--files)")
        text = (root / f"data/{name}.csv").read_text(encoding="utf-8")
        table = pd.read_csv(io.StringIO(text), parse_dates=["timestamp"])
        table = table.rename(columns={"timestamp": "ds", "value": "y"})
        times = table["ds"].to_numpy()
        ends = [[int(np.argmax(times == np.datetime64(t))) for t in pair] for pair in windows[name]]
        found.append((name, table, labels(len(table), [(a, b) for a, b in ends])))
    return found


def with_steps(table: pd.DataFrame) -> pd.DataFrame:
    """The rows, whose steps are their numbers where a time of the file is there twice."""
    if table["ds"].is_monotonic_increasing and table["ds"].is_unique:
        return table
    return table.assign(ds=np.arange(len(table)))


# -- scores: (T,), 1 at the threshold of the file --------------------------------------------------


def excess(table: pd.DataFrame, entry: str, seed: int, seconds: float) -> np.ndarray:
    """Of `detect`, its smoothed surprise not cut at the top, so that it has an order there too."""
    family, options, training = parse_model(entry)
    table, num = with_steps(table), probation(len(table))
    training = {"max_minutes": seconds / 60, "valid": VALID, **training}
    with processor_time():
        model = CLASSES[family](**options).fit(
            SequenceDataset.from_frame(table.head(num), name="probation"),
            seed=seed,
            device="cpu",
            progress=False,
            **training,
        )
    found = model.detect(SequenceDataset.from_frame(table, name="file"), false_alarms=RATE)
    surprise = found.steps["surprise"].to_numpy()
    if len(surprise) != len(table):
        raise InputError(f"{len(table)} rows have {len(surprise)} scores")
    c = found.calibration
    return scaled(smooth(surprise, c.half_life, c.mean), c)


def excess_of(score: np.ndarray, table: pd.DataFrame) -> np.ndarray:
    """Of a simple detector, calibrated on the rows that a model would hold out."""
    num = probation(len(table))
    held_out = score[num - round(VALID * num) : num]
    return scaled(score, calibration([held_out], RATE, 0.0, "the rows held out"))


def scaled(score: np.ndarray, c: Calibration) -> np.ndarray:
    return (score - c.mean) / max(c.threshold - c.mean, 1e-9)


def z_score(table: pd.DataFrame) -> np.ndarray:
    x = values(table)
    num = probation(len(x))
    before = x.rolling(num, min_periods=2)
    mean, sd = pd.Series(before.mean()).shift(1), pd.Series(before.std()).shift(1)
    floor = 1e-6 * (float(np.std(x.to_numpy()[:num])) + 1e-9)  # of a constant past
    return (0.5 * ((x - mean) / sd.clip(lower=floor)) ** 2).to_numpy()


def seasonal_naive(table: pd.DataFrame) -> np.ndarray:
    x, num = values(table), probation(len(table))
    steps = np.diff(table["ds"].to_numpy()) / np.timedelta64(1, "D")
    day = round(1 / float(np.median(steps)))
    lag = day if 0 < 2 * day <= num else 1
    return ((x - x.shift(lag)) ** 2).to_numpy()


def values(table: pd.DataFrame) -> pd.Series:
    return pd.Series(table["y"].to_numpy(dtype=float))


if __name__ == "__main__":
    sys.exit(main())
