"""Draw docs/kl_directions.png: one family, fitted in both directions of the KL to two peaks.

    .venv/bin/python scripts/make_kl_directions.py [--out docs/kl_directions.png] [--seed 0]

Sequences of two values lie around (2, 2) or (-2, -2), half of them around either. A `flow` whose
maps are affine has one peak: q(x_1) is normal, and so is q(x_2 | x_1). It is fitted by least

    KL(p || q) = E_p[log p(x) - log q(x)]    maximum likelihood on the sequences: q must put mass
                                             wherever p has some, and covers both peaks
    KL(q || p) = E_q[log q(x) - log p(x)]    on its own samples x = f^{-1}(z), through which the
                                             gradient goes: q must not put mass where p has none,
                                             and seeks one peak

where p is an `rnn` with a mixture head, fitted to the same sequences. Both KLs of both fits, in
nats per sequence, are integrals over a grid. A guide is fitted in the second direction: of several
explanations of the data it may keep one (`seqlatent inspect` estimates both directions for it).
"""

import argparse
import logging
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

import seqlatent as sl
from seqlatent.data.batch import SequenceBatch, collate
from seqlatent.inference.protocols import ExactDensity
from seqlatent.models.flow.model import FlowModel
from seqlatent.plots.figure import ACCENT, INK, SOFT, finish, new_figure

PEAK, SPREAD = 2.0, 0.5  # of either value, from 0 and around the peak
NUM, STEPS, BATCH = 2000, 600, 256
EDGE, CELLS = 6.0, 241  # of the grid that KLs are integrated over


class Directions(NamedTuple):
    """What is drawn.

    Attributes:
        x: (N, 2) the sequences.
        grid: (CELLS,) of either value.
        p: (CELLS, CELLS) density of the target, by the first and the second value.
        q: by direction, the density of the fit.
        kl: by direction, KL(p || q) and KL(q || p) of the fit in nats.
    """

    x: np.ndarray
    grid: np.ndarray
    p: np.ndarray
    q: dict[str, np.ndarray]
    kl: dict[str, tuple[float, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit one family in both directions of the KL.")
    default = Path(__file__).parent.parent / "docs/kl_directions.png"
    parser.add_argument("--out", type=Path, default=default)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    torch.set_num_threads(1)
    found = both_directions(args.seed)
    for direction, (forward, reverse) in found.kl.items():
        print(f"fitted to {direction}: KL(p || q) {forward:.2f}, KL(q || p) {reverse:.2f} nats")
    draw(found, args.out)


def both_directions(seed: int = 0, steps: int = STEPS) -> Directions:
    """Fit the target, and one family to it in both directions."""
    x = two_peaks(NUM, seed)
    data = sl.SequenceDataset.from_arrays(x)
    fitted = sl.RNN(emission="mixture").fit(data, max_steps=steps, seed=seed, progress=False)
    target = fitted.module
    assert isinstance(target, ExactDensity)
    covering, seeking = one_peak(data, steps, seed), one_peak(data, 1, seed)
    seek(seeking, target, collate(data.sequences[:BATCH]), steps, seed)
    grid = np.linspace(-EDGE, EDGE, CELLS)
    p = density(target, grid)
    q = {"KL(p || q)": density(covering, grid), "KL(q || p)": density(seeking, grid)}
    kl = {name: (divergence(p, each, grid), divergence(each, p, grid)) for name, each in q.items()}
    return Directions(x[..., 0], grid, p, q, kl)


def two_peaks(num: int, seed: int) -> np.ndarray:
    """(N, 2, 1) sequences around (2, 2) or (-2, -2)."""
    rng = np.random.default_rng(seed)
    peak = PEAK * rng.choice([-1.0, 1.0], (num, 1, 1))
    return peak + SPREAD * rng.normal(size=(num, 2, 1))


def one_peak(data: sl.SequenceDataset, steps: int, seed: int) -> FlowModel:
    """The family, x_t = loc(x_{<t}) + scale(x_{<t}) z_t, after steps of maximum likelihood."""
    model = sl.Flow(emission="normal", scaling="global", hidden_dim=16)
    module = model.fit(data, max_steps=steps, seed=seed, progress=False).module
    assert isinstance(module, FlowModel)
    return module


def seek(q: FlowModel, p: ExactDensity, batch: SequenceBatch, steps: int, seed: int) -> None:
    """Minimise E_q[log q(x) - log p(x)] by samples x = f^{-1}(z) of q."""
    p.requires_grad_(False)
    optimizer = torch.optim.Adam(q.parameters(), 5e-3)
    noise = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        z = torch.randn(batch.x.shape, generator=noise)
        x, _ = q.decode(z, batch.covariates, q.begin(batch))
        drawn = replace(batch, x=x)
        loss = (q.log_prob(drawn)[0] - p.log_prob(drawn)[0]).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.no_grad()
def density(model: ExactDensity, grid: np.ndarray) -> np.ndarray:
    """(G, G) p(x_1, x_2) at the points of a grid, whatever the model."""
    first, second = np.meshgrid(grid, grid, indexing="ij")
    points = np.stack([first.ravel(), second.ravel()], 1)[..., None]
    batch = collate(sl.SequenceDataset.from_arrays(points).sequences)
    log_prob = model.log_prob(batch)[0]
    return log_prob.sum(1).exp().double().numpy().reshape(first.shape)


def divergence(p: np.ndarray, q: np.ndarray, grid: np.ndarray) -> float:
    """KL(p || q) in nats of two densities on a grid."""
    cell = (grid[1] - grid[0]) ** 2
    log_ratio = np.log(np.maximum(p, 1e-300)) - np.log(np.maximum(q, 1e-300))
    return float((p * log_ratio).sum() * cell)


def draw(found: Directions, out: Path) -> None:
    """The target and the two fits as contours over the data."""
    figure, axes = new_figure(1, 3, 9.6, 3.5)
    words = {
        "KL(p || q)": "covers both peaks",
        "KL(q || p)": "seeks one of them",
    }
    panels = [("the data, and p fitted to them", found.p)]
    for name, q in found.q.items():
        forward, reverse = found.kl[name]
        title = f"least {name}: {words[name]}\n"
        title += f"KL(p || q) {forward:.2f}, KL(q || p) {reverse:.2f} nats"
        panels.append((title, q))
    for k, (ax, (title, each)) in enumerate(zip(axes[0], panels, strict=True)):
        ax.plot(*found.x[:500].T, ".", color=SOFT, markersize=2, alpha=0.6)
        levels = each.max() * np.array([0.01, 0.1, 0.5, 0.9])
        colour = ACCENT if k else INK
        ax.contour(found.grid, found.grid, each.T, levels, colors=colour, linewidths=1.2)
        ax.set(xlim=(-5, 5), ylim=(-5, 5), aspect="equal")
        ax.set_xlabel("first value", fontsize=8)
        ax.set_ylabel("second value", fontsize=8)
        ax.set_title(title, fontsize=9, loc="left")
    finish(figure, out)


if __name__ == "__main__":
    main()
