"""Pictures for pages: the bytes of a figure, on a light or on a dark ground."""

from io import BytesIO
from typing import TYPE_CHECKING, Any

from seqlatent.plots.figure import ACCENT, ALERT, INK, SOFT

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 110
GROUND, CHALK = "#14181d", "#dfe5eb"  # of the dark pictures
DARK = {INK: CHALK, "black": CHALK, "white": GROUND, ACCENT: "#6cb4ee", ALERT: "#ff8a7a",
        SOFT: "#8a96a3"}  # fmt: skip


def picture_bytes(figure: "Figure", dark: bool = False) -> bytes:
    """The figure as PNG. For a dark ground the colours that all pictures share change for lighter
    ones; the figure keeps these."""
    if dark:
        _darken(figure)
    file = BytesIO()
    figure.savefig(file, dpi=DPI, format="png")
    return file.getvalue()


def _darken(figure: "Figure") -> None:
    from matplotlib.artist import Artist
    from matplotlib.colors import same_color, to_rgba

    def changed(color: Any) -> Any:
        """The colour for the dark ground, with its opacity; others stay."""
        opaque, alpha = (*to_rgba(color)[:3], 1.0), to_rgba(color)[3]
        for old, new in DARK.items():
            if same_color(opaque, old):
                return to_rgba(new, alpha)
        return color

    for artist in figure.findobj(Artist):
        for part in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
            get, put = getattr(artist, f"get_{part}", None), getattr(artist, f"set_{part}", None)
            if get is None or put is None:
                continue
            old = get()
            several = getattr(old, "ndim", 1) == 2  # of a collection, a row for each
            if several and len(old):
                put([changed(c) for c in old])
            elif not several and old is not None and str(old) != "none":
                put(changed(old))
