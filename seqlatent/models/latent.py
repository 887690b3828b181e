"""The sequential latent-variable model, in Pyro.

    p(x_{1:T}, z_{1:T}) = prod_t p(z_t) p(x_t | history, z_t)                       (priors.py)
    q(z_{1:T} | x_{1:T}) = prod_t q(z_t | x_{1:t}, z_{1:t-1})                        (guide.py)
    maximise  E_q[log p(x, z) - log q(z | x)]                                        (ELBO)

With history `last` the emission is p(x_t | x_{t-1}, z_t) and x is first-order Markov; with `all` it
also sees a causal summary of x_{<t}. Either way z_t is independent of the other latents given x, so
that log p(x) can be estimated step by step (inference/bounds.py).

The Pyro model and guide are written with two sites, z and x, each for all sequences and steps.
Scoring and sampling run in plain torch on the same parts.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import pyro
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch import Tensor, nn
from torch.nn import functional as F

from seqlatent.data.batch import SequenceBatch
from seqlatent.data.description import DataDescription
from seqlatent.data.scaling import Scaling
from seqlatent.distributions.heads import StepDistribution
from seqlatent.inference.bounds import per_step_importance
from seqlatent.models.base import History, ModelOptions, SequenceModel
from seqlatent.models.guide import CONDITIONINGS, Guide, GuideDistribution
from seqlatent.models.priors import PRIORS, build_prior
from seqlatent.nn.causal import State
from seqlatent.nn.convolution import Convolution
from seqlatent.nn.mlp import mlp
from seqlatent.nn.recurrent import Recurrent

HISTORIES = ("last", "all")
GUIDES = ("cnn", "rnn")
OBJECTIVES = ("elbo", "iwae")


@dataclass(frozen=True)
class LatentOptions(ModelOptions):
    latent_dim: int = field(default=8, metadata={"help": "latent dimensions of a step", "min": 1})
    prior: str = field(
        default="independent",
        metadata={"help": "p(z_t): N(0, I), or a learned mixture of normals", "choices": PRIORS},
    )
    prior_components: int = field(
        default=8, metadata={"help": "parts of a mixture prior", "min": 1, "max": 1000}
    )
    history: str = field(
        default="all",
        metadata={
            "help": "what p(x_t | history, z_t) sees: last value, or all values by a GRU",
            "choices": HISTORIES,
        },
    )
    guide: str = field(
        default="cnn", metadata={"help": "network of q(z_t | x_{1:t}, z_{<t})", "choices": GUIDES}
    )
    guide_conditioning: str = field(
        default="noise",
        metadata={
            "help": "the guide sees earlier noise (parallel) or latents (ancestral)",
            "choices": CONDITIONINGS,
        },
    )
    hidden_dim: int = field(default=64, metadata={"help": "size of every network", "min": 1})
    guide_layers: int = field(
        default=3, metadata={"help": "layers of the guide", "min": 1, "max": 20}
    )
    dropout: float = field(
        default=0.0,
        metadata={"help": "share of features dropped in training", "min": 0, "below": 1},
    )
    objective: str = field(
        default="elbo",
        metadata={
            "help": "of training: the elbo, or the tighter per-step importance bound (iwae)",
            "choices": OBJECTIVES,
        },
    )
    objective_particles: int = field(
        default=8, metadata={"help": "draws of z that the iwae averages over", "min": 2}
    )
    kl_anneal_steps: int = field(
        default=200,
        metadata={"help": "training steps over which the elbo's KL is weighed up to 1", "min": 0},
    )


class LatentModel(SequenceModel):
    """p(x_t | history, z_t) with an autoregressive guide, trained by the ELBO."""

    family, Options = "latent", LatentOptions
    options: LatentOptions

    def __init__(self, options: LatentOptions, description: DataDescription):
        super().__init__(options, description)
        o, hidden = options, options.hidden_dim
        self.latent_dim = o.latent_dim
        self.prior = build_prior(o.prior, o.latent_dim, o.prior_components)
        self.summary = Recurrent(self.input_dim, hidden) if o.history == "all" else None
        context_dim = self.input_dim + (hidden if self.summary else 0)
        self.from_context = nn.Linear(context_dim, hidden)
        self.from_latents = nn.Linear(o.latent_dim, hidden)
        self.decoder = mlp(hidden, hidden, hidden, 1, dropout=o.dropout)
        self.head = self.build_head(hidden)
        seen_dim = self.embedding_dim + context_dim
        if o.guide == "cnn":
            network = Convolution(
                seen_dim + o.latent_dim, hidden, o.guide_layers, dropout=o.dropout
            )
        else:
            network = Recurrent(
                seen_dim + o.latent_dim, hidden, o.guide_layers, dropout=o.dropout, residual=True
            )
        self.guide_network = Guide(network, o.latent_dim, o.guide_conditioning)

    # -- the parts --------------------------------------------------------------------------------

    def _context(self, u: Tensor, state: State = None) -> tuple[Tensor, State]:
        """(B, T, .) what the emission sees besides z_t: u_t holds x_{t-1}; maybe all of x_{<t}."""
        if self.summary is None:
            return u, None
        h, state = self.summary(u, state)
        return torch.cat([h, u], -1), state

    def _emission(self, context: Tensor, z: Tensor, observed: Tensor | None) -> StepDistribution:
        """p(x_t | history, z_t), from a (B, T, .) context and (..., B, T, Z) latents."""
        h = self.from_context(context) + self.from_latents(z)
        return self.head(h + self.decoder(F.silu(h)), observed)

    def _read(self, batch: SequenceBatch, history: History | None) -> "_Reading":
        history = history or self.begin(batch)
        y, embedding, u = self.inputs(batch, history)
        summary, guide = history.network or (None, None)
        context, summary = self._context(u, summary)
        seen = torch.cat([embedding, context], -1)
        return _Reading(history.scaling, y, embedding, context, seen, summary, guide)

    # -- the model in Pyro, and its training ------------------------------------------------------

    def model(
        self, batch: SequenceBatch, kl_weight: float = 1.0, reading: "_Reading | None" = None
    ) -> None:
        """p(x, z), in scaled units. `reading` is what model and guide can share."""
        r = reading or self._read(batch, None)
        with _sequences_and_steps(batch):
            with poutine.scale(scale=kl_weight):
                z = pyro.sample("z", self.prior.distribution(r.y.shape[:2]))
            pyro.sample("x", self._emission(r.context, z, batch.observed), obs=r.y)

    def guide(
        self, batch: SequenceBatch, kl_weight: float = 1.0, reading: "_Reading | None" = None
    ) -> None:
        """q(z | x)."""
        r = reading or self._read(batch, None)
        with _sequences_and_steps(batch), poutine.scale(scale=kl_weight):
            pyro.sample("z", GuideDistribution(self.guide_network, r.seen))

    def loss(self, batch: SequenceBatch, step: int | None = None) -> Tensor:
        """Negative bound in nats per scored step; the ELBO's KL is weighted while annealed."""
        if self.options.objective == "iwae":
            shape = (self.options.objective_particles, *batch.x.shape[:2], self.latent_dim)
            weights, _ = self.log_weights(batch, torch.randn(shape).to(self.from_latents.weight))
            bound = per_step_importance(weights).log_prob
            return -bound.sum() / batch.scored.sum().clamp(min=1)
        anneal = self.options.kl_anneal_steps
        weight = 1.0 if step is None or step >= anneal else (step + 1) / (anneal + 1)
        reading = self._read(batch, None)  # the networks over x run once for model and guide
        with pyro.validation_enabled(False):
            loss = Trace_ELBO().differentiable_loss(self.model, self.guide, batch, weight, reading)
        log_scale = reading.scaling.log_scale(batch.observed)
        loss = loss + torch.where(batch.scored, log_scale, 0.0).sum()
        return loss / batch.scored.sum().clamp(min=1)

    def terms(self, batch: SequenceBatch) -> dict[str, Tensor]:
        eps = torch.randn(1, *batch.x.shape[:2], self.latent_dim).to(self.from_context.weight)
        parts, _ = self._parts(batch, eps, None)
        emission, prior, guide = (torch.where(batch.scored, part[0], 0.0) for part in parts)
        return {"emission": emission, "prior": prior, "guide": guide, "kl": guide - prior}

    # -- scoring, coding and sampling, in plain torch ---------------------------------------------

    def _parts(
        self, batch: SequenceBatch, eps: Tensor, history: History | None
    ) -> tuple[tuple[Tensor, Tensor, Tensor], History]:
        """log p(x_t | ., z_t), log p(z_t), log q(z_t | .), (K, B, T) each; the history after."""
        r = self._read(batch, history)
        z, log_q, guide = self.guide_network.draw(r.seen, eps, r.guide)
        log_prior = self.prior.log_prob(z)
        emission = self._emission(r.context, z, batch.observed)
        log_x = emission.log_prob(r.y.expand(*z.shape[:-1], -1))
        log_x = log_x - r.scaling.log_scale(batch.observed)
        after = History(r.scaling, r.embedding[:, -1:], (r.summary, guide))
        return (log_x, log_prior, log_q), after

    def log_weights(
        self, batch: SequenceBatch, eps: Tensor, history: History | None = None
    ) -> tuple[Tensor, History]:
        """(K, B, T, Z) noise -> (K, B, T) log-weights in nats, data units; 0 where not scored."""
        (log_x, log_prior, log_q), after = self._parts(batch, eps, history)
        return torch.where(batch.scored, log_x + log_prior - log_q, 0.0), after

    def encode(
        self, batch: SequenceBatch, eps: Tensor, history: History | None = None
    ) -> tuple[Tensor, History]:
        """(K, B, T, Z) noise -> (K, B, T, Z) draws of z from the guide."""
        r = self._read(batch, history)
        z, _, guide = self.guide_network.draw(r.seen, eps, r.guide)
        return z, History(r.scaling, r.embedding[:, -1:], (r.summary, guide))

    def at_floor(self, batch: SequenceBatch) -> Tensor:
        """(B, T, D) how far, 0 to 1, the density of each value rests on the scale's floor."""
        r = self._read(batch, None)
        eps = r.y.new_zeros(*r.y.shape[:2], self.latent_dim)
        z, _, _ = self.guide_network.draw(r.seen, eps)
        return self._emission(r.context, z, batch.observed).at_floor(r.y)

    def read(self, batch: SequenceBatch, history: History | None = None) -> History:
        r = self._read(batch, history)
        return History(r.scaling, r.embedding[:, -1:], (r.summary, None))

    def sample_step(
        self, history: History, covariates: Tensor, generator: torch.Generator | None
    ) -> tuple[Tensor, History]:
        u = torch.cat([history.last, self.covariate_scaler(covariates)], -1)
        context, summary = self._context(u, history.network[0] if history.network else None)
        z = self.prior.draw(context.new_empty(*context.shape[:-1], self.latent_dim), generator)
        y = self._emission(context, z, None).draw(generator)
        last = self.embed(y, torch.ones_like(y, dtype=torch.bool))
        return history.scaling.inverse(y), History(history.scaling, last, (summary, None))


class _Reading(NamedTuple):
    """What the networks over x make of a batch, shared by model and guide.

    Attributes:
        scaling: the sequences' affine maps.
        y: (B, T, D) scaled values.
        embedding: (B, T, F) of each value.
        context: (B, T, .) what the emission sees besides z_t.
        seen: (B, T, .) what the guide sees: the embedding and the context.
        summary, guide: states of the two networks.
    """

    scaling: Scaling
    y: Tensor
    embedding: Tensor
    context: Tensor
    seen: Tensor
    summary: State
    guide: State


@contextmanager
def _sequences_and_steps(batch: SequenceBatch) -> Iterator[None]:
    """Plates for the batch and for time, and the mask of the steps that count."""
    num_sequences, num_steps = batch.x.shape[:2]
    with (
        pyro.plate("sequences", num_sequences, dim=-2),
        pyro.plate("steps", num_steps, dim=-1),
        poutine.mask(mask=batch.scored),  # pyright: ignore
    ):
        yield
