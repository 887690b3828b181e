"""Pictures of series: forecasts with the end of their history, and samples."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seqlatent.data.dataset import SequenceDataset
from seqlatent.plots.figure import ACCENT, ALERT, INK, finish, format_dates, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_forecast(
    data: SequenceDataset,
    paths: Sequence[tuple[str, np.ndarray, np.ndarray]],
    path: str | Path | None = None,
    max_series: int = 6,
) -> "Figure":
    """Fans of the 50 % and 90 % central intervals with the end of the history.

    Args:
        data: the history.
        paths: (unique_id, (H,) steps, (S, H, D) samples) of each series.
        path: where to write the picture.
        max_series: the first so many are drawn.
    """
    shown = list(paths)[:max_series]
    channels = data.num_channels
    cells = [(i, d) for i in range(len(shown)) for d in range(channels)]
    # A row for each series, where its channels fit beside one another.
    columns = channels if len(shown) > 1 and channels in (2, 3, 4) else min(2, len(cells))
    rows = -(-len(cells) // columns)
    figure, axes = new_figure(rows, columns, 6.2 * columns, 2.8 * rows)
    by_name = {s.unique_id: s for s in data}
    for ax, (i, d) in zip(axes.flat, cells, strict=False):
        unique_id, ahead, samples = shown[i]
        history = by_name[unique_id]
        keep = max(3 * len(ahead), 24)
        ds, x = history.ds[-keep:], history.x[-keep:, d]
        drawn = samples[..., d]
        if np.isfinite(x[-1]):  # let the fan begin where the history ends
            ahead = np.concatenate([ds[-1:], ahead])
            drawn = np.concatenate([np.full((len(drawn), 1), x[-1]), drawn], 1)
        low, below, middle, above, high = np.quantile(drawn, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)
        ax.plot(ds, x, color=INK, linewidth=1.1, marker="." if len(ds) < 60 else None, markersize=3)
        label = data.targets[d] in data.categories
        if not label:
            ax.fill_between(ahead, low, high, color=ACCENT, alpha=0.18, lw=0, label="90 %")
            ax.fill_between(ahead, below, above, color=ACCENT, alpha=0.35, lw=0, label="50 %")
            ax.plot(ahead, middle, color=ACCENT, linewidth=1.4, label="median")
        for k in range(min(3, len(samples))):
            ax.plot(ahead, drawn[k], color=ALERT, linewidth=0.5, alpha=0.6,
                    label="paths" if k == 0 else None)  # fmt: skip
        if label:
            names = data.categories[data.targets[d]]
            ax.set_yticks(range(len(names)), names)
        title = data.targets[d] if len(data) == 1 else f"{unique_id}: {data.targets[d]}"
        ax.set_title(title, fontsize=9, loc="left")
        format_dates(ax, ds)
    for ax in list(axes.flat)[len(cells) :]:
        ax.set_visible(False)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=7, frameon=False, ncols=4, loc="outside upper right")
    hidden = len(paths) - len(shown)
    if hidden > 0:
        figure.supxlabel(f"and {hidden} more series", fontsize=8)
    return finish(figure, path)


def plot_samples(
    data: SequenceDataset, path: str | Path | None = None, max_series: int = 20
) -> "Figure":
    """Sequences drawn over one another, a panel for each channel."""
    channels = data.num_channels
    figure, axes = new_figure(channels, 1, 8.0, 2.6 * channels)
    for d in range(channels):
        ax = axes[d, 0]
        for s in data.sequences[:max_series]:
            ax.plot(s.ds, s.x[:, d], linewidth=0.8, alpha=0.6)
        ax.set_title(data.targets[d], fontsize=9, loc="left")
        format_dates(ax, data.sequences[0].ds)
    return finish(figure, path)
