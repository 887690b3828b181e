"""Windows that any model should be held against, drawn without one.

*half*: real windows themselves, the floor of each measure. *bootstrap*: training windows again, with
replacement: the perfect copy, which `nearest` alone tells from a model. *copula*: a Gaussian copula
of the flattened window with empirical margins, what a model without any dynamics can reach.
"""

import numpy as np
import pandas as pd
import torch

from seqlatent.measures.windows import checked, flat


def bootstrap(train: np.ndarray, number: int, seed: int = 0) -> np.ndarray:
    """(number, T, D) training windows (N, T, D), with replacement."""
    rng = np.random.default_rng(seed)
    return train[rng.integers(len(train), size=number)]


def copula(train: np.ndarray, number: int, seed: int = 0) -> np.ndarray:
    """(number, T, D) draws from a Gaussian copula of the training windows (N, T, D).

        x_k = F_k^{-1}(Phi(z_k)),    z ~ N(0, R)

    over the T D values k of a window: F_k is their empirical distribution, and R the correlation of
    the normal scores Phi^{-1}((rank - 1/2) / N), equal values sharing a rank. Only values that were
    observed are drawn. Source: Nelsen (2006), ch. 2; normal scores by van der Waerden (1952).
    """
    x = flat(checked(train, "training"))
    rng = np.random.default_rng(seed)
    ranks = pd.DataFrame(x).rank().to_numpy()
    scores = torch.special.ndtri(torch.from_numpy((ranks - 0.5) / len(x))).numpy()
    scores = scores - scores.mean(0)
    sd = scores.std(0)
    z = _gaussian(scores / np.where(sd > 0, sd, 1.0), number, rng)
    place = (torch.special.ndtr(torch.from_numpy(z)).numpy() * len(x)).astype(np.int64)
    drawn = np.take_along_axis(np.sort(x, axis=0), place.clip(0, len(x) - 1), axis=0)
    return drawn.reshape(number, *train.shape[1:])


def _gaussian(scores: np.ndarray, number: int, rng: np.random.Generator) -> np.ndarray:
    """(number, K) draws from N(0, S' S / N), for scores S (N, K)."""
    n, k = scores.shape
    if n <= k:  # random weights of the rows have that covariance too, and it need not be made
        return rng.normal(size=(number, n)) @ scores / np.sqrt(n)
    values, vectors = np.linalg.eigh(scores.T @ scores / n)
    return rng.normal(size=(number, k)) @ (vectors * np.sqrt(np.maximum(values, 0))).T
