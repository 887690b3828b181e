"""Pictures of regimes: a series coloured by its regimes, with their probabilities below."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seqlatent.plots.figure import INK, finish, format_dates, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_CHANNELS = 4


def plot_regimes(
    name: str,
    ds: np.ndarray,
    x: np.ndarray,
    regime: np.ndarray,
    probability: np.ndarray,
    targets: Sequence[str],
    path: str | Path | None = None,
) -> "Figure":
    """The values of a series, coloured by regime, above the probability of each regime.

    Args:
        name: of the series.
        ds: (T,) its steps.
        x: (T, D) its values, NaN where missing; the first four channels are drawn.
        regime: (T,) regimes, from 1.
        probability: (T, K).
        targets: the names of the D channels.
        path: where to write the picture.
    """
    import matplotlib

    shown = min(x.shape[1], MAX_CHANNELS)
    K = probability.shape[1]
    table = matplotlib.colormaps["tab10" if K <= 10 else "turbo"]
    colours = [table(k if K <= 10 else k / (K - 1)) for k in range(K)]
    figure, axes = new_figure(shown + 1, 1, 9.0, 1.8 * shown + 1.6)
    for d in range(shown):
        _coloured(axes[d, 0], ds, x[:, d], regime, colours)
        axes[d, 0].set_title(f"{name}: {targets[d]}", fontsize=9, loc="left")
    below = axes[shown, 0]
    labels = [f"regime {k + 1}" for k in range(K)]
    below.stackplot(ds, probability.T, colors=colours, labels=labels, alpha=0.8, linewidth=0)
    below.set_ylim(0, 1)
    below.set_title("probability of each regime", fontsize=9, loc="left")
    if K <= 10:
        below.legend(fontsize=7, frameon=False, ncols=5, loc="upper center",
                     bbox_to_anchor=(0.5, -0.15))  # fmt: skip
    for ax in axes[:, 0]:
        ax.set_xlim(ds[0], ds[-1])
        format_dates(ax, ds)
    return finish(figure, path)


def _coloured(ax: "Axes", ds: np.ndarray, x: np.ndarray, regime: np.ndarray, colours: list) -> None:
    """A grey line and on it each step in the colour of its regime."""
    ax.plot(ds, x, color=INK, linewidth=0.5, alpha=0.5)
    size = 3.0 if len(x) < 500 else 1.5
    for k, colour in enumerate(colours):
        mine = np.where(regime == k + 1, x, np.nan)
        ax.plot(ds, mine, ".", color=colour, markersize=size)
