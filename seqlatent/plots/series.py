"""Pictures of series: forecasts after their history, imputed values in their gaps, and samples."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seqlatent.data.dataset import SequenceDataset
from seqlatent.plots.figure import ACCENT, ALERT, INK, finish, format_dates, new_figure, shorten
from seqlatent.plots.rolls import (
    MAX_CURVES,
    MAX_ROLLS,
    plot_forecast_rolls,
    plot_sample_rolls,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NUM_PATHS = 3  # drawn one by one, over the fan
AROUND = 40  # steps shown on either side of a gap, at the least


def plot_forecast(
    data: SequenceDataset,
    paths: Sequence[tuple[str, np.ndarray, np.ndarray]],
    path: str | Path | None = None,
    max_series: int = 6,
) -> "Figure":
    """Fans of the 50 % and 90 % central intervals with the end of the history.

    More than eight channels are drawn as rolls; see `plot_forecast_rolls`.

    Args:
        data: the history.
        paths: (unique_id, (H,) steps, (S, H, D) samples) of each series.
        path: where to write the picture.
        max_series: the first so many are drawn.
    """
    if data.num_channels > MAX_CURVES:
        return plot_forecast_rolls(data, paths, path, max_series)
    shown = list(paths)[:max_series]
    channels = data.num_channels
    cells = [(i, d) for i in range(len(shown)) for d in range(channels)]
    # A row for each series, where its channels fit beside one another.
    columns = channels if len(shown) > 1 and channels in (2, 3, 4) else min(2, len(cells))
    figure, axes = _new_panels(len(cells), columns)
    by_name = {s.unique_id: s for s in data}
    for ax, (i, d) in zip(axes.flat, cells, strict=False):
        unique_id, ahead, samples = shown[i]
        history = by_name[unique_id]
        keep = max(3 * len(ahead), 24)
        ds, x = history.ds[-keep:], history.x[-keep:, d]
        numeric = data.targets[d] not in data.categories
        _draw_forecast(ax, ds, x, ahead, samples[..., d], fan=numeric)
        _name_panel(ax, data, unique_id, d)
        format_dates(ax, ds)
    _legend(figure, axes)
    hidden = len(paths) - len(shown)
    if hidden > 0:
        figure.supxlabel(f"and {hidden} more series", fontsize=8)
    return finish(figure, path)


def plot_imputed(
    data: SequenceDataset,
    gaps: Sequence[tuple[int, np.ndarray, np.ndarray, np.ndarray]],
    path: str | Path | None = None,
    max_panels: int = 6,
) -> "Figure":
    """Fans of the 50 % and 90 % central intervals inside the gaps, between the values around them.

    A panel for each channel of a series with missing values, around its longest gap.

    Args:
        data: with its gaps.
        gaps: of each series its place in the data, the (M,) steps with missing values, (M, D) which
            of them are missing, and (S, M, D) samples.
        path: where to write the picture.
        max_panels: the first so many are drawn.
    """
    cells = [(gap, d) for gap in gaps for d in range(data.num_channels) if gap[2][:, d].any()]
    shown = cells[:max_panels]
    figure, axes = _new_panels(len(shown), min(2, len(shown)))
    for ax, ((place, steps, missing, samples), d) in zip(axes.flat, shown, strict=False):
        s, here = data.sequences[place], missing[:, d]
        _draw_gaps(ax, s.ds, s.x[:, d], steps[here], samples[:, here, d])
        _name_panel(ax, data, s.unique_id, d)
        format_dates(ax, s.ds)
    _legend(figure, axes)
    if len(cells) > len(shown):
        figure.supxlabel(f"and {len(cells) - len(shown)} more series and channels", fontsize=8)
    return finish(figure, path)


def plot_samples(
    data: SequenceDataset, path: str | Path | None = None, max_series: int = 20
) -> "Figure":
    """Sequences drawn over one another, a panel for each channel.

    Of more than eight channels the first six sequences are drawn, as rolls.

    Args:
        data: the sequences.
        path: where to write the picture.
        max_series: the first so many are drawn.
    """
    channels = data.num_channels
    if channels > MAX_CURVES:
        return plot_sample_rolls(data, path, min(max_series, MAX_ROLLS))
    figure, axes = new_figure(channels, 1, 8.0, 2.6 * channels)
    for d in range(channels):
        ax = axes[d, 0]
        for s in data.sequences[:max_series]:
            ax.plot(s.ds, s.x[:, d], linewidth=0.8, alpha=0.6)
        ax.set_title(data.targets[d], fontsize=9, loc="left")
        format_dates(ax, data.sequences[0].ds)
    return finish(figure, path)


def _draw_forecast(
    ax: "Axes", ds: np.ndarray, x: np.ndarray, ahead: np.ndarray, samples: np.ndarray, fan: bool
) -> None:
    """One channel: its history (T,), and (S, H) samples of the (H,) steps ahead."""
    ax.plot(ds, x, color=INK, linewidth=1.1, marker="." if len(ds) < 60 else None, markersize=3)
    if np.isfinite(x[-1]):  # let the fan begin where the history ends
        ahead = np.concatenate([ds[-1:], ahead])
        samples = np.concatenate([np.full((len(samples), 1), x[-1]), samples], 1)
    if fan:
        _draw_fan(ax, ahead, samples)
    _draw_paths(ax, ahead, samples[:NUM_PATHS], "paths")


def _draw_gaps(
    ax: "Axes", ds: np.ndarray, x: np.ndarray, steps: np.ndarray, samples: np.ndarray
) -> None:
    """One channel (T,), its (M,) missing steps, and (S, M) samples of them."""
    runs = np.split(steps, np.flatnonzero(np.diff(steps) > 1) + 1)
    longest = max(runs, key=len)
    around = max(AROUND, 2 * len(longest))
    low, high = max(0, longest[0] - around), min(len(ds), longest[-1] + 1 + around)
    ax.plot(ds[low:high], x[low:high], color=INK, linewidth=1.1,
            marker="." if high - low < 120 else None, markersize=3)  # fmt: skip
    visible = [run for run in runs if run[-1] >= low and run[0] < high]
    for i, run in enumerate(visible):
        inside = samples[:, np.searchsorted(steps, run)]
        # Let the fan begin and end at the values around the gap.
        at = np.arange(max(0, run[0] - 1), min(len(ds), run[-1] + 2))
        values = np.tile(x[at], (len(samples), 1))
        values[:, np.isin(at, run)] = inside
        _draw_fan(ax, ds[at], values, labelled=i == 0)
        chosen = [k * len(values) // NUM_PATHS for k in range(min(NUM_PATHS, len(values)))]
        _draw_paths(ax, ds[at], values[chosen], "samples" if i == 0 else None)


def _draw_fan(ax: "Axes", ds: np.ndarray, samples: np.ndarray, labelled: bool = True) -> None:
    """Median and central intervals of (S, H) samples at (H,) steps."""
    q05, q25, q50, q75, q95 = np.quantile(samples, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)
    names = ("90 %", "50 %", "median") if labelled else (None, None, None)
    ax.fill_between(ds, q05, q95, color=ACCENT, alpha=0.18, lw=0, label=names[0])
    ax.fill_between(ds, q25, q75, color=ACCENT, alpha=0.35, lw=0, label=names[1])
    ax.plot(ds, q50, color=ACCENT, linewidth=1.4, label=names[2])


def _draw_paths(ax: "Axes", ds: np.ndarray, paths: np.ndarray, name: str | None) -> None:
    for k, values in enumerate(paths):
        ax.plot(ds, values, color=ALERT, linewidth=0.5, alpha=0.6,
                label=name if k == 0 else None)  # fmt: skip


def _new_panels(num: int, columns: int) -> tuple["Figure", np.ndarray]:
    """A figure with so many panels that are seen."""
    rows = -(-num // columns)
    figure, axes = new_figure(rows, columns, 6.2 * columns, 2.8 * rows)
    for ax in list(axes.flat)[num:]:
        ax.set_visible(False)
    return figure, axes


def _name_panel(ax: "Axes", data: SequenceDataset, unique_id: str, d: int) -> None:
    """A title, and of labels their names beside the axis."""
    target = data.targets[d]
    if target in data.categories:
        names = data.categories[target]
        ax.set_yticks(range(len(names)), names)
    title = target if len(data) == 1 else f"{shorten(unique_id, 40)}: {target}"
    ax.set_title(title, fontsize=9, loc="left")


def _legend(figure: "Figure", axes: np.ndarray) -> None:
    """One for all panels, outside them."""
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=7, frameon=False, ncols=4, loc="outside upper right")
