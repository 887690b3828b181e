"""`scripts/benchmark heads`: what heads cost alone, on random features; see benchmark.py.

Binary channels as a set, and one after another: a training step (density, backward, Adam) and
sampling, of 1,024 steps with 88 channels of which four are active, with hidden layers of one size.

Every emission: sampling beside the density, of 1,024 steps with four channels.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from benchmark_tools import bound, number, ratio, say, show, take_turns
from torch import nn

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.distributions.autoregressive import AutoregressiveHead
from seqlatent.distributions.build import build_family, build_head
from seqlatent.distributions.categorical import Bernoulli
from seqlatent.distributions.emission import EMISSIONS
from seqlatent.distributions.emission_options import EmissionOptions
from seqlatent.distributions.subset import SubsetHead

STEPS, CHANNELS, ACTIVE, FEATURES = 1024, 88, 4, 256
REPEATS = 20  # of the calls of small heads, which take a millisecond or two
SIZES = (64, 128, 256)
FASTER = 8.0  # least ratio of a training step one after another to one as a set


def run_heads(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    say(f"seed {args.seed}, {args.threads} thread(s), torch {torch.__version__}")
    rows = [time_heads(size, args.seed, 3 if args.quick else 7) for size in SIZES]
    yield from rows
    show(
        ["hidden units", "training step as a set, ms", "x faster than NADE", "target",
         "draw as a set, ms", "x faster than NADE", "draw / density"],
        [
            [str(r["hidden_dim"]), f"{r['train_ms']:.1f}", number(r["train_gain"]),
             bound(">=", r["target"]), f"{r['draw_ms']:.1f}", number(r["draw_gain"]),
             number(r["draw_to_density"])]
            for r in rows
        ],
    )  # fmt: skip
    draws = [time_draw(name, args.seed, 3 if args.quick else 7) for name in EMISSIONS]
    yield from draws
    show(
        ["emission, four channels", "density, ms", "draw, ms", "draw / density"],
        [
            [r["emission"], f"{r['density_ms']:.1f}", f"{r['draw_ms']:.1f}",
             number(r["draw_to_density"])]
            for r in draws
        ],
    )  # fmt: skip


def time_draw(emission: str, seed: int, rounds: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    shape = (STEPS, 4)
    if emission in ("bernoulli", "subset"):
        values = rng.integers(0, 2, shape)
    elif emission in ("categorical", "ordinal", "poisson", "negative-binomial", "zero-inflated"):
        values = rng.integers(0, 5, shape)
    else:
        values = rng.normal(size=shape)
    data = DataDescription.of(SequenceDataset.from_list([values]))
    options = EmissionOptions(emission)
    torch.manual_seed(seed)
    head = build_head(build_family(data, options, [1.0] * 4), 4, options, FEATURES)
    h, x = torch.randn(STEPS, FEATURES), torch.from_numpy(values).float()

    def often(call: Callable[[], Any]) -> None:
        for _ in range(REPEATS):
            call()

    seconds = take_turns(
        {
            "density": partial(often, partial(density, head, h, x)),
            "draw": partial(often, partial(draw, head, h)),
        },
        rounds,
    )
    return {
        "emission": emission,
        "density_ms": 1000 * min(seconds["density"]) / REPEATS,
        "draw_ms": 1000 * min(seconds["draw"]) / REPEATS,
        "draw_to_density": ratio(seconds["draw"], seconds["density"]),
        "rounds": rounds,
    }


def time_heads(size: int, seed: int, rounds: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    heads = {
        "set": SubsetHead(FEATURES, CHANNELS, size),
        "nade": AutoregressiveHead(Bernoulli(), FEATURES, CHANNELS, size),
    }
    h = torch.randn(STEPS, FEATURES)
    x = torch.zeros(STEPS, CHANNELS).scatter(1, torch.rand(STEPS, CHANNELS).topk(ACTIVE).indices, 1)
    calls: dict[str, Callable[[], Any]] = {}
    for name, head in heads.items():
        calls[f"{name} train"] = training_step(head, h, x)
        calls[f"{name} density"] = partial(density, head, h, x)
        calls[f"{name} draw"] = partial(draw, head, h)
    seconds = take_turns(calls, rounds)
    return {
        "hidden_dim": size,
        "train_ms": 1000 * min(seconds["set train"]),
        "train_gain": ratio(seconds["nade train"], seconds["set train"]),
        "target": FASTER,
        "draw_ms": 1000 * min(seconds["set draw"]),
        "draw_gain": ratio(seconds["nade draw"], seconds["set draw"]),
        "draw_to_density": ratio(seconds["set draw"], seconds["set density"]),
        "rounds": rounds,
    }


def training_step(head: nn.Module, h: torch.Tensor, x: torch.Tensor) -> Callable[[], None]:
    optimizer = torch.optim.Adam(head.parameters(), fused=True)

    def step() -> None:
        (-head(h).log_prob(x).mean()).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


@torch.no_grad()
def density(head: nn.Module, h: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return head(h).log_prob(x)


@torch.no_grad()
def draw(head: nn.Module, h: torch.Tensor) -> torch.Tensor:
    return head(h).draw()
