"""Pictures of alarms: the series above, their score and its threshold below, alarms shaded."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.sequence import Sequence
from seqlatent.plots.figure import ALERT, INK, SOFT, finish, format_dates, new_figure
from seqlatent.plots.rolls import MAX_CURVES, channel_limits, draw_roll

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_SERIES = 4  # in one picture


def plot_alarms(
    data: SequenceDataset,
    steps: pd.DataFrame,
    alarms: pd.DataFrame,
    path: str | Path | None = None,
    unit: str = "nats",
) -> "Figure":
    """The series with the rarest alarms, at most four, and then the first ones.

    Args:
        data: what was looked at.
        steps, alarms: as `seqlatent.tasks.detecting.Detection` holds them.
        path: where to write the picture.
        unit: of the score.
    """
    worst = alarms.sort_values("score", ascending=False)["unique_id"].unique().tolist()
    by_name = {s.unique_id: s for s in data}
    names = [*worst, *(name for name in by_name if name not in worst)][:MAX_SERIES]
    figure, axes = new_figure(2 * len(names), 1, 11.0, 4.6 * len(names))
    limits = channel_limits(data) if data.num_channels > MAX_CURVES else None
    for i, name in enumerate(names):
        s, top, bottom = by_name[name], axes[2 * i, 0], axes[2 * i + 1, 0]
        mine = steps[steps["unique_id"] == name]
        spans = alarms[alarms["unique_id"] == name]
        top.set_title(f"{data.name} {name}: {_counted(len(spans))}", fontsize=9, loc="left")
        _score(bottom, s, pd.DataFrame(mine), limits is not None, unit)
        if limits is None:
            for d, target in enumerate(data.targets):
                color = INK if data.num_channels == 1 else None
                top.plot(s.ds, s.x[:, d], linewidth=0.8, color=color, label=target)
            if data.num_channels > 1:
                top.legend(fontsize=7, frameon=False)
            bottom.set_xlim(top.get_xlim())
            format_dates(top, s.ds)
            format_dates(bottom, s.ds)
        else:
            draw_roll(top, s.x, s.ds, data.targets, limits)
            bottom.set_xlim(top.get_xlim())
            bottom.set_xticks(top.get_xticks(), top.get_xticklabels(), fontsize=7)
        for start, end in zip(spans["start"], spans["end"], strict=True):
            ends = _edges(s, start, end, rolled=limits is not None)
            for ax in (top, bottom):
                ax.axvspan(*ends, color=ALERT, alpha=0.15, lw=1)
    return finish(figure, path)


def _score(ax: "Axes", s: Sequence, steps: pd.DataFrame, rolled: bool, unit: str) -> None:
    ds = np.asarray(steps["ds"])
    at = np.searchsorted(s.ds, ds.astype(s.ds.dtype)) if rolled else ds
    score, threshold = np.asarray(steps["score"]), np.asarray(steps["threshold"])
    ax.plot(at, score, color=SOFT, linewidth=0.8, label="score, in a rest after an alarm")
    judged = np.where(steps["excess"].isna(), np.nan, score)
    ax.plot(at, judged, color=INK, linewidth=0.8, label="score")
    ax.plot(at, threshold, color=ALERT, linewidth=0.8, linestyle="--", label="threshold")
    ax.set_ylabel(f"score, {unit}", fontsize=8)
    ax.legend(fontsize=7, frameon=False, ncols=3)


def _edges(s: Sequence, start, end, rolled: bool) -> tuple:
    """Half a step to the left of an interval of alarm and half a step to its right."""
    first, last = np.searchsorted(s.ds, np.array([start, end], dtype=s.ds.dtype))
    if rolled:
        return first - 0.5, last + 0.5
    before, after = s.ds[max(first - 1, 0)], s.ds[min(last + 1, len(s) - 1)]
    return s.ds[first] - (s.ds[first] - before) / 2, s.ds[last] + (after - s.ds[last]) / 2


def _counted(number: int) -> str:
    return {0: "no alarm", 1: "1 alarm"}.get(number, f"{number} alarms")
