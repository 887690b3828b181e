"""Regimes that switch: a hidden Markov chain behind a network and a head, with exact likelihood.

    p(s_1 = k),    p(s_t = k | s_{t-1} = j, .),    p(x_t | g_t, s_t = k),
    g_t a function of x_{<t} and of what is known of step t

Each of the K regimes has a head of its own; the forward algorithm sums over all K^T paths
(`seqlatent.inference.chains`). With history `none` this is a hidden Markov model (Baum, Petrie,
Soules and Weiss 1970), with `last` and normal values a switching autoregression (Hamilton 1989).

A network that sees the whole past can tell the regime by itself, and so can a mixture in the head
hold several regimes in one. The defaults leave as much as they can to the chain: each regime sees
the least of the past that does not cost likelihood, and its real values are normal.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from seqlatent.data.batch import SequenceBatch
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.distributions.choice import choose_emission
from seqlatent.distributions.heads import Head
from seqlatent.distributions.noise import Noise, SequenceNoise, sample_class
from seqlatent.inference import chains
from seqlatent.inference.chains import DOUBLE, FLOOR, Chain
from seqlatent.inference.marginals import draw_seen
from seqlatent.inference.protocols import DrawnMarginals, Fillable, ModelState, Regimes
from seqlatent.models.base import Alternatives
from seqlatent.models.emission_model import EmissionModel, EmissionModelOptions
from seqlatent.models.regime_starts import start_regimes
from seqlatent.nn.build import build_network
from seqlatent.nn.feedforward import Beside

STAY = 0.9  # at the start of training, of the probability that a regime stays: ten steps on average
NUMBERS = (1, 2, 3, 4, 5, 6)  # of regimes, of which num_states=auto chooses
ONE_COMPONENT = "real values; the regimes carry their modes"


@dataclass(frozen=True)
class SwitchingOptions(EmissionModelOptions):
    num_states: int | str = field(
        default=3,
        metadata={
            "help": "number of regimes K; auto: of 1 to 6, the fewest that come within a standard "
            "error of the highest held-out likelihood",
            "min": 1,
            "max": 100,
            "words": ("auto",),
        },
    )
    history: str = field(
        default="auto",
        metadata={
            "help": "past values that each regime sees: none; last, x_{t-1} and those of lags; "
            "all, through a GRU; auto: the simplest of these that is about as good as the one with "
            "the highest held-out likelihood",
            "choices": ("auto", "none", "last", "all"),
        },
    )
    transitions: str = field(
        default="covariates",
        metadata={
            "help": "what the probabilities of a switch depend on: covariates, if there are any; "
            "past, also the values that history names; or nothing (constant)",
            "choices": ("covariates", "past", "constant"),
        },
    )
    hidden_dim: int = field(
        default=64, metadata={"help": "size of the GRU of history=all", "min": 1}
    )


class SwitchingModel(EmissionModel, DrawnMarginals, Regimes, Fillable):
    """Regimes that switch by a hidden Markov chain: exact likelihood (Hamilton 1989).

        p(x_{1:T}) = sum over s of prod_t p(s_t | s_{t-1}, .) p(x_t | x_{<t}, s_t)

    Use it where a series changes between a few ways of behaving, and you want to know when:
    `seqlatent encode` gives the probability of each regime at each step.
    """

    family, Options = "switching", SwitchingOptions
    trained_by = "maximum likelihood, by the forward algorithm"
    learning_rate = 0.003
    options: SwitchingOptions

    def __init__(self, options: SwitchingOptions, description: DataDescription):
        super().__init__(options, description)
        K = self.num_regimes = int(options.num_states)
        covariates, seen = self.covariate_scaler.out_dim, self.input_dim + 1
        self.network = self.beside = None
        if options.history == "none":
            seen = 1 + covariates
        elif options.history == "all":
            self.network = build_network("gru", seen, options.hidden_dim)
            self.beside = Beside(options.hidden_dim + seen, options.hidden_dim)
            seen = self.beside.out_dim
        self.heads = nn.ModuleList(self.build_head(seen) for _ in range(K))
        self.log_start = nn.Parameter(torch.zeros(K))
        stay = math.log(STAY * max(1, K - 1) / (1 - STAY))
        self.log_transition = nn.Parameter(stay * torch.eye(K))
        sizes = {"constant": 0, "covariates": covariates, "past": seen}
        size = sizes[options.transitions]
        self.moved = nn.Linear(size, K * K, bias=False) if size else None
        if self.moved is not None:
            nn.init.zeros_(self.moved.weight)

    @classmethod
    def complete(
        cls, options: SwitchingOptions, description: DataDescription
    ) -> tuple[SwitchingOptions, str]:
        """Within a regime the emission is a simple one: normal for real values, and in mixed
        columns a mixture of one component, unless `num_components` asks for more."""
        chosen, reason = super().complete(options, description)
        usual = SwitchingOptions.num_components
        if options.emission != chosen.emission == "mixed" and options.num_components == usual:
            chosen = replace(chosen, num_components=1)
        return chosen, reason

    @classmethod
    def choose_emission(cls, description: DataDescription) -> tuple[str, str]:
        name, reason = choose_emission(description)
        return ("normal", ONE_COMPONENT) if name == "mixture" else (name, reason)

    @classmethod
    def alternatives(cls, options: SwitchingOptions) -> dict[str, Alternatives]:
        open_ones = {}
        if options.history == "auto":
            open_ones["history"] = Alternatives(("none", "last", "all"), "last")
        if options.num_states == "auto":
            open_ones["num_states"] = Alternatives(NUMBERS, 3)
        return open_ones

    @classmethod
    def unused_options(cls, options: SwitchingOptions) -> dict[str, str]:
        unused = super().unused_options(options)
        if options.history not in ("all", "auto"):
            unused["hidden_dim"] = "history=all"
        if options.history == "none":
            unused["lags"] = "history=last or all"
        return unused

    def sees_past(self) -> bool:
        return self.options.history != "none"

    def start(self, data: SequenceDataset, late: Callable[[], bool]) -> None:
        start_regimes(self, data, late)

    # -- the chain --------------------------------------------------------------------------------

    def regime_heads(self) -> list[Head]:
        """The K heads."""
        return list(self.heads)  # type: ignore[arg-type]

    def summary(self, u: Tensor, before: Any) -> tuple[Tensor, Any]:
        """(B, T, F + C + E) inputs -> (B, T, .) what each regime sees, g, and the network's state.

        Regimes are told which step is the first: what is missing before it was never there.

        Args:
            u: the inputs.
            before: the filter and the network's state of the step before; None at the first one.
        """
        if self.options.history == "none":
            known = u[..., self.embedding_dim : self.embedding_dim + self.covariate_scaler.out_dim]
            return torch.cat([torch.ones_like(u[..., :1]), known], -1), None
        first = torch.zeros_like(u[..., :1])
        first[:, :1] = before is None
        u = torch.cat([u, first], -1)
        if self.network is None or self.beside is None:
            return u, None
        return self.beside.read(self.network, u, None if before is None else before[1])

    def _transition(self, g: Tensor, u: Tensor) -> Tensor:
        """(b, T, K, K) log p(s_t | s_{t-1}, .), at least `FLOOR`; b is 1 where all sequences share
        them."""
        logits = self.log_transition
        if self.moved is None:
            logits = logits.expand(1, u.shape[1], -1, -1)
        else:
            first = self.embedding_dim
            covariates = u[..., first : first + self.covariate_scaler.out_dim]
            by = g if self.options.transitions == "past" else covariates
            logits = logits + self.moved(by).unflatten(-1, logits.shape)
        return logits.to(DOUBLE).log_softmax(-1).clamp(min=FLOOR)

    def _next(self, network: Any, transition: Tensor, size: int) -> Tensor:
        """(B, K) log p(s_t | x_{<t}) of the step after a state, from the transition into it."""
        if network is None:
            return self.log_start.to(DOUBLE).log_softmax(-1).clamp(min=FLOOR).expand(size, -1)
        return chains.move(network[0], transition)

    def _chain(
        self, batch: SequenceBatch, state: ModelState
    ) -> tuple[Chain, Tensor, Any, tuple[Tensor, Tensor]]:
        """The chain of a batch, the embedding of its values, the network's state after, and the
        scaled values with what each regime sees of them."""
        y, embedding, u = self.inputs(batch, state)
        g, network = self.summary(u, state.network)
        transition = self._transition(g, u)
        start = self._next(state.network, transition[:, 0], len(y))
        each = [head(g, batch.observed).log_prob(y) for head in self.regime_heads()]
        return Chain(start, transition, torch.stack(each, -1)), embedding, network, (y, g)

    def _read(
        self, batch: SequenceBatch, state: ModelState | None
    ) -> tuple[Tensor, Tensor, ModelState]:
        """(B, T) log p(x_t | x_{<t}) in scaled units, (B, T, K) p(s_t | x_{1:t}), and the state
        after."""
        state = state or self.begin(batch)
        chain, embedding, network, _ = self._chain(batch, state)
        log_prob, filtered = chains.log_prob(chain)
        after = ModelState(state.memory, embedding[:, -1:], (filtered[:, -1], network))
        return log_prob, filtered, after

    def _whole(self, batch: SequenceBatch) -> Chain:
        return self._chain(batch, self.begin(batch))[0]

    def filter_regimes(
        self, batch: SequenceBatch, state: ModelState | None = None
    ) -> tuple[Tensor, ModelState]:
        return self._read(batch, state)[1:]

    def smooth_regimes(self, batch: SequenceBatch) -> Tensor:
        return chains.smooth(self._whole(batch))

    def best_regimes(self, batch: SequenceBatch) -> Tensor:
        return chains.best_path(self._whole(batch))

    def sample_regimes(self, batch: SequenceBatch, num_samples: int, noise: Noise) -> Tensor:
        return chains.sample_path(self._whole(batch), num_samples, noise)

    # -- the interface of a model -----------------------------------------------------------------

    def log_prob(
        self, batch: SequenceBatch, state: ModelState | None = None
    ) -> tuple[Tensor, ModelState]:
        """(B, T) log p(x_t | x_{<t}), nats, in data units; 0 where not scored."""
        log_prob, _, after = self._read(batch, state)
        log_prob = log_prob - self.scaler.log_scale(batch, self.scaler(batch))
        return torch.where(batch.scored, log_prob, 0.0), after

    def seen_log_weights(
        self,
        batch: SequenceBatch,
        state: ModelState,
        rows: Tensor,
        num_draws: int,
        noise: SequenceNoise,
    ) -> Tensor:
        """Each regime draws what is missing; the regimes' weights are those of the filter, which
        reads earlier steps as `log_prob` does."""
        chain, _, _, (y, g) = self._chain(batch, state)
        filtered = chains.log_prob(chain)[1]
        log_regime = chains.predict(chain, filtered)[rows]
        seen = batch.observed[rows]
        each = [
            draw_seen(head, g.expand(*rows.shape, -1)[rows], y[rows], seen, num_draws, noise)
            for head in self.regime_heads()
        ]
        log_weights = (log_regime + torch.stack(each, -1)).logsumexp(-1)
        return log_weights - self.log_scale(batch)[rows]

    def at_floor(self, batch: SequenceBatch) -> Tensor:
        """(B, T, D) to what extent, 0 to 1, the floor of the scale determines each density: the
        regimes' weighed by p(s_t | x_{1:T})."""
        chain, *_, (y, g) = self._chain(batch, self.begin(batch))
        each = [head(g, batch.observed).at_floor(y) for head in self.regime_heads()]
        weights = chains.smooth(chain).to(y)[..., None, :]
        return (torch.stack(each, -1) * weights).sum(-1)

    def terms(self, batch: SequenceBatch) -> dict[str, Tensor]:
        return {"log_prob": self.log_prob(batch)[0]}

    def loss(self, batch: SequenceBatch, step: int | None = None) -> Tensor:
        return -self.log_prob(batch)[0].sum() / batch.num_scored

    def read(self, batch: SequenceBatch, state: ModelState | None = None) -> ModelState:
        return self._read(batch, state)[2]

    def _step(self, state: ModelState, covariates: Tensor) -> tuple[Tensor, Tensor, Any]:
        """What regimes see of the step after a state, (B, 1, .), its (B, K) log p(s_t | x_{<t}),
        and the network's state."""
        u = self.next_input(state, covariates)
        g, network = self.summary(u, state.network)
        return g, self._next(state.network, self._transition(g, u)[:, 0], len(u)), network

    def sample_step(
        self, state: ModelState, covariates: Tensor, noise: Noise
    ) -> tuple[Tensor, ModelState]:
        """Sample s_t and x_t given s_t; the path continues from the sampled regime."""
        g, log_regime, network = self._step(state, covariates)
        size = len(covariates)
        g, log_regime = g.expand(size, -1, -1), log_regime.expand(size, -1)
        s = sample_class(log_regime, noise)
        y = g.new_empty(size, 1, self.description.num_channels)
        for k, head in enumerate(self.regime_heads()):
            rows = (s == k).nonzero()[:, 0]
            if len(rows):
                y[rows] = head(g[rows]).sample(noise=noise.rows(rows, size))
        known = nn.functional.one_hot(s, self.num_regimes).to(DOUBLE)
        last = self.embed_next(y, state)
        x, memory = self.unscale_step(y, state)
        return x, ModelState(memory, last, (known, network))

    def fill_step(
        self, state: ModelState, y: Tensor, observed: Tensor, covariates: Tensor, noise: Noise
    ) -> tuple[Tensor, Tensor, ModelState]:
        """Each regime fills the step; one of these is drawn by the regimes' weights."""
        g, log_regime, network = self._step(state, covariates)
        y = y.to(g)
        g, log_regime = g.expand(len(y), -1, -1), log_regime.expand(len(y), -1)
        steps = [head(g) for head in self.regime_heads()]
        filled, weights = zip(*(step.fill(y, observed, noise) for step in steps), strict=True)
        log_weight = log_regime + torch.cat(weights, -1)
        s = sample_class(log_weight, noise)
        y = torch.cat(filled, 1)[torch.arange(len(y), device=y.device), s][:, None]
        emission = torch.cat([step.log_prob(y) for step in steps], -1)
        after = (log_regime + emission).softmax(-1)
        state = ModelState(state.memory, self.embed_next(y, state), (after, network))
        return y, log_weight.logsumexp(-1), state
