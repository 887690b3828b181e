"""The held-out part of a fit's data, found again by what was saved of the fit."""

from collections.abc import Mapping
from typing import Any

from seqlatent.data.catalog import dataset_names
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.readers import load_like
from seqlatent.errors import InputError
from seqlatent.models.base import SequenceModel
from seqlatent.training.dividing import SPLIT, divide


def held_out_part(
    model: SequenceModel, fitted: Mapping[str, Any], data: SequenceDataset
) -> SequenceDataset | None:
    """What the fit held out of `data`; None where they are not what it was fitted to.

    Args:
        model: fitted.
        fitted: facts about its fit.
        data: known by their name, which those that were given as frames or arrays do not have.
    """
    names = (fitted.get("data"), "data")
    if fitted.get("held_out") != SPLIT or data.name != names[0] or data.name == names[1]:
        return None
    saved = fitted.get("training", {})
    training = {k: saved[k] for k in ("valid_by", "prediction_length") if k in saved}
    divided = divide(
        data, saved["valid"], training, calendar="none", seed=fitted.get("seed", 0),
        context_length=model.options.context_length,
    )  # fmt: skip
    return divided.held_out


def held_out_again(model: SequenceModel, fitted: Mapping[str, Any]) -> SequenceDataset:
    """The held-out part of a bundled data set.

    Raises:
        InputError: where the fit was to something else, which has to be given.
    """
    name = str(fitted.get("data", ""))
    if name.partition(":")[0] in dataset_names():
        part = held_out_part(model, fitted, load_like(name, model.description))
        if part is not None:
            return part
    raise InputError(
        "the run does not hold the data that the fit held out; give data to calibrate the "
        "threshold on: the training data, whose held-out part is taken, or others "
        "(calibrate, --calibrate FILE)"
    )
