"""Pictures: forecast fans, training curves, scores, samples.

matplotlib is imported when something is drawn. Every function returns the figure, and writes it
when given a path (`.png`, `.pdf` or `.svg`).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from seqlatent.data.dataset import SequenceDataset
from seqlatent.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ENDINGS = (".png", ".pdf", ".svg")
INK, ACCENT, ALERT, SOFT = "#22313f", "#1f77b4", "#c0392b", "#9aa5b1"


def check_picture(path: str | Path) -> None:
    """Refuse, before long work, a picture that could not be written."""
    path = Path(path)
    if path.suffix.lower() not in ENDINGS:
        raise InputError(f"{path}: a picture's name ends in {', '.join(ENDINGS)}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; make it first")


def _figure(rows: int, columns: int, width: float, height: float) -> tuple["Figure", np.ndarray]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25, linewidth=0.5)
        ax.tick_params(labelsize=8)
    return figure, axes


def _finish(figure: "Figure", path: str | Path | None) -> "Figure":
    if path is not None:
        check_picture(path)
        try:
            figure.savefig(path, dpi=130)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    return figure


def _dates(ax: "Axes", ds: np.ndarray) -> None:
    if np.issubdtype(ds.dtype, np.datetime64):
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator(minticks=3, maxticks=7)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))


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
    columns = channels if len(shown) == 1 and channels > 1 else min(2, len(shown) * channels)
    cells = [(i, d) for i in range(len(shown)) for d in range(channels)]
    columns = min(columns, 2)
    rows = -(-len(cells) // columns)
    figure, axes = _figure(rows, columns, 6.2 * columns, 2.8 * rows)
    by_name = {s.unique_id: s for s in data}
    for ax, (i, d) in zip(axes.flat, cells, strict=False):
        unique_id, ahead, samples = shown[i]
        history = by_name[unique_id]
        keep = max(3 * len(ahead), 24)
        ds, x = history.ds[-keep:], history.x[-keep:, d]
        low, below, middle, above, high = np.quantile(
            samples[..., d], [0.05, 0.25, 0.5, 0.75, 0.95], axis=0
        )
        ax.plot(ds, x, color=INK, linewidth=1.1, marker="." if len(ds) < 60 else None, markersize=3)
        label = data.targets[d] in data.categories
        if not label:
            ax.fill_between(ahead, low, high, color=ACCENT, alpha=0.18, lw=0, label="90 %")
            ax.fill_between(ahead, below, above, color=ACCENT, alpha=0.35, lw=0, label="50 %")
            ax.plot(ahead, middle, color=ACCENT, linewidth=1.4, label="median")
        for k in range(min(3, len(samples))):
            ax.plot(ahead, samples[k, :, d], color=ALERT, linewidth=0.5, alpha=0.6,
                    label="paths" if k == 0 else None)  # fmt: skip
        title = data.targets[d] if len(data) == 1 else f"{unique_id}: {data.targets[d]}"
        ax.set_title(title, fontsize=9, loc="left")
        _dates(ax, ds)
    for ax in list(axes.flat)[len(cells) :]:
        ax.set_visible(False)
    axes.flat[0].legend(fontsize=7, frameon=False, ncols=4, loc="upper left")
    hidden = len(paths) - len(shown)
    if hidden > 0:
        figure.supxlabel(f"and {hidden} more series", fontsize=8)
    return _finish(figure, path)


def plot_curve(history: pd.DataFrame, path: str | Path | None = None, title: str = "") -> "Figure":
    """Training and validation log-likelihood over training steps, nats per step."""
    figure, axes = _figure(1, 1, 7.0, 3.6)
    ax = axes[0, 0]
    ax.plot(history["step"], -history["train_loss"], color=SOFT, linewidth=1.2,
            label="training objective")  # fmt: skip
    ax.plot(history["step"], history["valid_log_prob"], color=ACCENT, linewidth=1.6,
            label="held out")  # fmt: skip
    best = history["valid_log_prob"].idxmax()
    ax.plot(history["step"][best], history["valid_log_prob"][best], "o", color=ALERT, markersize=5,
            label=f"kept: {history['valid_log_prob'][best]:.4f}")  # fmt: skip
    # The first steps fall from far: show the part in which something is decided.
    settled = history["valid_log_prob"].iloc[len(history) // 10 :]
    low, high = settled.min(), max(history["valid_log_prob"].max(), -history["train_loss"].min())
    margin = 0.08 * max(high - low, 1e-3)
    ax.set_ylim(low - margin, high + margin)
    ax.set_xlabel("training step", fontsize=8)
    ax.set_ylabel("nats per step", fontsize=8)
    ax.set_title(title, fontsize=9, loc="left")
    ax.legend(fontsize=8, frameon=False, loc="lower right")
    return _finish(figure, path)


def plot_scores(
    data: SequenceDataset,
    scores: pd.DataFrame,
    steps: pd.DataFrame,
    path: str | Path | None = None,
    num_unusual: int = 6,
) -> "Figure":
    """Histogram of the scores, and the most unusual sequences drawn over all others.

    A data set of one or two long series is drawn over time instead, with the surprise of every
    step (minus its log-probability) below.
    """
    if len(data) <= 2:
        return _plot_surprise(data, steps, path)
    unusual = scores.nsmallest(num_unusual, "nats_per_step")
    rows = -(-len(unusual) // 3)
    figure, axes = _figure(rows + 1, 3, 11.0, 2.5 * (rows + 1))
    grid = axes[0, 0].get_gridspec()
    for ax in axes[0]:
        ax.remove()
    top = figure.add_subplot(grid[0, :])
    top.spines[["top", "right"]].set_visible(False)
    values = scores["nats_per_step"]
    low, high = np.nanmin(values), np.nanmax(values)
    wide = max(high - low, 1e-9)
    top.hist(values, bins=min(60, max(10, len(values) // 5)), range=(low, low + wide), color=SOFT)
    for value in unusual["nats_per_step"]:
        top.axvline(value, color=ALERT, linewidth=1)
    kind = scores["kind"].iloc[0]
    top.set_title(
        f"{data.name}: log-likelihood of {len(scores)} sequences ({kind}), nats per step; "
        "the most unusual marked",
        fontsize=9, loc="left",
    )  # fmt: skip
    top.tick_params(labelsize=8)
    by_name = {s.unique_id: s for s in data}
    band = _typical(data)
    for ax, (_, row) in zip(axes[1:].flat, unusual.iterrows(), strict=False):
        s = by_name[row["unique_id"]]
        position = np.arange(len(s))
        if band is not None and data.num_channels == 1:
            ax.fill_between(
                np.arange(band.shape[1]), band[0], band[2], color=SOFT, alpha=0.35, lw=0
            )
            ax.plot(band[1], color=SOFT, linewidth=1)
        for d in range(data.num_channels):
            color = ALERT if data.num_channels == 1 else None
            ax.plot(position, s.x[:, d], color=color, linewidth=1.4, label=data.targets[d])
        ax.set_title(f"{s.unique_id}: {row['nats_per_step']:.3f}", fontsize=9, loc="left")
    for ax in list(axes[1:].flat)[len(unusual) :]:
        ax.set_visible(False)
    if data.num_channels > 1:
        axes[1, 0].legend(fontsize=7, frameon=False)
    elif band is not None:
        figure.supxlabel("step within the sequence; grey: 90 % of all sequences, and their median",
                         fontsize=8)  # fmt: skip
    return _finish(figure, path)


def _typical(data: SequenceDataset) -> np.ndarray | None:
    """(3, T) quantiles over sequences at each step, where all have the same length."""
    if len(set(data.lengths.tolist())) != 1 or len(data) < 10:
        return None
    values = np.stack([s.x[:, 0] for s in data])
    if not np.isfinite(values).all():
        return None
    return np.quantile(values, [0.05, 0.5, 0.95], axis=0)


def _plot_surprise(data: SequenceDataset, steps: pd.DataFrame, path: str | Path | None) -> "Figure":
    figure, axes = _figure(2 * len(data), 1, 11.0, 4.6 * len(data))
    for i, s in enumerate(data):
        top, bottom = axes[2 * i, 0], axes[2 * i + 1, 0]
        mine = steps[steps["unique_id"] == s.unique_id]
        for d in range(data.num_channels):
            top.plot(s.ds, s.x[:, d], linewidth=0.8, color=INK if data.num_channels == 1 else None,
                     label=data.targets[d])  # fmt: skip
        top.set_title(f"{data.name} {s.unique_id}", fontsize=9, loc="left")
        surprise = -mine["log_prob"].to_numpy()
        ds = mine["ds"].to_numpy()
        bottom.plot(ds, surprise, color=SOFT, linewidth=0.6)
        width = max(1, len(surprise) // 200)
        if width > 1:
            smooth = pd.Series(surprise).rolling(width, center=True, min_periods=1).mean()
            bottom.plot(ds, smooth, color=ALERT, linewidth=1.2, label=f"mean of {width} steps")
            bottom.legend(fontsize=7, frameon=False)
        bottom.set_ylabel("surprise, nats", fontsize=8)
        if data.num_channels > 1:
            top.legend(fontsize=7, frameon=False)
        bottom.set_xlim(top.get_xlim())
        _dates(top, s.ds)
        _dates(bottom, s.ds)
    return _finish(figure, path)


def plot_samples(
    data: SequenceDataset, path: str | Path | None = None, max_series: int = 20
) -> "Figure":
    """Sequences drawn over one another, a panel for each channel."""
    channels = data.num_channels
    figure, axes = _figure(channels, 1, 8.0, 2.6 * channels)
    for d in range(channels):
        ax = axes[d, 0]
        for s in data.sequences[:max_series]:
            ax.plot(s.ds, s.x[:, d], linewidth=0.8, alpha=0.6)
        ax.set_title(data.targets[d], fontsize=9, loc="left")
        _dates(ax, data.sequences[0].ds)
    return _finish(figure, path)


def plot_latents(
    frame: pd.DataFrame, path: str | Path | None = None, max_series: int = 3
) -> "Figure":
    """Mean and standard deviation of every latent over time, for the first series."""
    names: list[Any] = list(dict.fromkeys(frame["unique_id"]))[:max_series]
    latents = [c[: -len("_mean")] for c in frame.columns if c.endswith("_mean")]
    figure, axes = _figure(len(latents), len(names), 4.2 * len(names), 1.4 * len(latents))
    for j, name in enumerate(names):
        mine = frame[frame["unique_id"] == name]
        ds = mine["ds"].to_numpy()
        for i, latent in enumerate(latents):
            mean, scale = mine[f"{latent}_mean"].to_numpy(), mine[f"{latent}_scale"].to_numpy()
            ax = axes[i, j]
            ax.fill_between(ds, mean - scale, mean + scale, color=ACCENT, alpha=0.25, lw=0)
            ax.plot(ds, mean, color=ACCENT, linewidth=1)
            ax.set_title(f"{name}: {latent}", fontsize=8, loc="left")
            _dates(ax, ds)
    return _finish(figure, path)


def text_table(rows: Iterable[Sequence[Any]], header: Sequence[str]) -> str:
    """A plain table with aligned columns, numbers to the right."""
    cells = [[_cell(v) for v in row] for row in rows]
    numeric = [
        all(isinstance(v, int | float) for v in column) for column in zip(*rows, strict=True)
    ]
    widths = [max(len(h), *(len(r[i]) for r in cells)) for i, h in enumerate(header)]
    lines = []
    for row in [list(header), *cells]:
        lines.append(
            "  ".join(
                c.rjust(w) if n else c.ljust(w)
                for c, w, n in zip(row, widths, numeric, strict=True)
            ).rstrip()
        )
    return "\n".join(lines)


def _cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
