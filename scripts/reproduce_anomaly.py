"""Anomalies in streams of one value: the Numenta Anomaly Benchmark (NAB; Lavin and Ahmad 2015), and
beats of a heart.

    scripts/reproduce anomaly --data FOLDER [--files realKnownCause/nyc_taxi ...] [--seconds 10]

FOLDER holds `nab.zip`, or `data/` and `labels/combined_windows.json` as in NAB's repository. Each
of the 58 files has a model of its own, fitted without labels to its first 15 % of rows (at most
750), which NAB does not score. The surprise and the values of the whole file are then judged as
`detect` does by default, which begins with the surprise of the rows that the fit holds out
(`VALID`). `--keep FOLDER` stores surprises and reads those that are there in place of a fit.

Beside it stand simple detectors (`anomaly_simple.py`), each as it is and `followed`: its score in
the place of surprise, judged in the same way; and `values alone`, with nothing in its place.

Measures (`anomaly_measures.py`), of all files together:

    NAB, low FP, low FN NAB's three profiles, each with the one threshold that is best, chosen by
                        the labels as in all published figures; a row's score is its excess, and a
                        row in the rest after an alarm has none
    peaks               NAB, where a row counts only if its score is the highest of the last 100
    own                 NAB without any choice by labels: an alarm is the first row of an interval
                        of alarm at one false alarm per thousand rows
    ROC, PR             areas under the curves over rows, by the score without threshold and rest;
                        means over files with windows
    alarmed, intervals  per thousand rows outside windows, at the detector's own threshold

`--groups` shows NAB's score of each folder of the benchmark as well.

`--heart FILE` is the excerpt of MIT-BIH, `data,label`: fitted to the first 15 % of rows, ROC and PR
of the others.
"""

import argparse
import io
import json
import sys
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from anomaly_measures import PROFILES, Labels, areas, labels, nab_score, probation
from anomaly_simple import relative_entropy, seasonal_naive, windowed_gaussian
from benchmark_tools import add_row, parse_model, say, show

from seqlatent.api import CLASSES
from seqlatent.data.dataset import SequenceDataset
from seqlatent.errors import InputError
from seqlatent.tasks.alarms import HALF_LIFE, MEMORY, calibration
from seqlatent.tasks.following import follow
from seqlatent.training.clock import processor_time

VALID = 0.3  # share of the probationary rows that is held out
RATE = 1.0  # false alarms per thousand rows
APART = 100  # rows, of which a peak is the highest
SIMPLE = {"windowed Gaussian": windowed_gaussian, "seasonal naive": seasonal_naive}
AREAS = ("ROC", "PR")
PUBLISHED = {  # NAB's repository at ea702d7, results/final_results.json and README.md
    "ARTime": (74.9, 65.2, 80.4),
    "Numenta HTM": (70.1, 63.1, 74.3),
    "CAD OSE": (69.9, 67.0, 73.2),
    "KNN-CAD": (58.0, 43.4, 64.8),
    "relative entropy": (54.6, 47.6, 58.8),
    "random cut forest": (51.7, 38.4, 59.7),
    "Twitter ADVec": (47.1, 33.6, 53.5),
    "windowed Gaussian": (39.6, 20.9, 47.4),
    "Etsy Skyline": (35.7, 27.1, 44.5),
    "EXPoSE": (16.4, 3.2, 26.9),
    "random, mean of seeds": (11.0, 1.2, 19.5),
}


class Judged(NamedTuple):
    """Of a file: its labels, the (T,) score of its rows, that score over the threshold, NaN in a
    rest, and the (T,) bool alarms."""

    known: Labels
    score: np.ndarray
    excess: np.ndarray
    alarm: np.ndarray


def main() -> int:
    parser = argparse.ArgumentParser(description="Anomalies of NAB.")
    parser.add_argument("--data", type=Path, required=True, help="folder with nab.zip, or NAB's")
    parser.add_argument("--heart", type=Path, help="mitdb_segment.csv.gz")
    parser.add_argument("--files", nargs="+", help="such as realKnownCause/nyc_taxi (default: all)")
    parser.add_argument("--models", nargs="*", default=["rnn"], help="NAME:option=value,...")
    parser.add_argument("--seconds", type=float, default=10, help="of processor time for a fit")
    parser.add_argument("--seed", type=int, default=0, help="of the fits")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--keep", type=Path, help="folder of surprises, written and read")
    parser.add_argument("--groups", action="store_true", help="show each folder's score as well")
    parser.add_argument(
        "--out", type=Path, default=Path("reproduce.json"), help="JSON file of rows"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    found: dict[str, list[Judged]] = {}
    names: list[str] = []
    try:
        for name, table, known in read(args.data, args.files):
            start = time.process_time()
            names.append(name)
            for method, judged in of_file(name, table, known, args):
                found.setdefault(method, []).append(judged)
                row = {"file": name, "method": method, **measures([judged])}
                add_row(args.out, "anomaly", {**row, "seed": args.seed, "seconds": args.seconds})
            say(f"anomaly: {name}, {time.process_time() - start:.0f} s")
        heart = [("mitdb", *read_heart(args.heart))] if args.heart else []
        beats = {method: judged for one in heart for method, judged in of_file(*one, args)}
    except (InputError, OSError, json.JSONDecodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    rows = {method: measures(files) for method, files in found.items()}
    columns = list(next(iter(rows.values())))
    blank = [""] * (len(columns) - len(PROFILES))
    lines = [table_row(method, row) for method, row in rows.items()]
    for name, three in PUBLISHED.items():
        lines.append([f"published: {name}", *(f"{v:.1f}" for v in three), *blank])
    show(["method", *columns], lines)
    if args.groups:
        show_groups(names, found)
    if beats:
        lines = [[m, *(f"{a:.3f}" for a in over_rows(judged))] for m, judged in beats.items()]
        show(["mitdb", *AREAS], lines)
    files = next(iter(found.values()))
    windows = sum(judged.known.num_windows for judged in files)
    say(f"{len(files)} files, {windows} windows; published figures are of 58 files, 116 windows")
    return 0


def of_file(name: str, table: pd.DataFrame, known: Labels, args: argparse.Namespace):
    """Every method, and what it makes of a file."""
    yield "relative entropy", plain(known, relative_entropy(table))
    x = table["y"].to_numpy(dtype=float)
    yield "values alone", followed(known, np.zeros(len(x)), x)
    for method, score in SIMPLE.items():
        yield method, plain(known, score(table))
        yield f"{method}, followed", followed(known, score(table), x)
    for entry in args.models:
        yield entry, followed(known, surprise(name, table, entry, args), x)


def show_groups(names: list[str], found: dict[str, list[Judged]]) -> None:
    """NAB's score of each folder, at the threshold that is best for it alone."""
    folders = [name.split("/")[0] for name in names]
    groups = list(dict.fromkeys(folders))
    lines = []
    for method, files in found.items():
        mine = [
            [(f.known, f.excess) for f, own in zip(files, folders, strict=True) if own == group]
            for group in groups
        ]
        lines.append([method, *(f"{nab_score(group):.1f}" for group in mine)])
    show(["method", *groups], lines)


def table_row(method: str, row: dict[str, float]) -> list[str]:
    return [method, *(f"{v:.3f}" if c in AREAS else f"{v:.1f}" for c, v in row.items())]


def measures(files: list[Judged]) -> dict[str, float]:
    """Of some files together, by name."""
    scores = [(judged.known, judged.excess) for judged in files]
    peaks = [(known, highest_of_the_last(score)) for known, score in scores]
    first = [alarm & ~np.append(False, alarm[:-1]) for *_, alarm in files]
    pairs = [over_rows(judged) for judged in files if judged.known.num_windows]
    roc, pr = np.mean(pairs, axis=0).tolist() if pairs else (np.nan, np.nan)
    outside = [known.scored & ~known.anomalous for known, *_ in files]
    thousands = sum(int(rows.sum()) for rows in outside) / 1000

    def rate(alarms: list[np.ndarray]) -> float:
        return sum(int((a & o).sum()) for a, o in zip(alarms, outside, strict=True)) / thousands

    onsets = [(known, alarm.astype(float)) for (known, _), alarm in zip(scores, first, strict=True)]
    return {
        **{name: nab_score(scores, None, profile) for name, profile in PROFILES.items()},
        "peaks": nab_score(peaks),
        "own": nab_score(onsets, 1.0),
        "ROC": roc,
        "PR": pr,
        "alarmed": rate([alarm for *_, alarm in files]),
        "intervals": rate(first),
    }


def over_rows(judged: Judged) -> tuple[float, float]:
    rows = judged.known.scored & ~np.isnan(judged.score)
    return areas(judged.known.anomalous[rows], judged.score[rows])


def highest_of_the_last(score: np.ndarray) -> np.ndarray:
    """(T,) the score where it is above those of the rows before it, up to APART; -inf elsewhere."""
    filled = pd.Series(score).fillna(-np.inf)
    before = filled.shift(1).rolling(APART, min_periods=1).max().fillna(-np.inf)
    return np.where(filled > before, filled, -np.inf)


# -- data ------------------------------------------------------------------------------------------


def read(folder: Path, files: list[str] | None) -> list[tuple[str, pd.DataFrame, Labels]]:
    """The name of every file, its rows `ds, y`, and its labels.

    Raises:
        InputError: where the benchmark is not there, or has no such file.
    """
    archive = folder / "nab.zip"
    root = zipfile.Path(archive) if archive.is_file() else folder
    if not (root / "labels/combined_windows.json").is_file():
        raise InputError(f"{folder}: neither nab.zip nor labels/combined_windows.json (--data)")
    text = (root / "labels/combined_windows.json").read_text(encoding="utf-8")
    windows = {k.removesuffix(".csv"): v for k, v in json.loads(text).items()}
    found = []
    for name in files or sorted(windows):
        name = name.removesuffix(".csv")
        if name not in windows:
            raise InputError(f"{folder}: '{name}' is no file of the benchmark (--files)")
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


def read_heart(path: Path) -> tuple[pd.DataFrame, Labels]:
    """The rows `ds, y`, and labels that every anomalous row is a window of, for areas alone."""
    if not path.is_file():
        raise InputError(f"{path}: no such file (--heart)")
    table = pd.read_csv(path)
    anomalous = table["label"].to_numpy() == 1
    known = labels(len(table), [(int(row), int(row)) for row in np.flatnonzero(anomalous)])
    return pd.DataFrame({"ds": np.arange(len(table)), "y": table["data"].to_numpy()}), known


# -- scores ----------------------------------------------------------------------------------------


def plain(known: Labels, score: np.ndarray) -> Judged:
    """By a threshold that stays, from the rows that a model would hold out; without a tail where
    these are all alike."""
    held_out = score[held_out_rows(len(score))]
    c = calibration([held_out], RATE, 0.0, "the rows held out")
    return Judged(known, score, score, score > max(c.threshold, float(np.nanmax(held_out))))


def followed(known: Labels, surprise: np.ndarray, x: np.ndarray) -> Judged:
    """As `detect` does with its defaults, of (T,) surprise and values."""
    rows, x = held_out_rows(len(x)), x[:, None]
    c = calibration(
        [surprise[rows]], RATE, HALF_LIFE, "the rows held out", MEMORY, [x[rows]], channels=(0,)
    )
    found = follow(c, surprise, x)
    return Judged(known, found.score, found.excess, found.excess > 0)


def held_out_rows(num_rows: int) -> slice:
    num = probation(num_rows)
    return slice(num - round(VALID * num), num)


def surprise(name: str, table: pd.DataFrame, entry: str, args: argparse.Namespace) -> np.ndarray:
    """(T,) -log p(x_t | x_{<t}), nats, by a model of the first rows."""
    family, options, training = parse_model(entry)
    file = f"{entry} {args.seed} {args.seconds:g} {name}.npy".replace("/", " ")
    kept = args.keep and args.keep / file
    if kept and kept.is_file():
        return np.load(kept)
    table, num = with_steps(table), probation(len(table))
    training = {"max_minutes": args.seconds / 60, "valid": VALID, **training}
    with processor_time():
        model = CLASSES[family](**options).fit(
            SequenceDataset.from_frame(table.head(num), name="probation"),
            seed=args.seed,
            device="cpu",
            progress=False,
            **training,
        )
    found = model.detect(SequenceDataset.from_frame(table, name="file"), false_alarms=RATE)
    surprise = found.steps["surprise"].to_numpy()
    if len(surprise) != len(table):
        raise InputError(f"{len(table)} rows have {len(surprise)} scores")
    if kept:
        args.keep.mkdir(parents=True, exist_ok=True)
        np.save(kept, surprise)
    return surprise


if __name__ == "__main__":
    sys.exit(main())
