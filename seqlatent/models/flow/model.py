"""The conditional flow: an invertible map between sequences of values and of latents.

    z_t = f_t(x_t ; past),    f_t invertible: triangular over the channels, or of coupling layers
    log p(x_{1:T}) = sum_t log N(z_t; 0, I) + log |det d f_t / d x_t|                    (exact)
    sample: z ~ N(0, I),    x_t = f_t^{-1}(z_t ; past)

The past is x_{<t} or z_{<t}; there is a bijection between them, so that either gives an exact
density. A causal network summarises the past and a head computes the maps' parameters. One
direction runs in parallel over time and the other step by step:

    observations:  encoding (density) in parallel,  decoding (sampling) step by step
    latents:       decoding (sampling) in parallel,  encoding (density) step by step

Conditioned on observations, this is the same distribution as an autoregressive model with the same
network and emission; in addition the flow has latents. If the model is true, the latents are
standard normal and independent. A base p(z_t | z_{<t}) can replace N(0, I) (base_density.py); it is
a further map of the latents. (Normalising flows: Rezende and Mohamed 2015; autoregressive ones:
Papamakarios et al. 2017, and in the inverse direction Kingma et al. 2016.)
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.steps import show_step
from seqlatent.distributions.choice import choose_emission
from seqlatent.distributions.emission import EMISSIONS
from seqlatent.distributions.heads import StepDistribution
from seqlatent.distributions.noise import Noise, SequenceNoise
from seqlatent.distributions.transformed import Transformed
from seqlatent.errors import InputError
from seqlatent.inference.marginals import draw_seen, in_blocks
from seqlatent.inference.protocols import DrawnMarginals, Fillable, InvertibleLatents, ModelState
from seqlatent.models.emission_model import EmissionModel
from seqlatent.models.flow.base_density import AutoregressiveBase
from seqlatent.models.past_network import (
    PastNetworkOptions,
    build_past_network,
    unused_network_options,
)
from seqlatent.nn.feedforward import Beside

CONDITIONS = ("observations", "latents")
BASES = ("normal", "autoregressive")
# In our measurements it lost fewer nats on heavy tails than spline or sinh-arcsinh alone, and no
# more than the spline on two modes.
DEFAULT_EMISSION = "sinh-arcsinh-spline"
WILD_LATENT = 5.0  # of a wild value: one of two million standard normal latents is as large


@dataclass(frozen=True)
class FlowOptions(PastNetworkOptions):
    condition_on: str = field(
        default="observations",
        metadata={
            "help": "what the maps are conditioned on: past observations (density in parallel, "
            "sampling step by step) or past latents (sampling in parallel, density step by step)",
            "choices": CONDITIONS,
        },
    )
    base: str = field(
        default="normal",
        metadata={
            "help": "density of the latents: normal, N(0, I); or autoregressive, p(z_t | z_{<t}) "
            "by a GRU (sampling is then step by step)",
            "choices": BASES,
        },
    )
    hidden_head: bool = field(
        default=True,
        metadata={"help": "a hidden layer, beside linear maps, between network and maps"},
    )


class FlowModel(EmissionModel, DrawnMarginals, InvertibleLatents, Fillable):
    """Invertible maps: exact likelihood, and one latent sequence for each sequence of values.

        log p(x_{1:T}) = sum_t log p(z_t) + log |det d f_t / d x_t|,    z_t = f_t(x_t; past)

    Use it for real values where the latents themselves are of interest: as residuals, which are
    standard normal and independent if the model is true, or to decode other latents.
    """

    family, Options = "flow", FlowOptions
    trained_by = "maximum likelihood, by a change of variables"
    options: FlowOptions
    value_distribution: Transformed  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, options: FlowOptions, description: DataDescription):
        super().__init__(options, description)
        self.latent_dim = description.num_channels
        self.in_parallel = options.condition_on == "observations"  # whether the density is
        self.network = build_past_network(options, self.input_dim)
        # An autoregressive base bends the tails of its own latents instead.
        self.value_distribution.bends = options.base == "normal"
        # As in the autoregressive models, the maps also depend on the last step directly.
        width = self.network.out_dim
        self.beside = Beside(width + self.input_dim, width if options.hidden_head else 0)
        self.head = self.build_head(self.beside.out_dim)
        own = options.base == "autoregressive"
        self.base = AutoregressiveBase(self.latent_dim, options.hidden_dim) if own else None
        if own or not self.in_parallel:  # what reads latents reads those of all values
            self.gaps = "new"

    @classmethod
    def unused_options(cls, options: FlowOptions) -> dict[str, str]:
        return {**super().unused_options(options), **unused_network_options(options)}

    def sees_past(self) -> bool:
        # Conditioned on latents alone, all steps are decoded at once, before their values exist.
        return self.options.condition_on != "latents"

    @classmethod
    def accepts(cls, emission: str) -> bool:
        return EMISSIONS[emission].invertible

    @classmethod
    def choose_emission(cls, description: DataDescription) -> tuple[str, str]:
        """The default emission for real values.

        Raises:
            InputError: for counts, labels, and zeros and ones, which have no invertible map.
        """
        name, reason = choose_emission(description)
        if name != "mixture":
            raise InputError(
                f"model 'flow' is for real values, and here {reason}: fit --model rnn, whose "
                f"emission would be {name}, or choose an emission such as sinh-arcsinh to treat "
                "them as real"
            )
        return DEFAULT_EMISSION, reason

    def check(self, data: SequenceDataset) -> None:
        """Refuse data that the model cannot read.

        Raises:
            InputError: for a missing value if the model is conditioned on latents.
        """
        if self.in_parallel:
            return super().check(data)
        for s in data:
            missing = ~torch.from_numpy(s.x).isfinite()
            if missing.any():
                t, d = (int(i) for i in missing.nonzero()[0])
                raise InputError(
                    f"{data.name}: in series {s.unique_id}, '{data.targets[d]}' is missing at step "
                    f"{show_step(s.ds[t])}; a missing value has no latent to condition on: use "
                    "condition_on=observations"
                )

    # -- the two directions -----------------------------------------------------------------------

    def _maps(
        self, last: Tensor, known: Tensor, observed: Tensor | None, network: object
    ) -> tuple[StepDistribution, object]:
        """The maps of T steps, given the (B, T, F) embedding of the step before each and what is
        known in advance."""
        u = torch.cat([last, known], -1)
        h, network = self.beside.read(self.network, u, network)
        return self.head(h, observed), network

    def _pass(
        self, given: Tensor, observed: Tensor, known: Tensor, state: ModelState, limit: Any
    ) -> tuple[StepDistribution, ModelState]:
        """The maps of all steps at once, each conditioned on `given` at the steps before it; those
        beyond `limit` are wild."""
        embedding = self.embed(given, observed, limit)
        last = torch.cat([state.last.expand(len(given), -1, -1), embedding[:, :-1]], 1)
        distributions, network = self._maps(last, known, observed, state.network)
        return distributions, ModelState(state.memory, embedding[:, -1:], network)

    def _walk(
        self,
        source: Tensor,
        known: Callable[[slice], Tensor],
        state: ModelState,
        result: Callable[[StepDistribution, Tensor], Tensor],
        limit: Callable[[], Any],
    ) -> ModelState:
        """Map x to z or z to x step by step, conditioning each step on the results before it; those
        beyond the step's `limit` are wild."""
        last, network = state.last.expand(len(source), -1, -1), state.network
        for t in range(source.shape[1]):
            now = slice(t, t + 1)
            distributions, network = self._maps(last, known(now), None, network)
            beyond = limit()
            value = result(distributions, source[:, now])
            last = self.embed(value, torch.ones_like(value, dtype=torch.bool), beyond)
        return ModelState(state.memory, last, network)

    def _read(self, batch: SequenceBatch, state: ModelState | None) -> "_Reading":
        """The latents of a batch, with the terms of its density."""
        state = state or self.begin(batch)
        network, base = state.network or (None, None)
        scaled, within = self.scaler(batch), state._replace(network=network)
        y, known = self.scaler.scale_values(batch.x, scaled), self.known(batch.covariates, scaled)
        distributions: list[StepDistribution] = []
        if self.in_parallel:
            limit = scaled.limit
            if batch.unread is not None:
                limit = torch.where(batch.unread, -1.0, limit)  # as if wild
            distribution, after = self._pass(y, batch.observed, known, within, limit)
            distributions.append(distribution)
            z, log_det = distribution.map(y)
        else:
            parts: list[tuple[Tensor, Tensor]] = []

            def latents(distribution: StepDistribution, now: Tensor) -> Tensor:
                distributions.append(distribution)
                parts.append(distribution.map(now))
                return parts[-1][0]

            after = self._walk(y, lambda now: known[:, now], within, latents, lambda: WILD_LATENT)
            z, log_det = (torch.cat(part, 1) for part in zip(*parts, strict=True))
        log_det = log_det - self.scaler.log_scale(batch, scaled)
        slope = torch.zeros_like(z)
        if self.base is not None:
            z, slope, base = self.base(z, batch.observed, base or self.base.begin(len(z)))
        return _Reading(
            y, distributions, z, slope, log_det, after._replace(network=(after.network, base))
        )

    def encode(
        self, batch: SequenceBatch, state: ModelState | None = None
    ) -> tuple[Tensor, ModelState]:
        """(B, T, D) latents of the values, NaN where the value is missing, and the state after. If
        the model is true, the latents are N(0, I)."""
        r = self._read(batch, state)
        return torch.where(batch.observed, r.latents, torch.nan), r.after

    def decode(
        self, z: Tensor, covariates: Tensor, state: ModelState, bounded: bool = False
    ) -> tuple[Tensor, ModelState]:
        """The values of latents: the exact inverse of `encode`.

        Args:
            z: (B, T, D) latents.
            covariates: (B, T, C), as in a batch.
            state: after the steps before; from `begin` if there are none.
            bounded: for samples: see `Scaler.inverse`.

        Returns:
            (B, T, D) values in data units, and the state after.
        """
        network, base = state.network or (None, None)
        if self.base is not None:
            z, base = self.base.inverse(z, base or self.base.begin(len(z)))
        within, memory = state._replace(network=network), state.memory
        if self.in_parallel:
            steps: list[Tensor] = []

            def known(now: slice) -> Tensor:
                return self.known(covariates[:, now], self.scaler.next(memory))

            def value(distribution: StepDistribution, now: Tensor) -> Tensor:
                nonlocal memory
                y = distribution.invert(now)
                x, memory = self.scaler.inverse(y, memory, bounded)
                steps.append(x)
                return y

            after = self._walk(z, known, within, value, lambda: self.scaler.next_limit(memory))
            x = torch.cat(steps, 1)
        else:
            everything = torch.ones_like(z, dtype=torch.bool)
            scaled = self.covariate_scaler(covariates)
            distribution, after = self._pass(z, everything, scaled, within, WILD_LATENT)
            x, memory = self.scaler.inverse(distribution.invert(z), memory, bounded)
        return x, after._replace(memory=memory, network=(after.network, base))

    # -- the interface of every model -------------------------------------------------------------

    def log_prob(
        self, batch: SequenceBatch, state: ModelState | None = None
    ) -> tuple[Tensor, ModelState]:
        """(B, T) log p(x_t | x_{<t}), nats, in data units; 0 where not scored."""
        terms, after = self._terms(batch, state)
        return terms["base"] + terms["log_det"], after

    def _terms(
        self, batch: SequenceBatch, state: ModelState | None
    ) -> tuple[dict[str, Tensor], ModelState]:
        """log p(z_t | z_{<t}) and log |det df_t / dx_t|, (B, T) each."""
        r = self._read(batch, state)
        base = self.value_distribution.base_log_prob(r.latents) + r.base_slope
        base = torch.where(batch.observed, base, 0.0).sum(-1)
        terms = {"base": base, "log_det": r.log_det}
        return {k: torch.where(batch.scored, v, 0.0) for k, v in terms.items()}, r.after

    def terms(self, batch: SequenceBatch) -> dict[str, Tensor]:
        return self._terms(batch, None)[0]

    def loss(self, batch: SequenceBatch, step: int | None = None) -> Tensor:
        return -self.log_prob(batch)[0].sum() / batch.num_scored

    def seen_log_weights(
        self,
        batch: SequenceBatch,
        state: ModelState,
        rows: Tensor,
        num_draws: int,
        noise: SequenceNoise,
    ) -> Tensor:
        """Only where the maps are conditioned on observations: other flows refuse gaps."""
        network, base = state.network or (None, None)
        y, _, u = self.inputs(batch, state)
        h, seen = self.beside.read(self.network, u, network)[0], batch.observed
        if self.base is None:
            log_weights = draw_seen(self.head, h[rows], y[rows], seen[rows], num_draws, noise)
        else:
            z = self.head(h, seen).map(y)[0]
            moments = self.base.moments(z, seen, base or self.base.begin(len(z)))
            parts = [part[rows] for part in (h, y, seen, *moments)]
            log_weights = in_blocks(self._drawn, parts, num_draws, noise)
        return log_weights - self.log_scale(batch)[rows]

    def _drawn(
        self,
        noise: Noise,
        h: Tensor,
        y: Tensor,
        observed: Tensor,
        loc: Tensor,
        log_scale: Tensor,
    ) -> Tensor:
        """(R,) log-weights of steps whose missing channels are drawn, with the base's moments."""
        assert self.base is not None
        return self.base.complete(self.head(h), y, observed, (loc, log_scale), noise)[1]

    def at_floor(self, batch: SequenceBatch) -> Tensor:
        """(B, T, D) to what extent, 0 to 1, the floor of the scale determines each density."""
        r = self._read(batch, None)
        steps = r.y.split(r.y.shape[1] if self.in_parallel else 1, 1)
        return torch.cat(
            [
                distribution.at_floor(y)
                for distribution, y in zip(r.distributions, steps, strict=True)
            ],
            1,
        )

    def read(self, batch: SequenceBatch, state: ModelState | None = None) -> ModelState:
        return self._read(batch, state).after

    def fill_step(
        self,
        state: ModelState,
        y: Tensor,
        observed: Tensor,
        covariates: Tensor,
        noise: Noise,
    ) -> tuple[Tensor, Tensor, ModelState]:
        """See `Fillable`; only where the maps are conditioned on observations."""
        network, base = state.network or (None, None)
        known = self.known(covariates, self.scaler.next(state.memory))
        distributions, network = self._maps(state.last, known, None, network)
        y = y.to(known)
        if self.base is None:
            y, log_prob = distributions.fill(y, observed, noise)
        else:
            base = base or self.base.begin(len(y))
            y, log_prob, base = self.base.fill(distributions, y, observed, base, noise)
        last = self.embed_next(y, state)
        return y, log_prob[:, 0], ModelState(state.memory, last, (network, base))

    def sample_steps(
        self, state: ModelState, covariates: Tensor, noise: Noise
    ) -> tuple[Tensor, ModelState]:
        """Sample T steps: (B, T, C) covariates -> (B, T, D) values in data units, and the state
        after them."""
        size, steps = len(covariates), covariates.shape[1]
        shape = (size, 1, self.latent_dim)
        z = [noise.normal(shape, state.last) for _ in range(steps)]
        return self.decode(torch.cat(z, 1), covariates, state, bounded=True)


class _Reading(NamedTuple):
    """The results of a pass over a batch.

    Attributes:
        y: (B, T, D) scaled values.
        distributions: one for all steps, or one for each step.
        latents: (B, T, D) z, or e if the base is autoregressive; N(0, I) if the model is true.
        base_slope: (B, T, D) log de/dz; 0 if the base is N(0, I).
        log_det: (B, T) log |det df_t / dx_t|, x in data units.
        after: the state after.
    """

    y: Tensor
    distributions: list[StepDistribution]
    latents: Tensor
    base_slope: Tensor
    log_det: Tensor
    after: ModelState
