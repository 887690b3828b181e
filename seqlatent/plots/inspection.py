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
from seqlatent.plots.latents import draw_map, draw_traversal, share_heights

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
MAX_STEPS = 120  # of the series that is shown beside its reconstruction


def plot_inspection(
    latents: pd.DataFrame,
    losses: pd.DataFrame,
    *,
    kl_over_time: np.ndarray,
    total_kl: float,
    trajectory: np.ndarray,
    traversal: pd.DataFrame,
    posterior_samples: np.ndarray,
    prior_samples: np.ndarray,
    reconstructed: pd.DataFrame,
    most_felt: np.ndarray,
    path: str | Path | None = None,
) -> "Figure":
    """What latents are used for, how far ahead and when; for those that are felt most their path in
    a series, what they do to the values, and q against the prior; the first channel of a series
    beside its reconstruction.

    Args:
        latents: a row for each: `kl`, nats per step; `share` of the sum; `predictable`, 0 to 1;
            `used`, whether it is.
        losses: when all latents are replaced: `horizon, loss, std_error`, nats per step.
        kl_over_time: (T, Z) KL of each step, nats.
        total_kl: of all latents together, nats per step.
        trajectory: (T, Z) means of one series.
        traversal: means of the values along one latent: `latent, target, value, mean`, and the
            `scale` of the target's values.
        posterior_samples, prior_samples: (N, Z) latents.
        reconstructed: rows of one series, as `seqlatent.tasks.inspecting.reconstruct` returns them.
        most_felt: (Z,) the latents, those that are felt most first.
        path: where to write the picture.
    """
    shown = most_felt[:COLUMNS]
    figure, axes = new_figure(5, COLUMNS, 12.0, 13.0)
    half = COLUMNS // 2
    _draw_use(merge_axes(figure, axes, 0, slice(0, half)), latents)
    _draw_losses(merge_axes(figure, axes, 0, slice(half, COLUMNS)), losses)
    _draw_over_time(merge_axes(figure, axes, 1, slice(0, half)), kl_over_time.sum(1), total_kl)
    name = str(reconstructed["unique_id"].iloc[0])
    draw_map(merge_axes(figure, axes, 1, slice(half, COLUMNS)), trajectory, most_felt, name)
    for column in range(COLUMNS):
        if column >= len(shown):
            axes[2, column].set_visible(False)
            axes[3, column].set_visible(False)
            continue
        k = int(shown[column])
        draw_traversal(axes[2, column], f"z{k + 1}", traversal.loc[traversal["latent"] == k])
        _draw_histograms(axes[3, column], f"z{k + 1}", posterior_samples[:, k], prior_samples[:, k])
    share_heights(list(axes[2, : len(shown)]))
    _draw_reconstruction(merge_axes(figure, axes, 4, slice(0, COLUMNS)), reconstructed)
    if len(latents) > len(shown):
        text = f"rows 3 and 4: the {len(shown)} of {len(latents)} latents that are felt most"
        figure.supxlabel(text, fontsize=8)
    return finish(figure, path)


def _draw_use(ax: "Axes", latents: pd.DataFrame) -> None:
    at, width = np.arange(len(latents)), 0.4
    colours = [ACCENT if used else SOFT for used in latents["used"]]
    ax.bar(at - width / 2, latents["share"], width, color=colours)
    ax.bar(at + width / 2, latents["predictable"], width, color="white", edgecolor=colours,
           linewidth=1.2, hatch="////")  # fmt: skip
    ax.set_xticks(at, [f"z{k + 1}" for k in at])
    if len(latents) > 12:
        ax.tick_params(axis="x", labelrotation=90, labelsize=6)
    ax.set_ylim(0, 1.02)
    ax.set_title(
        "share of the KL (full), predictable from the past (hatched); "
        f"{colours.count(ACCENT)} used (blue)",
        fontsize=9,
        loc="left",
    )


def _draw_losses(ax: "Axes", losses: pd.DataFrame) -> None:
    at = np.arange(len(losses))
    error = 2 * losses["std_error"].fillna(0.0)
    ax.errorbar(at, losses["loss"], error, color=ACCENT, linewidth=1.4, marker="o", markersize=4,
                capsize=3)  # fmt: skip
    ax.axhline(0.0, color=INK, linewidth=0.8)
    ax.set_xticks(at, [str(h) for h in losses["horizon"]])
    ax.set_xlabel("steps ahead", fontsize=8)
    ax.set_ylabel("nats per step", fontsize=8)
    ax.set_title("loss when all latents of a step are replaced (two standard errors)", fontsize=9,
                 loc="left")  # fmt: skip


def _draw_over_time(ax: "Axes", kl: np.ndarray, total: float) -> None:
    """(T,) KL of all latents together."""
    marker = "." if len(kl) < 60 else None
    ax.plot(np.arange(1, len(kl) + 1), kl, color=INK, linewidth=1.2, marker=marker)
    ax.set_ylim(bottom=0)
    ax.set_xlabel("step", fontsize=8)
    ax.set_title(
        f"KL(q || prior) by step, mean over the sequences: {total:.4f} nats in all",
        fontsize=9,
        loc="left",
    )
    ax.set_ylabel("nats", fontsize=8)


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
