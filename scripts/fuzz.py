"""Damaged files and runs by the thousand: each must be read, or refused by an `InputError`.

    .venv/bin/python scripts/fuzz.py [--files 10000] [--runs 2000] [--seed 0] [--keep FOLDER]

Valid tables, arrays and run folders are changed: bytes flipped, ends cut off, pieces moved, numbers
and JSON values replaced by extreme ones, archives packed again after such changes. A file is loaded
and described, a run is loaded and scores data, an interrupted run is resumed. Each case may take
5 seconds and 1 GiB. Cases run in a child process, which may die. Case n of a seed is the same every
time; `--keep` has the files of those that failed.

Prints a JSON object of counts, and what went wrong; the exit status is 1 if anything did.
"""

import argparse
import gzip
import hashlib
import json
import logging
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch

import seqlatent as sl
from seqlatent.data.description import DataDescription
from seqlatent.errors import InputError, TrainingError
from seqlatent.training import fitting

SECONDS, BYTES = 5, 2**30  # of a case
NUMBERS = (b"0", b"-1", b"1e308", b"1e-320", b"99999999999999999999", b"NaN", b"Infinity", b"8000",
           b"9223372036854775807", b"4.5", b"1000000")  # fmt: skip
VALUES = (b"null", b"[]", b"{}", b'"x"', b"true", b"[[1]]", b'{"a": 1}', b"-3", b'"\x1b[2J"')
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:e-?\d+)?")
VALUE = re.compile(rb'(?<=[:\[,] )(?:"[^"]*"|-?[\d.]+|true|false|null)')
STEPS = {"max_steps": 3, "eval_every": 1, "progress": False}


class Slow(BaseException):
    """A case took too long; no handler of errors in the package catches it."""


# -- what is changed -------------------------------------------------------------------------------


def write_files(folder: Path) -> None:
    """Valid data of every kind that is read."""
    rng = np.random.default_rng(0)
    long = pd.DataFrame(
        {
            "unique_id": np.repeat(["north", "south", "west"], 20),
            "ds": np.tile(pd.date_range("2024-01-01", periods=20), 3),
            "y": np.round(rng.normal(size=60), 3),
            "promo": rng.integers(0, 2, 60),
            "sky": rng.choice(["rain", "sun"], 60),
        }
    )
    wide = pd.DataFrame(rng.normal(size=(30, 3)).round(2), columns=list("abc"))
    long.to_csv(folder / "long.csv", index=False)
    long.to_csv(folder / "semicolon.csv", index=False, sep=";")
    wide.to_csv(folder / "wide.csv", index=False)
    wide.to_csv(folder / "wide.tsv.gz", index=False, sep="\t")
    long.to_parquet(folder / "long.parquet")
    long.set_index("ds").to_parquet(folder / "index.parquet")
    wide.to_feather(folder / "wide.feather")
    long.astype({"ds": str}).to_json(folder / "long.json", orient="records")
    wide.to_json(folder / "wide.jsonl", orient="records", lines=True)
    np.save(folder / "floats.npy", rng.normal(size=(3, 20, 2)))
    np.save(folder / "counts.npy", rng.integers(0, 5, (4, 20)))


def write_runs(folder: Path) -> None:
    """Small fits: three finished ones and one that was interrupted."""
    data = sl.load("elnino:train")
    models = {
        "rnn": sl.RNN(hidden_dim=4),
        "latent": sl.Latent(latent_dim=2, hidden_dim=4),
        "flow": sl.Flow(hidden_dim=4),
    }
    for name, model in models.items():
        model.fit(data, run=folder / name, **STEPS)
    with _interrupted():
        sl.RNN(hidden_dim=4, scaling="global").fit(data, run=folder / "unfinished", **STEPS)


class _interrupted:
    """Leave a fit by its second step, with a checkpoint."""

    def __enter__(self) -> None:
        self.seconds, fitting.CHECKPOINT_SECONDS = fitting.CHECKPOINT_SECONDS, 0.0
        self.save = fitting.Trainer.save

        def stop(trainer: fitting.Trainer, *arguments: object) -> None:
            self.save(trainer, *arguments)  # pyright: ignore
            if trainer.step == 2:
                raise KeyboardInterrupt

        fitting.Trainer.save = stop  # pyright: ignore

    def __exit__(self, kind: object, *others: object) -> bool:
        fitting.CHECKPOINT_SECONDS, fitting.Trainer.save = self.seconds, self.save
        return kind is KeyboardInterrupt


# -- how -------------------------------------------------------------------------------------------


def flip(content: bytearray, rng: random.Random) -> None:
    reach = rng.choice([len(content), min(len(content), 128)])  # a header lies at the beginning
    for _ in range(rng.choice([1, 1, 2, 10])):
        content[rng.randrange(reach)] ^= 1 << rng.randrange(8)


def cut(content: bytearray, rng: random.Random) -> None:
    del content[rng.randrange(len(content)) :]


def splice(content: bytearray, rng: random.Random) -> None:
    """Copy, move or delete a piece."""
    start, length = rng.randrange(len(content)), rng.choice([1, 4, 16, 100])
    piece = content[start : start + length]
    if rng.random() < 0.6:
        del content[start : start + length]
    if rng.random() < 0.7:
        at = rng.randint(0, len(content))
        content[at:at] = piece * rng.choice([1, 1, 2, 50])


def overwrite(content: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(content))
    content[at : at + 8] = rng.choice(
        [b"\xff" * 8, b"\0" * 8, b"\x7f" + b"\xff" * 7, rng.randbytes(8)]
    )


def replace(pattern: re.Pattern[bytes], values: tuple[bytes, ...]) -> Callable:
    def change(content: bytearray, rng: random.Random) -> None:
        found = list(pattern.finditer(bytes(content)))
        if found:
            start, end = rng.choice(found).span()
            content[start:end] = rng.choice(values)

    return change


CHANGES = (flip, flip, cut, splice, overwrite, replace(NUMBER, NUMBERS), replace(VALUE, VALUES))


def changed(content: bytes, rng: random.Random) -> bytes:
    result = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        if result:
            rng.choice(CHANGES)(result, rng)
    return bytes(result)


def changed_file(source: Path, folder: Path, rng: random.Random) -> Path:
    content = source.read_bytes()
    if source.suffix == ".gz" and rng.random() < 0.7:
        content = gzip.compress(changed(gzip.decompress(content), rng), 1)
    else:
        content = changed(content, rng)
    path = folder / source.name
    path.write_bytes(content)
    return path


def changed_run(source: Path, folder: Path, rng: random.Random) -> Path:
    run = folder / "run"
    shutil.copytree(source, run)
    path = rng.choice([p for p in sorted(run.iterdir()) if p.suffix != ".csv"])
    path.write_bytes(changed(path.read_bytes(), rng))
    if path.suffix == ".safetensors" and rng.random() < 0.5:  # as one would who means harm
        owner = run / ("config.json" if path.name == "model.safetensors" else "checkpoint.json")
        content = json.loads(owner.read_bytes())
        content["digest"] = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
        owner.write_text(json.dumps(content))
    return run


# -- one case --------------------------------------------------------------------------------------


def use_file(path: Path) -> None:
    data = sl.load(path)
    DataDescription.of(data)
    repr(data)


def use_run(run: Path) -> None:
    data = sl.load("elnino:test")
    if (run / "checkpoint.json").exists() or not (run / "config.json").exists():
        train = sl.load("elnino:train")
        sl.RNN(hidden_dim=4, scaling="global").fit(train, run=run, resume=True, **STEPS)
    else:
        model = sl.load_model(run)
        repr(model)
        model.log_prob(data[:2], num_particles=4)
        model.forecast(data[:2], prediction_length=3, num_samples=4)


def case(kind: str, number: int, seed: int, sources: Path, folder: Path) -> tuple[str, str]:
    """The outcome of a case, and a word about it: `read`, `refused`, or what went wrong."""
    rng = random.Random(f"{seed}/{kind}/{number}")
    source = rng.choice(sorted((sources / kind).iterdir()))
    change, use = (changed_file, use_file) if kind == "files" else (changed_run, use_run)
    path = change(source, folder, rng)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            use(path)
    except InputError as error:
        memory = re.search(r"memory|allocate|malloc", str(error))
        return ("memory" if memory else "refused"), str(error)
    except TrainingError as error:
        return "refused", str(error)
    except Slow:
        return "slow", source.name
    except MemoryError:
        return "memory", source.name
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)
        ours = [f for f in last if "/seqlatent/" in f.filename] or last
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
        return "error", f"{source.name}: {type(error).__name__} at {place}: {error}"[:300]
    return "read", ""


# -- many ------------------------------------------------------------------------------------------


def work(kind: str, numbers: list[int], seed: int, sources: Path, keep: Path | None, pipe: int):
    """The cases of a child process: a line for each when it begins, and one when it ends."""

    def alarm(number: int, frame: object) -> None:
        raise Slow

    signal.signal(signal.SIGALRM, alarm)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, used + BYTES))
    with os.fdopen(pipe, "w") as out:
        for number in numbers:
            print(json.dumps(["begin", number]), file=out, flush=True)
            with tempfile.TemporaryDirectory() as folder:
                signal.setitimer(signal.ITIMER_REAL, SECONDS)
                try:
                    outcome = case(kind, number, seed, sources, Path(folder))
                except Slow:
                    outcome = "slow", ""
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                if keep is not None and outcome[0] not in ("read", "refused"):
                    shutil.copytree(folder, keep / f"{kind}-{number}", dirs_exist_ok=True)
            print(json.dumps([number, *outcome]), file=out, flush=True)


def run_all(kind: str, count: int, seed: int, sources: Path, keep: Path | None) -> dict:
    """Counts of outcomes, and those that went wrong."""
    counts, wrong, todo, slowest = Counter(), [], list(range(count)), 0.0
    while todo:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            work(kind, todo, seed, sources, keep, write)
            os._exit(0)
        os.close(write)
        begun, start = -1, 0.0
        with os.fdopen(read) as lines:
            for line in lines:
                first, *rest = json.loads(line)
                if first == "begin":
                    begun, start = rest[0], time.perf_counter()
                    continue
                slowest = max(slowest, time.perf_counter() - start)
                counts[rest[0]] += 1
                if rest[0] not in ("read", "refused"):
                    wrong.append([first, *rest])
                    print(f"{kind} {first}: {rest}", file=sys.stderr, flush=True)
                begun = -1
                todo = todo[1:]
        os.waitpid(pid, 0)
        if begun >= 0:  # the child died in this case
            counts["crash"] += 1
            wrong.append([begun, "crash", ""])
            todo = todo[1:]
    return {**counts, "slowest_s": round(slowest, 2), "wrong": wrong}


def main() -> int:
    parser = argparse.ArgumentParser(description="Damaged files and runs by the thousand.")
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files that went wrong")
    args = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("seqlatent").setLevel(logging.CRITICAL)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        sources = Path(folder)
        for kind, write in (("files", write_files), ("runs", write_runs)):
            (sources / kind).mkdir()
            write(sources / kind)
        for path in sorted((sources / "files").iterdir()):
            use_file(path)  # imports what the readers need, and shows that the sources are good
        results = {
            kind: run_all(kind, count, args.seed, sources, args.keep)
            for kind, count in (("files", args.files), ("runs", args.runs))
        }
    print(json.dumps({**results, "seconds": round(time.perf_counter() - start)}, indent=1))
    return 1 if any(result["wrong"] for result in results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
