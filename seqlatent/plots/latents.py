"""Pictures of latents over time; of exact ones the test of fit that they offer, and their maps.

If an invertible model is right, its latents z of held-out sequences are independent standard
normals.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from seqlatent.plots.figure import ACCENT, ALERT, INK, SOFT, finish, format_dates, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

REACH = 4.0  # standard deviations drawn
MAX_TARGETS = 4  # of one traversal


def has_exact_latents(frame: pd.DataFrame) -> bool:
    """Whether a frame of `seqlatent.tasks.encoding.encode` has exact latents: all scales are 0."""
    scales = frame[[c for c in frame.columns if c.endswith("_scale")]]
    return bool((scales.to_numpy() == 0).all())


def plot_exact_latents(frame: pd.DataFrame, path: str | Path | None = None) -> "Figure":
    """Exact latents against N(0, 1), and against the step before.

    On the left, of each latent: its histogram over all sequences and steps, with the standard
    normal density. On the right: each value against the one before it in its sequence, which should
    show a round cloud; the correlations of the two, and of their absolute values, are given above.

    Args:
        frame: as `seqlatent.tasks.encoding.encode` returns it.
        path: where to write the picture.
    """
    latents = [c for c in frame.columns if c.endswith("_mean")]
    figure, axes = new_figure(len(latents), 2, 8.0, 2.6 * len(latents))
    grid = np.linspace(-REACH, REACH, 200)
    normal = np.exp(-0.5 * grid**2) / np.sqrt(2 * np.pi)
    for i, latent in enumerate(latents):
        left, right = axes[i]
        z = frame[latent]
        name = latent.removesuffix("_mean")
        seen = z.dropna().to_numpy()
        left.hist(seen, bins=50, range=(-REACH, REACH), density=True, color=SOFT)
        left.plot(grid, normal, color=ALERT, linewidth=1.4, label="N(0, 1)")
        left.set_title(
            f"{name}: mean {seen.mean():.2f}, sd {seen.std():.2f}", fontsize=9, loc="left"
        )
        left.legend(fontsize=7, frameon=False)
        pairs = pd.DataFrame({"before": z.groupby(frame["unique_id"]).shift(), "now": z}).dropna()
        right.plot(pairs["before"], pairs["now"], ".", color=ACCENT, markersize=2, alpha=0.4)
        right.set_xlim(-REACH, REACH)
        right.set_ylim(-REACH, REACH)
        right.set_title(f"{name} against the step before: {_correlations(pairs)}", fontsize=9,
                        loc="left")  # fmt: skip
    return finish(figure, path)


def plot_maps(maps: pd.DataFrame, path: str | Path | None = None) -> "Figure":
    """The maps f_t from value to latent at some steps of a series: a row for each channel, a column
    for each step.

    The other channels and the past are as observed. The curve is f_t, the point the observed value,
    the shade its density p(x_t | x_{<t}): tall where f_t is steep.

    Args:
        maps: as `seqlatent.tasks.decoding.step_maps` returns them.
        path: where to write the picture.
    """
    targets, steps = (list(dict.fromkeys(maps[c])) for c in ("target", "step"))
    figure, axes = new_figure(len(targets), len(steps), 4.0 * len(steps), 2.6 * len(targets))
    for row, target in enumerate(targets):
        for column, step in enumerate(steps):
            m = maps.loc[(maps["target"] == target) & (maps["step"] == step)]
            ax = axes[row, column]
            height = REACH * m["density"] / m["density"].max()
            ax.fill_between(m["value"], -REACH, height - REACH, color=SOFT, alpha=0.4, linewidth=0)
            ax.plot(m["value"], m["z"], color=ACCENT, linewidth=1.4)
            seen, z = m["seen_value"].to_numpy()[0], m["seen_z"].to_numpy()[0]
            ax.plot([seen], [z], "o", color=ALERT, markersize=4)
            ax.set_ylim(min(-REACH, z - 1), max(REACH, z + 1))
            ax.set_xlabel(target, fontsize=8)
            ax.set_ylabel(f"z{row + 1}", fontsize=8)
            ax.set_title(f"{step}: z = {z:.2f}", fontsize=9, loc="left")
    return finish(figure, path)


def _correlations(pairs: pd.DataFrame) -> str:
    if len(pairs) < 3:
        return "too few to tell"
    plain, size = (np.corrcoef(p["before"], p["now"])[0, 1] for p in (pairs, pairs.abs()))
    return f"correlation {plain:.2f}, of sizes {size:.2f}"


def plot_latents(
    frame: pd.DataFrame, path: str | Path | None = None, max_series: int = 3
) -> "Figure":
    """Mean and standard deviation of every latent over time, for the first series.

    Args:
        frame: as `seqlatent.tasks.encoding.encode` returns it.
        path: where to write the picture.
        max_series: the first so many are drawn.
    """
    names: list[Any] = list(dict.fromkeys(frame["unique_id"]))[:max_series]
    latents = [c[: -len("_mean")] for c in frame.columns if c.endswith("_mean")]
    figure, axes = new_figure(len(latents), len(names), 4.2 * len(names), 1.4 * len(latents))
    for j, name in enumerate(names):
        mine = frame[frame["unique_id"] == name]
        ds = np.asarray(mine["ds"])
        for i, latent in enumerate(latents):
            mean, scale = np.asarray(mine[f"{latent}_mean"]), np.asarray(mine[f"{latent}_scale"])
            ax = axes[i, j]
            ax.fill_between(ds, mean - scale, mean + scale, color=ACCENT, alpha=0.25, lw=0)
            ax.plot(ds, mean, color=ACCENT, linewidth=1)
            ax.set_title(f"{name}: {latent}", fontsize=8, loc="left")
            format_dates(ax, ds)
    return finish(figure, path)


def draw_map(ax: "Axes", means: np.ndarray, order: np.ndarray, name: str) -> None:
    """The path of a series through two latents, coloured by time from dark to light.

    Args:
        ax: where to draw.
        means: (T, Z) of the latents.
        order: (Z,) latents; the first two are drawn, a single one against its step before.
        name: of the series.
    """
    if len(order) > 1:
        first, second = (int(k) for k in order[:2])
        x, y, steps = means[:, first], means[:, second], np.arange(1, len(means) + 1)
        labels = f"z{first + 1}", f"z{second + 1}"
    else:
        x, y, steps = means[:-1, 0], means[1:, 0], np.arange(2, len(means) + 1)
        labels = "z1, the step before", "z1"
    ax.plot(x, y, color=SOFT, linewidth=0.5, alpha=0.6)
    points = ax.scatter(x, y, c=steps, cmap="viridis", s=10, zorder=3)
    bar = ax.figure.colorbar(points, ax=ax, pad=0.01)
    bar.set_label("step", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    ax.set_xlabel(labels[0], fontsize=8)
    ax.set_ylabel(labels[1], fontsize=8)
    ax.set_title(f"{name}: means of the two latents that are felt most" if len(order) > 1
                 else f"{name}: mean of the latent", fontsize=9, loc="left")  # fmt: skip


def draw_traversal(ax: "Axes", latent: str, frame: pd.DataFrame) -> None:
    """Means of the values along one latent. A single target is in its own units; of several, those
    that change most are drawn, as changes from the middle in units of their scale.

    Args:
        ax: where to draw.
        latent: its name.
        frame: `target, value, mean, scale`, of this latent.
    """
    parts = {str(name): part for name, part in frame.groupby("target", sort=False)}
    lines = {name: part["mean"].to_numpy() for name, part in parts.items()}
    if len(parts) > 1:
        scales = {name: part["scale"].iloc[0] for name, part in parts.items()}
        lines = {name: (y - y[len(y) // 2]) / scales[name] for name, y in lines.items()}
        ax.set_ylabel("change, in scales", fontsize=8)
    for name in sorted(lines, key=lambda name: -np.ptp(lines[name]))[:MAX_TARGETS]:
        ax.plot(parts[name]["value"], lines[name], linewidth=1.4, marker=".", label=name)
    if len(parts) > 1:
        ax.legend(fontsize=7, frameon=False)
    if not parts:
        ax.text(0.5, 0.5, "labels have no mean", ha="center", fontsize=8, color=INK)
    ax.set_xlabel(f"{latent}, 5 % to 95 % quantile", fontsize=8)
    what = "values" if len(parts) != 1 else next(iter(parts))
    ax.set_title(f"{latent}: mean of {what} drawn", fontsize=9, loc="left")


def share_heights(axes: "list[Axes]") -> None:
    """The same vertical limits for all panels, so that steep means large."""
    limits = np.array([ax.get_ylim() for ax in axes])
    for ax in axes:
        ax.set_ylim(limits[:, 0].min(), limits[:, 1].max())
