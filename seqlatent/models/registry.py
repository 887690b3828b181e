"""The models by name. A new model is one file and one line here."""

from typing import Any

from seqlatent.data.description import DataDescription
from seqlatent.errors import InputError, did_you_mean
from seqlatent.models.autoregressive import CNNModel, RNNModel, TransformerModel
from seqlatent.models.base import SequenceModel
from seqlatent.models.flow.model import FlowModel
from seqlatent.models.latent.model import LatentModel
from seqlatent.models.latent.presets import DMMModel, SRNNModel, VRNNModel
from seqlatent.models.linear_gaussian import LinearGaussianModel

MODELS: dict[str, type[SequenceModel]] = {
    "rnn": RNNModel,
    "transformer": TransformerModel,
    "cnn": CNNModel,
    "latent": LatentModel,
    "vrnn": VRNNModel,
    "srnn": SRNNModel,
    "dmm": DMMModel,
    "linear-gaussian": LinearGaussianModel,
    "flow": FlowModel,
}


def model_class(family: str) -> type[SequenceModel]:
    """The model of that name.

    Raises:
        InputError: for an unknown name.
    """
    if family not in MODELS:
        raise InputError(f"unknown model '{family}'{did_you_mean(family, MODELS)}")
    return MODELS[family]


def build_model(family: str, options: Any, description: DataDescription) -> SequenceModel:
    """A model with fresh parameters, drawn from torch's global generator."""
    return model_class(family)(options, description)
