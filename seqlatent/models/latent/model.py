"""The sequential latent-variable model, in Pyro.

    p(x_{1:T}, z_{1:T}) = prod_t p(z_t | .) p(x_t | history, z_t)                   (priors.py)
    q(z_{1:T} | x_{1:T}) = prod_t q(z_t | x_{1:t}, z_{1:t-1})                        (guide.py)
    maximise  E_q[log p(x, z) - log q(z | x)]                                        (ELBO)

By default the state is in the latents, p(z_t | z_{t-1}, x_{t-1}) p(x_t | z_t), and log p(x) is
estimated by sequential Monte Carlo (inference/smc.py). The prior may see less than z_{t-1} and
x_{t-1}, or more; the emission also x_{t-1} (history `last`) or a causal summary of x_{<t} (`all`).

If the prior sees no earlier latents (prior `independent` or `mixture`), the *posterior factorises*:
z_t is independent of the others given x, and log p(x) can be estimated step by step
(inference/bounds.py).

The Pyro model and guide have two sites, z and x; scores and samples come from plain torch.
"""

import math

import pyro
import torch
from pyro import poutine
from pyro.infer import TraceMeanField_ELBO
from torch import Tensor, nn
from torch.nn import functional as F

from seqlatent.data.batch import SequenceBatch
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.share import drawn, total
from seqlatent.distributions.heads import StepDistribution
from seqlatent.distributions.noise import Noise, SequenceNoise, TorchNoise
from seqlatent.inference.bounds import (
    doubly_reparametrised,
    joint_importance,
    per_step_importance,
)
from seqlatent.inference.protocols import EstimatedDensity, Fillable, ModelState
from seqlatent.inference.smc import systematic
from seqlatent.models.emission_model import EmissionModel
from seqlatent.models.latent.filtering import chosen_paths, filter_reading, filtered_paths
from seqlatent.models.latent.guide import GuideDistribution
from seqlatent.models.latent.guides import build_guide
from seqlatent.models.latent.options import LatentOptions
from seqlatent.models.latent.parts import LatentSample, Reading
from seqlatent.models.latent.priors import PriorDistribution, SequentialPrior, build_prior
from seqlatent.models.latent.proposing import propose
from seqlatent.models.latent.ranges import met_range
from seqlatent.models.latent.sites import Sites, register, sequences_and_steps, unchecked
from seqlatent.nn.causal import State, map_state
from seqlatent.nn.feedforward import mlp
from seqlatent.nn.recurrent import Recurrent

FILL_SAMPLES = 16  # of a step's latents, if the posterior factorises


class LatentModel(EmissionModel, EstimatedDensity, Fillable):
    """A latent state, inferred by a guide: likelihood by sequential Monte Carlo.

        p(z_t | z_{t-1}, x_{t-1}) p(x_t | z_t),    guide q(z_t | x, z_{<t})

    Use it where values have an unobserved state behind them. Its parts are configurable: prior,
    history, guide, objective. With prior=independent the latents are N(0, I) at each step and the
    emission is p(x_t | x_{t-1}, z_t): for values whose distribution within a step no emission fits.
    """

    family, Options = "latent", LatentOptions
    trained_by = "a lower bound of the likelihood: ELBO or importance-weighted"
    learning_rate = 5e-3
    options: LatentOptions

    def __init__(self, options: LatentOptions, description: DataDescription):
        super().__init__(options, description)
        o, hidden = options, options.hidden_dim
        self.latent_dim = o.latent_dim
        self.factorises, self.smoothing = not o.dependent, o.smoothing
        # The recurrent transition of a conditional prior reads x_{<t} itself. An emission with
        # history=all uses that network's summary of (x_{<t}, z_{<t}).
        recurrent = o.prior == "conditional" and o.transition == "rnn"
        self.shares = recurrent and o.seen_history == "all"
        summarised = o.seen_history == "all" and not recurrent
        self.summary = Recurrent(self.input_dim, hidden) if summarised else None
        known_dim = self.input_dim + (hidden if self.summary else 0)
        self.prior = build_prior(
            o.prior,
            o.latent_dim,
            num_components=o.prior_components,
            learned=o.learn_prior,
            context_dim=known_dim if o.prior == "conditional" else self.num_known,
            transition=o.transition,
            hidden_dim=hidden,
        )
        emission_dim = {"none": self.num_known, "last": self.input_dim, "all": known_dim}
        self.context_dim = emission_dim[o.seen_history]
        self.from_context = nn.Linear(self.context_dim, hidden) if self.context_dim else None
        self.from_past = nn.Linear(hidden, hidden, bias=False) if self.shares else None
        self.from_latents = nn.Linear(o.latent_dim, hidden)
        self.decoder = mlp(hidden, hidden, hidden, 1, dropout=o.dropout)
        self.head = self.build_head(hidden)
        self.guide_network = build_guide(o, self.prior, self.embedding_dim, known_dim)

    @classmethod
    def unused_options(cls, options: LatentOptions) -> dict[str, str]:
        return super().unused_options(options) | options.unused()

    def finish(self, data: SequenceDataset) -> bool:
        if not isinstance(self.prior, SequentialPrior) or self.options.transition != "gated":
            return False
        self.prior.keep_within(*met_range(self, data))
        return True

    # -- the parts --------------------------------------------------------------------------------

    def _know(self, u: Tensor, state: State = None) -> tuple[Tensor, State]:
        """(B, T, .) what is known before each step: u_t, which holds x_{t-1}, and a summary."""
        if self.summary is None:
            return u, None
        h, state = self.summary(u, state)
        return torch.cat([u, h], -1), state

    def _contexts(self, known: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, .) the parts of `known` that the emission and the prior see. `known` begins with
        u_t, which is the embedding of x_{t-1} and the covariates."""
        o, covariates = self.options, known[..., self.embedding_dim : self.input_dim]
        emission = covariates if o.seen_history == "none" else known[..., : self.context_dim]
        return emission, known if o.prior == "conditional" else covariates

    def prior_context(self, state: ModelState, covariates: Tensor) -> Tensor:
        """(B, 1, .) what the prior sees at the step after a state with its memory, besides latents,
        given its (B, 1, C) covariates."""
        summary = state.network[0] if state.network else None
        known, _ = self._know(self.next_input(state, covariates), summary)
        return self._contexts(known)[1]

    def _emission(
        self, context: Tensor, z: Tensor, past: Tensor | None, observed: Tensor | None
    ) -> StepDistribution:
        """p(x_t | history, z_t), from a (B, T, .) context, (..., B, T, Z) latents, and the features
        of the past that the prior shares."""
        h = self.from_latents(z)
        if self.from_context is not None:
            h = h + self.from_context(context)
        if self.from_past is not None:
            assert past is not None
            h = h + self.from_past(past)
        return self.head(h + self.decoder(F.silu(h)), observed)

    def reading(self, batch: SequenceBatch, state: ModelState | None = None) -> Reading:
        """What the networks over x compute from a batch, without latents."""
        state = state or self.begin(batch)
        y, embedding, u = self.inputs(batch, state)
        known, summary = self._know(u, state.network[0] if state.network else None)
        emission, prior = self._contexts(known)
        both = torch.cat([embedding, known], -1)
        seen = self.guide_network.prepare(both, embedding, batch.lengths, prior)
        step = torch.arange(batch.x.shape[1], device=y.device)
        inside = batch.scored if self.factorises else step < batch.lengths[:, None]
        counted = inside & (step >= batch.context[:, None])
        scaled = self.scaler(batch)
        log_scale = self.scaler.log_scale(batch, scaled)
        after = ModelState(state.memory, embedding[:, -1:], (summary, None))
        loc, scale = scaled.loc.expand(y.shape), scaled.scale.expand(y.shape)
        parts = (y, batch.observed, loc, scale, log_scale, emission, prior, seen, inside, counted)
        return Reading(*parts, after)

    def _unscaled(self, r: Reading, y: Tensor) -> Tensor:
        """(..., B, T, D) scaled values -> data units, given the batch's past."""
        return self.scaler.from_scale(r.loc + y.to(r.loc) * r.scale)

    def propose(
        self,
        r: Reading,
        eps: Tensor,
        particles: State = None,
        branched: bool = False,
        from_prior: Tensor | None = None,
    ) -> tuple[LatentSample, State]:
        """Sample latents from the guide and compute their weights; see `EstimatedDensity.propose`.

        Args:
            r: of B sequences and T steps (all, or the next ones).
            eps: (K, B, T, Z) standard normal noise.
            particles: what an earlier call returned, to continue with the next steps.

        Returns:
            the sample with its densities, and the particles' states.
        """
        return propose(self, r, eps, particles, branched, from_prior)

    def log_x(self, r: Reading, z: Tensor, past: Tensor | None) -> Tensor:
        """(..., B, T) log p(x_t | history, z_t) at latents (..., B, T, Z), nats, data units, given
        the prior's features."""
        emission = self._emission(r.emission, z, past, r.observed)
        return emission.log_prob(r.y.expand(*z.shape[:-1], -1)) - r.log_scale

    def at(self, r: Reading, z: Tensor, log_q: Tensor | None = None) -> LatentSample:
        """The densities at given latents (..., B, T, Z), with log q if it is known already."""
        if log_q is None:
            log_q = self.guide_network.log_prob(r.seen, z)
        p, past, _ = self.prior(z, r.prior)
        return LatentSample(z, self.log_x(r, z, past), p.log_prob(z), log_q)

    def reconstruct(self, r: Reading, z: Tensor, noise: Noise) -> Tensor:
        """(..., B, T, D) samples of p(x_t | history, z_t) at latents (..., B, T, Z), data units."""
        _, past, _ = self.prior(z, r.prior)
        y = self._emission(r.emission, z, past, None).sample(noise=noise)
        return self._unscaled(r, y)

    # -- the model in Pyro, and its training ------------------------------------------------------

    def model(
        self, batch: SequenceBatch, kl_weight: float = 1.0, sites: Sites | None = None
    ) -> Tensor:
        """p(x, z) for Pyro: site `z`, event shape (Z,), and the observed `x`, (D,), both of batch
        shape (B, T).

        Values and densities of `x` are in scaled units; its log-density in data units is less by
        `log_scale(batch)`. Each step is given the *batch's* past, not a sampled one: with
        history=none and no conditional prior these are one, elsewhere samples of `x` go one step
        ahead of the data. Latents that do not count (context, padding, gaps where the posterior
        factorises) are masked, and without a density: give MCMC a batch that has none of them.

        Args:
            batch: see `collate`.
            kl_weight: of the density of `z`.
            sites: what model and guide can share. Without it the module joins Pyro's parameter
                store, as `SVI` needs; training passes it and leaves the store alone.

        Returns:
            (B, T, D) the values of `x` in data units, 0 where missing; sampled ones under
            `poutine.uncondition`.
        """
        if sites is None:
            register(self, self.family)
        r, prior, _ = sites or self.sites(batch)
        with sequences_and_steps(batch):
            with poutine.scale(scale=kl_weight), poutine.mask(mask=r.counted):  # pyright: ignore
                z = pyro.sample("z", prior)
            past = prior.features(z) if self.shares else None
            with poutine.mask(mask=batch.scored):  # pyright: ignore
                emission = self._emission(r.emission, z, past, batch.observed)
                y = pyro.sample("x", emission, obs=r.y.expand(*z.shape[:-1], -1))
        return self._unscaled(r, y)

    def guide(
        self, batch: SequenceBatch, kl_weight: float = 1.0, sites: Sites | None = None
    ) -> None:
        """q(z | x) for Pyro: site `z`; arguments as in `model`. Latents have no units: the ELBO of
        the two is in scaled units because `x` is."""
        if sites is None:
            register(self, self.family)
        r, _, posterior = sites or self.sites(batch)
        with (
            sequences_and_steps(batch),
            poutine.scale(scale=kl_weight),
            poutine.mask(mask=r.counted),  # pyright: ignore
        ):
            pyro.sample("z", posterior)

    def sites(self, batch: SequenceBatch) -> Sites:
        """The distributions of z in model and guide, on one reading of the batch."""
        r = self.reading(batch)
        return Sites(
            r,
            PriorDistribution(self.prior, r.prior),
            GuideDistribution(self.guide_network, r.seen),
        )

    def loss(self, batch: SequenceBatch, step: int | None = None) -> Tensor:
        """The negative bound in nats per scored step; the KL weight is annealed over steps."""
        num_scored = batch.num_scored
        anneal = self.options.kl_anneal_steps
        weight = 1.0 if step is None or step >= anneal else (step + 1) / (anneal + 1)
        if self.options.bound == "elbo":
            return self._negative_elbo(batch, weight) / num_scored
        r = self.reading(batch)
        size = self.options.objective_particles
        if self.options.bound == "fivo":
            uniforms = drawn(torch.rand, r.counted.shape).to(r.y)
            bound = filter_reading(self, r, size, uniforms, TorchNoise(), weight)[0]
            return -torch.where(r.counted, bound.log_prob, 0.0).sum() / num_scored
        eps = drawn(torch.randn, (size, *r.y.shape[:2], self.latent_dim), 1).to(r.y)
        sample, _ = self.propose(r, eps, branched=self.factorises)
        weights = torch.where(r.counted, sample.annealed(weight), 0.0)
        if self.factorises and sample.z.requires_grad:
            doubly_reparametrised(sample.z, weights)
        estimate = per_step_importance if self.factorises else joint_importance
        return -estimate(weights).log_prob.sum() / num_scored

    def _negative_elbo(self, batch: SequenceBatch, weight: float) -> Tensor:
        """-E_q[log p(x | z)] + weight * KL, summed; the KL is exact where it has a closed form."""
        sites = self.sites(batch)  # the networks over x run once for model and guide
        with unchecked():
            loss = TraceMeanField_ELBO().differentiable_loss(
                self.model, self.guide, batch, weight, sites
            )
        assert isinstance(loss, Tensor)
        if self.options.free_bits > 0:  # max(weight * KL, free) replaces weight * KL
            free = self.options.free_bits * batch.scored.sum()
            kl = torch.where(sites.reading.counted, sites.kl(), 0.0).sum()
            rest = free - weight * kl  # of the whole batch it decides, not of a process's share
            loss = loss + torch.where(total(rest) > 0, rest, 0.0)
        return loss + torch.where(batch.scored, sites.reading.log_scale, 0.0).sum()

    def terms(self, batch: SequenceBatch) -> dict[str, Tensor]:
        r = self.reading(batch)
        sample, _ = self.propose(r, torch.randn(1, *r.y.shape[:2], self.latent_dim).to(r.y))
        emission = torch.where(batch.scored, sample.log_x[0], 0.0)
        prior, guide = (torch.where(r.counted, p[0], 0.0) for p in (sample.log_prior, sample.log_q))
        return {"emission": emission, "prior": prior, "guide": guide, "kl": guide - prior}

    # -- particles --------------------------------------------------------------------------------

    def filtered_paths(
        self, batch: SequenceBatch, num_paths: int, noise: SequenceNoise, filling: bool = False
    ) -> ModelState:
        return filtered_paths(self, batch, num_paths, noise, filling)

    def paths(self, state: ModelState, particles: State, chosen: Tensor) -> ModelState:
        return chosen_paths(state, particles, chosen)

    def at_floor(self, batch: SequenceBatch) -> Tensor:
        """(B, T, D) to what extent, 0 to 1, the floor of the scale determines each density."""
        r = self.reading(batch)
        z, _, _ = self.guide_network.sample(r.seen, r.y.new_zeros(*r.y.shape[:2], self.latent_dim))
        _, past, _ = self.prior(z, r.prior)
        return self._emission(r.emission, z, past, batch.observed).at_floor(r.y)

    def read(self, batch: SequenceBatch, state: ModelState | None = None) -> ModelState:
        """The state without latents; `filtered_paths` samples those that depend on each other."""
        return self.reading(batch, state).after

    def sample_step(
        self, state: ModelState, covariates: Tensor, noise: Noise
    ) -> tuple[Tensor, ModelState]:
        _, x, state = self.sample_latent_step(state, covariates, noise)
        return x, state

    def sample_latent_step(
        self, state: ModelState, covariates: Tensor, noise: Noise
    ) -> tuple[Tensor, Tensor, ModelState]:
        """Sample the next step and its latents: (B, 1, C) covariates -> z (B, 1, Z), x (B, 1, D)
        in data units, and the state after."""
        summary, prior = state.network or (None, None)
        known, summary = self._know(self.next_input(state, covariates), summary)
        emission, context = self._contexts(known)
        z, past, prior = self.prior.sample(context, prior, noise)
        y = self._emission(emission, z, past, None).sample(noise=noise)
        x, memory = self.unscale_step(y, state)
        return z, x, self._filled(state, y, (summary, prior))._replace(memory=memory)

    def fill_step(
        self, state: ModelState, y: Tensor, observed: Tensor, covariates: Tensor, noise: Noise
    ) -> tuple[Tensor, Tensor, ModelState]:
        """See `Fillable`. Latents of a step without values are sampled from the prior, others from
        the guide as if the sequence ended with the step."""
        summary, prior, guide = state.network or (None, None, None)
        y, u = y.to(state.last), self.next_input(state, covariates)
        known, summary = self._know(u, summary)
        emission, context = self._contexts(known)
        one_step = torch.ones(len(u), dtype=torch.int64, device=u.device)

        def seen(flags: Tensor) -> Tensor:
            embedding = self.embed(y, flags.expand(y.shape), self.scaler.next_limit(state.memory))
            both = torch.cat([embedding, known], -1)
            return self.guide_network.prepare(both, embedding, one_step, context)

        if not observed.any():
            z, past, prior = self.prior.sample(context, prior, noise)
            y, log_weight = self._emission(emission, z, past, None).fill(y, observed, noise)
            guide = self.guide_network.given(seen(~observed), z, guide)[1]
            return y, log_weight[:, 0], self._filled(state, y, (summary, prior, guide))
        # Several samples per path if the next step does not depend on them: less noisy weights.
        size = FILL_SAMPLES if self.factorises else 1
        eps = noise.normal((len(u), size, 1, self.latent_dim), u).movedim(0, 1)
        prior, guide = (map_state(lambda s: s[None], part) for part in (prior, guide))
        z, log_q, guide = self.guide_network.sample(seen(observed), eps, guide, self.factorises)
        distribution, past, prior = self.prior(z, context, prior)
        values, log_x = self._emission(emission, z, past, None).fill(y, observed, noise)
        log_w = (log_x + distribution.log_prob(z) - log_q)[..., 0]
        total = log_w.logsumexp(0)
        chosen = systematic(log_w - total, noise.uniform((len(u),), u), 1)[0]
        y = values[chosen, torch.arange(len(u), device=u.device)]
        prior, guide = (map_state(lambda s: s[0], part) for part in (prior, guide))
        return y, total - math.log(size), self._filled(state, y, (summary, prior, guide))

    def _filled(self, state: ModelState, y: Tensor, network: State) -> ModelState:
        last = self.embed_next(y, state)
        return ModelState(state.memory, last, network)
