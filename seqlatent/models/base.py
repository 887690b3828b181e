"""What every model of sequences is.

    log p(x_{1:T}) = sum_t log p(x_t | x_{<t})

A model is an `nn.Module` built from its options and a description of the training data. It reads
values in data units: the scaler's log-determinant is part of every density. What it can do beyond
training and sampling is a capability that it has or lacks: `ExactDensity`, `ExactPosterior`,
`EstimatedDensity`, `InvertibleLatents`.
"""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.steps import show_step
from seqlatent.distributions.choice import choose_emission
from seqlatent.distributions.emission import (
    FAMILIES,
    EmissionOptions,
    StepHead,
    build_family,
    build_head,
    check_values,
)
from seqlatent.errors import InputError
from seqlatent.inference.protocols import ModelState, StepModel
from seqlatent.nn.scaling import SCALINGS, CovariateScaler, Scaler, units


@dataclass(frozen=True)
class ModelOptions(EmissionOptions):
    """Options that every model has."""

    scaling: str = field(
        default="global",
        metadata={
            "help": "of real values: global (training data), prefix (each series' own first "
            "context_length steps), increments (each value less the one before it, for series that "
            "wander; needs context_length=1), none",
            "choices": SCALINGS,
        },
    )
    context_length: int = field(
        default=0,
        metadata={"help": "first steps of a sequence, conditioned on and not scored", "min": 0},
    )


class SequenceModel(StepModel):
    """Base of all models; a subclass names its `family` and `Options` and defines the rest below.

    Attributes:
        emissions: the distributions of a value that the family can have.
        learning_rate: of training, where the user names none.
        embedding_dim: F, the size of an embedded value.
        input_dim: F + C, the size of what a network is given for one step.
    """

    family: ClassVar[str]
    emissions: ClassVar[tuple[str, ...]] = tuple(FAMILIES)
    learning_rate: ClassVar[float] = 3e-3
    Options: ClassVar[type[ModelOptions]]
    options: Any

    def __init__(self, options: Any, description: DataDescription):
        super().__init__()
        self.options, self.description = options, description
        scales = units(description, options.scaling)
        modelled = description
        if options.scaling == "increments":  # floors are relative to what is modelled
            channels = tuple(replace(c, scale=c.increment) for c in description.channels)
            modelled = replace(description, channels=channels)
        self.value_distribution = build_family(modelled, options, scales)
        if options.emission not in self.emissions:
            raise InputError(
                f"model '{self.family}' cannot have emission={options.emission}, only "
                f"{', '.join(self.emissions)}; choose another model (--model)"
            )
        discrete = self.value_distribution.discrete_channels(description.num_channels)
        if any(discrete) and options.scaling == "increments":
            raise InputError(
                f"scaling=increments is for real values, and emission={options.emission} for counts"
                " or labels; use scaling=none"
            )
        self.scaler = Scaler(description, options.scaling, discrete)
        self.covariate_scaler = CovariateScaler(description)
        self.embedding_dim = description.num_channels * (self.value_distribution.num_features + 1)
        self.input_dim = self.embedding_dim + len(description.covariate_names)

    def build_head(self, in_dim: int) -> StepHead:
        """A head p(x_t | h_t) for features of size `in_dim`."""
        return build_head(
            self.value_distribution, self.description.num_channels, self.options, in_dim
        )

    def embed(self, y: Tensor, observed: Tensor) -> Tensor:
        """(..., D) scaled values -> (..., F) features, zero where missing, and flags of what is.

        The flags say what is missing, not what is there: many inputs that are always 1 would be one
        bias with a learning rate many times too high.
        """
        features = self.value_distribution.features(y) * observed[..., None]
        return torch.cat([features.flatten(-2), (~observed).to(y)], -1)

    def inputs(
        self, batch: SequenceBatch, history: ModelState | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Scaled values y (B, T, D), their embedding (B, T, F), and the inputs u (B, T, F + C) that
        hold, at step t, the embedding of step t - 1 and the covariates of step t."""
        history = history or self.begin(batch)
        y = history.scaling.forward(batch)
        embedding = self.embed(y, batch.observed)
        last = history.last.expand(len(y), -1, -1)
        before = torch.cat([last, embedding[:, :-1]], 1)
        return y, embedding, torch.cat([before, self.covariate_scaler(batch.covariates)], -1)

    def begin(self, batch: SequenceBatch | None) -> ModelState:
        """The history before the first step, of a batch or (None) of one that has yet to begin."""
        scaling = self.scaler(batch)
        size = 1 if batch is None else len(batch.x)
        nothing = torch.zeros(size, 1, self.description.num_channels, device=scaling.loc.device)
        last = self.embed(nothing, torch.zeros_like(nothing, dtype=torch.bool))
        return ModelState(scaling, last, None)

    # -- what a subclass may know better ----------------------------------------------------------

    @classmethod
    def choose_emission(cls, description: DataDescription) -> tuple[str, str]:
        """The emission for a data set, and the reason in a few words.

        Raises:
            InputError: where the model has none for it.
        """
        return choose_emission(description, cls.emissions)

    def check(self, data: SequenceDataset) -> None:
        """Refuse, before long work, data that the model cannot read.

        Raises:
            InputError: naming the series or the channel.
        """
        check_values(self.value_distribution, data)
        if self.options.channels != "coupling":
            return
        for s in data:
            missing = np.isnan(s.x)
            partly = missing.any(1) & ~missing.all(1)
            if partly.any():
                t = int(partly.argmax())
                d = int(missing[t].argmax())
                raise InputError(
                    f"{data.name}: series {s.unique_id} lacks '{data.targets[d]}' at step "
                    f"{show_step(s.ds[t])} and not the rest; channels=coupling models all "
                    "channels at once: use channels=autoregressive"
                )

    def sample_steps(
        self, history: ModelState, covariates: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, ModelState]:
        """Draw T steps: (B, T, C) covariates -> (B, T, D) values in data units."""
        steps: list[Tensor] = []
        for t in range(covariates.shape[1]):
            x, history = self.sample_step(history, covariates[:, t : t + 1], generator)
            history = history.at(x)
            steps.append(x)
        return torch.cat(steps, 1), history

    # -- what a subclass defines ------------------------------------------------------------------

    def loss(self, batch: SequenceBatch, step: int | None = None) -> Tensor:
        """The training loss, nats per scored step; `step` counts training steps, for annealing."""
        raise TypeError(f"{type(self).__name__} must define loss")

    def terms(self, batch: SequenceBatch) -> dict[str, Tensor]:
        """The loss's parts, (B, T) each, by name: where to look when it is not finite."""
        raise TypeError(f"{type(self).__name__} must define terms")

    def at_floor(self, batch: SequenceBatch) -> Tensor:
        """(B, T, D) how far, 0 to 1, the density of each value rests on the scale's floor."""
        raise TypeError(f"{type(self).__name__} must define at_floor")

    def read(self, batch: SequenceBatch, history: ModelState | None = None) -> ModelState:
        """The history after all T steps of a batch without padding."""
        raise TypeError(f"{type(self).__name__} must define read")

    def sample_step(
        self, history: ModelState, covariates: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, ModelState]:
        """Draw the next step: (B, 1, C) covariates -> (B, 1, D) values in data units."""
        raise TypeError(f"{type(self).__name__} must define sample_step")

    # ---------------------------------------------------------------------------------------------

    def forward(self, batch: SequenceBatch, step: int | None = None) -> Tensor:
        return self.loss(batch, step)
