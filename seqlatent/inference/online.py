"""One step of many series at a time: its density, its rarity and its filtered latents.

What a model knows of N series is a state, a tree of tensors whose first dimension is N (or 1, where
all share it), and reading a step gives the state after it. The results are those of whole series
(`likelihood.py`, `rarity.py`):

    exact, ode, bound    log p(x_t | x_{<t}) by the model's own state
    smc                  the particles of `filters.py`, with the same noise
    per step, elbo       weighted latents of each step

Where p(x) is estimated, the term of a step without a value is added to that of the next scored one.
"""

import math
from abc import ABC, abstractmethod
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.inference.estimating import particle_noise
from seqlatent.inference.filters import filter_noise, move_filters
from seqlatent.inference.protocols import (
    Density,
    EstimatedDensity,
    ExactDensity,
    ExactPosterior,
    InvertibleLatents,
    ModelState,
    Regimes,
    StepModel,
)
from seqlatent.inference.rarity import drawn_step
from seqlatent.inference.smc import Particles, even, systematic
from seqlatent.inference.widening import log_mixture, log_ratios, widen
from seqlatent.nn.causal import State, map_state, repeat_state

DOUBLE = torch.float64
WITH_LATENTS = (Regimes, ExactPosterior, InvertibleLatents)


class Step(NamedTuple):
    """One step of N series.

    Attributes:
        x: (N, 1, D) values in data units, any where missing.
        observed: (N, 1, D) bool.
        covariates: (N, 1, C), as in a batch.
        age: (N,) how many steps were read before it.
        scored: (N,) bool, whether it has a score: it is after the context and has a value.
        past_context: (N,) bool, whether it is after the context.
    """

    x: Tensor
    observed: Tensor
    covariates: Tensor
    age: Tensor
    scored: Tensor
    past_context: Tensor


class StepFound(NamedTuple):
    """What is found of one step of N series.

    Attributes:
        log_prob: (N,) log p(x_t | x_{<t}) or its estimate, nats in data units; NaN if not scored.
        tail: (N,) probability of a value at least as surprising; NaN where not scored, None where
            it is not known.
        latents: (N, Z) means of p(z_t | x_{1:t}), or (N, K) probabilities of regimes; None for a
            model without.
        scales: (N, Z) standard deviations of the latents; None for a model without, and of
            regimes.
    """

    log_prob: Tensor
    tail: Tensor | None
    latents: Tensor | None
    scales: Tensor | None


M = TypeVar("M", bound=StepModel)


class OnlineReader(ABC, Generic[M]):
    """Reads steps of many series, one at a time.

    Attributes:
        model: in evaluation mode.
        draws: whether it uses random numbers to read a step.
    """

    model: M
    draws: bool

    @abstractmethod
    def begin(self, size: int) -> State:
        """The state of N series before their first steps."""

    @abstractmethod
    def read(self, state: State, step: Step, noise: SequenceNoise) -> tuple[StepFound, State]:
        """Read the next step of N series; `noise` has a stream for each if `draws`."""

    @abstractmethod
    def paths(self, state: State, num_paths: int, noise: SequenceNoise) -> ModelState:
        """States of S paths of each of N series, those of one side by side, to sample on from."""

    def sample_next(
        self, state: State, covariates: Tensor, num_paths: int, noise: SequenceNoise
    ) -> Tensor:
        """(N, S, D) samples of the next step in data units, given its (N, 1, C) covariates."""
        paths = self.paths(state, num_paths, noise)
        known = covariates.repeat_interleave(num_paths, 0)
        x, _ = self.model.sample_steps(paths, known, noise)
        return x[:, 0].double().unflatten(0, (-1, num_paths))


def online_reader(
    model: StepModel, *, num_particles: int, num_filters: int, tail_draws: int
) -> OnlineReader[Any]:
    """The reader of a model with a likelihood of single steps.

    Args:
        model: in evaluation mode; a guide that sees later values has no such likelihood.
        num_particles: K of an estimate.
        num_filters: of `smc`.
        tail_draws: of the tail probability where it is not exact; 0: none.
    """
    if isinstance(model, EstimatedDensity):
        if model.factorises or num_particles == 1:
            return WeighingReader(model, num_particles)
        return FilteringReader(model, num_particles, num_filters)
    assert isinstance(model, Density)
    return ComputingReader(model, tail_draws)


def first_state(model: StepModel, size: int) -> ModelState:
    """The state of N series before their first steps, and the scaling's memory with it."""
    x = torch.zeros(size, 0, len(model.scaler.loc), dtype=DOUBLE, device=model.device)
    none = torch.zeros(size, dtype=torch.int64, device=model.device)
    empty = SequenceBatch(x, x > 0, none, none, x[..., :0], x, none)
    return model.begin(empty)._replace(memory=model.remember(empty))


def posterior_moments(z: Tensor, log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """(K, N, Z) latents with (K, N) log-weights -> (N, Z) means and standard deviations."""
    weights, z = log_weights.double().softmax(0)[..., None], z.double()
    mean = (weights * z).sum(0)
    return mean, (weights * (z - mean).square()).sum(0).sqrt()


class ComputingReader(OnlineReader[Density]):
    """Of a model that computes its density. The state is the model's."""

    def __init__(self, model: Density, tail_draws: int):
        self.model, self.tail_draws = model, tail_draws
        self.draws = tail_draws > 0 and isinstance(model, ExactDensity)
        # Until it turns out that this emission has none.
        usual = ExactDensity.tail_probability
        self._exact_tail = getattr(type(model), "tail_probability", usual) is not usual

    def begin(self, size: int) -> ModelState:
        return first_state(self.model, size)

    def read(
        self, state: ModelState, step: Step, noise: SequenceNoise
    ) -> tuple[StepFound, ModelState]:
        model, tail = self.model, None
        x, observed, covariates = step.x, step.observed, step.covariates
        batch = self._batch(state, step)
        if self._exact_tail and batch is not None and isinstance(model, ExactDensity):
            tail = model.tail_probability(batch, state)
            self._exact_tail = tail is not None
        if tail is None and self.draws:
            assert isinstance(model, ExactDensity)
            tail, value, after = drawn_step(
                model, state, x, observed, covariates, self.tail_draws, noise
            )
        else:
            value, after = model.log_prob_next(state, x, observed, covariates)
        value = torch.where(step.scored[:, None], value.to(DOUBLE), math.nan)[:, 0]
        if tail is not None:
            tail = torch.where(step.scored[:, None], tail.to(DOUBLE), math.nan)[:, 0]
        return StepFound(value, tail, *self._latents(state, batch)), after

    def _batch(self, state: ModelState, step: Step) -> SequenceBatch | None:
        """The step as a batch, where more is asked of it than its density."""
        if not self._exact_tail and not isinstance(self.model, WITH_LATENTS):
            return None
        return self.model.next_batch(state, step.x, step.observed, step.covariates)[0]

    def _latents(
        self, state: ModelState, batch: SequenceBatch | None
    ) -> tuple[Tensor | None, Tensor | None]:
        model = self.model
        if batch is None:
            return None, None
        if isinstance(model, Regimes):
            return model.filter_regimes(batch, state)[0][:, 0].double(), None
        if isinstance(model, ExactPosterior):
            mean, covariance, _ = model.filter(batch, state)
            scale = covariance[:, 0].diagonal(dim1=-2, dim2=-1).sqrt()
            return mean[:, 0], scale.expand_as(mean[:, 0])
        if isinstance(model, InvertibleLatents):
            z = model.encode(batch, state)[0][:, 0].double()
            return z, torch.where(z.isnan(), z, 0.0)
        return None, None

    def paths(self, state: ModelState, num_paths: int, noise: SequenceNoise) -> ModelState:
        return repeat_state(self.model.at_start_of_paths(state), num_paths)


class Weighed(NamedTuple):
    """A state of N series whose latents have weights.

    Attributes:
        model: the model's state, without latents.
        particles: their states, every tensor leading with (N, F, K); None before the first step.
        log_weights: (N, F, K) of the particles of each filter, normalised; F is 0 without filters.
        filters: (N, F) logarithms of each filter's estimate of p(x_{1:t}) over the mean of all.
        waiting: (N,) terms of steps that had no value, for the next scored one, nats.
    """

    model: ModelState
    particles: State
    log_weights: Tensor
    filters: Tensor
    waiting: Tensor

    def scored(self, log_prob: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """(N,) terms of the steps, NaN where not scored, and those that wait now."""
        waiting = self.waiting + log_prob
        done = step.scored | ~step.past_context  # terms of the context are dropped
        found = torch.where(step.scored, waiting, waiting.new_tensor(math.nan))
        return found, torch.where(done, 0.0, waiting)


def _by_series(state: State, num_filters: int) -> State:
    """(K, N F, ...) -> (N, F, K, ...)."""
    return map_state(lambda s: s.unflatten(1, (-1, num_filters)).movedim(0, 2), state)


def _by_particle(state: State) -> State:
    """(N, F, K, ...) -> (K, N F, ...)."""
    return map_state(lambda s: s.movedim(2, 0).flatten(1, 2), state)


class WeighingReader(OnlineReader[EstimatedDensity]):
    """Of a model whose posterior factorises over time, or of single particles: each step's latents
    have their own weights."""

    draws = True

    def __init__(self, model: EstimatedDensity, num_particles: int):
        self.model = model
        self.num_particles = num_particles

    def begin(self, size: int) -> Weighed:
        state = first_state(self.model, size)
        none = torch.zeros(size, 0, dtype=DOUBLE, device=state.last.device)
        return Weighed(state, None, none[..., None], none, none.new_zeros(size))

    def read(self, state: Weighed, step: Step, noise: SequenceNoise) -> tuple[StepFound, Weighed]:
        model, size = self.model, self.num_particles
        batch, memory = model.next_batch(state.model, step.x, step.observed, step.covariates)
        reading = model.reading(batch, state.model)
        eps, _ = widen(particle_noise(noise, batch, size, model.latent_dim), step.age)
        particles = _by_particle(state.particles)
        sample, after = model.propose(reading, eps, particles, model.factorises)
        weights = (sample.log_weight - log_mixture(log_ratios(eps, step.age), size))[..., 0]
        value = torch.where(reading.inside[:, 0], weights.logsumexp(0) - math.log(size), 0.0)
        value, waiting = state.scored(value.to(DOUBLE), step)
        found = StepFound(value, None, *posterior_moments(sample.z[:, :, 0], weights))
        known = reading.after._replace(memory=memory)
        after = _by_series(after, 1)
        return found, Weighed(known, after, state.log_weights, state.filters, waiting)

    def paths(self, state: Weighed, num_paths: int, noise: SequenceNoise) -> ModelState:
        """What comes does not depend on past latents, or on those of the one particle."""
        known = self.model.at_start_of_paths(state.model)
        if state.particles is None:
            return repeat_state(known, num_paths)
        size, device = len(state.waiting), state.waiting.device
        chosen = torch.zeros(num_paths, size, dtype=torch.int64, device=device)
        return self.model.paths(known, _by_particle(state.particles), chosen)


class FilteringReader(OnlineReader[EstimatedDensity]):
    """Of a model whose latents depend on earlier ones: particle filters."""

    draws = True

    def __init__(self, model: EstimatedDensity, num_particles: int, num_filters: int):
        self.model = model
        self.num_particles, self.num_filters = num_particles, num_filters

    def begin(self, size: int) -> Weighed:
        state = first_state(self.model, size)
        device = state.last.device
        weights = even(self.num_particles, size * self.num_filters, device).log_weights
        filters = torch.zeros(size, self.num_filters, dtype=DOUBLE, device=device)
        each = _by_series(weights, self.num_filters)
        return Weighed(state, None, each, filters, filters.new_zeros(size))

    def read(self, state: Weighed, step: Step, noise: SequenceNoise) -> tuple[StepFound, Weighed]:
        model, count = self.model, self.num_filters
        batch, memory = model.next_batch(state.model, step.x, step.observed, step.covariates)
        reading = model.reading(batch, state.model)
        drawn = filter_noise(
            noise,
            batch.lengths,
            1,
            step.age,
            num_filters=count,
            num_particles=self.num_particles,
            latent_dim=model.latent_dim,
        )
        before = Particles(*_by_particle((state.particles, state.log_weights)))
        moved, _, z = move_filters(model, reading, before, drawn)
        filters = state.filters + moved.log_prob.to(DOUBLE).unflatten(0, (-1, count))
        total = filters.logsumexp(-1) - math.log(count)
        filters = filters - total[:, None]
        value, waiting = state.scored(total, step)
        weights = moved.log_weights.double() + filters.flatten()
        found = StepFound(
            value,
            None,
            *posterior_moments(_of_series(z, count), _of_series(weights, count)),
        )
        known = reading.after._replace(memory=memory)
        particles, log_weights = _by_series(tuple(moved.particles), count)
        return found, Weighed(known, particles, log_weights, filters, waiting)

    def paths(self, state: Weighed, num_paths: int, noise: SequenceNoise) -> ModelState:
        """Paths go on from particles in proportion to their weights, in all filters."""
        known = self.model.at_start_of_paths(state.model)
        if state.particles is None:
            return repeat_state(known, num_paths)
        weights = state.log_weights.double() + state.filters[..., None]
        weights = weights.flatten(1).log_softmax(-1).T
        uniforms = noise.uniform((weights.shape[1],), weights)
        chosen = systematic(weights, uniforms, num_paths)
        joined = map_state(lambda s: s.flatten(1, 2).transpose(0, 1), state.particles)
        return self.model.paths(known, joined, chosen)


def _of_series(part: Tensor, num_filters: int) -> Tensor:
    """(K, N F, ...) -> (F K, N, ...)."""
    return part.unflatten(1, (-1, num_filters)).movedim(2, 0).flatten(0, 1)
