"""What a fit says before it begins."""

import logging

from seqlatent.data.dataset import SequenceDataset
from seqlatent.models.base import SequenceModel
from seqlatent.reporting import counted
from seqlatent.training_options import TrainingOptions, choose_window

logger = logging.getLogger("seqlatent")

WANDERING = 0.1  # increments of less than this share of the values' spread


def announce(
    module: SequenceModel, train: SequenceDataset, valid: SequenceDataset, options: TrainingOptions
) -> None:
    """The model's size, and what it is trained and validated on."""
    window = choose_window(train, options)
    cut = f", in windows of {window[0]} steps after {window[1]} of context" if window else ""
    logger.info(
        "%s: %s parameters; training on %s, %d steps%s; validating on %s",
        module.family,
        f"{sum(p.numel() for p in module.parameters()):,}",
        counted(len(train), "sequence"),
        int(train.lengths.sum()),
        cut,
        counted(len(valid), "sequence"),
    )


def suggest_increments(module: SequenceModel) -> None:
    """Tell of an option that series want which wander: theirs is a likelihood of small steps."""
    channels = module.description.channels
    share = max(c.increment / c.scale for c in channels)
    if module.scaler.scaling == "global" and share < WANDERING:
        logger.info(
            "the values wander: each lies near the one before, by %.1f %% of their spread; "
            "scaling=increments with context_length=1 may do better",
            100 * share,
        )
