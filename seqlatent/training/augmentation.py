"""Random changes to training batches, to which a model should become invariant or robust.

Each is a function of the batch and of torch's global generator, which the trainer seeds for every
step. Validation and scores use unchanged data.

Where the data have them, past covariates are missing from a random step on in some sequences, as in
forecasts of several steps, and some categories are replaced by "not seen in training". Values that
are hidden, or that networks read as missing, are chosen before (`seqlatent.nn.forgetting`): the
scaling of later steps depends on them.
"""

from dataclasses import replace
from functools import partial

import torch

from seqlatent.data.batch import SequenceBatch
from seqlatent.distributions.emission import EMISSIONS
from seqlatent.errors import InputError
from seqlatent.models.base import SequenceModel
from seqlatent.models.emission_model import EmissionModel
from seqlatent.nn.forgetting import GAPS, forget
from seqlatent.training.batches import Change
from seqlatent.training.options import TrainingOptions

UNKNOWN = 0.05  # share of the categories that count as not seen
CUT_OFF = 0.5  # share of the sequences whose past covariates end before the sequence does


def check_augmentation(model: SequenceModel, options: TrainingOptions) -> None:
    """Refuse, before long work, augmentation that the data's kind does not allow.

    Raises:
        InputError: for noise on values that are not real numbers, or shifts of channels in which 0
            does not stand for the absence of something.
    """
    if not isinstance(model, EmissionModel):
        if options.shift_channels:
            raise InputError(
                f"shift_channels={options.shift_channels} is for models with an emission, and "
                f"'{model.family}' has none"
            )
        return
    emission = EMISSIONS[model.options.emission]
    if options.noise and model.value_distribution.discrete:
        raise InputError(
            f"noise={options.noise:g} is for real values, not emission={emission.name}"
        )
    if options.shift_channels and not emission.zero_is_nothing:
        raise InputError(
            f"shift_channels={options.shift_channels} is for channels in which 0 stands for the "
            f"absence of something (0 and 1, or counts), not for emission={emission.name}"
        )
    if options.shift_channels >= model.description.num_channels:
        raise InputError(
            f"shift_channels={options.shift_channels} must be below the number of channels, "
            f"{model.description.num_channels}"
        )


def changing(model: SequenceModel, options: TrainingOptions) -> Change | None:
    """What changes the sequences of training before they are batches; None if nothing does."""
    gaps = GAPS if model.gaps == "learnt" else 0.0
    if not gaps and not options.hide:
        return None
    return partial(forget, scaler=model.scaler, gaps=gaps, hide=options.hide)


def augment(batch: SequenceBatch, options: TrainingOptions, model: SequenceModel) -> SequenceBatch:
    """The batch with channels shifted and noise added, according to the options, and with a few
    known things missing."""
    batch = shift_channels(batch, options.shift_channels)
    scales = [c.scale for c in model.description.channels]
    batch = add_noise(batch, options.noise, torch.tensor(scales))
    return end_past_covariates(forget_categories(batch, model), model)


def shift_channels(batch: SequenceBatch, most: int) -> SequenceBatch:
    """Shift each sequence along its channels by a random number in -most..most.

    The range is limited for each sequence so that only zeros leave at the ends. A piano roll is
    thereby transposed.
    """
    if most == 0:
        return batch
    num_channels = batch.x.shape[-1]
    used = (batch.x != 0).any(1)
    places = torch.arange(num_channels)
    lowest = torch.where(used, places, num_channels).amin(1).clamp(max=most)
    highest = torch.where(used, places, -1).amax(1)
    room = (num_channels - 1 - highest).clamp(max=most)
    shift = (torch.rand(len(used)) * (lowest + room + 1)).long() - lowest
    # Zeros that leave at one end enter at the other.
    source = ((places - shift[:, None]) % num_channels)[:, None].expand_as(batch.x)
    return replace(batch, x=batch.x.gather(2, source), observed=batch.observed.gather(2, source))


def add_noise(batch: SequenceBatch, size: float, scales: torch.Tensor) -> SequenceBatch:
    """Add normal noise with a standard deviation of `size` times each channel's, `scales` (D,)."""
    if size == 0:
        return batch
    x = batch.x + size * scales * torch.randn(batch.x.shape)
    return replace(batch, x=torch.where(batch.observed, x, 0.0))


def forget_categories(batch: SequenceBatch, model: SequenceModel) -> SequenceBatch:
    """Give some categories of series the code of those that the training data do not have."""
    places = model.covariate_scaler.categories
    if not places:
        return batch
    covariates = batch.covariates.clone()
    forgotten = torch.rand(len(covariates), 1, len(places)) < UNKNOWN
    covariates[..., places] = torch.where(forgotten, 0.0, covariates[..., places])
    return replace(batch, covariates=covariates)


def end_past_covariates(batch: SequenceBatch, model: SequenceModel) -> SequenceBatch:
    """Of some sequences, let the past covariates be missing from a random step on. The first step
    of a forecast has those of the step before it; those after it are never the first step."""
    first = model.covariate_scaler.past
    if first == batch.covariates.shape[-1]:
        return batch
    size, steps = batch.covariates.shape[:2]
    last = (torch.rand(size) * batch.lengths).long()  # the last step that has them
    last = torch.where(torch.rand(size) < CUT_OFF, last, steps)
    ended = torch.arange(steps) > last[:, None]
    covariates = batch.covariates.clone()
    covariates[..., first:] = covariates[..., first:].masked_fill(ended[..., None], torch.nan)
    return replace(batch, covariates=covariates)
