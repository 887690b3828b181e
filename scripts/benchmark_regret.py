"""Regret: how far a model stays below the truth, in nats per step; zero is perfect.

The truth is a simulated process whose log-likelihood is known. A model is fitted to sequences of
100 steps and scored on 1,000 fresh ones; its regret is the truth's log-likelihood minus its own.
The standard error is that of the mean over the fresh sequences.

`scripts/benchmark regret` measures the processes and models that it is given.

`scripts/benchmark regret-table` measures the tables of scripts/RESULTS.md, all rows by one version
of the code. A row that the JSON file already holds for this commit, seed and budget is not
measured again, so an interrupted run can be started again with the same command. Minutes are
minutes of processor time of one thread, so that other work on the machine does not shorten a fit.
"""

import argparse
from collections.abc import Iterator
from datetime import date
from typing import Any

import numpy as np
import torch
from benchmark_tools import commit, find, parse_model, say, show

from seqlatent.api import CLASSES
from seqlatent.errors import InputError, did_you_mean
from seqlatent.processes import PROCESSES
from seqlatent.training.clock import processor_time

STEPS, FRESH = 100, 1000  # steps of a sequence, and fresh sequences to score
SEQUENCES, PARTICLES = 1000, 64  # to train on; of estimated scores

# process, model, minutes of its fit
MODELS = [
    ("switching-ar", "rnn", 2),
    ("switching-ar", "latent", 2),
    ("switching-ar", "rnn:emission=normal", 2),
    ("switching-ar", "latent:emission=normal,prior=mixture,history=all", 2),
    ("ar2", "rnn", 2),
    ("ar2", "transformer", 2),
    ("ar2", "cnn", 2),
    ("ar2", "linear-gaussian", 2),
    ("linear-gaussian", "linear-gaussian", 2),
    ("linear-gaussian", "vrnn", 2),
    ("hmm", "vrnn", 2),
    ("garch", "vrnn", 2),
    ("switching-ar", "flow", 2),
    ("switching-ar", "flow:base=autoregressive", 2),
    ("banana", "flow", 2),
    ("banana", "flow:channels=coupling", 2),
    ("garch", "flow", 2),
    ("ar2", "flow", 2),
    ("counts", "rnn", 2),
    ("coupled-binary", "rnn", 2),
    ("order-two-chain", "rnn", 2),
]
# The flow's maps: every map on every process from every seed.
MAPS = ("normal", "sinh-arcsinh", "spline", "sinh-arcsinh-spline")
MAP_PROCESSES = ("skewed-ar", "garch", "switching-ar")
MAP_SEEDS, MAP_STEPS = (0, 1, 2), 500
TABLES = ("models", "maps")


def run_regret(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for every process and model, as soon as it is known: fits take long."""
    names = list(PROCESSES) if args.process == ["all"] else args.process
    for name in names:
        if name not in PROCESSES:
            raise InputError(f"unknown process '{name}'{did_you_mean(name, PROCESSES)}")
    for entry in args.models:
        parse_model(entry)  # a misspelt option is refused before any fit
    budget = {"max_steps": args.steps} if args.steps else {"max_minutes": args.minutes}
    rows = []
    for name in names:
        for entry in args.models:
            try:
                row = measure(name, entry, budget, args.seed, args.sequences, args.num_particles)
            except InputError as error:  # not every model can hold every kind of value
                say(f"{name}: {entry}: {error}")
                continue
            rows.append(row)
            yield row
    show(
        ["process", "model", "kind", "particles", "truth", "model, nats/step", "regret", "s.e.",
         "seconds", "steps", "seed", "threads"],
        [
            [r["process"], r["model"], r["kind"], str(r["num_particles"]), f"{r['truth']:.4f}",
             f"{r['log_prob']:.4f}", f"{r['regret']:.4f}", f"{r['std_error']:.4f}",
             f"{r['seconds']:.0f}", str(r["steps"]), str(args.seed), str(args.threads)]
            for r in rows
        ],
    )  # fmt: skip


def run_regret_table(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The rows of the regret tables that are not there yet; prints the tables as Markdown."""
    if args.threads != 1:
        raise InputError("regret-table counts the time of one thread; run it with --threads 1")
    made = {"commit": commit(), "date": date.today().isoformat()}
    if made["commit"].endswith("-dirty"):
        say("there are uncommitted changes: rows are marked -dirty, and a later run may differ")
    for table in args.tables:
        rows = []
        for process, entry, seed, budget in table_rows(table, args.seed, args.max_steps):
            identity = {
                "commit": made["commit"], "process": process, "model": entry,
                "seed": seed, "budget": budget_text(budget),
            }  # fmt: skip
            row = find(args.out, "regret-table", identity)
            if row is None:
                with processor_time():
                    row = measure(process, entry, budget, seed, SEQUENCES, PARTICLES) | made
                yield row
            rows.append(row)
        print(f"{made['commit']}, torch {torch.__version__}, one thread, CPU\n")
        print("\n".join(MARKDOWN[table](rows)) + "\n", flush=True)


def table_rows(
    table: str, seed: int, max_steps: int | None
) -> list[tuple[str, str, int, dict[str, Any]]]:
    """Process, model, seed and budget of every row; `max_steps` replaces the budgets."""
    if table == "maps":
        rows = [
            (process, f"flow:emission={name}", map_seed, {"max_steps": MAP_STEPS})
            for name in MAPS
            for process in MAP_PROCESSES
            for map_seed in MAP_SEEDS
        ]
    else:
        rows = [(process, entry, seed, {"max_minutes": n}) for process, entry, n in MODELS]
    if max_steps is None:
        return rows
    return [(*row[:3], {"max_steps": max_steps}) for row in rows]


def measure(
    process: str,
    entry: str,
    budget: dict[str, Any],
    seed: int,
    sequences: int,
    num_particles: int,
) -> dict[str, Any]:
    """Fit `entry` (NAME or NAME:option=value,...) to a process: its regret, nats per step.

    Raises:
        InputError: where the model cannot hold the process's values.
    """
    truth = PROCESSES[process]()
    train = truth.sample(sequences, STEPS, seed=seed)
    test = truth.sample(FRESH, STEPS, seed=seed + 10_000)
    family, options, training = parse_model(entry)
    say(f"{process}: fitting {entry} for {budget_text(budget)}, seed {seed}")
    model = CLASSES[family](**options)
    model.fit(train, seed=seed, device="cpu", **{**training, **budget})
    assert model.result is not None
    scores = model.log_prob(test, num_particles=num_particles)
    log_prob, estimate = truth.log_prob(test), scores["log_prob"].to_numpy()
    difference, num_steps = log_prob - estimate, int(test.lengths.sum())
    row = {
        "process": process,
        "model": entry,
        "kind": str(scores["kind"].iloc[0]),
        "num_particles": int(scores["num_particles"].iloc[0]),
        "truth": float(log_prob.sum()) / num_steps,
        "log_prob": float(estimate.sum()) / num_steps,
        "regret": float(difference.sum()) / num_steps,
        "std_error": float(difference.std(ddof=1) * np.sqrt(len(test))) / num_steps,
        "seconds": model.result.seconds,
        "steps": model.result.steps,
        "budget": budget_text(budget),
        "seed": seed,
    }
    say(f"{process}: {entry}: regret {row['regret']:.4f} +- {row['std_error']:.4f}")
    return row


def budget_text(budget: dict[str, Any]) -> str:
    if "max_steps" in budget:
        return f"{budget['max_steps']} steps"
    return f"{budget['max_minutes']:g} minutes"


def models_markdown(rows: list[dict[str, Any]]) -> list[str]:
    return [
        "| process | model | regret (s.e.) | kind | steps | seconds | budget | seed | date |",
        "|---|---|---|---|---|---|---|---|---|",
        *(
            f"| {r['process']} | `{r['model']}` | {r['regret']:.4f} ({r['std_error']:.4f}) "
            f"| {kind(r)} | {r['steps']} | {r['seconds']:.0f} | {r['budget']} | {r['seed']} "
            f"| {r['date']} |"
            for r in rows
        ),
    ]


def kind(row: dict[str, Any]) -> str:
    return row["kind"] if not row["num_particles"] else f"{row['kind']}, {row['num_particles']}"


def maps_markdown(rows: list[dict[str, Any]]) -> list[str]:
    """A cell for every map and process: the mean regret over seeds, and their range."""
    lines = [f"| map | {' | '.join(MAP_PROCESSES)} |", "|---" * (1 + len(MAP_PROCESSES)) + "|"]
    for name in MAPS:
        cells = []
        for process in MAP_PROCESSES:
            entry = f"flow:emission={name}"
            of_cell = [r for r in rows if (r["process"], r["model"]) == (process, entry)]
            regrets = [r["regret"] for r in of_cell]
            error = max(r["std_error"] for r in of_cell)
            span = f"{min(regrets):.4f} to {max(regrets):.4f}"
            cells.append(f"{np.mean(regrets):.4f} ({span}; s.e. up to {error:.4f})")
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return lines


MARKDOWN = {"models": models_markdown, "maps": maps_markdown}
