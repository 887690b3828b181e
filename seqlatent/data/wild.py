"""Wild values: those that no description of the data should rest on.

A value is wild if it is far outside the middle 98 % of all values, and of its own series: further
than 6.5 times their width, which is 30 standard deviations of a normal distribution. A sensor that
broke, a misplaced decimal point and a code such as 1e12 for "missing" are of this kind; heavy tails
and series of other levels are not. Where the middle is a single number, as in sales that are nearly
always 0, nothing is wild.
"""

import logging
from collections.abc import Sequence

import numpy as np

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.steps import show_step

logger = logging.getLogger("seqlatent")

FEWEST = 10  # values; fewer have no middle
WIDTHS = 6.5  # of the middle 98 %
FAR = 30.0  # standard deviations of the training data
SHOWN = 3  # wild values that a notice names


def limits(values: np.ndarray) -> tuple[float, float]:
    """The lowest and the highest value, of any shape, NaN where missing, that are not wild."""
    ordered = np.sort(values[np.isfinite(values)])
    if len(ordered) < FEWEST:
        return -np.inf, np.inf
    out = max(1, len(ordered) // 100)
    low, high = float(ordered[out]), float(ordered[-1 - out])
    room = WIDTHS * (high - low) if high > low else np.inf
    return low - room, high + room


def tame(columns: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The channel of every series, (T,) values each, with NaN in place of wild ones."""
    if not columns:
        return []
    low, high = limits(np.concatenate(columns))
    return [np.where(_wild(c, low, high), np.nan, c) for c in columns]


def _wild(c: np.ndarray, low: float, high: float) -> np.ndarray:
    """(T,) whether values are outside the limits of all series and of their own."""
    outside = (c < low) | (c > high)  # false where missing
    if outside.any() and np.isfinite(c).sum() >= FEWEST:
        own_low, own_high = limits(c)
        outside &= (c < own_low) | (c > own_high)
    return outside


def tell_wild(data: SequenceDataset, loc: Sequence[float], scale: Sequence[float]) -> None:
    """Log a notice that names the first few wild values: series, channel, step and value.

    Args:
        data: to look at.
        loc, scale: of each channel's training values, in data units.
    """
    found = [
        (s, d, t)
        for d, name in enumerate(data.targets)
        if name not in data.categories
        for s in data
        for t in np.flatnonzero(_wild(s.x[:, d], loc[d] - FAR * scale[d], loc[d] + FAR * scale[d]))
    ]
    if not found:
        return
    shown = [
        f"series {s.unique_id}, {data.targets[d]} at step {show_step(s.ds[t])}: {s.x[t, d]:g}"
        for s, d, t in found[:SHOWN]
    ]
    more = f", and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    logger.warning(
        "%s: far outside what the others are: %s%s; what follows such a value is predicted as if "
        "it were missing. If it is an error, leave its cell empty",
        data.name,
        "; ".join(shown),
        more,
    )
