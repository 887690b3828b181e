"""How a model is trained and selected, by base classes, as for what it can do (`protocols.py`).

LossTraining       a loss, for one optimiser
OwnTraining        its own training steps, with any number of optimisers
OwnSelection       its own validation score, if it has no density
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor
from torch.optim import Optimizer

from seqlatent.data.batch import SequenceBatch
from seqlatent.distributions.noise import Noise
from seqlatent.inference.protocols import StepModel


class LossTraining(StepModel):
    """A model that is trained by a loss."""

    @abstractmethod
    def loss(self, batch: SequenceBatch, step: int | None = None) -> Tensor:
        """The training loss; for models with a density, in nats per scored step.

        Several processes may share a batch, and their losses add up to that of the whole: a mean
        is a sum of one's own sequences over the count of all (`batch.num_scored`, or `total` of
        seqlatent.data.share), and random numbers come from `drawn` or `TorchNoise`.

        Args:
            batch: of training data.
            step: the number of training steps so far, for annealing; None after it.
        """

    def terms(self, batch: SequenceBatch) -> dict[str, Tensor]:
        """The terms of the loss by name, (B, T) each, to locate a value that is not finite."""
        return {}

    def forward(self, batch: SequenceBatch, step: int | None = None) -> Tensor:
        return self.loss(batch, step)


# Takes a step of the named optimiser along the gradient of a loss.
Update = Callable[[str, Tensor], None]


class OwnTraining(StepModel):
    """A model with its own training steps, such as an adversarial pair of networks."""

    @abstractmethod
    def optimizers(self, learning_rate: float) -> dict[str, Optimizer]:
        """The optimisers by name. Their learning rates are annealed as for other models."""

    @abstractmethod
    def training_step(self, batch: SequenceBatch, step: int, update: Update) -> Tensor:
        """One training step, with any number of calls of `update(name, loss)`; returns the number
        to report as the training loss. Where several processes share a batch, losses add up to that
        of the whole, as those of `LossTraining` do."""

    def curve_numbers(self) -> dict[str, float]:
        """Further numbers for the training curve, of the time since it was last asked for them."""
        return {}


class OwnSelection(StepModel):
    """A model without a density, whose best parameters are selected by its own validation score.

    Attributes:
        score_name: name of the score in messages and in the training curve.
    """

    score_name: ClassVar[str]

    @abstractmethod
    def validation_score(self, batch: SequenceBatch, noise: Noise) -> Tensor:
        """(B,) score of each held-out sequence; higher is better."""

    def selectable(self) -> bool:
        """Whether training is so far that its parameters may be kept in place of others; those that
        are not are kept only where no others come after them."""
        return True
