"""Pictures of exact codes: the test of fit that an invertible model offers, and its maps.

Where the model is right, the codes z of held-out sequences are standard normal and independent.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.steps import show_step
from seqlatent.decoding import step_map
from seqlatent.models.base import SequenceModel
from seqlatent.reporting import ACCENT, ALERT, SOFT, finish, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REACH = 4.0  # standard deviations drawn


def is_exact(frame: pd.DataFrame) -> bool:
    """Whether a frame of `seqlatent.encoding.encode` holds exact codes."""
    scales = frame[[c for c in frame.columns if c.endswith("_scale")]]
    return bool((scales.to_numpy() == 0).all())


def plot_codes(frame: pd.DataFrame, path: str | Path | None = None) -> "Figure":
    """Codes against N(0, 1), and against the step before.

    On the left, of each latent: its histogram over all sequences and steps, with the standard
    normal density. On the right: each code against the one before it in its sequence, which should
    show a round cloud; the correlation of the two, and of their sizes, stand above it.

    Args:
        frame: as `seqlatent.encoding.encode` returns it.
        path: where to write the picture.
    """
    latents = [c for c in frame.columns if c.endswith("_mean")]
    figure, axes = new_figure(len(latents), 2, 8.0, 2.6 * len(latents))
    grid = np.linspace(-REACH, REACH, 200)
    normal = np.exp(-0.5 * grid**2) / np.sqrt(2 * np.pi)
    for i, latent in enumerate(latents):
        left, right = axes[i]
        z = frame[latent]
        name = latent.removesuffix("_mean")
        seen = z.dropna().to_numpy()
        left.hist(seen, bins=50, range=(-REACH, REACH), density=True, color=SOFT)
        left.plot(grid, normal, color=ALERT, linewidth=1.4, label="N(0, 1)")
        left.set_title(
            f"{name}: mean {seen.mean():.2f}, sd {seen.std():.2f}", fontsize=9, loc="left"
        )
        left.legend(fontsize=7, frameon=False)
        pairs = pd.DataFrame({"before": z.groupby(frame["unique_id"]).shift(), "now": z}).dropna()
        right.plot(pairs["before"], pairs["now"], ".", color=ACCENT, markersize=2, alpha=0.4)
        right.set_xlim(-REACH, REACH)
        right.set_ylim(-REACH, REACH)
        right.set_title(f"{name} against the step before: {_correlations(pairs)}", fontsize=9,
                        loc="left")  # fmt: skip
    return finish(figure, path)


def plot_maps(
    model: SequenceModel,
    data: SequenceDataset,
    frame: pd.DataFrame,
    path: str | Path | None = None,
) -> "Figure":
    """The maps f_t from value to code at two steps: the one with the most unusual code of all, and
    the last step of the same series.

    A row for each channel; the other channels and the past are as they were. The curve is f_t, the
    point what was seen, the shade its density p(x_t | x_{<t}): tall where f_t is steep.

    Args:
        model: with an exact code and density.
        data: what was encoded.
        frame: its codes, as `seqlatent.encoding.encode` returns them.
        path: where to write the picture.
    """
    latents = [c for c in frame.columns if c.endswith("_mean")]
    size = frame[latents].abs().max(axis=1)
    place = int(size.to_numpy().argmax()) if size.notna().any() else 0
    starts = np.concatenate([[0], np.cumsum(data.lengths)])
    which = int(np.searchsorted(starts, place, side="right")) - 1
    s = data.sequences[which]
    seen = np.flatnonzero(np.isfinite(s.x).all(1))
    steps = [place - int(starts[which]), int(seen[-1]) if len(seen) else len(s) - 1]
    figure, axes = new_figure(len(latents), 2, 8.0, 2.6 * len(latents))
    for d, target in enumerate(data.targets):
        for ax, step, what in zip(axes[d], steps, ("most unusual step", "last step"), strict=True):
            m = step_map(model, s, step, d)
            height = REACH * m.density / m.density.max()
            ax.fill_between(m.values, -REACH, height - REACH, color=SOFT, alpha=0.4, linewidth=0)
            ax.plot(m.values, m.codes, color=ACCENT, linewidth=1.4)
            ax.plot([m.value], [m.code], "o", color=ALERT, markersize=4)
            low, high = min(-REACH, m.code - 1), max(REACH, m.code + 1)
            ax.set_ylim(low, high)
            ax.set_xlabel(target, fontsize=8)
            ax.set_ylabel(f"z{d + 1}", fontsize=8)
            ax.set_title(
                f"{s.unique_id}, {show_step(s.ds[step])} ({what}): z = {m.code:.2f}",
                fontsize=9,
                loc="left",
            )
    return finish(figure, path)


def _correlations(pairs: pd.DataFrame) -> str:
    if len(pairs) < 3:
        return "too few to tell"
    plain, size = (np.corrcoef(p["before"], p["now"])[0, 1] for p in (pairs, pairs.abs()))
    return f"correlation {plain:.2f}, of sizes {size:.2f}"
