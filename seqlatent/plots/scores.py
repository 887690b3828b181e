"""Pictures of scores: how they spread, and what makes the most unusual sequences unusual."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.sequence import Sequence
from seqlatent.plots.figure import (
    ALERT,
    INK,
    SOFT,
    finish,
    format_dates,
    merge_axes,
    new_figure,
    shorten,
)
from seqlatent.plots.rolls import (
    MAX_CURVES,
    channel_limits,
    draw_roll,
    label_steps,
    mark_steps,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_DOTS = 20  # of a sequence; more would hide it
NUM_TIMES = 3  # steps that are written below a panel, at the most
NUM_ALIKE = 30  # sequences that an unusual one is held against


def plot_scores(
    data: SequenceDataset,
    scores: pd.DataFrame,
    steps: pd.DataFrame,
    path: str | Path | None = None,
    num_unusual: int = 6,
    marks: pd.DataFrame | None = None,
) -> "Figure":
    """Histogram of the scores, and the most unusual sequences.

    Dots mark the steps that make a sequence unusual: their surprise, minus the log-probability, is
    at least a nat above what is usual at that place. Sequences of one length are also held against
    the thirty most like them. A data set of one or two long series is drawn over time instead, with
    the surprise of every step below.

    Args:
        data: what was scored.
        scores, steps: as `seqlatent.tasks.scoring.score` returns them.
        path: where to write the picture.
        num_unusual: how many sequences are drawn.
        marks: known anomalies, `start` and `end`, to shade in long series.
    """
    if len(data) <= 2:
        return _plot_over_time(data, steps, path, marks)
    unusual = scores.nsmallest(num_unusual, "nats_per_step")
    stacked = _stacked(data)
    detail = 1 if stacked is None else 2  # rows of panels for a row of sequences
    rows = 1 + detail * -(-len(unusual) // 3)
    figure, axes = new_figure(rows, 3, 11.0, 2.2 * rows)
    _histogram(figure, axes, data, scores, unusual)
    surprising = _surprising_steps(steps)
    by_name = {s.unique_id: s for s in data}
    limits = channel_limits(data) if data.num_channels > MAX_CURVES else None
    worst = zip(unusual["unique_id"], unusual["nats_per_step"], strict=True)
    for i, (unique_id, nats) in enumerate(worst):
        row, column = 1 + detail * (i // 3), i % 3
        s = by_name[unique_id]
        places, excess = surprising(s)
        dots = 12 * np.sqrt(excess)
        ax = axes[row, column]
        if stacked is not None:
            _band(ax, stacked)
        if limits is not None:
            draw_roll(ax, s.x, s.ds, data.targets, limits, NUM_TIMES)
            mark_steps(ax, places, dots)
        else:
            for d, target in enumerate(data.targets):
                color = ALERT if data.num_channels == 1 else None
                ax.plot(s.x[:, d], color=color, linewidth=1.4, label=target)
                ax.scatter(places, s.x[places, d], s=dots, color=INK, zorder=3)
        ax.set_title(
            f"{shorten(str(unique_id), 30)}: {nats:.3f} nats per step", fontsize=9, loc="left"
        )
        if stacked is not None:
            _against_alike(axes[row + 1, column], s, stacked, places, dots)
        for panel in axes[row : row + detail, column] if limits is None else ():
            label_steps(panel, s.ds, NUM_TIMES)
    for i in range(len(unusual), 3 * ((rows - 1) // detail)):
        for k in range(detail):
            axes[1 + detail * (i // 3) + k, i % 3].set_visible(False)
    if 1 < data.num_channels <= MAX_CURVES:
        axes[1, 0].legend(fontsize=7, frameon=False)
    note = (
        f"dots: at most {MAX_DOTS} steps, at least a nat more surprising than usual at their place"
    )
    if stacked is not None:
        note += (
            f"\ngrey: 90 % of all sequences; below each: its difference from the {NUM_ALIKE} most "
            "like it, and theirs"
        )
    figure.supxlabel(note, fontsize=8)
    return finish(figure, path)


def _histogram(
    figure: "Figure",
    axes: np.ndarray,
    data: SequenceDataset,
    scores: pd.DataFrame,
    unusual: pd.DataFrame,
) -> None:
    """The top row: all scores, the unusual ones marked."""
    top = merge_axes(figure, axes, 0)
    top.grid(False)
    values = np.asarray(scores["nats_per_step"])
    low = float(values.min())
    wide = max(float(values.max()) - low, 1e-9)
    top.hist(values, bins=min(60, max(10, len(values) // 5)), range=(low, low + wide), color=SOFT)
    for value in unusual["nats_per_step"]:
        top.axvline(value, color=ALERT, linewidth=1)
    kind = scores["kind"].iloc[0]
    title = f"{data.name}: log-likelihood of {len(scores)} sequences ({kind}), nats per step"
    top.set_title(f"{title}; the most unusual marked", fontsize=9, loc="left")


def _surprising_steps(steps: pd.DataFrame):
    """A function that gives a sequence's surprising places, and by how many nats they are so."""
    surprise = -steps["log_prob"]
    place = steps.groupby("unique_id").cumcount()
    excess = surprise - surprise.groupby(place).transform("median")

    def of(s: Sequence) -> tuple[np.ndarray, np.ndarray]:
        mine = np.flatnonzero((steps["unique_id"] == s.unique_id) & (excess >= 1.0))
        values = np.asarray(excess)[mine]
        most = np.sort(np.argsort(-values, kind="stable")[:MAX_DOTS])
        return np.searchsorted(s.ds, np.asarray(steps["ds"])[mine[most]]), values[most]

    return of


def _stacked(data: SequenceDataset) -> np.ndarray | None:
    """(N, T) values, where there is one channel, one length, and nothing missing."""
    if data.num_channels > 1 or len(set(data.lengths.tolist())) != 1 or len(data) <= NUM_ALIKE:
        return None
    values = np.stack([s.x[:, 0] for s in data])
    return values if np.isfinite(values).all() else None


def _band(ax: "Axes", values: np.ndarray) -> None:
    """90 % of sequences at every step, and their median."""
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95], axis=0)
    ax.fill_between(np.arange(len(low)), low, high, color=SOFT, alpha=0.35, lw=0)
    ax.plot(middle, color=SOFT, linewidth=1)


def _against_alike(
    ax: "Axes", s: Sequence, values: np.ndarray, places: np.ndarray, dots: np.ndarray
) -> None:
    """A sequence minus the mean of those most like it: small oddities at their own scale."""
    x = s.x[:, 0]
    distance = ((values - x) ** 2).sum(1)
    alike = values[np.argsort(distance)[1 : NUM_ALIKE + 1]]  # the nearest is the sequence itself
    mean = alike.mean(0)
    _band(ax, alike - mean)
    ax.plot(x - mean, color=ALERT, linewidth=1.4)
    ax.scatter(places, (x - mean)[places], s=dots, color=INK, zorder=3)


def _plot_over_time(
    data: SequenceDataset,
    steps: pd.DataFrame,
    path: str | Path | None,
    marks: pd.DataFrame | None,
) -> "Figure":
    figure, axes = new_figure(2 * len(data), 1, 11.0, 4.6 * len(data))

    def along(s: Sequence, ds: ArrayLike, side: Literal["left", "right"] = "left") -> np.ndarray:
        """Where steps lie on the axis: rolls count them."""
        if limits is None:
            return np.asarray(ds)
        return np.searchsorted(s.ds, np.asarray(ds, dtype=s.ds.dtype), side)

    limits = channel_limits(data) if data.num_channels > MAX_CURVES else None
    for i, s in enumerate(data):
        top, bottom = axes[2 * i, 0], axes[2 * i + 1, 0]
        mine = steps[steps["unique_id"] == s.unique_id]
        if limits is not None:
            draw_roll(top, s.x, s.ds, data.targets, limits)
        else:
            for d, target in enumerate(data.targets):
                color = INK if data.num_channels == 1 else None
                top.plot(s.ds, s.x[:, d], linewidth=0.8, color=color, label=target)
        top.set_title(f"{data.name} {s.unique_id}", fontsize=9, loc="left")
        surprise, ds = -np.asarray(mine["log_prob"]), along(s, mine["ds"])
        bottom.plot(ds, surprise, color=SOFT, linewidth=0.6)
        width = max(1, len(surprise) // 200)
        if width > 1:
            smooth = pd.Series(surprise).rolling(width, center=True, min_periods=1).mean()
            bottom.plot(ds, smooth, color=ALERT, linewidth=1.2, label=f"mean of {width} steps")
            bottom.legend(fontsize=7, frameon=False)
        bottom.set_ylabel("surprise, nats", fontsize=8)
        bottom.set_xlim(top.get_xlim())
        spans = [] if marks is None else list(zip(marks["start"], marks["end"], strict=True))
        for k, (start, end) in enumerate(spans):
            label = "labelled anomaly" if k == 0 else None
            if limits is not None:  # from the first marked cell's left edge to the last one's right
                start, end = along(s, start) - 0.5, along(s, end, "right") - 0.5
            top.axvspan(start, end, color=ALERT, alpha=0.12, lw=0, label=label)
            bottom.axvspan(start, end, color=ALERT, alpha=0.12, lw=0)
        if spans or 1 < data.num_channels <= MAX_CURVES:
            top.legend(fontsize=7, frameon=False)
        if limits is None:
            format_dates(top, s.ds)
            format_dates(bottom, s.ds)
        else:
            bottom.set_xticks(top.get_xticks(), top.get_xticklabels(), fontsize=7)
            top.set_xlim(bottom.get_xlim())
    return finish(figure, path)
