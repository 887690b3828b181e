"""The models by name. A new model is one file and one line here.

Other packages add theirs with `register_model` or an entry point of the group `seqlatent.models`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

from seqlatent.data.description import DataDescription
from seqlatent.errors import InputError
from seqlatent.inference.protocols import Density, EstimatedDensity
from seqlatent.inference.training_protocols import LossTraining, OwnSelection, OwnTraining
from seqlatent.models.adversarial.model import GANModel, WGANModel
from seqlatent.models.autoencoder.model import AutoencoderModel
from seqlatent.models.autoregressive import CNNModel, RNNModel, TransformerModel
from seqlatent.models.base import SequenceModel
from seqlatent.models.diffusion.model import DiffusionModel
from seqlatent.models.flow.model import FlowModel
from seqlatent.models.latent.model import LatentModel
from seqlatent.models.latent.presets import DMMModel, SRNNModel, VRNNModel
from seqlatent.models.linear_gaussian import LinearGaussianModel
from seqlatent.models.mixture import MixtureModel
from seqlatent.models.switching import SwitchingModel
from seqlatent.registry import Registry

M = TypeVar("M", bound=type[SequenceModel])

MODELS: Registry[type[SequenceModel]] = Registry("model", "seqlatent.models")


def register_model(cls: M) -> M:
    """Add a model to the table; a class decorator.

    Raises:
        TypeError: for a class that does not declare how it is trained and selected.
        InputError: if another model has that name.
    """
    if not any(issubclass(cls, kind) for kind in (LossTraining, OwnTraining)):
        raise TypeError(f"{cls.__name__} must be a LossTraining or an OwnTraining")
    if not any(issubclass(cls, kind) for kind in (Density, EstimatedDensity, OwnSelection)):
        raise TypeError(
            f"{cls.__name__} must be an ExactDensity, a DensityBound, an EstimatedDensity or an "
            "OwnSelection, by which training selects the best parameters"
        )
    MODELS.add(cls.family, cls)
    return cls


for _model in (
    RNNModel,
    TransformerModel,
    CNNModel,
    LatentModel,
    VRNNModel,
    SRNNModel,
    DMMModel,
    LinearGaussianModel,
    SwitchingModel,
    FlowModel,
    DiffusionModel,
    GANModel,
    WGANModel,
    AutoencoderModel,
    MixtureModel,
):
    register_model(_model)


def build_model(
    family: str,
    options: Any,
    description: DataDescription,
    parts: Sequence[SequenceModel] = (),
) -> SequenceModel:
    """A model with new parameters, sampled with torch's global generator.

    Args:
        family: its name.
        options: an object of its `Options`; where one is `auto` and to be chosen by held-out data,
            the model has the usual value.
        description: of the training data.
        parts: the models that it is made of, if it is made of others.

    Raises:
        InputError: for an unknown name, or an option that has no effect on this model.
    """
    cls = MODELS[family]
    options = cls.settled(options)
    defaults = {f.name: f.default for f in dataclasses.fields(options)}
    for name, applies_to in cls.unused_options(options).items():
        value = getattr(options, name)
        if value != defaults[name]:
            raise InputError(
                f"option {name}={value} would be ignored: it applies to {applies_to}; leave it out"
            )
    return cls(options, description, parts) if parts else cls(options, description)  # type: ignore[arg-type]
