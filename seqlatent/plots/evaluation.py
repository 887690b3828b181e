"""The picture of an evaluation: forecasts beside what came, calibration, errors by steps ahead."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seqlatent.data.dataset import SequenceDataset
from seqlatent.errors import InputError
from seqlatent.plots.figure import (
    ACCENT,
    ALERT,
    INK,
    SOFT,
    finish,
    format_dates,
    merge_axes,
    new_figure,
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_SERIES, MAX_WINDOWS = 4, 3  # that are drawn, and of each series the last windows
COLORS = {"model": ACCENT, "seasonal-naive": ALERT, "random-walk": SOFT}
NAMES = {"model": "model", "seasonal-naive": "seasonal naive", "random-walk": "random walk"}


@dataclass(frozen=True)
class Fan:
    """A window of one series.

    Attributes:
        unique_id: the series.
        start: its steps of history.
        ds: (H,) steps of the window.
        quantiles: (7, H) at the levels 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95.
    """

    unique_id: str
    start: int
    ds: np.ndarray
    quantiles: np.ndarray


@dataclass(frozen=True)
class Calibration:
    """Where the truth lies among the paths.

    Attributes:
        counts: (B,) PITs in B equal bins.
        counts_if_right: (R, B) such counts, R times, of a truth that is one of the paths.
        joint: level -> share of whole paths in the band of that level.
    """

    counts: np.ndarray
    counts_if_right: np.ndarray
    joint: Mapping[float, float]

    @property
    def levels(self) -> np.ndarray:
        """(B / 2 - 1,) the central intervals that end at bins."""
        half = len(self.counts) // 2
        return np.arange(1, half) / half

    @staticmethod
    def coverage(counts: np.ndarray) -> np.ndarray:
        """(..., B) counts -> (..., B / 2 - 1) the share in each central interval."""
        half = counts.shape[-1] // 2
        sides = counts[..., half:] + counts[..., :half][..., ::-1]
        return sides.cumsum(-1)[..., :-1] / counts.sum(-1, keepdims=True)


def check_drawable(data: SequenceDataset) -> int:
    """The channel whose forecasts are drawn, the first that holds numbers.

    Raises:
        InputError: for data of labels alone.
    """
    numeric = [d for d, name in enumerate(data.targets) if name not in data.categories]
    if not numeric:
        raise InputError(
            f"{data.name}: an evaluation of labels alone has no picture; leave it out (--plot)"
        )
    return numeric[0]


def plot_evaluation(
    data: SequenceDataset,
    fans: Sequence[Fan],
    calibrations: Mapping[str, Calibration],
    crps: Mapping[str, np.ndarray],
    path: str | Path | None = None,
) -> "Figure":
    """Draw an evaluation in one figure.

    Of at most four series the last three windows are drawn, with the history before them.

    Args:
        data: the series.
        fans: every window, the model's forecast of the channel `check_drawable`.
        calibrations: of the methods `model` and `seasonal-naive`.
        crps: of each method, (H,) mean by steps ahead.
        path: where to write the picture.

    Raises:
        InputError: for data of labels alone.
    """
    channel = check_drawable(data)
    names = list(dict.fromkeys(f.unique_id for f in fans))
    shown = names[:MAX_SERIES]
    per_row = 1 if len(shown) == 1 else 2
    rows = -(-len(shown) // per_row)
    figure, axes = new_figure(rows + 1, 6, 12.0, 3.1 * (rows + 1))
    width = 6 // per_row
    for i in range(rows * per_row):
        row, column = divmod(i, per_row)
        ax = merge_axes(figure, axes, row, slice(column * width, (column + 1) * width))
        if i >= len(shown):
            ax.set_visible(False)
            continue
        mine = [f for f in fans if f.unique_id == shown[i]][-MAX_WINDOWS:]
        _draw_windows(ax, data, channel, mine, legend=i == 0)
    below = [merge_axes(figure, axes, rows, slice(2 * i, 2 * i + 2)) for i in range(3)]
    _draw_pit(below[0], calibrations["model"])
    _draw_coverage(below[1], calibrations)
    _draw_crps(below[2], crps, data.num_channels)
    if len(names) > len(shown):
        rest = f"Forecasts of {len(shown)} of {len(names)} series are drawn; "
        figure.supxlabel(rest + "the lower panels are over all of them", fontsize=8)
    return finish(figure, path)


def _draw_windows(ax: "Axes", data: SequenceDataset, d: int, fans: list[Fan], legend: bool) -> None:
    s = next(s for s in data if s.unique_id == fans[0].unique_id)
    length = len(fans[0].ds)
    first = max(0, fans[0].start - max(length, 24))
    stop = fans[-1].start + length
    ds, x = s.ds[first:stop], s.x[first:stop, d]
    for i, f in enumerate(fans):
        label = i == 0
        q05, _, q25, q50, q75, _, q95 = f.quantiles
        names = ("90 % interval", "50 % interval", "median") if label else (None,) * 3
        ax.fill_between(f.ds, q05, q95, color=ACCENT, alpha=0.18, lw=0, label=names[0])
        ax.fill_between(f.ds, q25, q75, color=ACCENT, alpha=0.35, lw=0, label=names[1])
        ax.plot(f.ds, q50, color=ACCENT, linewidth=1.4, label=names[2])
        cutoff = "forecast begins" if label else None
        ax.axvline(s.ds[f.start - 1], color=ALERT, linewidth=0.9, linestyle=":", label=cutoff)
    marker = "." if len(ds) < 60 else None
    ax.plot(ds, x, color=INK, linewidth=0.9, marker=marker, markersize=3, label="what came")
    format_dates(ax, ds)
    target = data.targets[d]
    name = shorten(data.name if len(data) == 1 else s.unique_id, 32)
    if data.num_channels > 1:
        name += f" {shorten(target, 20)} (1 of {data.num_channels} channels)"
    ahead = f"{length} steps ahead" if length > 1 else "one step ahead"
    windows = "the last window" if len(fans) == 1 else f"the last {len(fans)} windows"
    ax.set_title(f"{name}: {windows}, {ahead}", fontsize=9, loc="left")
    ax.set_ylabel(f"{target}, data units", fontsize=8)
    if ds.dtype.kind != "M":
        ax.set_xlabel("step", fontsize=8)
    if legend:
        ax.legend(fontsize=7, frameon=False, ncols=5, loc="upper left", columnspacing=1.0)
        low, high = ax.get_ylim()
        ax.set_ylim(low, high + 0.15 * (high - low))  # room for the legend


def _draw_pit(ax: "Axes", c: Calibration) -> None:
    """Shares of the bins relative to a uniform law, pairs of bins joined."""
    counts = c.counts.reshape(-1, 2).sum(1)
    right = c.counts_if_right.reshape(len(c.counts_if_right), -1, 2).sum(2)
    bins = len(counts)
    edges = np.arange(bins + 1) / bins
    low, high = np.quantile(right / right.sum(1, keepdims=True) * bins, [0.025, 0.975], axis=0)
    ax.bar(edges[:-1], counts / counts.sum() * bins, width=1 / bins, align="edge", color=ACCENT,
           alpha=0.6, edgecolor="white", label="model")  # fmt: skip
    # Each bin's band is drawn over its whole width.
    ends = np.repeat(edges, 2)[1:-1]
    ax.fill_between(ends, np.repeat(low, 2), np.repeat(high, 2), color=INK, alpha=0.18, lw=0,
                    label="95 % band, were it right")  # fmt: skip
    ax.axhline(1.0, color=INK, linewidth=0.8)
    ax.set_title("PIT: where the truth lies among the paths", fontsize=9, loc="left")
    ax.set_xlabel("share of paths below the truth", fontsize=8)
    ax.set_ylabel("density; 1 is calibrated", fontsize=8)
    ax.set_ylim(0, 1.3 * max(ax.get_ylim()[1], float(high.max())))
    ax.legend(fontsize=7, frameon=False, loc="upper center", ncols=2)


def _draw_coverage(ax: "Axes", calibrations: Mapping[str, Calibration]) -> None:
    model = calibrations["model"]
    low, high = np.quantile(model.coverage(model.counts_if_right), [0.025, 0.975], axis=0)
    ax.plot([0, 100], [0, 100], color=INK, linewidth=0.8)
    ax.fill_between(100 * model.levels, 100 * low, 100 * high, color=INK, alpha=0.18, lw=0,
                    label="95 % band, were it right")  # fmt: skip
    for method, c in calibrations.items():
        color, name = COLORS[method], NAMES[method]
        ax.plot(100 * c.levels, 100 * c.coverage(c.counts), color=color, marker=".", linewidth=1.2,
                label=f"{name}: single values")  # fmt: skip
        levels = 100 * np.array(list(c.joint))
        ax.scatter(levels, 100 * np.array(list(c.joint.values())), marker="D", s=18, zorder=3,
                   facecolor="none", edgecolor=color, label=f"{name}: whole paths")  # fmt: skip
    # Shares end at 100; above them is room for the legend, which no line can reach.
    ax.set(xlim=(0, 100), ylim=(0, 134), yticks=range(0, 101, 20))
    ax.set_title("Coverage: how many truths an interval holds", fontsize=9, loc="left")
    ax.set_xlabel("nominal level of the interval, %", fontsize=8)
    ax.set_ylabel("held, %", fontsize=8)
    ax.legend(fontsize=6.5, frameon=False, loc="upper left", ncols=2, borderaxespad=0.1,
              columnspacing=0.8, handlelength=1.2, handletextpad=0.5)  # fmt: skip


def _draw_crps(ax: "Axes", crps: Mapping[str, np.ndarray], num_channels: int) -> None:
    for method, values in crps.items():
        steps = np.arange(1, len(values) + 1)
        ax.plot(steps, values, color=COLORS[method], linewidth=1.4, label=NAMES[method],
                marker="." if len(values) < 60 else None)  # fmt: skip
    ax.set_title("CRPS by steps ahead: lower is better", fontsize=9, loc="left")
    ax.set_xlabel("steps ahead", fontsize=8)
    ax.locator_params(axis="x", integer=True)
    over = "" if num_channels == 1 else f" over {num_channels} channels"
    ax.set_ylabel(f"mean CRPS{over}, data units", fontsize=8)
    ax.set_ylim(bottom=0)
    ax.legend(fontsize=7, frameon=False)
