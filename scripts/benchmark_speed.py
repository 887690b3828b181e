"""`scripts/benchmark speed`: training steps, sampling and scoring; see benchmark.py."""

import argparse
import copy
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from benchmark_tools import (
    BATCH,
    FAMILIES,
    STEPS,
    bound,
    new_model,
    number,
    ratio,
    say,
    show,
    take_turns,
    training_step,
)
from pyro.infer import Trace_ELBO
from torch import Tensor
from torch.nn import functional as F

from seqlatent.data.batch import SequenceBatch, collate
from seqlatent.models.autoregressive import Autoregressive
from seqlatent.models.base import SequenceModel
from seqlatent.models.latent.model import LatentModel
from seqlatent.models.latent.network_guide import NetworkGuide
from seqlatent.models.latent.prior_guide import PriorGuide
from seqlatent.models.latent.priors import SequentialPrior
from seqlatent.processes import PROCESSES
from seqlatent.tasks.forecasting import forecast
from seqlatent.tasks.scoring import score

HISTORY, PATHS, AHEAD = 100, 500, 48  # of a forecast
INDEPENDENT = {"prior": "independent"}
ELBO = {**INDEPENDENT, "objective": "elbo"}
ANCESTRAL = {**ELBO, "guide_conditioning": "latents"}
SCORED, PARTICLES = 64, 64  # sequences and particles of a score

# name, model, options, and the largest ratio to the bare networks that we accept
VARIANTS: list[tuple[str, str, dict[str, Any], float | None]] = [
    ("latent", "latent", {}, None),  # sampled step by step, where the bare networks run at once
    ("independent latents", "latent", INDEPENDENT, 1.5),
    ("independent latents, elbo", "latent", ELBO, 1.4),
    ("independent latents, elbo, ancestral guide", "latent", ANCESTRAL, None),
    ("vrnn", "vrnn", {}, 1.5),
    ("srnn", "srnn", {}, 1.5),
    ("dmm", "dmm", {}, 1.5),
    ("rnn", "rnn", {}, 1.3),
    ("transformer", "transformer", {}, None),
    ("cnn", "cnn", {}, None),
]
LOOPED = "independent latents, elbo"
LOOP, LOOP_TARGET = f"{LOOPED}, a Pyro site per step", 5.0


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
    models = {family: new_model(family, {}, args.seed, HISTORY) for family in FAMILIES}
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
    looped = new_model("latent", ANCESTRAL, seed, STEPS)
    assert isinstance(looped, LatentModel)
    steps[LOOP] = training_step(looped, partial(loop_loss, looped, batch))
    seconds = take_turns(steps, rounds)

    def row(name: str, bare: str | None, target: float | None) -> dict[str, Any]:
        versus_loop = name.startswith(LOOPED) and name != LOOP
        return {
            "measure": "training step",
            "variant": name,
            "ms": 1000 * statistics.median(seconds[name]),
            "bare_ms": 1000 * statistics.median(seconds[bare]) if bare else None,
            "to_bare": ratio(seconds[name], seconds[bare]) if bare else None,
            "target": target,
            "loop_to_it": ratio(seconds[LOOP], seconds[name]) if versus_loop else None,
            "loop_target": LOOP_TARGET if name == LOOPED else None,
            "rounds": rounds,
        }

    rows = [row(name, f"{name}, bare networks", target) for name, _, _, target in VARIANTS]
    return [*rows, row(LOOP, f"{LOOPED}, bare networks", None)]


def bare_loss(model: SequenceModel, batch: SequenceBatch) -> Callable[[], Tensor]:
    """The mean square of what a model's own networks make of tensors of the shapes they see."""
    with torch.no_grad():
        _, embedding, u = model.inputs(batch, None)

    def autoregressive() -> Tensor:
        assert isinstance(model, Autoregressive)
        h, _ = model.network(u)
        return model.head(model.beside(h, u)).params(u).square().mean()

    def latent() -> Tensor:
        assert isinstance(model, LatentModel)
        known, _ = model._know(u)
        emission, context = model._contexts(known)
        guide, z = model.guide_network, torch.randn(*u.shape[:2], model.latent_dim)
        size = model.options.objective_particles if model.options.bound == "iwae" else 1
        seen = guide.prepare(torch.cat([embedding, known], -1), embedding, batch.lengths, context)
        loss, loc, past = torch.zeros(()), z, None
        if isinstance(model.prior, SequentialPrior):
            transition = model.prior.transition
            loc, scale, past, _ = transition(z, transition.prepare(context), None)
            loss = loc.square().mean() + scale.square().mean()
        if isinstance(guide, PriorGuide):
            out = guide.out(F.silu(seen[..., : guide.hidden_dim] + guide.from_loc(loc)))
        else:
            assert isinstance(guide, NetworkGuide)
            given = torch.cat([seen, z], -1)
            h, _ = guide.network(given)
            out = guide.out(torch.cat([h, given], -1))
        loss = loss + out.square().mean()
        drawn = out[..., : model.latent_dim].expand(size, *z.shape)
        step = model._emission(emission, drawn, past, None)
        return loss + step.params(u).square().mean()

    return latent if isinstance(model, LatentModel) else autoregressive


def loop_loss(model: LatentModel, batch: SequenceBatch) -> Tensor:
    """The ELBO of the same model, every z_t and every x_t a Pyro site of its own."""
    r = model.reading(batch)  # the networks over x run once, here as in the model itself
    net = model.guide_network
    assert isinstance(net, NetworkGuide)

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
        {n: partial(forecast, m, history, AHEAD, num_samples=PATHS) for n, m in models.items()},
        rounds,
    )
    scoring = take_turns(
        {n: partial(score, m, test, num_particles=PARTICLES) for n, m in models.items()}, rounds
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
