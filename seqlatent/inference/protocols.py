"""What inference asks of a model: the state it carries from step to step, and its capabilities.

A capability is a base class that a model names among its own. Nothing is guessed from the names of
methods: a class that happens to have a `log_prob` has no likelihood until it says which kind.

    ExactDensity       log p(x_t | x_{<t}), computed           scored as `exact`
    DensityBound       a lower bound of it, computed           scored as `bound`
    EstimatedDensity   latents and a guide that weighs them    scored as `iwae`, `smc` or `elbo`
    ExactPosterior     p(z_{1:T} | x_{1:T}), computed
    InvertibleLatents  one latent sequence for each sequence of values, and back
    Fillable           steps of which some values are given

What it is trained by, and chosen by, is declared likewise:

    LossTraining       a loss, for one optimiser
    OwnTraining        training steps of its own, with any number of optimisers
    OwnSelection       a validation score of its own, where it has no density
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from seqlatent.data.batch import SequenceBatch
from seqlatent.distributions.noise import Noise
from seqlatent.nn.scaling import Scaling


class ModelState(NamedTuple):
    """What a model remembers of the steps so far; every tensor leads with the batch dimension.

    Attributes:
        scaling: the sequences' affine maps; their leading dimension may be 1, for all. Whoever
            samples or reads the last values moves it on to them, by `at`.
        last: (B, 1, F) embedding of the last value; before the first, of one that is missing.
            Zeros where a model has no networks to give it to.
        network: states of the model's networks or of its filter; None before the first step.
    """

    scaling: Scaling
    last: Tensor
    network: Any

    def at(self, values: Tensor) -> "ModelState":
        """The state whose last values are these, (B, 1, D), NaN where there is none yet."""
        return self._replace(scaling=self.scaling.after(values))


class StepModel(nn.Module, ABC):
    """What every model can do: read steps, and go on from them.

    Attributes:
        family: the model's name in the registry.
    """

    family: ClassVar[str]

    @abstractmethod
    def begin(self, batch: SequenceBatch | None) -> ModelState:
        """The state before the first step, of a batch or (None) of one that has yet to begin."""

    @abstractmethod
    def read(self, batch: SequenceBatch, state: ModelState | None = None) -> ModelState:
        """The state after all T steps of a batch without padding."""

    @abstractmethod
    def sample_steps(
        self, state: ModelState, covariates: Tensor, noise: Noise
    ) -> tuple[Tensor, ModelState]:
        """Sample T steps: (B, T, C) covariates -> (B, T, D) values in data units, the state
        after."""

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device


class LossTraining(StepModel):
    """A model that is trained by a loss."""

    @abstractmethod
    def loss(self, batch: SequenceBatch, step: int | None = None) -> Tensor:
        """The training loss; of a density nats per scored step. `step` counts training steps, for
        annealing."""

    def terms(self, batch: SequenceBatch) -> dict[str, Tensor]:
        """The loss's parts, (B, T) each, by name: where to look when it is not finite."""
        return {}

    def forward(self, batch: SequenceBatch, step: int | None = None) -> Tensor:
        return self.loss(batch, step)


# Takes a step of the optimiser of that name down the gradient of a loss.
Update = Callable[[str, Tensor], None]


class OwnTraining(StepModel):
    """A model with training steps of its own, such as two networks that play against each other."""

    @abstractmethod
    def optimizers(self, learning_rate: float) -> dict[str, Optimizer]:
        """The optimisers by name; each moves the parameters that it was given, and its learning
        rate is annealed as that of other models is."""

    @abstractmethod
    def training_step(self, batch: SequenceBatch, step: int, update: Update) -> Tensor:
        """One training step: calls `update(name, loss)` as often as it wants, and returns the
        number that progress reports."""


class Density(StepModel):
    """A model that computes log p(x_t | x_{<t}), or a bound of it, without sampling.

    Attributes:
        kind: what `log_prob` is; see the two subclasses.
    """

    kind: ClassVar[str]

    @abstractmethod
    def log_prob(
        self, batch: SequenceBatch, state: ModelState | None = None
    ) -> tuple[Tensor, ModelState]:
        """(B, T) log p(x_t | x_{<t}) in nats, 0 where not scored, and the state after."""


class ExactDensity(Density):
    """A model whose `log_prob` is log p(x_t | x_{<t}) itself."""

    kind = "exact"


class DensityBound(Density):
    """A model whose `log_prob` is a lower bound of log p(x_t | x_{<t})."""

    kind = "bound"


class EstimatedDensity(StepModel):
    """A model with latents z_{1:T}, whose density is estimated from weighted samples of a guide.

    Attributes:
        latent_dim: Z.
        factorises: whether the posterior does, over time: z_t is independent of the others given x.
        smoothing: whether the guide sees later values.
    """

    latent_dim: int
    factorises: bool
    smoothing: bool

    @abstractmethod
    def reading(self, batch: SequenceBatch, state: ModelState | None = None) -> Any:
        """What the model makes of the values alone; `steps(start, stop)` of it are a part."""

    @abstractmethod
    def propose(
        self, r: Any, eps: Tensor, particles: Any = None, branched: bool = False
    ) -> tuple[Any, Any]:
        """A reading and (K, B, T, Z) noise -> latents `z` from the guide with their (K, B, T)
        `log_weight` = log p(x_t | .) + log p(z_t | .) - log q(z_t | .); the particles' states."""

    @abstractmethod
    def filtered_paths(self, batch: SequenceBatch, num_paths: int, noise: Noise) -> ModelState:
        """States (B num_paths, ...) of B sequences without padding, those of a sequence side by
        side, with latents sampled given its values."""


class ExactPosterior(StepModel):
    """A model with latents z_{1:T} whose distribution given x_{1:T} is a Gaussian that it
    computes."""

    latent_dim: int

    @abstractmethod
    def filter(
        self, batch: SequenceBatch, state: ModelState | None = None
    ) -> tuple[Tensor, Tensor, ModelState]:
        """Mean (B, T, Z) and covariance (B, T, Z, Z) of p(z_t | x_{1:t}), and the state after; the
        covariance's first dimension is 1 where all sequences share it."""

    @abstractmethod
    def smoother(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """The same of p(z_t | x_{1:T})."""

    @abstractmethod
    def sample_smoothed(self, batch: SequenceBatch, num_samples: int, noise: Noise) -> Tensor:
        """(S, B, T, Z) joint samples of p(z_{1:T} | x_{1:T})."""

    @abstractmethod
    def sample_missing(self, batch: SequenceBatch, num_samples: int, noise: Noise) -> Tensor:
        """(S, B, T, D) joint samples of the missing values given the observed, which are as they
        are; data units."""


class InvertibleLatents(StepModel):
    """A model in which a sequence has one latent sequence, and a latent sequence one sequence.

    Attributes:
        latent_dim: Z.
    """

    latent_dim: int

    @abstractmethod
    def encode(
        self, batch: SequenceBatch, state: ModelState | None = None
    ) -> tuple[Tensor, ModelState]:
        """(B, T, Z) latents, NaN where no value was observed, and the state after."""

    @abstractmethod
    def decode(self, z: Tensor, covariates: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """(B, T, Z) latents, (B, T, C) covariates -> (B, T, D) values, and the state after."""


class Fillable(StepModel):
    """A model that goes on step by step with values that are given in part."""

    @abstractmethod
    def fill_step(
        self, state: ModelState, y: Tensor, observed: Tensor, covariates: Tensor, noise: Noise
    ) -> tuple[Tensor, Tensor, ModelState]:
        """Sample what is missing of the next step of S paths, and weigh what is not.

        Args:
            state: of the paths, without gaps.
            y: (S, 1, D) scaled values.
            observed: (D,) bool, which of them are given.
            covariates: (S, 1, C).
            noise: of the samples.

        Returns:
            the completed step (S, 1, D); (S,) log-weights, nats, by which the samples follow
            p(missing | past, observed), with mean p(observed | past) up to the scaling's constant;
            and the state with the completed step.
        """


class OwnSelection(StepModel):
    """A model that is chosen by a validation score of its own, for want of a density.

    Attributes:
        score_name: what the score is called in messages and in the training curve.
    """

    score_name: ClassVar[str]

    @abstractmethod
    def validation_score(self, batch: SequenceBatch, noise: Noise) -> Tensor:
        """(B,) how good the model is on each held-out sequence; higher is better."""
