"""Messages about a fit: before it the model and data, after it warnings about the result."""

import logging

import torch
from torch import Tensor

from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.inference.estimating import CHUNK
from seqlatent.inference.protocols import Regimes
from seqlatent.models.adversarial.diagnostics import examine, failures
from seqlatent.models.adversarial.model import AdversarialModel
from seqlatent.models.base import SequenceModel
from seqlatent.models.emission_model import EmissionModel
from seqlatent.models.latent.diagnostics import collapse_warning, prior_kl, quick_losses
from seqlatent.models.latent.model import LatentModel
from seqlatent.text import counted
from seqlatent.training.options import TrainingOptions, choose_window

logger = logging.getLogger("seqlatent")

UNUSED = 0.01  # share of the steps below which a regime counts as unused


def announce(
    module: SequenceModel, train: SequenceDataset, valid: SequenceDataset, options: TrainingOptions
) -> None:
    """Log the model's size, the data for training and validation, and how many series of the latter
    are of categories that the former do not have."""
    window, length = choose_window(train, options), options.prediction_length
    cut = f", in windows of {window[0]} steps after {window[1]} of context" if window else ""
    logger.info(
        "%s: %s parameters; training on %s, %d steps%s; validating on %s%s",
        module.family,
        f"{sum(p.numel() for p in module.parameters()):,}",
        counted(len(train), "sequence"),
        int(train.lengths.sum()),
        cut,
        counted(len(valid), "sequence"),
        "" if length is None else f", their last windows of {counted(length, 'step')}",
    )
    for i, name in enumerate(valid.static_names):
        new = sum(s.static_values[i] == 0 for s in valid)
        if name in valid.static_labels and new:
            logger.info(
                "the training data do not have the '%s' of %d of %s for validation",
                name,
                new,
                counted(len(valid), "sequence"),
            )


def warn(module: SequenceModel, data: SequenceDataset) -> None:
    """Log what a user should know before relying on the fitted model's scores."""
    if isinstance(module, AdversarialModel):
        _warn_of_failure(module, data)
    if not isinstance(module, EmissionModel):
        return
    batch = collate(data.sequences[:64]).steps(0, CHUNK)
    with torch.no_grad():
        at_floor = module.at_floor(batch)[batch.observed & batch.scored[..., None]]
        share = float(at_floor.mean()) if len(at_floor) else 0.0
        if share > 0.05:
            logger.warning(
                "the density of %.0f %% of held-out values is determined by the floor of the "
                "scale: values repeat or lie on a grid, so log-likelihoods depend as much on the "
                "resolution of the recording as on the data",
                100 * share,
            )
        if isinstance(module, Regimes):
            _warn_of_unused(module.smooth_regimes(batch)[batch.scored])
        if isinstance(module, LatentModel):
            losses = quick_losses(module, batch)
            logger.info(
                "latents: KL of %.4f nats per step between guide and prior; with the latents of "
                "random other steps, a step is predicted worse by %.3f nats",
                prior_kl(module, batch),
                losses.joint[0],
            )
            reason = collapse_warning(module, losses)
            if reason:
                logger.warning("on held-out data, %s", reason)


def _warn_of_failure(module: AdversarialModel, data: SequenceDataset) -> None:
    """Say how draws compare with held-out windows, and warn where training has failed."""
    found = examine(module, collate(data.sequences[:64]))
    logger.info(
        "draws: they differ from each other %.2f times as much as from held-out windows (1 is "
        "right, 0 is one draw repeated); the critic tells them from those in %.0f %% of pairs (50 "
        "is by chance)",
        found.diversity,
        100 * found.told,
    )
    for text in failures(module, found):
        logger.warning("%s", text)


def _warn_of_unused(probability: Tensor) -> None:
    """Warn of regimes that hold hardly any of the held-out steps, given (N, K) probabilities."""
    K = probability.shape[-1]
    used = int((probability.mean(0) >= UNUSED).sum()) if len(probability) else K
    if used < K:
        logger.warning(
            "%s of %d hold less than 1 %% of the held-out steps: fit with num_states=%d, or from "
            "another seed (--seed)",
            counted(K - used, "regime"),
            K,
            max(1, used),
        )
