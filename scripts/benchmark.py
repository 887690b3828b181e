"""How fast the models are, and how far they stay from the truth.

    scripts/benchmark speed [--threads 1] [--quick]
    scripts/benchmark regret --process switching-ar --models rnn latent:emission=normal --minutes 2

`speed` times a training step (loss, backward, Adam) of every model beside a step of its *bare
networks*: the same torch modules on tensors of the same shapes under a mean-square loss, without
densities, Pyro or scaling. That is the floor. The latent-variable model also stands beside the
textbook way to write it, a Python loop with one Pyro site for every time step. Times on a busy
machine drift, so the variants take turns, and a ratio is the median of the rounds' own ratios.

`regret` fits models to simulated processes whose log-likelihood is known, and prints how many nats
per step each stays below the truth on fresh sequences; zero is perfect.

Both print a table and add their rows to a JSON file.
"""

import argparse
import copy
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from pyro.infer import Trace_ELBO
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from seqlatent.api import CLASSES
from seqlatent.data.batch import SequenceBatch, collate
from seqlatent.data.description import DataDescription
from seqlatent.data.simulate import PROCESSES
from seqlatent.errors import InputError, did_you_mean
from seqlatent.forecasting import forecast
from seqlatent.models.autoregressive import Autoregressive
from seqlatent.models.base import SequenceModel
from seqlatent.models.latent import LatentModel
from seqlatent.models.priors import SequentialPrior
from seqlatent.models.registry import build_model, model_class
from seqlatent.options import make, parse_assignments
from seqlatent.scoring import score

BATCH, STEPS = 64, 128  # of a training step
ANCESTRAL = {"guide_conditioning": "latents"}
HISTORY, PATHS, AHEAD = 100, 500, 48  # of a forecast
SCORED, PARTICLES = 64, 64  # sequences and particles of a score

# name, model, options, and the largest ratio to the bare networks that we accept
VARIANTS: list[tuple[str, str, dict[str, Any], float | None]] = [
    ("latent", "latent", {}, 1.5),
    ("latent, elbo", "latent", {"objective": "elbo"}, 1.4),
    ("latent, elbo, ancestral guide", "latent", {**ANCESTRAL, "objective": "elbo"}, None),
    ("vrnn", "vrnn", {}, 1.5),
    ("srnn", "srnn", {}, 1.5),
    ("dmm", "dmm", {}, 1.5),
    ("rnn", "rnn", {}, 1.3),
    ("transformer", "transformer", {}, None),
    ("cnn", "cnn", {}, None),
]
LOOP, LOOP_TARGET = "latent, elbo, a Pyro site per step", 5.0


def main() -> int:
    parser = argparse.ArgumentParser(description="Benchmarks of seqlatent's models.")
    commands = parser.add_subparsers(dest="command", required=True)
    speed = commands.add_parser("speed", help="training steps, sampling and scoring, timed")
    speed.add_argument("--quick", action="store_true", help="fewer rounds: rough numbers")
    regret = commands.add_parser("regret", help="nats per step below the truth")
    regret.add_argument("--process", nargs="+", default=["all"], help=", ".join(PROCESSES))
    regret.add_argument(
        "--models", nargs="+", default=list(CLASSES), help="NAME or NAME:option=value,..."
    )
    regret.add_argument("--minutes", type=float, default=2.0, help="of each fit")
    regret.add_argument("--num-particles", type=int, default=64, help="of estimated scores")
    for command in (speed, regret):
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--threads", type=int, default=torch.get_num_threads())
        command.add_argument("--out", type=Path, default=Path("benchmark.json"))
    args = parser.parse_args()
    if args.threads < 1:
        parser.error(f"--threads {args.threads}: at least 1")
    torch.set_num_threads(args.threads)
    settings = {"seed": args.seed, "threads": args.threads, "torch": torch.__version__}
    try:
        for row in run_speed(args) if args.command == "speed" else run_regret(args):
            add_row(args.out, args.command, {**row, **settings})
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


# -- speed ----------------------------------------------------------------------------------------


def run_speed(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    say(f"seed {args.seed}, {args.threads} thread(s), torch {torch.__version__}")
    rounds, few = (5, 2) if args.quick else (20, 7)
    rows = time_training(args.seed, rounds)
    yield from rows
    show(
        ["training step", "ms", "x bare networks", "target", "x faster than the loop", "target"],
        [
            [r["variant"], f"{r['ms']:.1f}", number(r["to_bare"]), bound("<=", r["target"]),
             number(r["loop_to_it"]), bound(">=", r["loop_target"])]
            for r in rows
        ],
    )  # fmt: skip
    models = {family: new_model(family, {}, args.seed, HISTORY) for family in CLASSES}
    throughput = time_throughput(models, args.seed, few)
    yield from throughput
    show(
        ["model", "path-steps/s", "sequences scored/s"],
        [
            [r["variant"], f"{r['path_steps_per_s']:,.0f}", f"{r['sequences_per_s']:,.0f}"]
            for r in throughput
        ],
    )


def time_training(seed: int, rounds: int) -> list[dict[str, Any]]:
    """A row for every variant: its milliseconds, and its ratios to bare networks and the loop."""
    batch = collate(PROCESSES["ar2"]().sample(BATCH, STEPS, seed).sequences)
    steps: dict[str, Callable[[], None]] = {}
    for name, family, options, _ in VARIANTS:
        model = new_model(family, options, seed, STEPS)
        steps[name] = training_step(model, partial(model, batch))
        bare = copy.deepcopy(model)
        steps[f"{name}, bare networks"] = training_step(bare, bare_loss(bare, batch))
    looped = new_model("latent", {**ANCESTRAL, "objective": "elbo"}, seed, STEPS)
    assert isinstance(looped, LatentModel)
    steps[LOOP] = training_step(looped, partial(loop_loss, looped, batch))
    seconds = take_turns(steps, rounds)

    def row(name: str, bare: str | None, target: float | None) -> dict[str, Any]:
        versus_loop = name.startswith("latent, elbo") and name != LOOP
        return {
            "measure": "training step",
            "variant": name,
            "ms": 1000 * statistics.median(seconds[name]),
            "bare_ms": 1000 * statistics.median(seconds[bare]) if bare else None,
            "to_bare": ratio(seconds[name], seconds[bare]) if bare else None,
            "target": target,
            "loop_to_it": ratio(seconds[LOOP], seconds[name]) if versus_loop else None,
            "loop_target": LOOP_TARGET if name == "latent, elbo" else None,
            "rounds": rounds,
        }

    rows = [row(name, f"{name}, bare networks", target) for name, _, _, target in VARIANTS]
    return [*rows, row(LOOP, "latent, elbo, bare networks", None)]


def new_model(family: str, options: dict[str, Any], seed: int, length: int) -> SequenceModel:
    """A model with fresh parameters for the benchmark's process."""
    description = DataDescription.of(PROCESSES["ar2"]().sample(BATCH, length, seed))
    emission, _ = model_class(family).choose_emission(description)
    torch.manual_seed(seed)
    return build_model(
        family, make(model_class(family).Options, {"emission": emission, **options}), description
    )


def training_step(model: SequenceModel, loss: Callable[[], Tensor]) -> Callable[[], None]:
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def step() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def bare_loss(model: SequenceModel, batch: SequenceBatch) -> Callable[[], Tensor]:
    """The mean square of what a model's own networks make of tensors of the shapes they see."""
    with torch.no_grad():
        _, embedding, u = model.inputs(batch, None)

    def autoregressive() -> Tensor:
        assert isinstance(model, Autoregressive)
        h, _ = model.network(u)
        return model.head(torch.cat([h, u], -1)).params(u).square().mean()

    def latent() -> Tensor:
        assert isinstance(model, LatentModel)
        known, _ = model._know(u)
        emission, context = model._contexts(known)
        guide, z = model.guide_network, torch.randn(*u.shape[:2], model.latent_dim)
        size = model.options.objective_particles if model.options.bound == "iwae" else 1
        seen = guide.prepare(torch.cat([embedding, known], -1), embedding, batch.lengths)
        given = torch.cat([seen, z], -1)
        h, _ = guide.network(given)
        out = guide.out(torch.cat([h, given], -1))
        loss, past = out.square().mean(), None
        if isinstance(model.prior, SequentialPrior):
            loc, scale, past, _ = model.prior.transition(z, context, None)
            loss = loss + loc.square().mean() + scale.square().mean()
        drawn = out[..., : model.latent_dim].expand(size, *z.shape)
        step = model._emission(emission, drawn, past, None)
        return loss + step.params(u).square().mean()

    return latent if isinstance(model, LatentModel) else autoregressive


def loop_loss(model: LatentModel, batch: SequenceBatch) -> Tensor:
    """The ELBO of the same model, every z_t and every x_t a Pyro site of its own."""
    r = model.reading(batch)  # the networks over x run once, here as in the model itself
    net = model.guide_network

    def prior_and_emission() -> None:
        with pyro.plate("sequences", BATCH, dim=-1):
            for t in range(STEPS):
                prior = dist.Normal(torch.zeros(BATCH, model.latent_dim), 1.0).to_event(1)
                z = pyro.sample(f"z_{t}", prior)
                emission = model._emission(r.emission[:, t], z, None, None)
                pyro.sample(f"x_{t}", emission, obs=r.y[:, t])

    def guide() -> None:
        z, state = torch.zeros(BATCH, model.latent_dim), None
        with pyro.plate("sequences", BATCH, dim=-1):
            for t in range(STEPS):
                given = torch.cat([r.seen[:, t], z], -1)
                h, state = net.network.step(given, state)
                loc, raw = net.out(torch.cat([h, given], -1)).chunk(2, -1)
                scale = 1e-4 + F.softplus(raw + 0.5413)
                z = pyro.sample(f"z_{t}", dist.Normal(loc, scale).to_event(1))

    with pyro.validation_enabled(False):
        loss = Trace_ELBO().differentiable_loss(prior_and_emission, guide)
    assert isinstance(loss, Tensor)
    return (loss + r.log_scale.sum()) / (BATCH * STEPS)


def time_throughput(
    models: dict[str, SequenceModel], seed: int, rounds: int
) -> list[dict[str, Any]]:
    """A row for every model: path-steps drawn and sequences scored in a second."""
    history = PROCESSES["ar2"]().sample(1, HISTORY, seed)
    test = PROCESSES["ar2"]().sample(SCORED, HISTORY, seed + 1)
    drawing = take_turns(
        {name: partial(forecast, m, history, AHEAD, PATHS) for name, m in models.items()}, rounds
    )
    scoring = take_turns(
        {name: partial(score, m, test, PARTICLES) for name, m in models.items()}, rounds
    )
    return [
        {
            "measure": "throughput",
            "variant": name,
            "path_steps_per_s": PATHS * AHEAD / statistics.median(drawing[name]),
            "sequences_per_s": SCORED / statistics.median(scoring[name]),
            "rounds": rounds,
        }
        for name in models
    ]


def take_turns(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every call in every round, after two rounds to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for i in tqdm(range(-2, rounds), unit="round", leave=False):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if i >= 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(ours: list[float], theirs: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


# -- regret ---------------------------------------------------------------------------------------


def run_regret(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for every process and model, as soon as it is known: fits take long."""
    names = list(PROCESSES) if args.process == ["all"] else args.process
    for name in names:
        if name not in PROCESSES:
            raise InputError(f"unknown process '{name}'{did_you_mean(name, PROCESSES)}")
    models = [(entry, *parse_model(entry)) for entry in args.models]
    rows = []
    for name in names:
        truth = PROCESSES[name]()
        train = truth.sample(1000, 100, seed=args.seed)
        test = truth.sample(1000, 100, seed=args.seed + 10_000)
        num_steps = int(test.lengths.sum())
        log_prob = truth.log_prob(test)
        for entry, family, options in models:
            say(f"{name}: fitting {entry} for {args.minutes:g} minutes")
            model = CLASSES[family](**options)
            try:
                model.fit(train, seed=args.seed, device="cpu", max_minutes=args.minutes)
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
                "minutes": args.minutes,
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


def parse_model(entry: str) -> tuple[str, dict[str, Any]]:
    """`latent:emission=normal,latent_dim=4` as a name and options."""
    family, _, words = entry.partition(":")
    options = model_class(family).Options
    return family, parse_assignments([w for w in words.split(",") if w], [options])


# -- output ---------------------------------------------------------------------------------------


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


if __name__ == "__main__":
    sys.exit(main())
