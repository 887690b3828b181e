"""`scripts/benchmark heads`: binary channels as a set, and one after another; see benchmark.py.

A training step (density, backward, Adam) and a draw of the head alone, on random features of 1,024
steps with 88 channels of which four are active, hidden layers of the same size.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from benchmark_tools import bound, number, ratio, say, show, take_turns
from torch import nn

from seqlatent.distributions.autoregressive import AutoregressiveHead
from seqlatent.distributions.families import Bernoulli
from seqlatent.distributions.subset import SubsetHead

STEPS, CHANNELS, ACTIVE, FEATURES = 1024, 88, 4, 256
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
