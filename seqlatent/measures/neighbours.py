"""Whether drawn windows are copies: how near they are to the windows of the training."""

import numpy as np

from seqlatent.measures.windows import MOST, checked, flat, some, squared_distances, standardised


def nearest(
    real: np.ndarray, drawn: np.ndarray, seed: int = 0, train: np.ndarray | None = None
) -> float:
    """Distance of drawn windows to their nearest training window, over that of real windows.

        median_j min_i |y_j - x_i| / median_j min_i |r_j - x_i|

    x the training windows, y the drawn and r the real ones, in units of the real standard deviation.
    1: drawn windows are as new as real ones are. 0: they are copies. Far above 1: they are unlike
    the data. Where windows overlap, as those of one series with stride 1, held-out windows should
    come from another time, or their neighbours are almost copies and the ratio says little.

    Of at most 2,000 drawn and 2,000 real windows; all of the training. Source: nearest neighbours
    as a test of copying, Meehan et al. (2020), who compare ranks of the same distances.

    Args:
        real: (N, T, D), held out from training.
        drawn: (M, T, D).
        seed: of the choice of windows.
        train: (L, T, D); None: `real` are the training windows, and each is compared with the
            others.

    Returns:
        The ratio; NaN where real windows have copies in the training themselves, so that there is
        nothing to compare with.
    """
    rng = np.random.default_rng(seed)
    real, drawn = checked(real, "real"), checked(drawn, "drawn")
    known = real if train is None else checked(train, "training")
    real, drawn, known = (flat(s) for s in standardised(real, drawn, known))
    own = np.arange(len(real))
    chosen = some(own, MOST, rng)
    distance = to_nearest(real[chosen], known, own[chosen] if train is None else None)
    usual = float(np.median(distance))
    return float(np.median(to_nearest(some(drawn, MOST, rng), known))) / usual if usual else np.nan


def to_nearest(x: np.ndarray, known: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
    """(N,) Euclidean distance of each of x (N, K) to the nearest of `known` (L, K).

    Args:
        own: (N,) place of each x among `known`, which does not count; None: all count.
    """
    place = np.empty(len(x), dtype=np.int64)
    for first, block in squared_distances(x, known):
        if own is not None:
            rows = np.arange(len(block))
            block[rows, own[first : first + len(block)]] = np.inf
        place[first : first + len(block)] = block.argmin(1)
    # once more from the difference: a copy is then at exactly 0, whatever was rounded above
    return np.sqrt(((x - known[place]) ** 2).sum(1))
