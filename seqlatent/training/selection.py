"""The validation score, by which training selects the best parameters: the likelihood of held-out
data, or the model's own score if it has no density.

Several processes score a part of the data each.
"""

from dataclasses import replace

import numpy as np
import torch

from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.inference.likelihood import summed_log_prob
from seqlatent.inference.training_protocols import OwnSelection
from seqlatent.models.base import SequenceModel
from seqlatent.training.parallel import own_part, summed

BATCH = 64  # sequences


def score_name(model: SequenceModel) -> str:
    """Name of the validation score, which follows `valid_` in the training curve."""
    return model.score_name if isinstance(model, OwnSelection) else "log_prob"


def validation_score(
    model: SequenceModel, data: SequenceDataset, num_particles: int, seed: int
) -> float:
    """The validation score of a model; higher is better.

    Args:
        model: any.
        data: held out.
        num_particles: of the likelihood's estimate, if it is estimated.
        seed: of all noise.

    Returns:
        the average log-likelihood of all scored steps in nats per step, or the mean of the model's
        own score over sequences.
    """
    if not isinstance(model, OwnSelection):
        order = np.argsort(data.lengths, kind="stable").tolist()
        mine = replace(data, sequences=tuple(data.sequences[i] for i in own_part(order)))
        sums = summed_log_prob(model, mine, num_particles, seed) if len(mine) else (0.0, 0)
        total, count = summed(sums, model.device)
        return total / max(1, count)
    training, total = model.training, 0.0
    model.eval()
    try:
        with torch.no_grad():
            for start in own_part(range(0, len(data), BATCH)):
                part = data.sequences[start : start + BATCH]
                noise = SequenceNoise([s.unique_id for s in part], seed)
                batch = collate(part).to(model.device)
                total += float(model.validation_score(batch, noise).sum())
    finally:
        model.train(training)
    return summed((total,), model.device)[0] / len(data)
