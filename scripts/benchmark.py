"""How fast the models are, and how far they stay from the truth.

    scripts/benchmark speed [--threads 1] [--quick]
    scripts/benchmark flow [--threads 1] [--quick]
    scripts/benchmark heads [--threads 1] [--quick]
    scripts/benchmark networks --threads 1 [--tables times nats] [--seconds 30]
    scripts/benchmark seeds [--num-seeds 10] [--steps 300] [--models all --minutes 2]
    scripts/benchmark regret --process switching-ar --models rnn latent:emission=normal --minutes 2
    scripts/benchmark regret-table --threads 1 [--tables models maps]
    scripts/benchmark states --threads 1 [--process pendulum] [--models latent dmm]
    scripts/benchmark coverage --threads 1 [--repeats 1000] [--estimators smc]
    scripts/benchmark streams --threads 1 [--data co2 nyc-taxi] [--models rnn latent]
    scripts/benchmark scale --threads 1 --folder FOLDER [--rows 1000000 2000000 5000000]

`speed` times a training step (loss, backward, Adam) of every model beside a step of its *bare
networks*: the same torch modules on tensors of the same shapes under a mean-square loss, without
densities, Pyro or scaling. That is the floor. The latent-variable model also stands beside the
textbook way to write it, a Python loop with one Pyro site for every time step. Times on a busy
machine drift, so the variants take turns, and a ratio is the median of the rounds' own ratios.

`flow` times the flow in its parallel and its sequential direction, and a training step with each of
its maps.

`heads` times a set of channels against one channel after another, and every emission's
sampling beside its density.

`networks` times causal networks beside a GRU, and fits models that differ in the network alone for
the same processor time: held-out nats per step.

`seeds` fits models to bundled data from many seeds, samples and forecasts by them, and counts what
fails, latents that collapse and false sentences of `inspect`.

`regret` fits models to simulated processes whose log-likelihood is known, and prints how many nats
per step each stays below the truth on fresh sequences; zero is perfect. `--steps` gives all models
the same number of training steps in place of the same time. `regret-table` measures all rows of the
regret tables in scripts/RESULTS.md by one version, and prints them as Markdown.

`states` fits models to simulated processes with hidden states, and says what share of what the
values tell of the states is found in the models' latents.

`coverage` scores sequences of models whose log p(x) is known, with good guides and bad ones, and
counts how often the stated interval holds it.

`streams` says how much processor time a row takes that comes by itself, and one of many series that
are read together.

`scale` generates data larger than memory should hold, runs commands on them by one process and by
two, and says how long they take, how much memory, and what a thousand million rows would take.

All print a table and add their rows to a JSON file. scripts/README.md says how long each takes.
"""

import argparse
import sys
from pathlib import Path

import torch
from benchmark_coverage import CASES, run_coverage
from benchmark_flow import run_flow
from benchmark_heads import run_heads
from benchmark_networks import ENTRIES, SETS, run_networks
from benchmark_regret import TABLES, run_regret, run_regret_table
from benchmark_scale import run_scale
from benchmark_seeds import run_seeds
from benchmark_speed import run_speed
from benchmark_states import MODELS as STATE_MODELS
from benchmark_states import POSTERIORS, STATE_PROCESSES, run_states
from benchmark_streams import run_streams
from benchmark_tools import FAMILIES, add_row

from seqlatent.errors import InputError
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
        "--models", nargs="+", default=FAMILIES, help="NAME or NAME:option=value,..."
    )
    regret.add_argument("--minutes", type=float, default=2.0, help="of each fit")
    regret.add_argument("--steps", type=int, help="of each fit, in place of minutes")
    regret.add_argument("--sequences", type=int, default=1000, help="to train on, of 100 steps")
    regret.add_argument("--num-particles", type=int, default=64, help="of estimated scores")
    tables = commands.add_parser("regret-table", help="the regret tables of scripts/RESULTS.md")
    tables.add_argument("--tables", nargs="+", default=list(TABLES), choices=TABLES)
    tables.add_argument("--max-steps", type=int, help="of each fit, in place of its own budget")
    networks = commands.add_parser("networks", help="causal networks, in time and in nats")
    networks.add_argument(
        "--tables", nargs="+", default=["times", "nats"], choices=["times", "nats"]
    )
    networks.add_argument("--rounds", type=int, default=10, help="of timing")
    networks.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    networks.add_argument(
        "--models", nargs="+", default=ENTRIES, help="NAME or NAME:option=value,..."
    )
    networks.add_argument("--seconds", type=float, default=30.0, help="of each fit, processor time")
    networks.add_argument("--seeds", nargs="+", type=int, default=[0, 1], help="of the fits")
    seeds = commands.add_parser("seeds", help="fits from many seeds: which fail or collapse")
    seeds.add_argument("--data", nargs="+", default=["elnino", "macrodata", "sunspots"])
    seeds.add_argument("--models", nargs="+", default=["latent", "vrnn", "srnn", "dmm"])
    seeds.add_argument("--num-seeds", type=int, default=10)
    seeds.add_argument("--steps", type=int, default=300, help="of each fit")
    seeds.add_argument(
        "--minutes", type=float, help="of each fit, processor time, in place of steps"
    )
    states = commands.add_parser("states", help="hidden states recovered by the latents")
    states.add_argument(
        "--process", nargs="+", default=STATE_PROCESSES, help=", ".join(STATE_PROCESSES)
    )
    states.add_argument(
        "--models", nargs="+", default=STATE_MODELS, help="NAME or NAME:option=value,..."
    )
    states.add_argument("--seconds", type=float, default=60.0, help="of each fit, processor time")
    states.add_argument("--steps", type=int, help="of each fit, in place of seconds")
    states.add_argument("--sequences", type=int, default=200, help="to train on, of 100 steps")
    states.add_argument(
        "--probe-sequences", type=int, default=50, help="of these, to fit the probes on"
    )
    states.add_argument("--posteriors", nargs="+", default=list(POSTERIORS), choices=POSTERIORS)
    states.add_argument("--fresh", type=int, default=100, help="sequences to judge by")
    states.add_argument("--num-particles", type=int, default=64, help="of estimated scores")
    coverage = commands.add_parser("coverage", help="how often stated intervals hold the truth")
    coverage.add_argument("--repeats", type=int, default=1000, help="sequences of each row")
    names = list(dict.fromkeys(estimator for estimator, _ in CASES))
    coverage.add_argument("--estimators", nargs="+", default=names, choices=names)
    streams = commands.add_parser("streams", help="rows as they come, timed")
    streams.add_argument("--data", nargs="+", default=["co2", "nyc-taxi"])
    streams.add_argument("--models", nargs="+", default=["rnn", "latent"])
    streams.add_argument("--many", type=int, default=100, help="series that are read together")
    streams.add_argument("--rows", type=int, default=1000, help="that are timed")
    streams.add_argument("--steps", type=int, default=20, help="of each fit")
    scale = commands.add_parser("scale", help="data larger than memory: time and memory")
    add = scale.add_argument
    add("--folder", type=Path, required=True, help="for data, a run and tables; some gigabytes")
    add("--rows", type=int, nargs="+", default=[1_000_000, 2_000_000, 5_000_000])
    add("--length", type=int, default=200, help="steps of each series")
    add("--workers", type=int, nargs="+", default=[1, 2])
    add("--tasks", nargs="+", default=["score", "forecast"], choices=["score", "forecast"])
    add("--model", default="rnn")
    add("--fit-steps", type=int, default=200)
    add("--paths", type=int, default=20, help="of each forecast")
    add("--steps", type=int, default=24, help="of each forecast")
    for command in (
        speed, flow, heads, networks, regret, tables, seeds, states, coverage, streams, scale,
    ):  # fmt: skip
        command.add_argument("--seed", type=int, default=0, help="of all randomness")
        command.add_argument(
            "--threads", type=int, default=torch.get_num_threads(), help="of torch"
        )
        command.add_argument(
            "--out", type=Path, default=Path("benchmark.json"), help="JSON file of rows"
        )
    args = parser.parse_args()
    if args.threads < 1:
        parser.error(f"--threads {args.threads}: at least 1")
    torch.set_num_threads(args.threads)
    settings = {"seed": args.seed, "threads": args.threads, "torch": torch.__version__}
    runs = {
        "speed": run_speed,
        "flow": run_flow,
        "heads": run_heads,
        "networks": run_networks,
        "regret": run_regret,
        "regret-table": run_regret_table,
        "seeds": run_seeds,
        "states": run_states,
        "coverage": run_coverage,
        "streams": run_streams,
        "scale": run_scale,
    }
    try:
        for row in runs[args.command](args):
            add_row(args.out, args.command, {**settings, **row})  # a row may name its own seed
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
