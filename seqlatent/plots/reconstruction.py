"""Pictures of reconstructions: values and what was reconstructed above, the errors below."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from seqlatent.data.dataset import SequenceDataset
from seqlatent.plots.figure import ACCENT, ALERT, INK, SOFT, finish, format_dates, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_PANELS = 4  # series and channels in one picture
MARKED = 5  # errors of each panel


def plot_reconstruction(
    data: SequenceDataset, frame: pd.DataFrame, path: str | Path | None = None
) -> "Figure":
    """The series and channels with the largest errors relative to their channel's usual one.

    Args:
        data: what was reconstructed.
        frame: as `seqlatent.tasks.reconstructing.Reconstruction` holds it.
        path: where to write the picture.
    """
    usual = frame.groupby("target")["error"].agg(lambda e: np.sqrt(np.square(e).mean()))
    size = frame["error"].abs() / frame["target"].map(usual).replace(0.0, 1.0)
    worst = size.groupby([frame["unique_id"], frame["target"]], sort=False).max()
    shown = worst.sort_values(ascending=False, kind="stable").index[:MAX_PANELS]
    figure, axes = new_figure(2 * len(shown), 1, 11.0, 4.2 * len(shown))
    for i, (name, target) in enumerate(shown):
        mine = frame[(frame["unique_id"] == name) & (frame["target"] == target)]
        ds, error = np.asarray(mine["ds"]), np.asarray(mine["error"])
        top, bottom = axes[2 * i, 0], axes[2 * i + 1, 0]
        top.plot(ds, mine["value"], color=INK, linewidth=0.9, label="value")
        top.plot(ds, mine["reconstruction"], color=ACCENT, linewidth=0.9, label="reconstruction")
        top.set_title(f"{data.name} {name}: {target}", fontsize=9, loc="left")
        top.legend(fontsize=7, frameon=False, ncols=2)
        bottom.axhline(0.0, color=SOFT, linewidth=0.8)
        bottom.plot(ds, error, color=INK, linewidth=0.7)
        largest = np.argsort(-np.nan_to_num(np.abs(error)), kind="stable")[:MARKED]
        bottom.plot(ds[largest], error[largest], "o", color=ALERT, markersize=4,
                    label="largest errors")  # fmt: skip
        bottom.set_ylabel("error", fontsize=8)
        bottom.legend(fontsize=7, frameon=False)
        for ax in (top, bottom):
            format_dates(ax, ds)
    return finish(figure, path)
