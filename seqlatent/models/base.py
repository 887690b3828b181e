"""The base of every model of sequences.

A model is an `nn.Module` built from its options and a description of the training data. It reads
and samples values in data units. Whether it has a likelihood or latents or can fill gaps, and how
it is trained and selected, are capabilities that it declares (`seqlatent.inference.protocols`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.distributions.noise import Noise
from seqlatent.inference.protocols import ModelState, StepModel
from seqlatent.nn.layers import soft_clip
from seqlatent.nn.scaling import SCALINGS, CovariateScaler, Scaler


@dataclass(frozen=True)
class ModelOptions:
    """Options that every model has."""

    scaling: str = field(
        default="global",
        metadata={
            "help": "how real values are scaled: global, by the training data; prefix, by each "
            "series' own first context_length steps; increments, each value less the one before "
            "it, for near-random walks (needs context_length=1); none",
            "choices": SCALINGS,
        },
    )
    context_length: int = field(
        default=0,
        metadata={
            "help": "number of first steps of each sequence that are conditioned on and not scored",
            "min": 0,
        },
    )


class SequenceModel(StepModel):
    """Base of all models; a subclass names its `family` and `Options` and its capabilities.

    Args:
        options: an object of the class's `Options`.
        description: of the training data.
        discrete: for each of D channels, whether its values are never scaled; by default true for
            labels.
        num_features: the number of features by which a network sees one value.

    Attributes:
        learning_rate: the default for training.
        embedding_dim: F, the size of an embedded step.
        input_dim: F + C, the size of a network's input for one step.
    """

    Options: ClassVar[Any] = ModelOptions
    learning_rate: ClassVar[float] = 3e-3
    options: Any

    def __init__(
        self,
        options: Any,
        description: DataDescription,
        discrete: Sequence[bool] | None = None,
        num_features: int = 1,
    ):
        super().__init__()
        self.options, self.description = options, description
        if discrete is None:
            discrete = [c.name in description.categories for c in description.channels]
        self.scaler = Scaler(description, options.scaling, discrete)
        self.covariate_scaler = CovariateScaler(description)
        self.embedding_dim = description.num_channels * (num_features + 1)
        self.input_dim = self.embedding_dim + len(description.covariate_names)

    # -- what a subclass may override -------------------------------------------------------------

    @classmethod
    def complete(cls, options: Any, description: DataDescription) -> tuple[Any, str]:
        """The options with those set that depend on the data, and the reason in a few words or "".

        Raises:
            InputError: if the model does not support such data.
        """
        return options, ""

    @classmethod
    def unused_options(cls, options: Any) -> dict[str, str]:
        """Options without effect given the others, and what each applies to."""
        return {}

    def check(self, data: SequenceDataset) -> None:
        """Refuse, before long work, data that the model cannot read.

        Raises:
            InputError: naming the series or the channel.
        """

    def features(self, y: Tensor) -> Tensor:
        """(..., D) scaled values -> (..., D, num_features) their features for a network."""
        return soft_clip(y)[..., None]

    def sample_step(
        self, state: ModelState, covariates: Tensor, noise: Noise
    ) -> tuple[Tensor, ModelState]:
        """Sample the next step: (B, 1, C) covariates -> (B, 1, D) values in data units, and the
        state after it. A model that samples many steps at once overrides `sample_steps` instead."""
        raise TypeError(f"{type(self).__name__} must define sample_step or sample_steps")

    def sample_steps(
        self, state: ModelState, covariates: Tensor, noise: Noise
    ) -> tuple[Tensor, ModelState]:
        """Sample T steps: (B, T, C) covariates -> (B, T, D) values in data units, and the state
        after them."""
        steps: list[Tensor] = []
        for t in range(covariates.shape[1]):
            x, state = self.sample_step(state, covariates[:, t : t + 1], noise)
            state = state.at(x)
            steps.append(x)
        return torch.cat(steps, 1), state

    # -- what all models share --------------------------------------------------------------------

    def embed(self, y: Tensor, observed: Tensor) -> Tensor:
        """(..., D) scaled values -> (..., F) features, zero where missing, and missingness flags.

        Flags of observed values would nearly always be 1: many such inputs act as a bias with a
        learning rate that is many times too high.
        """
        features = self.features(y) * observed[..., None]
        return torch.cat([features.flatten(-2), (~observed).to(y)], -1)

    def inputs(
        self, batch: SequenceBatch, state: ModelState | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Scaled values y (B, T, D), their embedding (B, T, F), and inputs u (B, T, F + C): at step
        t the embedding of step t - 1 and the covariates of step t."""
        state = state or self.begin(batch)
        y = state.scaling.forward(batch)
        embedding = self.embed(y, batch.observed)
        last = state.last.expand(len(y), -1, -1)
        before = torch.cat([last, embedding[:, :-1]], 1)
        return y, embedding, torch.cat([before, self.covariate_scaler(batch.covariates)], -1)

    def log_scale(self, batch: SequenceBatch) -> Tensor:
        """(B, T) nats: log p(x_t | .) in data units is that in scaled units *less* this, the sum
        of log scale over the step's observed channels; 0 where not scored."""
        log_scale = self.begin(batch).scaling.log_scale(batch.observed)
        return torch.where(batch.scored, log_scale, 0.0)

    def next_input(self, state: ModelState, covariates: Tensor) -> Tensor:
        """(B, 1, F + C) the input of the step after a state, given its (B, 1, C) covariates."""
        return torch.cat([state.last, self.covariate_scaler(covariates)], -1)

    def begin(self, batch: SequenceBatch | None) -> ModelState:
        """The state before the first step of a batch, or of a sequence without any step (None)."""
        scaling = self.scaler(batch)
        size = 1 if batch is None else len(batch.x)
        nothing = torch.zeros(size, 1, self.description.num_channels, device=scaling.loc.device)
        last = self.embed(nothing, torch.zeros_like(nothing, dtype=torch.bool))
        return ModelState(scaling, last, None)
