"""What all pictures share: figures, colours, dates, files.

matplotlib is imported when something is drawn. Every function that draws returns the figure, and
writes it when given a path (`.png`, `.pdf` or `.svg`).
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

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
