"""Pictures of forecasts, training, samples and latents; plain tables and sentences.

matplotlib is imported when something is drawn. Every function returns the figure, and writes it
when given a path (`.png`, `.pdf` or `.svg`).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.tables import check_writable
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
    check_writable(path)


def new_figure(rows: int, columns: int, width: float, height: float) -> tuple["Figure", np.ndarray]:
    """A figure of so many inches, and its (rows, columns) axes."""
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


def finish(figure: "Figure", path: str | Path | None) -> "Figure":
    """Write the figure, where there is a path."""
    if path is not None:
        check_picture(path)
        try:
            figure.savefig(path, dpi=130)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    return figure


def format_dates(ax: "Axes", ds: np.ndarray) -> None:
    """Short dates along an axis of timestamps; integers stay as they are."""
    if np.issubdtype(ds.dtype, np.datetime64):
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator(minticks=3, maxticks=7)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        ax.xaxis.get_offset_text().set_fontsize(8)


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


def plot_curve(history: pd.DataFrame, path: str | Path | None = None, title: str = "") -> "Figure":
    """Training and validation log-likelihood over training steps, nats per step."""
    figure, axes = new_figure(1, 1, 7.0, 3.6)
    ax = axes[0, 0]
    marker = "." if len(history) == 1 else None  # a line needs two
    ax.plot(history["step"], -history["train_loss"], color=SOFT, linewidth=1.2, marker=marker,
            label="training objective")  # fmt: skip
    ax.plot(history["step"], history["valid_log_prob"], color=ACCENT, linewidth=1.6,
            label="held out")  # fmt: skip
    best = history["valid_log_prob"].idxmax()
    ax.plot(history["step"][best], history["valid_log_prob"][best], "o", color=ALERT, markersize=5,
            label=f"kept: {history['valid_log_prob'][best]:.4f}")  # fmt: skip
    # The first steps fall from far: show the part in which something is decided.
    settled = history["valid_log_prob"].iloc[len(history) // 10 :]
    low, high = settled.min(), max(history["valid_log_prob"].max(), -history["train_loss"].min())
    margin = 0.08 * max(high - low, 0.1)
    ax.set_ylim(low - margin, high + margin)
    ax.set_xlabel("training step", fontsize=8)
    ax.set_ylabel("nats per step", fontsize=8)
    ax.set_title(title, fontsize=9, loc="left")
    ax.legend(fontsize=8, frameon=False, loc="lower right")
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


def plot_latents(
    frame: pd.DataFrame, path: str | Path | None = None, max_series: int = 3
) -> "Figure":
    """Mean and standard deviation of every latent over time, for the first series."""
    names: list[Any] = list(dict.fromkeys(frame["unique_id"]))[:max_series]
    latents = [c[: -len("_mean")] for c in frame.columns if c.endswith("_mean")]
    figure, axes = new_figure(len(latents), len(names), 4.2 * len(names), 1.4 * len(latents))
    for j, name in enumerate(names):
        mine = frame[frame["unique_id"] == name]
        ds = np.asarray(mine["ds"])
        for i, latent in enumerate(latents):
            mean, scale = np.asarray(mine[f"{latent}_mean"]), np.asarray(mine[f"{latent}_scale"])
            ax = axes[i, j]
            ax.fill_between(ds, mean - scale, mean + scale, color=ACCENT, alpha=0.25, lw=0)
            ax.plot(ds, mean, color=ACCENT, linewidth=1)
            ax.set_title(f"{name}: {latent}", fontsize=8, loc="left")
            format_dates(ax, ds)
    return finish(figure, path)


def score_lines(scores: pd.DataFrame, num_steps: int) -> list[str]:
    """A data set's score in words; of estimates a second line, on how far to trust them.

    Args:
        scores: as `seqlatent.scoring.score` returns it.
        num_steps: scored steps in all.
    """
    total, steps = scores["log_prob"].sum(), max(1, num_steps)
    kind = str(scores["kind"].iloc[0])
    head = (
        f"{counted(len(scores), 'sequence')}, {num_steps} steps: {total:.3f} nats in all, "
        f"{total / steps:.4f} nats per step"
    )
    if kind == "exact":
        return [f"{head} ({kind})"]
    numbers = scores["num_particles"].to_numpy()
    fewest, most = int(numbers.min()), int(numbers.max())
    particles = counted(most, "particle") if fewest == most else f"{fewest} to {most} particles"
    error = np.linalg.norm(scores["std_error"]) / steps
    share = scores["ess"] / scores["num_particles"]
    worst = share.idxmin()
    return [
        f"{head} ({kind}, {particles}, standard error {error:.5f})",
        f"effective sample size {share.mean():.1%} of the particles on average, "
        f"{share[worst]:.1%} at the least (series {scores['unique_id'][worst]}); the particles "
        "raise the bound by "
        f"{scores['gap'].sum() / steps:.4f} nats per step",
    ]


def frame_text(frame: pd.DataFrame, written: bool, limit: int = 12) -> str:
    """The first rows of a frame with a column `ds`, and how many more there are."""
    shown = frame.head(limit).astype({"ds": str})
    text = text_table(shown.to_numpy(dtype=object).tolist(), list(shown.columns))
    if len(frame) > limit:
        text += f"\n... {len(frame) - limit} more rows" + ("" if written else " (--out FILE)")
    return text


def counted(number: int, what: str) -> str:
    """`1 sequence`, `2 sequences`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


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
