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
    panels = list(dict.fromkeys(zip(frame["unique_id"], frame["target"], strict=True)))
    error = np.nan_to_num(frame["error"].to_numpy(dtype=float))
    series, channel = frame["unique_id"].to_numpy(), frame["target"].to_numpy()
    usual = {t: np.sqrt(np.square(error[channel == t]).mean()) or 1.0 for _, t in panels}
    places = {panel: i for i, panel in enumerate(panels)}
    largest = np.zeros(len(panels))
    rows = [places[panel] for panel in zip(series, channel, strict=True)]
    np.maximum.at(largest, rows, np.abs(error) / [usual[t] for t in channel])
    shown = [panels[i] for i in np.argsort(-largest, kind="stable")[:MAX_PANELS]]
    figure, axes = new_figure(2 * len(shown), 1, 11.0, 4.2 * len(shown))
    for i, (name, target) in enumerate(shown):
        mine = frame[(frame["unique_id"] == name) & (frame["target"] == target)]
        ds, error = np.asarray(mine["ds"]), np.asarray(mine["error"], dtype=float)
        top, bottom = axes[2 * i, 0], axes[2 * i + 1, 0]
        top.plot(ds, mine["value"], color=INK, linewidth=0.9, label="value")
        top.plot(ds, mine["reconstruction"], color=ACCENT, linewidth=0.9, label="reconstruction")
        top.set_title(f"{data.name} {name}: {target}", fontsize=9, loc="left")
        top.legend(fontsize=7, frameon=False, ncols=2)
        bottom.axhline(0.0, color=SOFT, linewidth=0.8)
        bottom.plot(ds, error, color=INK, linewidth=0.7)
        far = np.argsort(-np.nan_to_num(np.abs(error)), kind="stable")[:MARKED]
        bottom.plot(ds[far], error[far], "o", color=ALERT, markersize=4,
                    label="largest errors")  # fmt: skip
        bottom.set_ylabel("error", fontsize=8)
        bottom.legend(fontsize=7, frameon=False)
        for ax in (top, bottom):
            format_dates(ax, ds)
    return finish(figure, path)
