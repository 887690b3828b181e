"""Pictures of several models side by side, and of what one draws beside what is real."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seqlatent.data.dataset import SequenceDataset
from seqlatent.plots.figure import ACCENT, ALERT, INK, SOFT, finish, new_figure
from seqlatent.plots.rolls import MAX_CURVES, channel_limits, draw_roll

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUM_DRAWN, NUM_BOLD = 40, 3  # sequences in a panel, and how many of them stand out
MAX_PANELS = 4  # channels that are drawn


def plot_differences(
    names: Sequence[str],
    differences: np.ndarray,
    errors: np.ndarray,
    label: str,
    path: str | Path | None = None,
) -> "Figure":
    """A row for each model: its difference from the best one, with one standard error.

    Args:
        names: of the models, the best one first; its difference is 0.
        differences, errors: (M,).
        label: what is measured, and which direction is better.
        path: where to write the picture.
    """
    figure, axes = new_figure(1, 1, 6.4, 0.8 + 0.27 * len(names))
    ax, rows = axes[0, 0], np.arange(len(names))
    near = np.abs(differences) <= np.nan_to_num(errors)
    for close, color in ((True, ACCENT), (False, SOFT)):
        here = near == close
        ax.errorbar(differences[here], rows[here], xerr=np.nan_to_num(errors[here]), fmt="o",
                    color=color, markersize=5, elinewidth=1.6)  # fmt: skip
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.set_yticks(rows, list(names), fontsize=8)
    ax.set_ylim(len(names) - 0.5, -0.5)
    others = np.abs(differences[1:])
    if len(others) and others.max() > 20 * max(float(np.median(others)), 1e-12):
        # One hopeless model would leave the others on one spot.
        linear = max(float(np.median(others)), 1e-12)
        ax.set_xscale("symlog", linthresh=linear)
        ends = np.nanmin(differences), np.nanmax(differences)
        ax.set_xlim(min(1.5 * ends[0], -0.3 * linear), max(1.5 * ends[1], 0.3 * linear))
    ax.set_xlabel(label, fontsize=8)
    return finish(figure, path)


def plot_drawn(
    real: SequenceDataset, drawn: SequenceDataset, path: str | Path | None = None
) -> "Figure":
    """Real sequences on the left, drawn ones on the right, on the same scale: a row for each of the
    first four channels; of more than eight channels three rolls on either side.

    Args:
        real, drawn: sequences of the same channels.
        path: where to write the picture.
    """
    sides = (("real", real), ("drawn", drawn))
    if real.num_channels > MAX_CURVES:
        rows = min(NUM_BOLD, len(real), len(drawn))
        figure, axes = new_figure(rows, 2, 9.6, 2.6 * rows)
        limits = channel_limits(real)
        for column, (name, data) in enumerate(sides):
            for row in range(rows):
                s = data.sequences[row]
                draw_roll(axes[row, column], s.x, s.ds, data.targets, limits)
                axes[row, column].set_title(f"{name}: {s.unique_id}", fontsize=9, loc="left")
        return finish(figure, path)
    rows = min(MAX_PANELS, real.num_channels)
    figure, axes = new_figure(rows, 2, 9.6, 2.5 * rows)
    for d in range(rows):
        low, high = _range([s.x[:, d] for _, data in sides for s in data])
        for ax, (name, data) in zip(axes[d], sides, strict=True):
            chosen = np.linspace(0, len(data) - 1, min(NUM_DRAWN, len(data))).round().astype(int)
            _draw_many(ax, [data.sequences[i].x[:, d] for i in chosen])
            ax.set_ylim(low, high)
            ax.set_title(f"{name}: {data.targets[d]}", fontsize=9, loc="left")
            ax.set_xlabel("step", fontsize=8)
    return finish(figure, path)


def plot_extremes(
    data: SequenceDataset,
    likely: Sequence[str],
    unlikely: Sequence[str],
    path: str | Path | None = None,
) -> "Figure":
    """The most likely sequences on the left and the least likely ones on the right, over the others
    in grey; the first channel that changes.

    Args:
        data: all of the sequences.
        likely, unlikely: their names, the extreme ones first.
        path: where to write the picture.
    """
    limits = channel_limits(data)
    d = int((limits[1] > limits[0]).argmax())
    figure, axes = new_figure(1, 2, 9.6, 2.8)
    by_name = {s.unique_id: s.x[:, d] for s in data}
    low, high = _range(list(by_name.values()))
    for ax, names, title in (
        (axes[0, 0], likely, "most likely"), (axes[0, 1], unlikely, "least likely"),
    ):  # fmt: skip
        for x in list(by_name.values())[:NUM_DRAWN]:
            ax.plot(x, color=SOFT, linewidth=0.6, alpha=0.4)
        for name, style in zip(names, ("-", "--", ":"), strict=False):
            color = ACCENT if title.startswith("most") else ALERT
            ax.plot(by_name[name], color=color, linewidth=1.6, linestyle=style, label=name)
        ax.set_ylim(low, high)
        ax.set_title(f"{title}: {data.targets[d]}", fontsize=9, loc="left")
        ax.set_xlabel("step", fontsize=8)
        ax.legend(fontsize=7, frameon=False)
    return finish(figure, path)


def _draw_many(ax: "Axes", values: list[np.ndarray]) -> None:
    """Curves, of which some at equal distances stand out."""
    apart = np.linspace(0, len(values) - 1, NUM_BOLD + 2)[1:-1].round().astype(int)
    for i, x in enumerate(values):
        bold = i in apart
        ax.plot(x, color=ACCENT if bold else SOFT, linewidth=1.3 if bold else 0.6,
                alpha=1.0 if bold else 0.5, zorder=3 if bold else 2)  # fmt: skip


def _range(values: Sequence[np.ndarray]) -> tuple[float, float]:
    """Limits that hold all values but wild ones, with some room."""
    x = np.concatenate(values)
    x = x[np.isfinite(x)]
    if not len(x):
        return 0.0, 1.0
    low, high = np.quantile(x, [0.0005, 0.9995])
    room = 0.06 * (high - low) or 0.5
    return float(low - room), float(high + room)
