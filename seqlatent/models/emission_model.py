"""Models with an emission: a distribution of each step's values, chosen to suit the data."""

import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.steps import show_step
from seqlatent.distributions.build import (
    build_family,
    build_head,
    check_values,
    unused_emission_options,
)
from seqlatent.distributions.choice import choose_emission
from seqlatent.distributions.emission import EMISSIONS
from seqlatent.distributions.emission_options import EmissionOptions
from seqlatent.distributions.families import Family, LocationScale
from seqlatent.distributions.heads import Head
from seqlatent.distributions.noise import Noise
from seqlatent.errors import InputError
from seqlatent.inference.protocols import Fillable, ModelState
from seqlatent.inference.training_protocols import LossTraining
from seqlatent.models.base import ModelOptions, SequenceModel
from seqlatent.nn.chains import units


@dataclass(frozen=True)
class EmissionModelOptions(ModelOptions, EmissionOptions):
    """Options of every model with an emission."""


class EmissionModel(SequenceModel, LossTraining):
    """Base of the models with an emission.

    Attributes:
        value_distribution: the family of one channel's scaled values.
    """

    Options: ClassVar[Any] = EmissionModelOptions
    value_distribution: Family

    def __init__(self, options: Any, description: DataDescription):
        emission = options.emission
        if not self.accepts(emission):
            raise InputError(
                f"model '{self.family}' cannot have emission={emission}, only "
                f"{', '.join(self.emission_names())}; choose another model (--model)"
            )
        scaling = "global" if options.scaling == "auto" else options.scaling
        sizes, modelled = units(description, scaling), description
        if scaling not in ("global", "none"):  # floors are relative to what scaling leaves
            channels = tuple(
                replace(c, scale=unit) for c, unit in zip(description.channels, sizes, strict=True)
            )
            modelled = replace(description, channels=channels)
        family = build_family(modelled, options, sizes)
        discrete = family.discrete_channels(description.num_channels)
        if all(discrete) and scaling not in ("global", "none"):
            raise InputError(
                f"scaling={scaling} is for real values, but emission={emission} is for counts or "
                "labels, which are never scaled; leave it out"
            )
        labels = family.label_channels(description.num_channels)
        super().__init__(options, description, discrete, family.num_features, labels)
        self.value_distribution = family
        if scaling == "none":
            for part in family.modules():
                if isinstance(part, LocationScale):
                    part.outlier = math.inf

    def build_head(self, in_dim: int) -> Head:
        """A head p(x_t | h_t) for features of size `in_dim`."""
        return build_head(
            self.value_distribution, self.description.num_channels, self.options, in_dim
        )

    @abstractmethod
    def at_floor(self, batch: SequenceBatch) -> Tensor:
        """(B, T, D) to what extent, 0 to 1, the floor of the scale determines each density."""

    def features(self, y: Tensor) -> Tensor:
        return self.value_distribution.features(y)

    @classmethod
    def complete(cls, options: Any, description: DataDescription) -> tuple[Any, str]:
        if options.emission != "auto":
            return options, ""
        name, reason = cls.choose_emission(description)
        return replace(options, emission=name), f"emission: {name} ({reason})"

    @classmethod
    def choose_emission(cls, description: DataDescription) -> tuple[str, str]:
        """The emission for a data set, and the reason in a few words.

        Raises:
            InputError: if the model has no emission for it.
        """
        return choose_emission(description)

    @classmethod
    def accepts(cls, emission: str) -> bool:
        """Whether the model can have this emission."""
        return True

    @classmethod
    def emission_names(cls) -> tuple[str, ...]:
        """The emissions that the model can have."""
        return tuple(name for name in EMISSIONS.loaded() if cls.accepts(name))

    @classmethod
    def unused_options(cls, options: Any) -> dict[str, str]:
        return unused_emission_options(options)

    def check(self, data: SequenceDataset) -> None:
        check_values(self.value_distribution, data)
        if self.options.channels != "coupling":
            return
        refuse_partly(data, "channels=coupling cannot model; use channels=autoregressive")


class FillingModel(EmissionModel, Fillable):
    """Base of the models that sample a step as they fill one of which nothing is observed."""

    def sample_step(
        self, state: ModelState, covariates: Tensor, noise: Noise
    ) -> tuple[Tensor, ModelState]:
        y = covariates.new_zeros(len(covariates), 1, self.description.num_channels)
        nothing = torch.zeros(y.shape[-1], dtype=torch.bool, device=y.device)
        y, _, state = self.fill_step(state, y, nothing, covariates, noise)
        x, memory = self.unscale_step(y, state)
        return x, state._replace(memory=memory)


def refuse_partly(data: SequenceDataset, reason: str) -> None:
    """Refuse data with a step of which some channels are missing and others are not.

    Args:
        data: the sequences.
        reason: end of the message, after "which".

    Raises:
        InputError: naming the series, the step and a channel.
    """
    for s in data:
        missing = np.isnan(s.x)
        partly = missing.any(1) & ~missing.all(1)
        if partly.any():
            t = int(partly.argmax())
            d = int(missing[t].argmax())
            raise InputError(
                f"{data.name}: in series {s.unique_id}, '{data.targets[d]}' is missing at step "
                f"{show_step(s.ds[t])} and other channels are not, which {reason}"
            )
