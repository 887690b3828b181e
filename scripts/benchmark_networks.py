"""`scripts/benchmark networks`: causal networks in time and in nats; see benchmark.py.

Three tables. A training step (forward, backward) of one layer on tensors, at five shapes; a step of
500 sampled paths; and held-out nats per step after equal processor time, everything but the
network the same. Times are the processor's, of one thread.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from typing import Any

import torch
from benchmark_tools import commit, number, parse_model, ratio, say, show, take_turns
from torch import Tensor

from seqlatent.api import CLASSES
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.readers import load
from seqlatent.errors import InputError
from seqlatent.nn import build_network
from seqlatent.nn.causal import CausalNetwork
from seqlatent.processes import PROCESSES
from seqlatent.training.clock import processor_time

LONGEST = 10_000  # steps, whose square a transformer would hold in memory
SHAPES = [(32, 100, 64), (32, 500, 64), (8, 2000, 64), (32, 100, 256), (1, LONGEST, 64)]
# The depth of each is that of its model's defaults.
LAYERS = {"gru": 1, "lstm": 1, "mingru": 1, "ssd": 1, "cnn": 5, "transformer": 2}
PATHS, HISTORY = 500, 300
REPEATS = 10  # steps of the paths that are timed together
ENTRIES = ["rnn", "rnn:cell=lstm", "rnn:cell=mingru", "rnn:cell=ssd", "cnn", "transformer"]
# What is learnt, and the chain of scaling, which is given so that no short fits choose it.
SETS = {"hmm": "global", "seattle-temps": "running", "nyc-taxi": "global"}
SEQUENCES, FRESH, STEPS = 1000, 1000, 100  # of a process


def run_networks(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    if args.threads != 1:
        raise InputError("networks counts the time of one thread; run it with --threads 1")
    made = {"commit": commit(), "date": date.today().isoformat()}
    if "times" in args.tables:
        rows = time_networks(args.seed, args.rounds)
        yield from (row | made for row in rows)
        show(
            ["training step, times gru's", *map(str, SHAPES), "step of 500 paths"],
            [[r["network"], *(number(r.get(str(s))) for s in [*SHAPES, "step"])] for r in rows],
        )
        show(
            ["training step, ms", *map(str, SHAPES), "step of 500 paths"],
            [[r["network"], *(number(r.get(f"{s} ms")) for s in [*SHAPES, "step"])] for r in rows],
        )
    if "nats" not in args.tables:
        return
    rows = []
    for name in args.sets:
        for entry in args.models:
            for seed in args.seeds:
                rows.append(fit_and_score(name, entry, seed, args.seconds) | made)
                yield rows[-1]
    show(
        ["set", "model", "seed", "nats/step", "steps", "seconds", "parameters"],
        [
            [r["set"], r["model"], str(r["seed"]), f"{r['log_prob']:.4f}", str(r["steps"]),
             f"{r['seconds']:.0f}", f"{r['parameters']:,}"]
            for r in rows
        ],
    )  # fmt: skip


def time_networks(seed: int, rounds: int) -> list[dict[str, Any]]:
    """A row for every network: its processor time and its ratio to the GRU's."""
    rows: dict[str, dict[str, Any]] = {
        name: {"measure": "network", "network": name, "rounds": rounds} for name in LAYERS
    }
    for shape in [*SHAPES, "step"]:
        torch.manual_seed(seed)
        names = [name for name in LAYERS if name != "transformer" or shape[1] != LONGEST]
        calls = {name: call(name, shape) for name in names}
        seconds = take_turns(calls, rounds, time.process_time)
        for name in names:
            rows[name][str(shape)] = ratio(seconds[name], seconds["gru"])
            calls_timed = REPEATS if shape == "step" else 1
            rows[name][f"{shape} ms"] = 1000 * statistics.median(seconds[name]) / calls_timed
    return list(rows.values())


def call(name: str, shape: tuple[int, int, int] | str) -> Callable[[], None]:
    """Forward and backward over whole sequences, or a step of paths that share a history."""
    if isinstance(shape, str):
        network = build_network(name, 64, 64, num_layers=LAYERS[name]).eval()
        with torch.no_grad():
            _, state = network(torch.randn(PATHS, HISTORY, 64))
        return partial(step, network, torch.randn(PATHS, 1, 64), state)
    batch, steps, hidden = shape
    network = build_network(name, hidden, hidden, num_layers=LAYERS[name])
    return partial(train, network, torch.randn(batch, steps, hidden))


def train(network: CausalNetwork, u: Tensor) -> None:
    network(u)[0].square().mean().backward()
    network.zero_grad(set_to_none=True)


def step(network: CausalNetwork, u: Tensor, state: object) -> None:
    with torch.no_grad():
        for _ in range(REPEATS):
            network(u, state)


def fit_and_score(name: str, entry: str, seed: int, seconds: float) -> dict[str, Any]:
    """Nats per step of the test part after a fit of so many processor seconds."""
    train, test = parts(name)
    family, options, training = parse_model(entry)
    model = CLASSES[family](**{"scaling": SETS[name], **options})
    with processor_time():
        model.fit(train, seed=seed, device="cpu", max_minutes=seconds / 60, **training)
    assert model.result is not None
    scores = model.log_prob(test)
    value = scores["log_prob"].to_numpy().sum() / scores["num_observed"].to_numpy().sum()
    say(f"{name}: {entry}, seed {seed}: {value:.4f} after {model.result.steps} steps")
    return {
        "measure": "nats",
        "set": name,
        "model": entry,
        "seed": seed,
        "log_prob": float(value),
        "steps": model.result.steps,
        "seconds": model.result.seconds,
        "budget": seconds,
        "parameters": sum(p.numel() for p in model.module.parameters()),
    }


def parts(name: str) -> tuple[SequenceDataset, SequenceDataset]:
    if name in PROCESSES:
        process = PROCESSES[name]()
        return process.sample(SEQUENCES, STEPS, seed=0), process.sample(FRESH, STEPS, seed=10_000)
    return load(f"{name}:train"), load(f"{name}:test")
