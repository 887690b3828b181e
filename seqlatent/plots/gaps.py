"""A picture of imputed values: the series with its gaps, and a fan inside each."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seqlatent.data.dataset import SequenceDataset
from seqlatent.plots.figure import ACCENT, ALERT, INK, finish, format_dates, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AROUND = 40  # steps shown on either side of a gap, at the least


def plot_imputed(
    data: SequenceDataset,
    gaps: Sequence[tuple[int, np.ndarray, np.ndarray, np.ndarray]],
    path: str | Path | None = None,
    max_panels: int = 6,
) -> "Figure":
    """Fans of the 50 % and 90 % central intervals inside the gaps, between the values around them.

    A panel for each channel of a series that lacks values, around its longest gap.

    Args:
        data: with its gaps.
        gaps: of each series its place in the data, the (M,) steps that lack values, (M, D) which,
            and (S, M, D) draws.
        path: where to write the picture.
        max_panels: the first so many are drawn.
    """
    cells = [(gap, d) for gap in gaps for d in range(data.num_channels) if gap[2][:, d].any()]
    shown = cells[:max_panels]
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    figure, axes = new_figure(rows, columns, 6.2 * columns, 2.8 * rows)
    for ax, ((place, steps, missing, samples), d) in zip(axes.flat, shown, strict=False):
        s, lacking = data.sequences[place], missing[:, d]
        draw_gaps(ax, s.ds, s.x[:, d], steps[lacking], samples[:, lacking, d])
        target = data.targets[d]
        if target in data.categories:
            names = data.categories[target]
            ax.set_yticks(range(len(names)), names)
        ax.set_title(target if len(data) == 1 else f"{s.unique_id}: {target}", fontsize=9,
                     loc="left")  # fmt: skip
    for ax in list(axes.flat)[len(shown) :]:
        ax.set_visible(False)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=7, frameon=False, ncols=4, loc="outside upper right")
    if len(cells) > len(shown):
        figure.supxlabel(f"and {len(cells) - len(shown)} more series and channels", fontsize=8)
    return finish(figure, path)


def draw_gaps(
    ax: "Axes", ds: np.ndarray, x: np.ndarray, steps: np.ndarray, samples: np.ndarray
) -> None:
    """One channel (T,), the (M,) steps that it lacks, and (S, M) draws of them."""
    runs = np.split(steps, np.flatnonzero(np.diff(steps) > 1) + 1)
    longest = max(runs, key=len)
    around = max(AROUND, 2 * len(longest))
    low, high = max(0, longest[0] - around), min(len(ds), longest[-1] + 1 + around)
    ax.plot(ds[low:high], x[low:high], color=INK, linewidth=1.1,
            marker="." if high - low < 120 else None, markersize=3)  # fmt: skip
    labelled = False
    for run in runs:
        if run[-1] < low or run[0] >= high:
            continue
        draws = samples[:, np.searchsorted(steps, run)]
        at = run
        # Let the fan begin and end where the series does.
        if run[0] > 0:
            at = np.concatenate([[run[0] - 1], at])
            draws = np.concatenate([np.full((len(draws), 1), x[run[0] - 1]), draws], 1)
        if run[-1] + 1 < len(ds):
            at = np.concatenate([at, [run[-1] + 1]])
            draws = np.concatenate([draws, np.full((len(draws), 1), x[run[-1] + 1])], 1)
        q05, q25, q50, q75, q95 = np.quantile(draws, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)
        name = (lambda text: None) if labelled else (lambda text: text)
        ax.fill_between(ds[at], q05, q95, color=ACCENT, alpha=0.18, lw=0, label=name("90 %"))
        ax.fill_between(ds[at], q25, q75, color=ACCENT, alpha=0.35, lw=0, label=name("50 %"))
        ax.plot(ds[at], q50, color=ACCENT, linewidth=1.4, label=name("median"))
        for k in range(min(3, len(draws))):
            ax.plot(ds[at], draws[k * len(draws) // 3], color=ALERT, linewidth=0.5, alpha=0.6,
                    label=name("draws") if k == 0 else None)  # fmt: skip
        labelled = True
    format_dates(ax, ds)
