"""Checks of data before long work: channels, labels and values must be those of training."""

import logging
from dataclasses import replace

import numpy as np

from seqlatent.data.calendar import cycles_of, has_timestamps, with_cycles
from seqlatent.data.categories import recoded
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.regular import with_frequency
from seqlatent.data.splits import with_context
from seqlatent.distributions.choice import check_support
from seqlatent.distributions.emission import EMISSIONS
from seqlatent.errors import InputError
from seqlatent.models.base import SequenceModel
from seqlatent.models.emission_model import EmissionModel
from seqlatent.nn.forgetting import learnt_channels
from seqlatent.nn.prepared import prepare

logger = logging.getLogger("seqlatent")


def check_data(
    model: SequenceModel, data: SequenceDataset, reads_gaps: bool = True
) -> SequenceDataset:
    """The data as the model needs it: with the labels, steps and context of training.

    A series is prepared independently of the other series.

    Args:
        model: fitted.
        data: to be checked.
        reads_gaps: whether to warn of missing values that the model has not learnt to read.

    Raises:
        InputError: when channels, covariates or labels are not those of training, or the model
            cannot read the values.
    """
    description = model.description
    if tuple(data.targets) != description.targets:
        raise InputError(
            f"{data.name}: the model was fitted to {', '.join(description.targets)}, "
            f"the data has {', '.join(data.targets)}"
        )
    data = check_covariates(recode(data, description), description)
    data = with_frequency(data, description.frequency)
    if reads_gaps and not description.had_gaps and _has_new_gaps(model, data):
        logger.warning(
            "%s has missing values and the training data had none, so the model has "
            "not learnt to read them; fit it with hide=0.05 (--set hide=0.05)",
            data.name,
        )
    check_values(model, data)
    data = with_context(data, model.options.context_length)
    return replace(data, sequences=prepare(model.scaler, data.sequences))


def _has_new_gaps(model: SequenceModel, data: SequenceDataset) -> bool:
    """Whether values are missing in channels of which training always read all."""
    new = np.zeros(data.num_channels, dtype=bool)
    for part in model.parts or (model,):
        if part.gaps != "known":
            new |= ~learnt_channels(part.scaler) | (part.gaps == "new")
    return any(np.isnan(s.x[:, new]).any() for s in data)


def check_values(model: SequenceModel, data: SequenceDataset) -> None:
    """Refuse values that the model, or one that it is made of, cannot read."""
    for part in model.parts:
        check_values(part, data)
    try:
        if isinstance(model, EmissionModel) and not _holds_all(model.options.emission, data):
            check_support(model.options.emission, DataDescription.ranges_of(data))
    except InputError as error:
        raise InputError(f"{data.name}: {error}") from None
    model.check(data)


def _holds_all(emission: str, data: SequenceDataset) -> bool:
    """Whether an emission is known to support the values, whatever they are."""
    return EMISSIONS[emission].kind == "real" and not data.categories


def check_covariates(data: SequenceDataset, description: DataDescription) -> SequenceDataset:
    """The data with the calendar covariates of training, where they lack them, and with the codes
    that categories of series had in training; a warning says how many have none.

    Raises:
        InputError: when the steps have no calendar, or other covariates, static features and past
            covariates are not those of training.
    """
    cycles = cycles_of(description.covariate_names)
    if cycles and not has_timestamps(data):
        raise InputError(
            f"{data.name}: the model was fitted with the calendar ({', '.join(cycles)}), and the "
            "steps are whole numbers; give timestamps, or fit with calendar=none (--calendar none)"
        )
    data = with_cycles(data, cycles)
    if tuple(data.covariate_names) != description.covariate_names:
        wanted = ", ".join(description.covariate_names) or "no covariates"
        raise InputError(
            f"{data.name}: the model was fitted with {wanted}, the data has "
            f"{', '.join(data.covariate_names) or 'none'}"
        )
    for what, wanted, there in (
        ("static features", description.static_names, data.static_names),
        ("past covariates", description.past_names, data.past_names),
    ):
        if tuple(there) != wanted:
            raise InputError(
                f"{data.name}: the model was fitted with the {what} "
                f"{', '.join(wanted) or 'none'}, the data has {', '.join(there) or 'none'}"
            )
    data, unknown = recoded(data, description.static_labels)
    for name, count in unknown.items():
        logger.warning(
            "%s: the training data did not have the '%s' of %d of %d series; the model takes it as "
            "unknown",
            data.name,
            name,
            count,
            len(data),
        )
    return data


def recode(data: SequenceDataset, description: DataDescription) -> SequenceDataset:
    """The data with the codes that labels had in training.

    Raises:
        InputError: for a label that the training data did not have, for numbers instead of labels,
            and for labels instead of numbers.
    """
    sequences = list(data.sequences)
    for d, target in enumerate(data.targets):
        ours, theirs = description.categories.get(target), data.categories.get(target)
        if ours is None and theirs is not None:
            raise InputError(
                f"{data.name}: column '{target}' holds labels such as '{theirs[0]}', and the model "
                "was fitted to numbers there; give numbers"
            )
        if ours is not None and theirs is None:
            if all(np.isnan(s.x[:, d]).all() for s in data):
                continue
            raise InputError(
                f"{data.name}: column '{target}' holds numbers, and the model was fitted to the "
                f"labels {', '.join(ours)} there; give labels"
            )
        if ours is None or theirs is None or tuple(ours) == tuple(theirs):
            continue
        new = [label for label in theirs if label not in ours]
        if new:
            raise InputError(
                f"{data.name}: column '{target}' holds the label '{new[0]}', which the model did "
                f"not see in training; it knows {', '.join(ours)}"
            )
        codes = np.array([*(ours.index(label) for label in theirs), np.nan])
        for i, s in enumerate(sequences):
            x = s.x.copy()
            x[:, d] = codes[np.where(np.isnan(x[:, d]), len(theirs), x[:, d]).astype(int)]
            sequences[i] = replace(s, x=x)
    return replace(data, sequences=tuple(sequences), categories=description.categories)
