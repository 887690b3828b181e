"""How fast the models are, and how far they stay from the truth.

    scripts/benchmark speed [--threads 1] [--quick]
    scripts/benchmark flow [--threads 1] [--quick]
    scripts/benchmark heads [--threads 1] [--quick]
    scripts/benchmark seeds [--num-seeds 10] [--steps 300]
    scripts/benchmark regret --process switching-ar --models rnn latent:emission=normal --minutes 2

`speed` times a training step (loss, backward, Adam) of every model beside a step of its *bare
networks*: the same torch modules on tensors of the same shapes under a mean-square loss, without
densities, Pyro or scaling. That is the floor. The latent-variable model also stands beside the
textbook way to write it, a Python loop with one Pyro site for every time step. Times on a busy
machine drift, so the variants take turns, and a ratio is the median of the rounds' own ratios.

`heads` times a set of channels against one channel after another, and every emission's draw beside
its density.

`seeds` fits the latent-variable presets to bundled data from many seeds, and counts the fits that
break down or collapse.

`flow` times the flow in its parallel and its sequential direction, and what its maps cost.

`regret` fits models to simulated processes whose log-likelihood is known, and prints how many nats
per step each stays below the truth on fresh sequences; zero is perfect. `--steps` gives all models
the same number of training steps in place of the same time.

All print a table and add their rows to a JSON file.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmark_flow import run_flow
from benchmark_heads import run_heads
from benchmark_seeds import run_seeds
from benchmark_speed import run_speed
from benchmark_tools import add_row, parse_model, say, show

from seqlatent.api import CLASSES
from seqlatent.errors import InputError, did_you_mean
from seqlatent.processes import PROCESSES


def main() -> int:
    parser = argparse.ArgumentParser(description="Benchmarks of seqlatent's models.")
    commands = parser.add_subparsers(dest="command", required=True)
    speed = commands.add_parser("speed", help="training steps, sampling and scoring, timed")
    flow = commands.add_parser("flow", help="the flow's two directions and its maps, timed")
    heads = commands.add_parser("heads", help="emissions on their own, timed")
    for command in (speed, flow, heads):
        command.add_argument("--quick", action="store_true", help="fewer rounds: rough numbers")
    regret = commands.add_parser("regret", help="nats per step below the truth")
    regret.add_argument("--process", nargs="+", default=["all"], help=", ".join(PROCESSES))
    regret.add_argument(
        "--models", nargs="+", default=list(CLASSES), help="NAME or NAME:option=value,..."
    )
    regret.add_argument("--minutes", type=float, default=2.0, help="of each fit")
    regret.add_argument("--steps", type=int, help="of each fit, in place of minutes")
    regret.add_argument("--sequences", type=int, default=1000, help="to train on, of 100 steps")
    regret.add_argument("--num-particles", type=int, default=64, help="of estimated scores")
    seeds = commands.add_parser("seeds", help="fits from many seeds: which break down or collapse")
    seeds.add_argument("--data", nargs="+", default=["elnino", "macrodata", "sunspots"])
    seeds.add_argument("--models", nargs="+", default=["latent", "vrnn", "srnn", "dmm"])
    seeds.add_argument("--num-seeds", type=int, default=10)
    seeds.add_argument("--steps", type=int, default=300, help="of each fit")
    for command in (speed, flow, heads, regret, seeds):
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--threads", type=int, default=torch.get_num_threads())
        command.add_argument("--out", type=Path, default=Path("benchmark.json"))
    args = parser.parse_args()
    if args.threads < 1:
        parser.error(f"--threads {args.threads}: at least 1")
    torch.set_num_threads(args.threads)
    settings = {"seed": args.seed, "threads": args.threads, "torch": torch.__version__}
    runs = {
        "speed": run_speed,
        "flow": run_flow,
        "heads": run_heads,
        "regret": run_regret,
        "seeds": run_seeds,
    }
    try:
        for row in runs[args.command](args):
            add_row(args.out, args.command, {**row, **settings})
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def run_regret(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for every process and model, as soon as it is known: fits take long."""
    names = list(PROCESSES) if args.process == ["all"] else args.process
    for name in names:
        if name not in PROCESSES:
            raise InputError(f"unknown process '{name}'{did_you_mean(name, PROCESSES)}")
    models = [(entry, *parse_model(entry)) for entry in args.models]
    budget = {"max_steps": args.steps} if args.steps else {"max_minutes": args.minutes}
    budget_text = f"{args.steps} steps" if args.steps else f"{args.minutes:g} minutes"
    rows = []
    for name in names:
        truth = PROCESSES[name]()
        train = truth.sample(args.sequences, 100, seed=args.seed)
        test = truth.sample(1000, 100, seed=args.seed + 10_000)
        num_steps = int(test.lengths.sum())
        log_prob = truth.log_prob(test)
        for entry, family, options, training in models:
            say(f"{name}: fitting {entry} for {budget_text}")
            model = CLASSES[family](**options)
            try:
                model.fit(train, seed=args.seed, device="cpu", **{**training, **budget})
            except InputError as error:  # not every model has a law for every kind of value
                say(f"{name}: {entry}: {error}")
                continue
            scores = model.log_prob(test, num_particles=args.num_particles)
            estimate = scores["log_prob"].to_numpy()
            difference = log_prob - estimate
            assert model.result is not None
            row = {
                "process": name,
                "model": entry,
                "kind": str(scores["kind"].iloc[0]),
                "num_particles": int(scores["num_particles"].iloc[0]),
                "truth": float(log_prob.sum()) / num_steps,
                "log_prob": float(estimate.sum()) / num_steps,
                "regret": float(difference.sum()) / num_steps,
                "std_error": float(difference.std(ddof=1) * np.sqrt(len(test))) / num_steps,
                "seconds": model.result.seconds,
                "steps": model.result.steps,
                "budget": budget_text,
            }
            rows.append(row)
            say(f"{name}: {entry}: regret {row['regret']:.4f} +- {row['std_error']:.4f}")
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


if __name__ == "__main__":
    sys.exit(main())
