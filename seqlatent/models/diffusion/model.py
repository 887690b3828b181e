"""The conditional diffusion model: each step's values are denoised from N(0, I), given the past.

    h_t = net(x_{<t}),    z_t = f(x_t; h_t)                     a head's normal map, as in `flow`
    z(a) = cos(a) z_t + sin(a) e,    e ~ N(0, I)                0 <= a <= end <= pi / 2
    dz/da = sin(a) F(z(a), a, h_t),    z(end) ~ N(0, I)         the model of z_t (denoiser.py)
    log p(x_t | x_{<t}) = log p(z_t | h_t) + log |det df / dx_t|

(Denoising diffusion: Ho et al. 2020; of time series step by step: Rasul et al. 2021, TimeGrad; with
a prior that the data set: Lee et al. 2022, PriorGrad; the ODE: Song et al. 2021.)

The map f takes out mean and scale, so that noise levels mean the same for every step, and F = 0 is
the normal autoregressive model. Training maximises the variational bound in continuous time (Kingma
et al. 2021), of which the part that a normal z_t has is known exactly and only the rest sampled:

    log p(z) >= log N(z; 0, I) - int cos(a) E_e [sin(a) |F|^2 - 2 v . F] da

(For F = 0 the bound is tight: the noising of N(0, I) is reversible. The integrand is the denoising
loss cot(a) |v - sin(a) F|^2 less its value at F = 0, and bounded as a goes to 0.) Scores are those
of the ODE, which are not a bound but the density from which `sampler=ode` samples.
"""

import logging
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.share import current, drawn, in_turn, sharing
from seqlatent.distributions.choice import choose_emission
from seqlatent.distributions.heads import StepDistribution
from seqlatent.distributions.noise import Noise
from seqlatent.errors import InputError
from seqlatent.inference.protocols import ModelState, OdeDensity
from seqlatent.models.diffusion import solver
from seqlatent.models.diffusion.denoiser import Denoiser, log_normal, noised
from seqlatent.models.diffusion.schedule import SCHEDULES, SMALLEST, Schedule
from seqlatent.models.emission_model import FillingModel, refuse_partly
from seqlatent.models.past_network import (
    PastNetworkOptions,
    build_past_network,
    unused_network_options,
)
from seqlatent.nn.feedforward import Beside

logger = logging.getLogger("seqlatent")

SAMPLERS = ("ode", "ancestral")
DRAWS = 4  # noise levels of every step in a training step: they cost less than its network
GOLDEN = 0.6180339887498949  # its multiples, modulo 1, spread evenly however many there are
WARNED_LEFT = 0.01  # share of signal left at the end that a warning tells of


@dataclass(frozen=True)
class DiffusionOptions(PastNetworkOptions):
    denoiser_dim: int = field(
        default=64, metadata={"help": "size of the denoiser's two hidden layers", "min": 1}
    )
    schedule: str = field(
        default="cosine",
        metadata={
            "help": "how the noise grows from one level to the next: how often each is seen in "
            "training, and the levels of sampler=ancestral",
            "choices": SCHEDULES,
        },
    )
    beta_max: float = field(
        default=20.0,
        metadata={"help": "rate of the noise at the end of schedule=linear", "above": 0},
    )
    num_levels: int | None = field(
        default=None,
        metadata={"help": "noise levels seen in training (default: all, without steps)", "min": 2},
    )
    sampler: str = field(
        default="ode",
        metadata={
            "help": "ode, few steps, whose samples follow the density that scores are of; or "
            "ancestral, new noise at every step",
            "choices": SAMPLERS,
        },
    )
    sampling_steps: int = field(
        default=6,
        metadata={"help": "steps of the sampler; sampler=ancestral needs 50 or more", "min": 1},
    )
    scoring_steps: int = field(
        default=16,
        metadata={"help": "steps of the solver of likelihoods; half as many give its error",
                  "min": 2},
    )  # fmt: skip


class DiffusionModel(FillingModel, OdeDensity):
    """Values denoised step by step: likelihood by the ODE of the noise (Song et al. 2021).

        p(x_t | x_{<t}) = p(x_t | h_t),    dz/da = sin(a) F(z, a, h_t),    z(end) ~ N(0, I)

    Use it for real values whose distribution given the past has a shape that no emission has, and
    several channels that depend on each other. It takes longer to sample than `rnn`.
    """

    family, Options = "diffusion", DiffusionOptions
    trained_by = "a sum of denoising losses"
    options: DiffusionOptions

    def __init__(self, options: DiffusionOptions, description: DataDescription):
        super().__init__(options, description)
        o = options
        self.network = build_past_network(o, self.input_dim)
        width = self.network.out_dim
        self.beside = Beside(width + self.input_dim, width)
        self.head = self.build_head(self.beside.out_dim)
        channels = description.num_channels
        self.denoiser = Denoiser(channels, self.beside.out_dim, o.denoiser_dim)
        self.schedule = Schedule(o.schedule, o.beta_max)
        if self.schedule.signal_left > WARNED_LEFT:
            logger.warning(
                "beta_max=%g leaves %.1f %% of the signal at the highest noise level, which the "
                "model takes to be noise alone; 20 leaves less than 0.01 %%",
                o.beta_max,
                100 * self.schedule.signal_left,
            )

    @classmethod
    def unused_options(cls, options: DiffusionOptions) -> dict[str, str]:
        unused = {**super().unused_options(options), **unused_network_options(options)}
        if options.schedule != "linear":
            unused["beta_max"] = "schedule=linear"
        return unused

    @classmethod
    def accepts(cls, emission: str) -> bool:
        return emission == "normal"

    @classmethod
    def choose_emission(cls, description: DataDescription) -> tuple[str, str]:
        """The normal map, whose noise is then bent.

        Raises:
            InputError: for counts, labels, and zeros and ones, which noise would not leave as such.
        """
        name, reason = choose_emission(description)
        if name != "mixture":
            raise InputError(
                f"model 'diffusion' is for real values, and here {reason}: fit --model rnn, whose "
                f"emission would be {name}, or choose emission=normal to treat them as real"
            )
        return "normal", "the map that takes out mean and scale"

    def check(self, data: SequenceDataset) -> None:
        """Refuse data that the model cannot read.

        Raises:
            InputError: for a step of which some channels are missing and others are not.
        """
        refuse_partly(
            data, "model 'diffusion' cannot model; use another, such as rnn, or empty the step"
        )

    # -- the density ------------------------------------------------------------------------------

    def _features(self, u: Tensor, network: object) -> tuple[Tensor, object]:
        h, network = self.network(u, network)
        return self.beside(h, u), network

    def _read(
        self, batch: SequenceBatch, state: ModelState | None
    ) -> tuple[Tensor, Tensor, StepDistribution, Tensor, ModelState]:
        """Features of the past, scaled values, the maps of the steps, log |dy / dx|, and the state
        after."""
        if bool((batch.observed.any(-1) != batch.observed.all(-1)).any()):
            raise InputError(
                "model 'diffusion' models all channels of a step at once, and here some are "
                "missing; use another, such as rnn"
            )
        state = state or self.begin(batch)
        y, embedding, u = self.inputs(batch, state)
        h, network = self._features(u, state.network)
        scale = self.scaler.log_scale(batch, self.scaler(batch))
        after = ModelState(state.memory, embedding[:, -1:], network)
        return h, y, self.head(h), -scale, after

    def log_prob(
        self, batch: SequenceBatch, state: ModelState | None = None
    ) -> tuple[Tensor, ModelState]:
        """(B, T) log p(x_t | x_{<t}), nats, in data units; 0 where not scored."""
        (log_prob,), after = self._solved(batch, state, (self.options.scoring_steps,))
        return log_prob, after

    def log_prob_and_error(
        self, batch: SequenceBatch, state: ModelState | None = None
    ) -> tuple[Tensor, Tensor, ModelState]:
        steps = self.options.scoring_steps
        (log_prob, coarse), after = self._solved(batch, state, (steps, steps // 2))
        # A method of order four, with steps twice as long or, of an odd number, a little longer.
        return log_prob, (log_prob - coarse).abs() / 15, after

    def _solved(
        self, batch: SequenceBatch, state: ModelState | None, numbers: tuple[int, ...]
    ) -> tuple[list[Tensor], ModelState]:
        """`log_prob` for each of these numbers of solver's steps."""
        h, y, maps, log_slope, after = self._read(batch, state)
        z, log_det = maps.map(y)
        seen = batch.scored
        z, past = z[seen], self.denoiser.condition(h[seen])
        rest = (log_det + log_slope)[seen]
        found = []
        for number in numbers:
            value = solver.log_prob(self.denoiser, z, past, self.schedule.end, number)
            empty = torch.zeros(seen.shape, dtype=value.dtype, device=value.device)
            found.append(empty.masked_scatter(seen, value + rest))
        return found, after

    def variational_bound(
        self, batch: SequenceBatch, noise: Noise, draws: int = 100
    ) -> tuple[Tensor, Tensor]:
        """A lower bound of log p(x_t | x_{<t}) of ancestral sampling in infinitely many steps.

        Args:
            batch: without padding between its steps; its past has no state.
            noise: of the estimate.
            draws: noise levels of each step.

        Returns:
            (B, T) unbiased estimates of the bound in nats and data units, 0 where not scored, and
            their standard errors.
        """
        h, y, maps, log_slope, _ = self._read(batch, None)
        z, log_det = maps.map(y)
        past = self.denoiser.condition(h)
        s = (noise.uniform(z.shape[:2], z)[..., None] + torch.arange(draws).to(z)) / draws
        e = noise.normal((*z.shape[:2], draws, z.shape[-1]), z)
        excess = self._excess(z[:, :, None], past[:, :, None], s, e)
        bound = log_normal(z) + log_det + log_slope - excess.mean(-1)
        error = excess.std(-1) / draws**0.5
        return tuple(torch.where(batch.scored, value, 0.0) for value in (bound, error))  # type: ignore[return-value]

    def _excess(
        self, z: Tensor, past: Tensor, s: Tensor, e: Tensor, weight: Tensor | None = None
    ) -> Tensor:
        """(...) nats by which the bound is below that of a normal z, at levels s (...) and with
        noise e (..., D); `weight` da/ds is that of the schedule, unless it is given."""
        s = s.clamp(SMALLEST, 1 - SMALLEST)
        a = self.schedule.angle(s)
        weight = self.schedule.slope(s) if weight is None else weight
        noisy, v = noised(z, e, a)
        value = self.denoiser(noisy, a, past)
        misfit = a.sin() * value.square().sum(-1) - 2 * (v * value).sum(-1)
        return weight * a.cos() * misfit

    # -- training ---------------------------------------------------------------------------------

    def _levels(self, shape: tuple[int, ...], like: Tensor) -> tuple[Tensor, Tensor | None]:
        """Levels s, spread evenly over all points, and the weight of each; None: the schedule's."""
        share = current()
        places = torch.arange(shape[1]) if share is None else share.rows
        size = shape[1] if share is None else share.size
        first = torch.rand(1, dtype=torch.float64, device=like.device)
        places = (size * torch.arange(shape[0])[:, None] + places).to(first)
        s = (first + places * GOLDEN) % 1.0
        number = self.options.num_levels
        if number is None:
            return s.to(like), None
        place = (s * number).long().clamp(max=number - 1)
        angles = self.schedule.levels(number).to(places)
        width = (angles[1:] - angles[:-1])[place] * number
        return ((place + 1) / number).to(like), width.to(like)

    def _bound(self, batch: SequenceBatch) -> dict[str, Tensor]:
        """The two parts of the bound, (N,) each, of the N scored steps, in nats and data units."""
        h, y, maps, log_slope, _ = self._read(batch, None)
        z, log_det = maps.map(y)
        seen = batch.scored
        normal = (log_normal(z) + log_det + log_slope)[seen]
        z, past = z[seen], self.denoiser.condition(h[seen])
        with sharing(in_turn(len(z), z.device)):
            s, weight = self._levels((DRAWS, len(z)), z)
            normal_numbers = partial(torch.randn, dtype=z.dtype, device=z.device)
            e = drawn(normal_numbers, (DRAWS, *z.shape), 1)
        return {"normal": normal, "denoising": -self._excess(z, past, s, e, weight).mean(0)}

    def loss(self, batch: SequenceBatch, step: int | None = None) -> Tensor:
        parts = self._bound(batch)
        return -sum(part.sum() for part in parts.values()) / batch.num_scored  # type: ignore[return-value]

    def terms(self, batch: SequenceBatch) -> dict[str, Tensor]:
        seen = batch.scored
        return {
            name: torch.zeros(seen.shape).to(part).masked_scatter(seen, part)
            for name, part in self._bound(batch).items()
        }

    def at_floor(self, batch: SequenceBatch) -> Tensor:
        """(B, T, D) to what extent, 0 to 1, the floor of the map's scale sets each density."""
        _, y, maps, _, _ = self._read(batch, None)
        return maps.at_floor(y)

    # -- sampling ---------------------------------------------------------------------------------

    def read(self, batch: SequenceBatch, state: ModelState | None = None) -> ModelState:
        return self._read(batch, state)[-1]

    def fill_step(
        self,
        state: ModelState,
        y: Tensor,
        observed: Tensor,
        covariates: Tensor,
        noise: Noise,
    ) -> tuple[Tensor, Tensor, ModelState]:
        """See `Fillable`; only for steps of which all values are missing, or none.

        Raises:
            InputError: for others.
        """
        h, network = self._features(self.next_input(state, covariates), state.network)
        maps, past, y = self.head(h), self.denoiser.condition(h)[:, 0], y.to(h)
        log_prob = y.new_zeros(len(y))
        if observed.all():
            z, log_det = maps.map(y)
            steps = self.options.scoring_steps
            value = solver.log_prob(self.denoiser, z[:, 0], past, self.schedule.end, steps)
            log_prob = value + log_det[:, 0]
        elif observed.any():
            raise InputError(
                "model 'diffusion' samples all channels of a step at once, and cannot fill one "
                "that is partly observed; use another, such as rnn"
            )
        else:
            z = noise.normal((len(h), 1, y.shape[-1]), h)[:, 0]
            y = maps.invert(self._denoised(z, past, noise)[:, None])
        return y, log_prob, ModelState(state.memory, self.embed_next(y, state), network)

    def _denoised(self, z: Tensor, past: Tensor, noise: Noise) -> Tensor:
        """(N, D) standard normal numbers -> (N, D) samples by the chosen sampler."""
        steps = self.options.sampling_steps
        if self.options.sampler == "ode":
            return solver.flow_samples(self.denoiser, z, past, self.schedule.end, steps)
        levels = self.schedule.levels(steps)
        return solver.ancestral_samples(self.denoiser, noise, z, past, levels)
