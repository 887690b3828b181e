"""What the benchmarks share: fresh models, calls that take turns, tables and a file of rows."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from seqlatent.data.description import DataDescription
from seqlatent.errors import InputError
from seqlatent.models.base import SequenceModel
from seqlatent.models.mixture import MixtureModel
from seqlatent.models.registry import MODELS, build_model
from seqlatent.options import make, parse_assignments
from seqlatent.processes import PROCESSES
from seqlatent.training.options import TrainingOptions

BATCH, STEPS = 64, 128  # of a training step

# A mixture is made of fitted models, and cannot be fitted itself.
FAMILIES = [family for family in MODELS if family != MixtureModel.family]


def new_model(family: str, options: dict[str, Any], seed: int, length: int) -> SequenceModel:
    """A model with fresh parameters for the benchmark's process."""
    description = DataDescription.of(PROCESSES["ar2"]().sample(BATCH, length, seed))
    torch.manual_seed(seed)
    chosen, _ = MODELS[family].complete(make(MODELS[family].Options, options), description)
    return build_model(family, chosen, description)


def parse_model(entry: str) -> tuple[str, dict, dict]:
    """`flow:hidden_dim=16,max_steps=500` as a name, options of the model and of training."""
    family, _, words = entry.partition(":")
    classes = [MODELS[family].Options, TrainingOptions]
    options = parse_assignments([w for w in words.split(",") if w], classes)
    training = {k: options.pop(k) for k in list(options) if hasattr(TrainingOptions, k)}
    return family, options, training


def training_step(model: SequenceModel, loss: Callable[[], Tensor]) -> Callable[[], None]:
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def step() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def take_turns(
    calls: dict[str, Callable[[], Any]],
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of every call in every round, by a clock, after two rounds to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for i in tqdm(range(-2, rounds), unit="round", leave=False):
        for name, call in calls.items():
            start = clock()
            call()
            if i >= 0:
                seconds[name].append(clock() - start)
    return seconds


def ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def show(header: list[str], rows: Iterable[list[str]]) -> None:
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for line in lines:
        cells = zip(line, widths, strict=True)
        print("  ".join(c.rjust(w) if i else c.ljust(w) for i, (c, w) in enumerate(cells)))
    print(flush=True)


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def bound(sign: str, value: float | None) -> str:
    return "" if value is None else f"{sign} {value:g}"


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def add_row(path: Path, command: str, row: dict[str, Any]) -> None:
    """Add a row to those of earlier runs, kept by command."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    content.setdefault(command, []).append(row)
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def find(path: Path, command: str, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The row of an earlier run, if the JSON file holds it."""
    if not path.exists():
        return None
    rows = json.loads(path.read_text(encoding="utf-8")).get(command, [])
    return next((r for r in rows if all(r.get(k) == v for k, v in identity.items())), None)


def commit() -> str:
    """The commit of the code, with `-dirty` where tracked files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    folder = Path(__file__).parent
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise InputError("rows are named by their commit; run this in a clone") from None
    return done.stdout.strip()
