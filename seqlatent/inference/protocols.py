"""What inference needs of a model: the state that it carries from step to step, and capabilities.

A capability is a base class of the model. Nothing is inferred from the names of methods: a class
with a method `log_prob` has a likelihood only if it declares one of the first four.

    ExactDensity       log p(x_t | x_{<t}), computed           scored as `exact`
    OdeDensity         the same by a solver, with its error     scored as `ode`
    DensityBound       a lower bound of it, computed           scored as `bound`
    EstimatedDensity   an estimate by weighted latents         scored as `iwae`, `smc` or `elbo`
    DrawnMarginals     an exact one's marginals, by draws       scored as `sampled`
    ExactPosterior     p(z_{1:T} | x_{1:T}), computed
    Regimes            p(s_{1:T} | x_{1:T}) of discrete latents, computed
    InvertibleLatents  a one-to-one map between sequences of values and of latents
    DeterministicCodes a code of each step, and values from codes, with an error
    Reconstructs       values from their own codes or latents, to be compared with them
    Fillable           samples the missing values of partially observed steps

How it is trained and selected is declared in the same way: `training_protocols.py`.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from seqlatent.data.batch import SequenceBatch
from seqlatent.distributions.noise import Noise, SequenceNoise
from seqlatent.nn.scaling import Scaler


class ModelState(NamedTuple):
    """What a model remembers of the steps so far; the batch dimension of every tensor is first.

    Attributes:
        memory: what scaling remembers of the values, for sampling to continue from: a `Memory`, or
            a tuple of those of a model's parts; its first dimension may be 1. Reading a batch
            leaves it alone: who samples after it sets it by `SequenceModel.remember`.
        last: (B, 1, F) embedding of the last value; before the first step, of a missing value.
            Zeros if the model has no network that uses it.
        network: states of the model's networks or of its filter; None before the first step.
    """

    memory: Any
    last: Tensor
    network: Any


class StepModel(nn.Module, ABC):
    """What every model can do: read steps, and sample the steps after them.

    Attributes:
        family: the model's name in the registry.
        scaler: of the values.
    """

    family: ClassVar[str]
    scaler: Scaler

    @abstractmethod
    def begin(self, batch: SequenceBatch | None) -> ModelState:
        """The state before the first step of a batch, or of a sequence without any step (None)."""

    @abstractmethod
    def read(self, batch: SequenceBatch, state: ModelState | None = None) -> ModelState:
        """The state after all T steps of a batch without padding."""

    @abstractmethod
    def sample_steps(
        self, state: ModelState, covariates: Tensor, noise: Noise
    ) -> tuple[Tensor, ModelState]:
        """Sample T steps: (B, T, C) covariates -> (B, T, D) values in data units, and the state
        after them."""

    @abstractmethod
    def remember(self, batch: SequenceBatch) -> Any:
        """What scaling remembers after all T steps of a batch without padding."""

    def next_batch(
        self, state: ModelState, x: Tensor, observed: Tensor, covariates: Tensor
    ) -> tuple[SequenceBatch, Any]:
        """The step after a state with its memory as a batch, and what scaling remembers after it.

        Args:
            state: after any steps.
            x: (B, 1, D) values in data units, any where missing.
            observed: (B, 1, D) bool.
            covariates: (B, 1, C), as in a batch.
        """
        one, none = x.new_ones(len(x), dtype=torch.int64), x[:, :0]
        zero = torch.zeros_like(one)
        scaled, after = self.scaler.step(state.memory, torch.where(observed, x, torch.nan))
        x = torch.where(observed, x, 0.0)
        return SequenceBatch(x, observed, one, zero, covariates, none, zero, tuple(scaled)), after

    def at_start_of_paths(self, state: ModelState) -> ModelState:
        """The state, from which paths keep within limits by the values so far
        (`seqlatent.nn.limits`)."""
        scaler = self.scaler
        own = scaler.own_scale(state.memory)
        return state._replace(memory=scaler.limits.begin(state.memory, own))

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.parameters()).device


class Density(StepModel):
    """A model that computes log p(x_t | x_{<t}), or a bound of it, without sampling.

    Attributes:
        kind: whether `log_prob` is exact, that of a solver, or a bound.
        by_step: whether what it gives for a step is the density, or a bound, of that step given
            those before; otherwise only sums over blocks of steps are.
    """

    kind: str
    by_step: bool = True

    @abstractmethod
    def log_prob(
        self, batch: SequenceBatch, state: ModelState | None = None
    ) -> tuple[Tensor, ModelState]:
        """(B, T) log p(x_t | x_{<t}) in nats and data units, 0 where not scored, and the state
        after."""

    def log_prob_and_error(
        self, batch: SequenceBatch, state: ModelState | None = None
    ) -> tuple[Tensor, Tensor, ModelState]:
        """`log_prob` with, after its first result, the (B, T) size of its numerical error, nats."""
        log_prob, after = self.log_prob(batch, state)
        return log_prob, torch.zeros_like(log_prob), after

    def log_prob_next(
        self, state: ModelState, x: Tensor, observed: Tensor, covariates: Tensor
    ) -> tuple[Tensor, ModelState]:
        """(B, 1) log p(x_t | x_{<t}) in nats and data units of the step after a state, 0 where
        nothing is observed, and the state after, with its memory; arguments as of `next_batch`."""
        batch, memory = self.next_batch(state, x, observed, covariates)
        value, after = self.log_prob(batch, state)
        return value, after._replace(memory=memory)


class ExactDensity(Density):
    """A model whose `log_prob` is log p(x_t | x_{<t}) itself."""

    kind = "exact"

    def tail_probability(
        self, batch: SequenceBatch, state: ModelState | None = None
    ) -> Tensor | None:
        """(B, T) the probability, given x_{<t}, of a value with at most the density of x_t: NaN
        where not scored; None where it has no closed form (`seqlatent.inference.rarity`)."""
        return None


class DrawnMarginals(ExactDensity):
    """An exact density, and its marginals by draws of what is missing (`inference.marginals`)."""

    @abstractmethod
    def seen_log_weights(
        self,
        batch: SequenceBatch,
        state: ModelState,
        rows: Tensor,
        num_draws: int,
        noise: SequenceNoise,
    ) -> Tensor:
        """Weights of the seen channels of some steps, by samples of the missing ones.

        Args:
            batch: B sequences and T steps.
            state: before them.
            rows: (B, T) bool, the R steps.
            num_draws: N.
            noise: with a stream for each of the R steps, in the order of `rows.nonzero()`.

        Returns:
            (N, R) log-weights in nats, data units: their exponential's mean is p(seen | x_{<t}).
        """


class OdeDensity(Density):
    """A model whose density is that of an ordinary differential equation, computed by a solver."""

    kind = "ode"

    @abstractmethod
    def log_prob_and_error(
        self, batch: SequenceBatch, state: ModelState | None = None
    ) -> tuple[Tensor, Tensor, ModelState]:
        """As of `Density`, with the solver's error."""


class DensityBound(Density):
    """A model whose `log_prob` is a lower bound of log p(x_t | x_{<t})."""

    kind = "bound"


class EstimatedDensity(StepModel):
    """A model with latents z_{1:T}, whose density is estimated from weighted samples of a guide.

    Attributes:
        latent_dim: Z.
        factorises: whether z_t is independent of the other latents given x.
        smoothing: whether the guide sees later values.
    """

    latent_dim: int
    factorises: bool
    smoothing: bool

    @abstractmethod
    def reading(self, batch: SequenceBatch, state: ModelState | None = None) -> Any:
        """What the model computes from the values alone. Its `steps(start, stop)` is a slice, its
        `repeated(num)` has each sequence `num` times, and its `after` is the state after the last
        step, without latents."""

    @abstractmethod
    def propose(
        self,
        r: Any,
        eps: Tensor,
        particles: Any = None,
        branched: bool = False,
        from_prior: Tensor | None = None,
    ) -> tuple[Any, Any]:
        """Sample latents from the guide, or the prior, and compute their weights.

        Args:
            r: a reading.
            eps: (K, B, T, Z) standard normal noise.
            particles: states that an earlier call returned, to continue from.
            branched: sample a step's latents given the past of the first particle, if factorised.
            from_prior: (K, B, 1) bool, of one step, which are the prior's; if not factorised.

        Returns:
            the latents `z`, the noise `eps` by which the guide makes them, and their (K, B, T)
            `log_weight` = `log_x` + `log_prior` - `log_q`, nats; and the particles' states."""

    @abstractmethod
    def paths(self, state: ModelState, particles: Any, chosen: Tensor) -> ModelState:
        """States of S paths of each of B sequences, (B * S, ...), those of a sequence side by side,
        for `sample_steps` to go on from: from the `chosen` (S, B) of its particles.

        Args:
            state: of the sequences, without latents.
            particles: their states, of (K, B) particles, as `propose` returned them."""

    @abstractmethod
    def filtered_paths(
        self, batch: SequenceBatch, num_paths: int, noise: SequenceNoise, filling: bool = False
    ) -> ModelState:
        """States of num_paths paths of each of B sequences without padding, with latents sampled
        given its values: (B * num_paths, ...), those of a sequence side by side; for `fill_step` to
        go on from if `filling`, else for `sample_steps`."""


class ExactPosterior(StepModel):
    """A model with latents z_{1:T} whose posterior given x_{1:T} is Gaussian and computed."""

    latent_dim: int

    @abstractmethod
    def filter(
        self, batch: SequenceBatch, state: ModelState | None = None
    ) -> tuple[Tensor, Tensor, ModelState]:
        """Mean (B, T, Z) and covariance (B, T, Z, Z) of p(z_t | x_{1:t}), and the state after; the
        covariance's first dimension is 1 where all sequences share it."""

    @abstractmethod
    def smoother(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """Mean and covariance of p(z_t | x_{1:T}), with the shapes of `filter`."""

    @abstractmethod
    def sample_smoothed(self, batch: SequenceBatch, num_samples: int, noise: Noise) -> Tensor:
        """(S, B, T, Z) joint samples of p(z_{1:T} | x_{1:T})."""

    @abstractmethod
    def sample_missing(
        self,
        batch: SequenceBatch,
        num_samples: int,
        noise: Noise,
        state: ModelState | None = None,
    ) -> Tensor:
        """(S, B, T, D) values in data units: joint samples of the missing ones given the observed
        ones, which are unchanged, and those before `state`."""


class Regimes(StepModel):
    """A model with a discrete latent s_t, the regime, whose posterior is computed.

    Attributes:
        num_regimes: K.
    """

    num_regimes: int

    @abstractmethod
    def filter_regimes(
        self, batch: SequenceBatch, state: ModelState | None = None
    ) -> tuple[Tensor, ModelState]:
        """(B, T, K) p(s_t | x_{1:t}), and the state after."""

    @abstractmethod
    def smooth_regimes(self, batch: SequenceBatch) -> Tensor:
        """(B, T, K) p(s_t | x_{1:T})."""

    @abstractmethod
    def best_regimes(self, batch: SequenceBatch) -> Tensor:
        """(B, T) the most probable path of regimes given x_{1:T}, from 0."""

    @abstractmethod
    def sample_regimes(self, batch: SequenceBatch, num_samples: int, noise: Noise) -> Tensor:
        """(S, T) joint samples of p(s_{1:T} | x_{1:T}) of a batch of one sequence, from 0."""


class InvertibleLatents(StepModel):
    """A model with a one-to-one map between sequences of values and of latents.

    Attributes:
        latent_dim: Z.
    """

    latent_dim: int

    @abstractmethod
    def encode(
        self, batch: SequenceBatch, state: ModelState | None = None
    ) -> tuple[Tensor, ModelState]:
        """(B, T, Z) latents, NaN where the value is missing, and the state after."""

    @abstractmethod
    def decode(self, z: Tensor, covariates: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """(B, T, Z) latents, (B, T, C) covariates -> (B, T, D) values in data units, and the state
        after."""


class DeterministicCodes(StepModel):
    """A model with a code of each step, from which values can be decoded with an error.

    Attributes:
        latent_dim: Z.
        before, after: how many steps before and after a step its code depends on.
    """

    latent_dim: int
    before: int
    after: int

    @abstractmethod
    def codes(self, batch: SequenceBatch) -> Tensor:
        """(B, T, Z) codes."""

    @abstractmethod
    def decode(self, z: Tensor, covariates: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        """(B, T, Z) codes, (B, T, C) covariates -> (B, T, D) values in data units, and the state
        after."""


class Reconstructs(StepModel):
    """A model that reconstructs values from what it keeps of them.

    Attributes:
        before, after: how many steps before and after a step its reconstruction depends on.
    """

    before: int
    after: int

    @abstractmethod
    def reconstruction(self, batch: SequenceBatch) -> Tensor:
        """(B, T, D) values in data units, of missing ones too."""


class Fillable(StepModel):
    """A model that can sample the missing values of a partially observed step."""

    @abstractmethod
    def fill_step(
        self, state: ModelState, y: Tensor, observed: Tensor, covariates: Tensor, noise: Noise
    ) -> tuple[Tensor, Tensor, ModelState]:
        """Sample the missing values of the next step of S paths, with weights for the observed
        ones.

        Args:
            state: of the paths, whose past has no gaps.
            y: (S, 1, D) scaled values.
            observed: (D,) bool, which of them are observed.
            covariates: (S, 1, C).
            noise: of the samples.

        Returns:
            the completed step (S, 1, D), scaled; (S,) log-weights in nats, with which the samples
            follow p(missing | past, observed) and whose exponential has mean p(observed | past) in
            scaled units; and the state after the completed step.
        """
