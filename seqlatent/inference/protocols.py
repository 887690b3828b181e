"""What inference asks of a model."""

from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from seqlatent.data.batch import SequenceBatch
from seqlatent.nn.scaling import Scaling


class ModelState(NamedTuple):
    """What a model remembers of the steps so far; every tensor leads with the batch dimension.

    Attributes:
        scaling: the sequences' affine maps; their leading dimension may be 1, for all. Who drew or
            read the last values moves it on to them, by `at`.
        last: (B, 1, F) embedding of the last value; before the first, of one that is missing.
            Zeros where a model has no networks to give it to.
        network: states of the model's networks or of its filter; None before the first step.
    """

    scaling: Scaling
    last: Tensor
    network: Any

    def at(self, values: Tensor) -> "ModelState":
        """The history whose last values are these, (B, 1, D), NaN where there is none yet."""
        return self._replace(scaling=self.scaling.after(values))


class StepModel(nn.Module):
    """What every model can do: read steps, and go on from them."""

    family: ClassVar[str]

    def begin(self, batch: SequenceBatch | None) -> ModelState:
        raise TypeError

    def read(self, batch: SequenceBatch, history: ModelState | None = None) -> ModelState:
        raise TypeError


@runtime_checkable
class ExactDensity(Protocol):
    """A model whose density is computed, not estimated."""

    def log_prob(
        self, batch: SequenceBatch, history: ModelState | None = None
    ) -> tuple[Tensor, ModelState]:
        """(B, T) log p(x_t | x_{<t}) in nats, 0 where not scored, and the history after."""
        ...


@runtime_checkable
class ExactPosterior(Protocol):
    """A model with latents z_{1:T} whose distribution given x_{1:T} is a Gaussian that it
    computes."""

    latent_dim: int

    def filter(
        self, batch: SequenceBatch, history: ModelState | None = None
    ) -> tuple[Tensor, Tensor, ModelState]:
        """Mean (B, T, Z) and covariance (B, T, Z, Z) of p(z_t | x_{1:t}), and the history after;
        the covariance's first dimension is 1 where all sequences share it."""
        ...

    def smoother(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """The same of p(z_t | x_{1:T})."""
        ...

    def sample_smoothed(
        self, batch: SequenceBatch, num_samples: int, generator: torch.Generator | None
    ) -> Tensor:
        """(S, B, T, Z) joint draws of p(z_{1:T} | x_{1:T})."""
        ...

    def sample_missing(
        self, batch: SequenceBatch, num_samples: int, generator: torch.Generator | None
    ) -> Tensor:
        """(S, B, T, D) joint draws of the missing values given the observed, which are as they
        are; data units."""
        ...


@runtime_checkable
class Fillable(Protocol):
    """A model that goes on step by step with values that are given in part."""

    def fill_step(
        self,
        history: ModelState,
        y: Tensor,
        observed: Tensor,
        covariates: Tensor,
        generator: torch.Generator | None,
    ) -> tuple[Tensor, Tensor, ModelState]:
        """Draw what is missing of the next step of S paths, and weigh what is not.

        Args:
            history: of the paths, without gaps.
            y: (S, 1, D) scaled values.
            observed: (D,) bool, which of them are given.
            covariates: (S, 1, C).
            generator: of the draws.

        Returns:
            the completed step (S, 1, D); (S,) log-weights, nats, by which the draws follow
            p(missing | history, observed), with mean p(observed | history) up to the scaling's
            constant; and the history with the completed step.
        """
        ...


@runtime_checkable
class EstimatedDensity(Protocol):
    """A model with latents z_{1:T}, whose density is estimated from weighted draws of a guide.

    Attributes:
        latent_dim: Z.
        factorises: whether the posterior does, over time: z_t is independent of the others given x.
        smoothing: whether the guide sees later values.
    """

    latent_dim: int
    factorises: bool
    smoothing: bool

    def reading(self, batch: SequenceBatch, history: ModelState | None = None) -> Any:
        """What the model makes of the values alone; `steps(start, stop)` of it are a part."""
        ...

    def propose(
        self, r: Any, eps: Tensor, particles: Any = None, branched: bool = False
    ) -> tuple[Any, Any]:
        """A reading and (K, B, T, Z) noise -> latents `z` from the guide with their (K, B, T)
        `log_weight` = log p(x_t | .) + log p(z_t | .) - log q(z_t | .); the particles' states."""
        ...

    def filtered_paths(
        self, batch: SequenceBatch, num_paths: int, generator: torch.Generator
    ) -> ModelState:
        """Histories (num_paths, ...) of one sequence, with latents drawn given its values."""
        ...


@runtime_checkable
class InvertibleLatents(Protocol):
    """A model in which a sequence has one latent code, and a code one sequence."""

    code_dim: int

    def code(
        self, batch: SequenceBatch, history: ModelState | None = None
    ) -> tuple[Tensor, ModelState]:
        """(B, T, Z) codes, NaN where no value was observed, and the history after."""
        ...

    def decode(
        self, z: Tensor, covariates: Tensor, history: ModelState
    ) -> tuple[Tensor, ModelState]:
        """(B, T, Z) codes, (B, T, C) covariates -> (B, T, D) values, and the history after."""
        ...
