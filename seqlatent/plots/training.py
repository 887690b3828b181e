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
    """The validation score over training steps; of a likelihood the training objective beside it.

    Args:
        curve: a row for each validation, with `step`, `train_loss` and the validation score:
            `valid_log_prob` (nats per step), or `valid_` and the name of a model's own score.
        path: where to write the picture.
        title: above it.
    """
    column = next(c for c in curve.columns if str(c).startswith("valid_"))
    score, steps = curve[column], curve["step"]
    figure, axes = new_figure(1, 1, 7.0, 3.6)
    ax = axes[0, 0]
    marker = "." if len(curve) == 1 else None  # a line needs two
    # The first steps fall from far: show the part in which something is decided.
    settled = score.iloc[len(curve) // 10 :]
    low, high = settled.min(), score.max()
    if column == "valid_log_prob":  # losses of another kind have other units
        objective = -curve["train_loss"]
        ax.plot(steps, objective, color=SOFT, linewidth=1.2, marker=marker,
                label="training objective")  # fmt: skip
        high = max(high, objective.max())
    ax.plot(steps, score, color=ACCENT, linewidth=1.6, marker=marker, label="held out")
    best = score.idxmax()
    ax.plot(steps[best], score[best], "o", color=ALERT, markersize=5,
            label=f"kept: {score[best]:.4f}")  # fmt: skip
    margin = 0.08 * max(high - low, 0.1)
    ax.set_ylim(low - margin, high + margin)
    ax.set_xlabel("training step", fontsize=8)
    unit = "nats per step" if column == "valid_log_prob" else str(column)[6:].replace("_", " ")
    ax.set_ylabel(unit, fontsize=8)
    ax.set_title(title, fontsize=9, loc="left")
    ax.legend(fontsize=8, frameon=False, loc="lower right")
    return finish(figure, path)
