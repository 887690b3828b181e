"""The training curve."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from seqlatent.plots.figure import ACCENT, ALERT, SOFT, finish, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_training_curve(
    curve: pd.DataFrame, path: str | Path | None = None, title: str = ""
) -> "Figure":
    """Training and validation log-likelihood over training steps, nats per step.

    Args:
        curve: a row for each validation, with `step`, `train_loss` and `valid_log_prob`.
        path: where to write the picture.
        title: above it.
    """
    figure, axes = new_figure(1, 1, 7.0, 3.6)
    ax = axes[0, 0]
    marker = "." if len(curve) == 1 else None  # a line needs two
    ax.plot(curve["step"], -curve["train_loss"], color=SOFT, linewidth=1.2, marker=marker,
            label="training objective")  # fmt: skip
    ax.plot(curve["step"], curve["valid_log_prob"], color=ACCENT, linewidth=1.6,
            label="held out")  # fmt: skip
    best = curve["valid_log_prob"].idxmax()
    ax.plot(curve["step"][best], curve["valid_log_prob"][best], "o", color=ALERT, markersize=5,
            label=f"kept: {curve['valid_log_prob'][best]:.4f}")  # fmt: skip
    # The first steps fall from far: show the part in which something is decided.
    settled = curve["valid_log_prob"].iloc[len(curve) // 10 :]
    low, high = settled.min(), max(curve["valid_log_prob"].max(), -curve["train_loss"].min())
    margin = 0.08 * max(high - low, 0.1)
    ax.set_ylim(low - margin, high + margin)
    ax.set_xlabel("training step", fontsize=8)
    ax.set_ylabel("nats per step", fontsize=8)
    ax.set_title(title, fontsize=9, loc="left")
    ax.legend(fontsize=8, frameon=False, loc="lower right")
    return finish(figure, path)
