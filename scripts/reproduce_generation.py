"""Windows drawn from nothing, beside published Context-FID, discriminative and predictive scores.

    scripts/reproduce generation --data FOLDER [--sets Stocks ...] [--models rnn ...]

The protocol is that of Diffusion-TS (Yuan and Qiao 2024), who follow TimeGAN (Yoon et al. 2019):
each column is scaled to [0, 1] over the whole series; windows of 24 steps with stride 1, all for
training; as many are drawn and compared with the training windows, in each of 5 repeats. FOLDER
holds `stock_data.csv`, `energy_data.csv.gz` and `ETTh1.csv.gz`, with headers; Sines are made.

These scores are best for a copy of the training windows. So there stand beside the models: `half`,
one half of the windows against all; `bootstrap`, the windows again; `copula`, a Gaussian copula of
the flattened window. `nearest` tells copies (0) from new windows (1 or more): the distance to the
nearest training window, over that from one training window to the nearest other one, which here
overlaps it. `--held-out` compares with the windows of the last tenth of the series, which is then
not trained on; of Sines with fresh ones.

    largest    the largest |value| drawn; the data end at 1
    beyond     percentage of values outside the range of the training windows
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from benchmark_tools import add_row, commit, parse_model, say, show

from seqlatent.api import CLASSES
from seqlatent.errors import InputError, did_you_mean
from seqlatent.fitted_model import Fitted
from seqlatent.measures import ALL, MEASURES, bootstrap, context_fid, copula, encoder_of, nearest
from seqlatent.measures.encoder import Encoder
from seqlatent.training.clock import processor_time

LENGTH = 24
SINES = 10_000, 5  # windows and channels
FILES = {"Stocks": "stock_data.csv", "ETTh": "ETTh1.csv.gz", "Energy": "energy_data.csv.gz"}
SETS = ("Sines", *FILES)
TRAINED = ("context-fid", "discriminative", "predictive")
WILD = ("largest", "beyond")
# Context-FID, discriminative and predictive score of each of the sets, at 24 steps. Yuan and Qiao
# (2024), but PaD-TS by Li et al. (2025), and FM-TS by Hu et al. (2024), in the abstract.
NONE = float("nan")
PUBLISHED = {
    "Diffusion-TS": [
        (0.006, 0.006, 0.093), (0.147, 0.067, 0.036), (0.116, 0.061, 0.119), (0.089, 0.122, 0.250)
    ],
    "TimeGAN": [(0.101, 0.011), (0.103, 0.102), (0.300, 0.114), (0.767, 0.236)],
    "TimeVAE": [(0.307, 0.041), (0.215, 0.145), (0.805, 0.209), (1.631, 0.499)],
    "DiffTime": [(0.006, 0.013), (0.236, 0.097), (0.299, 0.100), (0.279, 0.445)],
    "PaD-TS": [(NONE, 0.013), (NONE, 0.055), (), (NONE, 0.078)],
    "FM-TS": [(NONE, 0.005), (NONE, 0.019), (NONE, 0.011), (NONE, 0.053)],
    "original data": [
        (NONE, NONE, 0.094), (NONE, NONE, 0.036), (NONE, NONE, 0.121), (NONE, NONE, 0.250)
    ],
}  # fmt: skip


class Windows(NamedTuple):
    """Of a set: the (N, 24, D) windows of the training, those that draws are compared with, and
    whether these are others."""

    train: np.ndarray
    real: np.ndarray
    held_out: bool


def main() -> int:
    parser = argparse.ArgumentParser(description="Windows drawn by models, and their measures.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the three files")
    parser.add_argument("--sets", nargs="+", default=list(SETS), help=f"of {', '.join(SETS)}")
    parser.add_argument("--models", nargs="*", default=["rnn"], help="NAME:option=value,...")
    parser.add_argument("--measures", nargs="+", default=list(ALL), help=f"of {', '.join(ALL)}")
    parser.add_argument("--seconds", type=float, default=120, help="of processor time for a fit")
    parser.add_argument("--repeats", type=int, default=5, help="of measures, each of a new draw")
    parser.add_argument("--held-out", action="store_true", help="compare with the last tenth")
    parser.add_argument("--seed", type=int, default=0, help="of fits, draws and measures")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--keep", type=Path, help="folder of drawn windows, written and read")
    parser.add_argument(
        "--out", type=Path, default=Path("reproduce.json"), help="JSON file of rows"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    try:
        check(args)
        for name in args.sets:
            windows = read(args.data, name, args.held_out)
            say(f"generation: {name}, {len(windows.train)} windows for training")
            show(["set", "drawn by", *args.measures, *WILD], [*of_set(name, windows, args)])
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    say("published figures are marked so; standard errors in brackets are over repeats")
    return 0


def check(args: argparse.Namespace) -> None:
    """
    Raises:
        InputError: for an unknown set or measure, or no repeat.
    """
    for option, known in (("sets", SETS), ("measures", ALL)):
        for name in getattr(args, option):
            if name not in known:
                raise InputError(f"unknown '{name}' (--{option}){did_you_mean(name, known)}")
    if args.repeats < 1:
        raise InputError(f"--repeats {args.repeats}: give 1 or more")


def of_set(name: str, windows: Windows, args: argparse.Namespace) -> Iterator[list[str]]:
    """The rows of a table: references, models and published figures."""
    shared = {} if "context-fid" not in args.measures else encoders(windows.real, args)
    for drawn_by in ("half", "bootstrap", "copula", *args.models):
        start = time.process_time()
        repeats = [
            measured(
                windows, drawn, drawn_by, args.measures, args.seed + repeat, shared.get(repeat)
            )
            for repeat, drawn in enumerate(draws(name, drawn_by, windows, args))
        ]
        seconds = time.process_time() - start
        cells = [cell([found[column] for found in repeats]) for column in repeats[0]]
        known = [{k: v for k, v in found.items() if not np.isnan(v)} for found in repeats]
        row = {"set": name, "drawn_by": drawn_by, "values": known, "commit": commit()}
        options = {k: getattr(args, k) for k in ("seconds", "seed", "held_out")}
        add_row(args.out, "generation", {**row, **options, "all_seconds": seconds})
        say(f"generation: {name}, {drawn_by}, {seconds:.0f} s: {' '.join(cells)}")
        yield [name, drawn_by, *cells]
    for method, figures in PUBLISHED.items():
        scores: dict[str, float] = dict(zip(TRAINED, figures[SETS.index(name)], strict=False))
        values = [scores.get(m, NONE) for m in (*args.measures, *WILD)]
        if not args.held_out and not np.isnan(values).all():
            yield [name, f"published: {method}", *(cell([v]) for v in values)]


def cell(values: list[float]) -> str:
    """A mean, and its standard error where there are several repeats."""
    if np.isnan(values).any():
        return ""
    digits = 3 if np.mean(values) < 10 else 1
    text = f"{np.mean(values):.{digits}f}"
    if len(values) == 1:
        return text
    return f"{text} ({np.std(values, ddof=1) / np.sqrt(len(values)):.{digits}f})"


# -- measures --------------------------------------------------------------------------------------


def encoders(real: np.ndarray, args: argparse.Namespace) -> dict[int, Encoder]:
    """The encoder of each repeat, which all rows of a set share."""
    return {repeat: encoder_of(real, args.seed + repeat) for repeat in range(args.repeats)}


def measured(
    windows: Windows,
    drawn: np.ndarray,
    drawn_by: str,
    names: list[str],
    seed: int,
    encoder: Encoder | None,
) -> dict[str, float]:
    """Every measure, by name, of what was drawn in one repeat."""
    found = {}
    for name in names:
        if name == "context-fid":
            found[name] = context_fid(windows.real, drawn, seed, encoder)
        elif name != "nearest":
            found[name] = MEASURES[name].function(windows.real, drawn, seed)
        elif drawn_by == "half" and not windows.held_out:
            found[name] = NONE  # they are training windows
        else:
            others = windows.train if windows.held_out else None
            found[name] = nearest(windows.real, drawn, seed, others)
    low, high = windows.train.min((0, 1)), windows.train.max((0, 1))
    beyond = (drawn < low) | (drawn > high)
    return {**found, "largest": float(np.abs(drawn).max()), "beyond": 100 * float(beyond.mean())}


# -- windows ---------------------------------------------------------------------------------------


def draws(
    name: str, drawn_by: str, windows: Windows, args: argparse.Namespace
) -> Iterator[np.ndarray]:
    """Windows of every repeat: as many as there are for training, or half of the real ones."""
    number = len(windows.train)
    model = None
    for repeat in range(args.repeats):
        seed = args.seed + repeat
        if drawn_by == "half":
            order = np.random.default_rng(seed).permutation(len(windows.real))
            yield windows.real[order[: len(order) // 2]]
        elif drawn_by in ("bootstrap", "copula"):
            draw = bootstrap if drawn_by == "bootstrap" else copula
            yield draw(windows.train, number, seed)
        else:
            held = " held out" if windows.held_out else ""
            file = f"{name}{held} {drawn_by} {args.seconds:g} {args.seed} {seed}.npy"
            kept = args.keep and args.keep / file.replace("/", " ")
            if kept and kept.is_file():
                yield np.load(kept)
                continue
            model = model or fitted(drawn_by, windows.train, args)
            drawn = np.stack([s.x for s in model.sample(number, LENGTH, seed=seed)])
            if kept:
                args.keep.mkdir(parents=True, exist_ok=True)
                np.save(kept, drawn)
            yield drawn


def fitted(entry: str, train: np.ndarray, args: argparse.Namespace) -> Fitted:
    """A model of the training windows."""
    family, options, training = parse_model(entry)
    training = {"max_minutes": args.seconds / 60, **training}
    with processor_time():
        return CLASSES[family](**options).fit(
            train, seed=args.seed, device="cpu", progress=False, **training
        )


def read(folder: Path, name: str, held_out: bool) -> Windows:
    """The windows of a set.

    Raises:
        InputError: where its file is not there.
    """
    if name == "Sines":
        train = sines(*SINES, seed=0)
        return Windows(train, sines(*SINES, seed=1) if held_out else train, held_out)
    path = folder / FILES[name]
    if not path.is_file():
        raise InputError(f"{path}: no such file (--data)")
    table = pd.read_csv(path).select_dtypes("number").to_numpy(dtype=np.float64)
    values = (table - table.min(0)) / (table.max(0) - table.min(0))
    if not held_out:
        return Windows(cut(values), cut(values), held_out)
    end = len(values) - len(values) // 10
    return Windows(cut(values[:end]), cut(values[end:]), held_out)


def cut(values: np.ndarray) -> np.ndarray:
    """(T, D) -> (T - 23, 24, D) windows with stride 1."""
    windows = np.lib.stride_tricks.sliding_window_view(values, LENGTH, axis=0)
    return windows.transpose(0, 2, 1).copy()


def sines(number: int, channels: int, seed: int) -> np.ndarray:
    """(N, 24, D) (sin(f t + p) + 1) / 2, with f and p uniform on (0, 0.1), each channel its own."""
    frequency, phase = np.random.default_rng(seed).uniform(0, 0.1, (2, number, 1, channels))
    return (np.sin(frequency * np.arange(LENGTH)[:, None] + phase) + 1) / 2


if __name__ == "__main__":
    sys.exit(main())
