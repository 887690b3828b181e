"""`scripts/benchmark states`: what a model's latents tell of hidden states that are known.

A simulated process with hidden states is sampled; a model is fitted to its values alone. Its
latents given the values so far (filtering), given all values (smoothing) and, if it has a guide, by
that for each step and for the step after it (predicted), are read by a linear and a quadratic probe
(state_probes.py), fitted on training sequences and judged on fresh ones. No function of the same
values predicts the states better than the process's own filter and smoother; a guide is held
against the one that sees what it sees. A recovery of 1 equals these, 0 is a constant's:

    numbers    R^2 of the probe / R^2 of the process, for each state
    regimes    skill of the probe / skill of the process, skill = (accuracy - base) / (1 - base),
               base the share of the most frequent regime

A model with regimes of its own is also judged by these, renamed (`own`). The table's `share` is the
recovery by the best of the probes and the model's own regimes. Beside it stand nats per step on the
fresh sequences, and how far they are below the truth; where the truth is scored by particles
(`truth_kind`), that is known but for their error. A model without latents has these alone. Every
fit has the same budget in processor time of one thread.
"""

import argparse
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from benchmark_tools import commit, parse_model, say, show
from state_probes import PROBES, explained, predict_numbers, predict_regimes, rename, skill

from seqlatent.api import CLASSES, Model
from seqlatent.data.dataset import SequenceDataset
from seqlatent.errors import InputError, did_you_mean
from seqlatent.processes import PROCESSES, StateProcess
from seqlatent.training.clock import processor_time

STEPS = 100  # of a sequence
MODELS = ["latent", "dmm", "vrnn", "srnn", "linear-gaussian"]
STATE_PROCESSES = [name for name, kind in PROCESSES.items() if issubclass(kind, StateProcess)]
POSTERIORS = ("guide", "predicted", "filtering", "smoothing")


class Truth:
    """A process, its training and fresh sequences, and what it infers of the fresh ones' states."""

    def __init__(self, name: str, sequences: int, fresh: int, seed: int):
        process = PROCESSES[name]()
        assert isinstance(process, StateProcess)
        self.process, self.name = process, name
        self.train, self.train_states = process.sample_with_states(sequences, STEPS, seed)
        self.test, self.test_states = process.sample_with_states(fresh, STEPS, seed + 10_000)
        x = np.stack([s.x for s in self.test])
        self.log_prob = process.log_prob(self.test)
        inferred = {"filtering": process.filter(x), "smoothing": process.smooth(x)}
        self.scores = {key: self.score(flat(value)) for key, value in inferred.items()}

    def score(self, predicted: np.ndarray) -> list[float]:
        """R^2 of every state, or the skill, of predictions for all steps: (n, S) states, or (n, K)
        probabilities or (n,) codes of regimes."""
        states = flat(self.test_states)
        if not self.process.num_regimes:
            return [float(r) for r in explained(states, predicted)]
        codes = predicted if predicted.ndim == 1 else predicted.argmax(1)
        return [skill(states, codes)]

    def probed(self, train: pd.DataFrame, test: pd.DataFrame, degree: int) -> list[float]:
        """The score of a probe from the latents of the first training sequences and of all fresh
        ones."""
        u, v, K = latents(train), latents(test), self.process.num_regimes
        states = flat(self.train_states)[: len(train)]
        if K:
            return self.score(predict_regimes(u, states, v, degree, K))
        return self.score(predict_numbers(u, states, v, degree))

    def own(self, train: pd.DataFrame, test: pd.DataFrame) -> list[float] | None:
        """The score of the model's own regimes, if it and the process have some."""
        if not self.process.num_regimes or "regime" not in train:
            return None
        codes, fresh = (part["regime"].to_numpy(dtype=np.int64) - 1 for part in (train, test))
        return self.score(rename(codes, flat(self.train_states)[: len(train)], fresh))


def flat(x: np.ndarray) -> np.ndarray:
    """The steps of all sequences one below the other: (N, T, ...) -> (N T, ...)."""
    return x.reshape(-1, *x.shape[2:])


def run_states(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for every process, model and posterior, as soon as it is known."""
    if args.threads != 1:
        raise InputError("states counts the time of one thread; run it with --threads 1")
    for name in args.process:
        if name not in STATE_PROCESSES:
            raise InputError(
                f"'{name}' is no process with hidden states{did_you_mean(name, STATE_PROCESSES)}"
            )
    for entry in args.models:
        parse_model(entry)  # a misspelt option is refused before any fit
    rows = []
    for name in args.process:
        say(f"{name}: inferring the states by the process itself")
        truth = Truth(name, args.sequences, args.fresh, args.seed)
        for entry in args.models:
            try:
                for row in measure(truth, entry, args):
                    rows.append(row)
                    yield row
            except InputError as error:  # not every model can hold every kind of value
                say(f"{name}: {entry}: {error}")
    print_table(rows)


def measure(truth: Truth, entry: str, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Fit a model and compare its latents with the states: a row for each posterior; a single
    one if it has no latents."""
    family, options, training = parse_model(entry)
    say(f"{truth.name}: fitting {entry} for {args.seconds:g} s, seed {args.seed}")
    model = CLASSES[family](**options)
    budget = {"max_steps": args.steps} if args.steps else {"max_minutes": args.seconds / 60}
    with processor_time():
        model.fit(truth.train, seed=args.seed, device="cpu", **{**training, **budget})
    assert model.result is not None
    scores = model.log_prob(truth.test, num_particles=args.num_particles)
    difference = truth.log_prob - scores["log_prob"].to_numpy()
    num_steps = int(truth.test.lengths.sum())
    fitted = {
        "process": truth.name,
        "model": entry,
        "commit": commit(),
        "log_prob": float(scores["log_prob"].to_numpy().sum()) / num_steps,
        "kind": str(scores["kind"].iloc[0]),
        "truth_kind": truth.process.kind,
        "regret": float(difference.sum()) / num_steps,
        "std_error": float(difference.std(ddof=1) * np.sqrt(len(difference))) / num_steps,
        "seconds": model.result.seconds,
        "steps": model.result.steps,
    }
    has_latents = False
    for posterior, train, test, seconds in encoded(model, truth, args):
        has_latents = True
        of_oracle = truth.scores[seen(model, posterior)]
        row = {**fitted, "posterior": posterior, "encode_seconds": seconds}
        row["states"] = list(truth.process.state_names)
        row["oracle"] = of_oracle
        for probe, degree in PROBES.items():
            row[probe] = truth.probed(train, test, degree)
        row["own"] = truth.own(train, test)
        yield row
    if not has_latents:
        yield {**fitted, "posterior": "none", "states": []}


def encoded(
    model: Model, truth: Truth, args: argparse.Namespace
) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame, float]]:
    """For each posterior that the model has: its name, the frames of `encode` of the first training
    sequences and of the fresh ones, and processor seconds. Invertible models have one, `exact`."""
    parts = [first(truth.train, args.probe_sequences), truth.test]
    found = False
    for posterior in (*args.posteriors, "auto"):
        if posterior == "auto" and found:
            return
        start = time.process_time()
        try:
            train, test = (model.encode(part, posterior=posterior) for part in parts)
        except InputError:
            if posterior == "auto":
                say(f"{truth.name}: {model.family} has no latents to encode")
            continue
        found = True
        name = "exact" if posterior == "auto" else posterior
        yield name, train, test, time.process_time() - start


def seen(model: Model, posterior: str) -> str:
    """The inference by the process that sees the same values: `filtering` or `smoothing`."""
    later = posterior in ("guide", "predicted") and getattr(model.module, "smoothing", False)
    return "smoothing" if later or posterior == "smoothing" else "filtering"


def first(data: SequenceDataset, number: int) -> SequenceDataset:
    return SequenceDataset(data.sequences[:number], data.targets)


def latents(frame: pd.DataFrame) -> np.ndarray:
    """(n, Z) latents of all steps: the columns of `encode` but names, steps, scales and the codes
    of regimes."""
    left_out = ("unique_id", "ds", "regime")
    names = [c for c in frame if c not in left_out and not c.endswith("_scale")]
    return frame[names].to_numpy(dtype=np.float64)


def print_table(rows: list[dict[str, Any]]) -> None:
    header = ["process", "model", "posterior", "state", "oracle", "linear", "quadratic", "own",
              "share", "nats/step", "kind", "regret", "s.e.", "seconds", "steps"]  # fmt: skip
    lines = []
    for r in rows:
        fit = [f"{r['log_prob']:.4f}", r["kind"], f"{r['regret']:.4f}", f"{r['std_error']:.4f}",
               f"{r['seconds']:.0f}", str(r["steps"])]  # fmt: skip
        if not r["states"]:
            lines.append([r["process"], r["model"], *[""] * 7, *fit])
        for i, state in enumerate(r["states"]):
            own = "" if r["own"] is None else f"{r['own'][i]:.3f}"
            best = max(r[key][i] for key in (*PROBES, "own") if r[key] is not None)
            lines.append(
                [r["process"], r["model"], r["posterior"], state, f"{r['oracle'][i]:.3f}",
                 f"{r['linear'][i]:.3f}", f"{r['quadratic'][i]:.3f}", own,
                 f"{best / r['oracle'][i]:.2f}", *fit]
            )  # fmt: skip
    show(header, lines)
