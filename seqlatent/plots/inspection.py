"""A picture of how a model uses its latents."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from seqlatent.plots.figure import (
    ACCENT,
    ALERT,
    INK,
    SOFT,
    finish,
    format_dates,
    merge_axes,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
MAX_HISTOGRAMS = 8
MAX_STEPS = 120  # of the series that is shown beside its reconstruction


def plot_inspection(
    kl: np.ndarray,
    total_kl: float,
    active: np.ndarray,
    kl_over_time: np.ndarray,
    posterior_samples: np.ndarray,
    prior_samples: np.ndarray,
    reconstructed: pd.DataFrame,
    path: str | Path | None = None,
) -> "Figure":
    """What each latent is used for, and when; q against the prior for the latents used most; the
    first channel of a series beside its reconstruction.

    Args:
        kl: (Z,) KL(q || prior) of each latent, nats per step.
        total_kl: of all latents together, nats per step.
        active: (Z,) bool, which latents are in use.
        kl_over_time: (T, Z) KL of each step, nats.
        posterior_samples, prior_samples: (N, Z) latents.
        reconstructed: rows of one series, as `seqlatent.tasks.inspecting.reconstruct` returns them.
        path: where to write the picture.
    """
    shown = np.argsort(-kl, kind="stable")[:MAX_HISTOGRAMS]
    rows = 2 + -(-len(shown) // COLUMNS)
    figure, axes = new_figure(rows, COLUMNS, 12.0, 2.6 * rows)
    half = COLUMNS // 2
    _draw_use(merge_axes(figure, axes, 0, slice(0, half)), kl, total_kl, active)
    _draw_over_time(merge_axes(figure, axes, 0, slice(half, COLUMNS)), kl_over_time.sum(1))
    cells = list(axes[1:-1].flat)
    for ax, k in zip(cells, shown, strict=False):
        _draw_histograms(ax, f"z{k + 1}", posterior_samples[:, k], prior_samples[:, k])
    for ax in cells[len(shown) :]:
        ax.set_visible(False)
    _draw_reconstruction(merge_axes(figure, axes, rows - 1, slice(0, COLUMNS)), reconstructed)
    if len(kl) > len(shown):
        text = f"histograms of the {len(shown)} most used of {len(kl)} latents"
        figure.supxlabel(text, fontsize=8)
    return finish(figure, path)


def _draw_use(ax: "Axes", kl: np.ndarray, total_kl: float, active: np.ndarray) -> None:
    names = [f"z{k + 1}" for k in range(len(kl))]
    ax.bar(names, kl, color=[ACCENT if used else SOFT for used in active])
    if len(names) > 12:
        ax.tick_params(axis="x", labelrotation=90, labelsize=6)
    ax.set_title(
        f"KL(q || prior) of each latent: {total_kl:.3f} nats per step in all; "
        f"{int(active.sum())} active (blue)",
        fontsize=9,
        loc="left",
    )
    ax.set_ylabel("nats per step", fontsize=8)


def _draw_over_time(ax: "Axes", kl: np.ndarray) -> None:
    """(T,) KL of all latents together."""
    marker = "." if len(kl) < 60 else None
    ax.plot(np.arange(1, len(kl) + 1), kl, color=INK, linewidth=1.2, marker=marker)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("step", fontsize=8)
    ax.set_title("KL(q || prior) by step, mean over the sequences", fontsize=9, loc="left")


def _draw_histograms(ax: "Axes", name: str, posterior: np.ndarray, prior: np.ndarray) -> None:
    """(N,) samples of one latent from either distribution."""
    reach = np.abs(np.quantile(np.concatenate([posterior, prior]), [0.001, 0.999])).max()
    bins = np.linspace(-reach, reach, 41)
    ax.hist(posterior, bins=bins, density=True, color=ACCENT, alpha=0.45, label="q(z)")
    ax.hist(prior, bins=bins, density=True, histtype="step", color=ALERT, linewidth=1.2,
            label="prior")  # fmt: skip
    title = f"{name}: sd {posterior.std():.2f}, prior {prior.std():.2f}"
    ax.set_title(title, fontsize=9, loc="left")
    ax.legend(fontsize=7, frameon=False)


def _draw_reconstruction(ax: "Axes", reconstructed: pd.DataFrame) -> None:
    unique_id, target = reconstructed["unique_id"].iloc[0], reconstructed["target"].iloc[0]
    frame = reconstructed[reconstructed["target"] == target].iloc[:MAX_STEPS]
    ds = frame["ds"].to_numpy()
    probabilities = [c for c in frame.columns if c.startswith("p(") and frame[c].notna().any()]
    if probabilities:  # labels: how probable was the one that was observed?
        observed = [row.get(f"p({row['y']})", np.nan) for _, row in frame.iterrows()]
        ax.plot(ds, observed, color=ACCENT, linewidth=1.2,
                label="p(x | history, z) of the observed label")  # fmt: skip
        ax.set_ylim(0, 1.02)
    else:
        marker = "." if len(ds) < 60 else None
        ax.fill_between(ds, frame["q0.05"], frame["q0.95"], color=ACCENT, alpha=0.18, lw=0,
                        label="90 %")  # fmt: skip
        ax.plot(ds, frame["mean"], color=ACCENT, linewidth=1.4, label="E[x | history, z]")
        ax.plot(ds, frame["y"], color=INK, linewidth=1.0, marker=marker, markersize=3,
                label="x")  # fmt: skip
    ax.legend(fontsize=7, frameon=False, ncols=3)
    ax.set_title(f"{unique_id}: {target}, reconstructed from samples of the guide", fontsize=9,
                 loc="left")  # fmt: skip
    format_dates(ax, ds)
