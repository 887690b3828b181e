"""A mixture of fitted models: at every step the weighed mean of their predictive densities.

    p(x_t | x_{<t}) = sum_k w_tk p_k(x_t | x_{<t}),    w_tk ~ w_k exp(u_tk),
    u_1k = 0,    u_{t+1,k} = gamma u_tk + eta log p_k(x_t | x_{<t})

The weights of a step depend on earlier values alone, so that the density is exact. With eta = 0
they are w_k at every step; with eta = gamma = 1 they are Bayes' posterior of the members, and the
mixture is that of their whole trajectories; gamma < 1 forgets how members did long ago (Raftery,
Karny and Ettler 2010, with eta = 1). By Jensen's inequality, log p(x) is at least the mean of the
members' log p_k(x), weighed by w, at every step.

A step is sampled by choosing a member by w_t, sampling from it alone, and giving the value to all
members, who go on from it. This is the law whose density is above. One member for a whole path
would be another law, the mixture of trajectories: the same only where eta = gamma = 1, whose
weights, as they move, then keep to the members that explain the path so far.

A member's density may be that of a solver (`diffusion`): the mixture's is then one too, and its
error that of the members, each weighed by its share of the step's density.

Each member has its own scaling: values come and go in data units.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from seqlatent.data.batch import SequenceBatch
from seqlatent.data.description import DataDescription
from seqlatent.distributions.noise import Noise, SequenceNoise, sample_class
from seqlatent.errors import InputError
from seqlatent.inference.marginals import conditioned
from seqlatent.inference.protocols import (
    Density,
    DrawnMarginals,
    ExactDensity,
    ModelState,
    OdeDensity,
)
from seqlatent.inference.training_protocols import LossTraining
from seqlatent.models.base import SequenceModel
from seqlatent.nn.causal import State, map_state
from seqlatent.nn.memory import discounted

WEIGHTS = ("equal", "fixed", "moving")
ETA, GAMMA = 1.0, 0.99  # of moving weights, unless held-out data choose them
UNMADE = (
    "a mixture is made of fitted models: combine some (seqlatent combine RUN RUN), or fit another "
    "model several times (fit --members K)"
)
SURPRISE = 1e3  # nats by which a step can lower a member's weight: no member is ruled out for good
DOUBLE = torch.float64


@dataclass(frozen=True)
class MixtureOptions:
    """Options of a mixture; those of its members are their own."""

    scaling: ClassVar[str] = "none"
    season: ClassVar[int | None] = None
    lags: ClassVar[str] = "none"

    weights: str = field(
        default="equal",
        metadata={
            "help": "weights of the members: equal; fixed, those with the highest likelihood of "
            "held-out data; moving, by how well each member did on the series so far",
            "choices": WEIGHTS,
        },
    )
    context_length: int = field(
        default=0,
        metadata={"help": "number of first steps that are not scored: the members'", "min": 0},
    )


class MixtureModel(SequenceModel, LossTraining, DrawnMarginals):
    """A mixture of fitted models: their likelihoods, exact or by a solver, averaged at every step.

        p(x_t | x_{<t}) = sum_k w_tk p_k(x_t | x_{<t})

    Make one of several fits by `combine`, or by `fit --members K`. It predicts better than its
    members do on average, the more so the more they differ.
    """

    family, Options = "mixture", MixtureOptions
    composed = True
    options: MixtureOptions
    log_weights: Tensor
    eta: Tensor
    gamma: Tensor

    def __init__(
        self,
        options: MixtureOptions,
        description: DataDescription,
        parts: Sequence[SequenceModel] = (),
    ):
        """
        Args:
            options: the weights' kind, and the longest context of a member.
            description: of the members' data (`mixture` makes it).
            parts: the members, with densities of every step of the same channels.

        Raises:
            InputError: for no members, or one without such a density.
        """
        super().__init__(options, description)
        if not parts:
            raise InputError(UNMADE)
        for part in parts:
            check_member(type(part))
            check_steps(part)
        kinds = {part.kind for part in parts if isinstance(part, Density)}
        self.kind = "ode" if "ode" in kinds else "exact"
        self.members = nn.ModuleList(parts)
        # log w_k; eta and gamma say how weights move.
        moves = options.weights == "moving"
        uniform = torch.zeros(len(parts), dtype=DOUBLE).log_softmax(0)
        self.register_buffer("log_weights", uniform)
        self.register_buffer("eta", torch.tensor(ETA if moves else 0.0, dtype=DOUBLE))
        self.register_buffer("gamma", torch.tensor(GAMMA if moves else 1.0, dtype=DOUBLE))

    @classmethod
    def complete(cls, options: Any, description: DataDescription) -> tuple[Any, str]:
        raise InputError(UNMADE)

    def of(self, parts: Sequence[SequenceModel]) -> "MixtureModel":
        """The mixture of other members with the same weights."""
        made = mixture(parts, self.options.weights)
        for name in ("log_weights", "eta", "gamma"):
            getattr(made, name).copy_(getattr(self, name))
        return made

    @property
    def parts(self) -> tuple[SequenceModel, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return tuple(self.members)  # type: ignore[arg-type]

    @property
    def weights(self) -> list[float]:
        """The members' weights w_k; where they move, those of a first step."""
        return self.log_weights.exp().tolist()

    @property
    def moving(self) -> bool:
        """Whether the weights depend on the values so far."""
        return self.options.weights == "moving"

    def sees_past(self) -> bool:
        return False  # the members do

    # -- states: `memory` and `network` hold those of the members, `last` has u -------------------

    def begin(self, batch: SequenceBatch | None) -> ModelState:
        states = [m.begin(batch) for m in self.parts]
        size = 1 if batch is None else len(batch.x)
        return self._joined(states, self.log_weights.new_zeros(size, 1, len(states)))

    def remember(self, batch: SequenceBatch) -> tuple[Any, ...]:
        batch = replace(batch, scaled=None)
        return tuple(m.remember(batch) for m in self.parts)

    def at_start_of_paths(self, state: ModelState) -> ModelState:
        return self._joined([m.at_start_of_paths(s) for m, s in self._members(state)], state.last)

    def _joined(self, states: Sequence[ModelState], u: Tensor) -> ModelState:
        memories, networks = ((s.memory for s in states), ((s.last, s.network) for s in states))
        return ModelState(tuple(memories), u, tuple(networks))

    def _members(self, state: ModelState) -> list[tuple[SequenceModel, ModelState]]:
        """The members with their states."""
        states = zip(state.memory, state.network, strict=True)
        return [(m, ModelState(memory, *rest)) for m, (memory, rest) in zip(
            self.parts, states, strict=True)]  # fmt: skip

    # -- densities --------------------------------------------------------------------------------

    def mixed(self, log_prob: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """The mixture of the members' densities at T steps.

        Args:
            log_prob: (B, T, K) log p_k(x_t | x_{<t}); 0 for all where nothing was observed.
            u: (b, 1, K) before the first step.

        Returns:
            (B, T) log p(x_t | x_{<t}), and (B, 1, K) u after the last step.
        """
        log_weights, u = self._moved(log_prob, u)
        return (log_weights + log_prob.to(DOUBLE)).logsumexp(-1), u

    def _moved(self, log_prob: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, K) log w_tk, or (K,) where they do not move, and u after the last step."""
        if not self.moving:
            return self.log_weights, u
        # What all members gain alike moves no weight.
        log_prob = log_prob.to(DOUBLE)
        best = log_prob.max(-1, keepdim=True).values
        gain = (log_prob - best).nan_to_num(nan=0.0).clamp(min=-SURPRISE)
        step = torch.arange(1, log_prob.shape[1] + 1, device=u.device)[:, None]
        sums = discounted([self.eta * gain], float(self.gamma))[0]
        after = sums + self.gamma**step * u
        before = torch.cat([u.expand(len(after), -1, -1), after[:, :-1]], 1)
        return (self.log_weights + before).log_softmax(-1), after[:, -1:]

    def log_prob(
        self, batch: SequenceBatch, state: ModelState | None = None
    ) -> tuple[Tensor, ModelState]:
        """(B, T) log p(x_t | x_{<t}), nats, in data units; 0 where not scored."""
        state = state or self.begin(batch)
        values, states = self._each(batch, state)
        log_prob, u = self.mixed(values, state.last)
        return torch.where(batch.scored, log_prob, 0.0), self._joined(states, u)

    def log_prob_and_error(
        self, batch: SequenceBatch, state: ModelState | None = None
    ) -> tuple[Tensor, Tensor, ModelState]:
        """See `Density`; to first order, and for weights as they are."""
        if self.kind == "exact":
            return super().log_prob_and_error(batch, state)
        state = state or self.begin(batch)
        plain = replace(batch, context=torch.zeros_like(batch.context), scaled=None)
        found = [_solved(m, _scaled(m, plain), s) for m, s in self._members(state)]
        values, errors, states = zip(*found, strict=True)
        values, errors = torch.stack(values, -1).to(DOUBLE), torch.stack(errors, -1).to(DOUBLE)
        log_weights = self._moved(values, state.last)[0]
        log_prob, u = self.mixed(values, state.last)
        error = ((log_weights + values).softmax(-1) * errors).sum(-1)
        log_prob, error = (torch.where(batch.scored, part, 0.0) for part in (log_prob, error))
        return log_prob, error, self._joined(states, u)

    def _each(self, batch: SequenceBatch, state: ModelState) -> tuple[Tensor, list[ModelState]]:
        """(B, T, K) log p_k(x_t | x_{<t}) of the members, and their states after. They have those
        of the context too, which is not scored: weights move by it."""
        plain = replace(batch, context=torch.zeros_like(batch.context), scaled=None)
        values, states = [], []
        for m, s in self._members(state):
            assert isinstance(m, Density)
            value, s = m.log_prob(_scaled(m, plain), s)
            values.append(value.to(DOUBLE))
            states.append(s)
        return torch.stack(values, -1), states

    def seen_log_weights(
        self,
        batch: SequenceBatch,
        state: ModelState,
        rows: Tensor,
        num_draws: int,
        noise: SequenceNoise,
    ) -> Tensor:
        """Each member draws what is missing, if it needs to; the members' weights move as in
        `log_prob`."""
        values = self._each(batch, state)[0]
        log_weights = self._moved(values, state.last)[0].expand_as(values)[rows]
        drawn = values[rows].expand(num_draws, -1, -1).clone()
        plain = replace(batch, scaled=None)
        for k, (m, s) in enumerate(self._members(state)):
            if isinstance(m, DrawnMarginals) and conditioned(m, batch.observed[rows]).any():
                own = m.seen_log_weights(_scaled(m, plain), s, rows, num_draws, noise)
                drawn[..., k] = own.to(DOUBLE)
        return (log_weights + drawn).logsumexp(-1)

    def loss(self, batch: SequenceBatch, step: int | None = None) -> Tensor:
        return -self.log_prob(batch)[0].sum() / batch.num_scored

    def terms(self, batch: SequenceBatch) -> dict[str, Tensor]:
        return {"log_prob": self.log_prob(batch)[0]}

    def read(self, batch: SequenceBatch, state: ModelState | None = None) -> ModelState:
        state = state or self.begin(batch)
        if self.moving:
            return self.log_prob(batch, state)[1]
        plain = replace(batch, scaled=None)
        states = [m.read(_scaled(m, plain), s) for m, s in self._members(state)]
        return self._joined(states, state.last)

    # -- samples ----------------------------------------------------------------------------------

    def sample_step(
        self, state: ModelState, covariates: Tensor, noise: Noise
    ) -> tuple[Tensor, ModelState]:
        size = len(covariates)
        log_weights = (self.log_weights + state.last[:, 0]).expand(size, -1)
        chosen = sample_class(log_weights, noise)
        x = covariates.new_empty(size, 1, self.description.num_channels)
        for k, (m, s) in enumerate(self._members(state)):
            rows = (chosen == k).nonzero()[:, 0]
            if len(rows):
                own = map_state(lambda part, rows=rows: _rows(part, rows), s)
                x[rows] = m.sample_steps(own, covariates[rows], noise.rows(rows, size))[0]
        return x, self.follow(state, x, covariates)

    def log_prob_next(
        self, state: ModelState, x: Tensor, observed: Tensor, covariates: Tensor
    ) -> tuple[Tensor, ModelState]:
        values, states = [], []
        for m, s in self._members(state):
            assert isinstance(m, Density)
            value, s = m.log_prob_next(s, x, observed, covariates)
            values.append(value.to(DOUBLE))
            states.append(s)
        log_prob, u = self.mixed(torch.stack(values, -1), state.last)
        return log_prob, self._joined(states, u)

    def follow(self, state: ModelState, x: Tensor, covariates: Tensor) -> ModelState:
        """The state after the step that follows a state: (B, 1, D) values in data units, none
        missing, and (B, 1, C) covariates; densities are computed only where weights move."""
        everything = torch.ones_like(x, dtype=torch.bool)
        if self.moving:
            return self.log_prob_next(state, x, everything, covariates)[1]
        states = [_follow(m, s, x, covariates) for m, s in self._members(state)]
        return self._joined(states, state.last)


def check_member(part: type[SequenceModel], name: str = "") -> None:
    """Refuse a member of a class, by its name, whose density is neither exact nor by a solver."""
    if not issubclass(part, ExactDensity | OdeDensity):
        of = f" of {name}" if name else ""
        raise InputError(
            f"a mixture needs exact likelihoods, and model '{part.family}'{of} has none; use rnn, "
            "cnn, transformer, flow, diffusion or linear-gaussian"
        )


def check_steps(part: SequenceModel, name: str = "") -> None:
    """Refuse a member, by its name, that has no density of single steps."""
    if not by_step(part):
        of = f" of {name}" if name else ""
        raise InputError(
            f"a mixture weighs the densities of single steps, and this '{part.family}'{of} has "
            "those of blocks; fit it with block=1"
        )


def by_step(part: SequenceModel) -> bool:
    """Whether a model has a density of each step, exact or by a solver."""
    return isinstance(part, ExactDensity | OdeDensity) and part.by_step


def mixture(parts: Sequence[SequenceModel], weights: str = "equal") -> MixtureModel:
    """A mixture of fitted models with equal weights, or with moving ones that begin so.

    Raises:
        InputError: for a member without a density of every step, exact or by a solver.
    """
    gaps = all(part.description.had_gaps for part in parts)
    description = replace(parts[0].description, had_gaps=gaps)
    context = max(part.options.context_length for part in parts)
    return MixtureModel(MixtureOptions(weights, context), description, parts).eval()


def _solved(
    m: SequenceModel, batch: SequenceBatch, state: ModelState
) -> tuple[Tensor, Tensor, ModelState]:
    assert isinstance(m, Density)
    return m.log_prob_and_error(batch, state)


def _scaled(m: SequenceModel, batch: SequenceBatch) -> SequenceBatch:
    """A batch with a member's own scaling of it, computed once."""
    return replace(batch, scaled=tuple(m.scaler(batch)))


def _follow(m: SequenceModel, state: ModelState, x: Tensor, covariates: Tensor) -> ModelState:
    """`MixtureModel.follow` of a member."""
    if isinstance(m, MixtureModel):
        return m.follow(state, x, covariates)
    everything = torch.ones_like(x, dtype=torch.bool)
    batch, memory = m.next_batch(state, x, everything, covariates)
    return m.read(batch, state)._replace(memory=memory)


def _rows(part: State, rows: Tensor) -> State:
    """Some rows of a tensor; where all are one, expanded, they stay so and are not copied."""
    if len(part) == 1 or part.stride(0) == 0:
        return part[:1].expand(len(rows), *part.shape[1:])
    return part[rows]
