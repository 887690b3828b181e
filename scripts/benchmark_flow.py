"""`scripts/benchmark flow`: how fast the flow is in both directions, and what its maps cost.

Density and sampling of sequences of 256 steps, in parallel and step by step, beside one forward
pass of the bare conditioner on inputs of the same shape; and a training step with every map beside
one with the affine map alone. The variants take turns, and a ratio is the median of the rounds'
own ratios.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from benchmark_tools import (
    BATCH,
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

from seqlatent.data.batch import collate
from seqlatent.distributions.noise import TorchNoise
from seqlatent.models.flow.model import CONDITIONS, FlowModel
from seqlatent.processes import PROCESSES

LENGTH = 256
NETWORKS = ("gru", "cnn", "transformer")
FASTER = {("cnn", 1): 10.0, ("cnn", 64): 2.0}  # least ratios of step by step to parallel
EMISSIONS = ("normal", "sinh-arcsinh", "spline", "sinh-arcsinh-spline")
MOST_COST = 6.0  # of the default map's training step, in affine ones


def run_flow(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    say(f"seed {args.seed}, {args.threads} thread(s), torch {torch.__version__}")
    rounds = 3 if args.quick else 7
    rows = [
        time_directions(network, size, args.seed, rounds)
        for network in NETWORKS
        for size in (1, BATCH)
    ]
    yield from rows
    show(
        ["conditioner", "batch", "density, ms", "x bare", "sampling, ms", "x bare",
         "density, x faster than step by step", "sampling, likewise", "target"],
        [
            [r["network"], str(r["batch"]), f"{r['density_ms']:.1f}", number(r["density_to_bare"]),
             f"{r['sampling_ms']:.1f}", number(r["sampling_to_bare"]),
             number(r["density_gain"]), number(r["sampling_gain"]), bound(">=", r["target"])]
            for r in rows
        ],
    )  # fmt: skip
    costs = time_maps(args.seed, rounds)
    yield from costs
    show(
        ["training step", "ms", "x affine", "target"],
        [
            [r["emission"], f"{r['ms']:.1f}", number(r["to_affine"]), bound("<=", r["target"])]
            for r in costs
        ],
    )


def time_directions(network: str, size: int, seed: int, rounds: int) -> dict[str, Any]:
    """Density and sampling by the parallel direction of each form, and by the other form."""
    batch = collate(PROCESSES["ar2"]().sample(size, LENGTH, seed).sequences)
    covariates = batch.covariates
    calls: dict[str, Callable[[], Any]] = {}
    for condition in CONDITIONS:
        options = {"network": network, "condition_on": condition}
        m = new_model("flow", options, seed, LENGTH).eval()
        assert isinstance(m, FlowModel)
        state = m.begin(batch)._replace(last=torch.zeros(size, 1, m.embedding_dim))
        calls[f"density {condition}"] = partial(m.log_prob, batch)
        calls[f"sampling {condition}"] = partial(m.sample_steps, state, covariates, TorchNoise())
        calls["bare"] = partial(m.network, torch.randn(size, LENGTH, m.input_dim))
    with torch.no_grad():
        seconds = take_turns(calls, rounds)
    density, sampling = seconds["density observations"], seconds["sampling latents"]
    return {
        "network": network,
        "batch": size,
        "density_ms": 1000 * min(density),
        "density_to_bare": ratio(density, seconds["bare"]),
        "density_gain": ratio(seconds["density latents"], density),
        "sampling_ms": 1000 * min(sampling),
        "sampling_to_bare": ratio(sampling, seconds["bare"]),
        "sampling_gain": ratio(seconds["sampling observations"], sampling),
        "target": FASTER.get((network, size)),
        "rounds": rounds,
    }


def time_maps(seed: int, rounds: int) -> list[dict[str, Any]]:
    """A training step with every map."""
    batch = collate(PROCESSES["ar2"]().sample(BATCH, STEPS, seed).sequences)
    steps: dict[str, Callable[[], Any]] = {}
    for emission in EMISSIONS:
        m = new_model("flow", {"emission": emission}, seed, STEPS)
        steps[emission] = training_step(m, partial(m, batch))
    seconds = take_turns(steps, rounds)
    return [
        {
            "emission": emission,
            "ms": 1000 * min(seconds[emission]),
            "to_affine": ratio(seconds[emission], seconds["normal"]),
            "target": MOST_COST if emission == EMISSIONS[-1] else None,
            "rounds": rounds,
        }
        for emission in EMISSIONS
    ]
