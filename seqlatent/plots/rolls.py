"""Pictures of many channels as rolls: a row for each channel, time to the right.

As curves, dozens of channels, such as the keys of a piano, would take dozens of panels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.steps import show_step
from seqlatent.plots.figure import ALERT, finish, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_CURVES = 8  # more channels than this are drawn as rolls
MAX_ROLLS = 6  # in one picture, if nothing else is asked for
NUM_NAMES, NUM_TIMES = 8, 5  # written beside a roll and below it, at the most


def draw_roll(
    ax: "Axes",
    x: np.ndarray,
    ds: np.ndarray,
    names: Sequence[str],
    limits: np.ndarray,
    num_times: int = NUM_TIMES,
) -> None:
    """Draw (T, D) values at (T,) steps: light where a channel is lowest, dark where it is highest,
    blank where it is missing.

    Args:
        limits: (2, D) the lowest and highest value of each channel. Channels at the edges of the
            roll that never change, such as keys that nobody touches, are left out.
        num_times: steps that are written below it, at the most.
    """
    low, high = limits
    moving = np.flatnonzero(high > low)
    rows = np.arange(moving[0], moving[-1] + 1) if len(moving) else np.arange(len(names))
    spread = np.where(high > low, high - low, 1.0)
    shade = ((x - low) / spread)[:, rows].T
    ax.imshow(
        np.ma.masked_invalid(shade), aspect="auto", origin="lower", cmap="Blues", vmin=0, vmax=1,
        interpolation="none",
    )  # fmt: skip
    ax.grid(False)
    named = np.unique(np.linspace(0, len(rows) - 1, NUM_NAMES).round().astype(int))
    ax.set_yticks(named, [names[int(rows[i])] for i in named], fontsize=7)
    label_steps(ax, ds, num_times)


def label_steps(ax: "Axes", ds: np.ndarray, most: int) -> None:
    """Write a few of the (T,) steps along an axis that counts them."""
    at = np.arange(0, len(ds), -(-len(ds) // most))
    ax.set_xticks(at, [_short(ds[i]) for i in at], fontsize=7)


def channel_limits(data: SequenceDataset) -> np.ndarray:
    """(2, D) the lowest and highest observed value of each channel; 0 and 0 if there is none."""
    x = np.concatenate([s.x for s in data])
    seen = np.isfinite(x)
    low = np.where(seen, x, np.inf).min(0)
    high = np.where(seen, x, -np.inf).max(0)
    ever = seen.any(0)
    return np.stack([np.where(ever, low, 0.0), np.where(ever, high, 0.0)])


def plot_forecast_rolls(
    data: SequenceDataset,
    paths: Sequence[tuple[str, np.ndarray, np.ndarray]],
    path: str | Path | None = None,
    max_series: int = MAX_ROLLS,
) -> "Figure":
    """The end of each history, and after a line the mean of its paths (of labels the most frequent
    one); beside it one path.

    Args:
        data: the history.
        paths: (unique_id, (H,) steps, (S, H, D) samples) of each series.
        path: where to write the picture.
        max_series: the first so many are drawn.
    """
    shown = list(paths)[:max_series]
    figure, axes = new_figure(len(shown), 2, 12.4, 3.2 * len(shown))
    by_name, limits = {s.unique_id: s for s in data}, channel_limits(data)
    labelled = [d for d, name in enumerate(data.targets) if name in data.categories]
    middles = [mean_or_most_frequent(samples, labelled) for _, _, samples in shown]
    for (_, _, samples), middle in zip(shown, middles, strict=True):  # they may leave its range
        limits[0] = np.minimum(limits[0], np.minimum(samples[0], middle).min(0))
        limits[1] = np.maximum(limits[1], np.maximum(samples[0], middle).max(0))
    what = "most frequent label" if len(labelled) == data.num_channels else "mean"
    for row, (unique_id, ahead, samples), middle in zip(axes, shown, middles, strict=True):
        s = by_name[unique_id]
        keep = max(3 * len(ahead), 24)
        ds = np.concatenate([s.ds[-keep:], ahead])
        for ax, values, title in (
            (row[0], middle, f"{what} of {len(samples)} paths"),
            (row[1], samples[0], "one path"),
        ):
            draw_roll(ax, np.concatenate([s.x[-keep:], values]), ds, data.targets, limits)
            ax.axvline(len(ds) - len(ahead) - 0.5, color=ALERT, linewidth=1.2)
            ax.set_title(f"{unique_id}: {title} after the line", fontsize=9, loc="left")
    if len(paths) > len(shown):
        figure.supxlabel(f"and {len(paths) - len(shown)} more series", fontsize=8)
    return finish(figure, path)


def plot_sample_rolls(
    data: SequenceDataset, path: str | Path | None = None, max_series: int = MAX_ROLLS
) -> "Figure":
    """A panel for each of the first sequences.

    Args:
        data: the sequences.
        path: where to write the picture.
        max_series: the first so many are drawn.
    """
    shown = data.sequences[:max_series]
    columns = min(2, len(shown))
    rows = -(-len(shown) // columns)
    figure, axes = new_figure(rows, columns, 6.2 * columns, 3.2 * rows)
    limits = channel_limits(data)
    for ax, s in zip(axes.flat, shown, strict=False):
        draw_roll(ax, s.x, s.ds, data.targets, limits)
        ax.set_title(s.unique_id, fontsize=9, loc="left")
    for ax in list(axes.flat)[len(shown) :]:
        ax.set_visible(False)
    if len(data) > len(shown):
        figure.supxlabel(f"and {len(data) - len(shown)} more sequences", fontsize=8)
    return finish(figure, path)


def mean_or_most_frequent(samples: np.ndarray, labelled: Sequence[int]) -> np.ndarray:
    """(H, D) means of (S, H, D) samples; in channels of labels the most frequent code."""
    found = samples.mean(0)
    for d in labelled:
        codes = np.arange(int(samples[..., d].max()) + 1)
        found[:, d] = (samples[..., d, None] == codes).sum(0).argmax(-1)
    return found


def mark_steps(ax: "Axes", places: np.ndarray, sizes: np.ndarray) -> None:
    """Dots above a roll."""
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + 0.08 * (high - low))
    ax.scatter(places, np.full(len(places), high + 0.04 * (high - low)), s=sizes, color=ALERT)


def _short(step: np.generic) -> str:
    """A step in few characters: a date alone where it is midnight."""
    return show_step(step).removesuffix(":00").removesuffix(" 00:00")
