"""Classification by likelihood: a model of each class, and the class that is likeliest.

    scripts/reproduce classes --data FOLDER [--models linear-gaussian rnn] [--seconds 10]

With p(x | c) the model fitted to the training sequences of class c alone, and p(c) their share,

    c*(x) = argmax_c  log p(x | c) + log p(c).

FOLDER holds `.npz` files with `train_values`, `train_lengths`, `train_labels`, and the same of
`test`: here `japanesevowels.npz` (Kudo et al. 1999) and `basicmotions.npz` (UEA). No option is
chosen by the test part. Beside it stands the nearest training sequence (1-NN) by Euclidean
distance, of channels scaled by the training data, sequences stretched to the length of the longest.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from benchmark_tools import add_row, parse_model, say, show

import seqlatent as sl
from seqlatent.api import CLASSES
from seqlatent.training.clock import processor_time

Part = tuple[list[np.ndarray], np.ndarray]


def main() -> int:
    parser = argparse.ArgumentParser(description="Classification by a model of each class.")
    parser.add_argument("--data", type=Path, required=True, help="folder of .npz files")
    parser.add_argument("--sets", nargs="+", default=["japanesevowels", "basicmotions"])
    parser.add_argument("--models", nargs="+", default=["rnn"], help="NAME:option=value,...")
    parser.add_argument("--seconds", type=float, default=10, help="of processor time for a fit")
    parser.add_argument("--seed", type=int, default=0, help="of the fits")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument(
        "--out", type=Path, default=Path("reproduce.json"), help="JSON file of rows"
    )
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    try:
        for name in args.sets:
            train, test = (read(args.data / f"{name}.npz", part) for part in ("train", "test"))
            rows.append((name, "1-NN", accuracy(nearest(train, test[0]), test[1]), 0.0))
            for entry in args.models:
                start = time.process_time()
                found = classify(train, test[0], entry, args.seed, args.seconds)
                seconds = time.process_time() - start
                rows.append((name, entry, accuracy(found, test[1]), seconds))
                say(f"classes: {name}, {entry}, {seconds:.0f} s")
    except (sl.InputError, OSError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    columns = ["set", "method", "accuracy", "seconds"]
    for row in rows:
        add_row(args.out, "classes", dict(zip(columns, row, strict=True)) | {"seed": args.seed})
    show(columns, [[name, method, f"{a:.3f}", f"{s:.0f}"] for name, method, a, s in rows])
    return 0


def read(path: Path, part: str) -> Part:
    """The (T, D) sequences of a part, and their labels."""
    with np.load(path, allow_pickle=False) as z:
        ends = np.cumsum(z[f"{part}_lengths"])[:-1]
        return np.split(z[f"{part}_values"], ends), z[f"{part}_labels"]


def classify(
    train: Part, test: list[np.ndarray], entry: str, seed: int, seconds: float
) -> np.ndarray:
    """The likeliest class of every test sequence, by a model of each class."""
    family, options, training = parse_model(entry)
    training = {"max_minutes": seconds / 60, **training}
    values, labels = train
    classes, scores = np.unique(labels), []
    for c in classes:
        own = [x for x, label in zip(values, labels, strict=True) if label == c]
        with processor_time():
            model = CLASSES[family](**options).fit(
                own, seed=seed, device="cpu", progress=False, **training
            )
        log_prob = model.log_prob(test, progress=False)["log_prob"].to_numpy()
        scores.append(log_prob + np.log(len(own) / len(values)))
    return classes[np.argmax(scores, axis=0)]


def nearest(train: Part, test: list[np.ndarray]) -> np.ndarray:
    """The class of the nearest training sequence."""
    values, labels = train
    length = max(map(len, [*values, *test]))
    mean, sd = np.concatenate(values).mean(0), np.concatenate(values).std(0)

    def stretched(x: np.ndarray) -> np.ndarray:
        at, ends = np.linspace(0, 1, length), np.linspace(0, 1, len(x))
        return np.array([np.interp(at, ends, channel) for channel in ((x - mean) / sd).T])

    known = np.array([stretched(x) for x in values])
    distances = [((known - stretched(x)) ** 2).sum((1, 2)) for x in test]
    return labels[np.argmin(distances, axis=1)]


def accuracy(found: np.ndarray, labels: np.ndarray) -> float:
    return float((found == labels).mean())


if __name__ == "__main__":
    sys.exit(main())
