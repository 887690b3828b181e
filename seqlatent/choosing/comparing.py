"""Held-out likelihoods side by side, and how sure their differences are."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from seqlatent.data.dataset import SequenceDataset
from seqlatent.inference.likelihood import score_sequences
from seqlatent.models.base import SequenceModel

PIECE, PIECES = 64, 16  # steps of a part, at the most; parts of few series, at the least
FEW = 10  # series

Parts = tuple[np.ndarray, np.ndarray]  # sums of nats, numbers of scored steps
Key = TypeVar("Key")


def held_out_parts(
    model: SequenceModel, data: SequenceDataset, num_particles: int, seed: int
) -> Parts:
    """A model's log-likelihood of independent parts of the data.

    Args:
        model: with a density.
        data: as `check_data` gives it.
        num_particles: of an estimate.
        seed: of its noise.
    """
    scores = sorted(score_sequences(model, data, num_particles, seed), key=lambda s: s.place)
    return pieces([s.log_prob[np.isfinite(s.log_prob)] for s in scores])


def pieces(nats: Sequence[np.ndarray]) -> Parts:
    """Nats of scored steps, by series; by parts of them where there are few series."""
    if len(nats) < FEW:
        size = min(PIECE, max(1, sum(map(len, nats)) // PIECES))
        nats = [each[i : i + size] for each in nats for i in range(0, len(each), size)]
    nats = [each for each in nats if len(each)]
    return np.array([each.sum() for each in nats]), np.array([float(len(each)) for each in nats])


def compare(results: Mapping[Key, Parts]) -> dict[Key, tuple[float, float]]:
    """Nats per step of each, and the standard error of its difference from the best one over the
    parts, which are the same for all."""
    totals = {k: nats.sum() / counts.sum() for k, (nats, counts) in results.items()}
    best = max(totals, key=lambda k: totals[k])
    compared = {}
    for key, (nats, counts) in results.items():
        difference = nats - results[best][0]
        rest = difference - counts * difference.sum() / counts.sum()
        error = np.sqrt((rest**2).sum() * len(rest) / max(1, len(rest) - 1)) / counts.sum()
        compared[key] = float(totals[key]), float(error)
    return compared
