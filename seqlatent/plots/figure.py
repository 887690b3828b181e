"""What all pictures share: figures, colours, dates, files.

matplotlib is imported when something is drawn. Every function that draws returns the figure, and
writes it when given a path (`.png`, `.pdf` or `.svg`).
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seqlatent.data.tables import check_writable
from seqlatent.data.writing import replacing
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
        _style(ax)
    return figure, axes


def merge_axes(
    figure: "Figure", axes: np.ndarray, row: int, columns: slice = slice(None)
) -> "Axes":
    """One wide panel in place of those of a row, or of some of its columns."""
    grid = axes[0, 0].get_gridspec()
    for ax in axes[row, columns]:
        ax.remove()
    merged = figure.add_subplot(grid[row, columns])
    _style(merged)
    return merged


def _style(ax: "Axes") -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25, linewidth=0.5)
    ax.tick_params(labelsize=8)


def finish(figure: "Figure", path: str | Path | None) -> "Figure":
    """Write the figure, where there is a path."""
    if path is not None:
        check_picture(path)
        with replacing(Path(path)) as unfinished:
            figure.savefig(unfinished, dpi=130, format=Path(path).suffix[1:].lower())
    return figure


def shorten(name: str, most: int) -> str:
    """A name of at most so many characters, without its middle: ends tell names apart."""
    if len(name) <= most:
        return name
    tail = most // 2
    return f"{name[: most - tail - 1].rstrip()}…{name[-tail:].lstrip()}"


def format_dates(ax: "Axes", ds: np.ndarray) -> None:
    """Short dates along an axis of timestamps; integers stay as they are."""
    if np.issubdtype(ds.dtype, np.datetime64):
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        locator = AutoDateLocator(minticks=3, maxticks=7)
        ax.xaxis.set_major_locator(locator)
        ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))
        ax.xaxis.get_offset_text().set_fontsize(8)
