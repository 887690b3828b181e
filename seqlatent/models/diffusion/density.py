"""The density of the diffusion model: values are denoised from N(0, I), step by step or in blocks.

    h_t = net(x_{<t}),    z_t = f(x_t; h_t)                     a head's normal map, as in `flow`
    z(a) = cos(a) z_t + sin(a) e,    e ~ N(0, I)                0 <= a <= end <= pi / 2
    dz/da = sin(a) F(z(a), a, h_t),    z(end) ~ N(0, I)         the model of z_t (denoiser.py)
    log p(x_t | x_{<t}) = log p(z_t | h_t) + log |det df / dx_t|

(Denoising diffusion: Ho et al. 2020; of time series step by step: Rasul et al. 2021, TimeGrad; with
a prior that the data set: Lee et al. 2022, PriorGrad; the ODE: Song et al. 2021.)

With block = B, x_t is the B steps from t on, denoised together given h_t (`blocks.py`), and f is a
map for each of them.

The map f takes out mean and scale, so that noise levels mean the same for every step, and F = 0 is
the normal autoregressive model. Training maximises the variational bound in continuous time (Kingma
et al. 2021), of which the part that a normal z_t has is known exactly and only the rest sampled:

    log p(z) >= log N(z; 0, I) - int cos(a) E_e [sin(a) |F|^2 - 2 v . F] da

(For F = 0 the bound is tight: the noising of N(0, I) is reversible. The integrand is the denoising
loss cot(a) |v - sin(a) F|^2 less its value at F = 0, and bounded as a goes to 0.) Scores are those
of the ODE, which are not a bound but the density from which `sampler=ode` samples.
"""

import logging

import torch
from torch import Tensor, nn

from seqlatent.data.batch import SequenceBatch
from seqlatent.data.description import DataDescription
from seqlatent.distributions.heads import Head, StepDistribution
from seqlatent.distributions.noise import Noise
from seqlatent.errors import InputError
from seqlatent.inference.protocols import ModelState, OdeDensity
from seqlatent.models.diffusion import blocks, solver
from seqlatent.models.diffusion.blocks import Blocks, Given, moved
from seqlatent.models.diffusion.denoiser import Denoiser, log_normal, noised
from seqlatent.models.diffusion.options import DiffusionOptions
from seqlatent.models.diffusion.schedule import SMALLEST, Schedule
from seqlatent.models.emission_model import FillingModel
from seqlatent.models.past_network import build_past_network
from seqlatent.nn.feedforward import Beside

logger = logging.getLogger("seqlatent")

WARNED_LEFT = 0.01  # share of signal left at the end that a warning tells of


class DenoisedBlocks(FillingModel, OdeDensity):
    """What a diffusion model computes of data: the density of the steps, and its bound."""

    Options = DiffusionOptions
    options: DiffusionOptions

    def __init__(self, options: DiffusionOptions, description: DataDescription):
        super().__init__(options, description)
        o = options
        if o.context_length % o.block:
            raise InputError(
                f"context_length={o.context_length} is no multiple of block={o.block}, and blocks "
                "begin where scores do; change one of them"
            )
        self.network = build_past_network(o, self.input_dim)
        width = self.network.out_dim
        self.beside = Beside(width + self.input_dim, width)
        self.head = self.build_head(self.beside.out_dim)
        # Of the later steps of a block, covariates that are known in advance are given too.
        self.num_ahead = len(description.covariate_names) if o.block > 1 else 0
        self.later_heads = nn.ModuleList(
            self.build_head(self.beside.out_dim + self.num_ahead) for _ in range(o.block - 1)
        )
        given = self.beside.out_dim + (o.block - 1) * self.num_ahead
        size = o.block * description.num_channels
        self.denoiser = Denoiser(size, given, o.denoiser_dim, o.block)
        self.by_step = o.block == 1
        self.schedule = Schedule(o.schedule, o.beta_max)
        if self.schedule.signal_left > WARNED_LEFT:
            logger.warning(
                "beta_max=%g leaves %.1f %% of the signal at the highest noise level, which the "
                "model takes to be noise alone; 20 leaves less than 0.01 %%",
                o.beta_max,
                100 * self.schedule.signal_left,
            )

    def _features(self, u: Tensor, network: object) -> tuple[Tensor, object]:
        return self.beside.read(self.network, u, network)

    def _network(self, state: ModelState) -> object:
        """The state of the network; of several steps the state has that of blocks beside it."""
        if state.network is None or self.options.block == 1:
            return state.network
        return state.network[0]

    def _with_network(self, state: ModelState, network: object) -> ModelState:
        """The state with that of the network, where no block has begun."""
        return state._replace(network=network if self.options.block == 1 else (network, None))

    def _read(
        self, batch: SequenceBatch, state: ModelState | None
    ) -> tuple[Given, Tensor, ModelState]:
        """What is given and the scaled values, log |dy / dx|, and the state after."""
        if bool((batch.observed.any(-1) != batch.observed.all(-1)).any()):
            raise InputError(
                "model 'diffusion' models all channels of a step at once, and here some are "
                "missing; use another, such as rnn"
            )
        state = state or self.begin(batch)
        y, embedding, u = self.inputs(batch, state)
        h, network = self._features(u, self._network(state))
        scale = self.scaler.log_scale(batch, self.scaler(batch))
        after = ModelState(state.memory, embedding[:, -1:], network)
        return Given(h, y, self._known(batch.covariates)), -scale, after

    def _known(self, covariates: Tensor) -> Tensor:
        """(N, T, C) the covariates of a block's later steps, of all those of a batch."""
        if not self.num_ahead:
            return covariates[..., :0].to(torch.get_default_dtype())
        return self.covariate_scaler(covariates)[..., : self.num_ahead]

    def _heads(self) -> tuple[Head, ...]:
        """Of the steps of a block."""
        return (self.head, *self.later_heads)  # type: ignore[return-value]

    def _maps(self, given: Given) -> list[StepDistribution]:
        """The B maps of the block that begins at each step."""
        seen = (given.h, *(torch.cat([given.h, part], -1) for part in self._later(given)))
        return [head(h) for head, h in zip(self._heads(), seen, strict=True)]

    def _later(self, given: Given) -> list[Tensor]:
        """What is known of each of the B - 1 later steps of the block that begins at each step."""
        return [moved(given.known, j) for j in range(1, self.options.block)]

    def _mapped(self, given: Given) -> tuple[Tensor, Tensor]:
        """Of the block that begins at each step (N, T, B, D) z, and (N, T, B) log |dz / dy|."""
        mapped = [m.map(moved(given.y, j)) for j, m in enumerate(self._maps(given))]
        z, log_det = zip(*mapped, strict=True)
        return torch.stack(z, 2), torch.stack(log_det, 2)

    def _condition(self, h: Tensor, later: list[Tensor], length: Tensor) -> Tensor:
        """(N, T, .) what the denoiser needs of blocks with (N, T) steps, given features h and what
        is `_known` of each later step."""
        if self.num_ahead:
            known = blocks.of_length(torch.stack(later, 2), length - 1)
            h = torch.cat([h, known], -1)
        return self.denoiser.condition(h, length)

    def _one(self, h: Tensor) -> Tensor:
        """(N, T, .) what the denoiser needs of blocks of one step, given features h."""
        one = torch.ones(h.shape[:2], dtype=torch.int64, device=h.device)
        nothing = h.new_zeros(*h.shape[:2], self.num_ahead)
        return self._condition(h, [nothing] * (self.options.block - 1), one)

    def _blocks(self, batch: SequenceBatch, state: ModelState | None) -> tuple[Blocks, ModelState]:
        """The blocks of a batch, from those that had begun before it, and the state after. Of more
        steps than one they have one step more: the last one before."""
        size = self.options.block
        given, log_slope, after = self._read(batch, state)
        if size == 1:
            z, log_det = self.head(given.h).map(given.y)
            past, place = self._one(given.h), batch.scored.long() - 1
            return Blocks(z, past, place, log_det + log_slope), after
        rows = torch.cat(given, -1)
        begun = None if state is None or state.network is None else state.network[1]
        begun = begun or blocks.none_unfinished(rows, size)
        place, age = blocks.places(batch.scored, batch.context, begun, size)
        rows = torch.cat([begun.rows.expand(len(rows), -1, -1), rows], 1)
        kept = blocks.Unfinished(rows[:, rows.shape[1] - (size - 1) :], place[:, -1:], age)
        given = Given(*rows.split([part.shape[-1] for part in given], -1))
        # The step before counts where the first of these goes on with its block.
        place = torch.cat([(place[:, :1] - 1).clamp(min=-1), place], 1)
        there = place.clamp(min=0)
        start = torch.arange(size - 2, rows.shape[1], device=place.device) - there
        z, log_det = (blocks.at(part, start) for part in self._mapped(given))
        rest = log_det.gather(-1, there[..., None])[..., 0]
        rest = rest + torch.cat([log_slope[:, :1], log_slope], 1)
        later = [blocks.at(part, start) for part in self._later(given)]
        past = self._condition(blocks.at(given.h, start), later, there + 1)
        found = Blocks(blocks.of_length(z, place + 1), past, place, rest)
        return found, after._replace(network=(after.network, kept))

    # -- scores -----------------------------------------------------------------------------------

    def log_prob(
        self, batch: SequenceBatch, state: ModelState | None = None
    ) -> tuple[Tensor, ModelState]:
        """(B, T) log p(x_t | x_{<t}), nats, in data units; 0 where not scored. Of blocks of several
        steps, what each adds to the log density of its block (`blocks.py`)."""
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
        found, after = self._blocks(batch, state)
        return [self._score(found, number)[:, -batch.x.shape[1] :] for number in numbers], after

    def _score(self, found: Blocks, number: int) -> Tensor:
        """What each step adds to the log density of its block, by this number of steps."""
        total = torch.zeros(found.place.shape, dtype=found.z.dtype, device=found.z.device)
        for length in range(1, self.options.block + 1):
            rows = found.place == length - 1
            if rows.any():
                z = found.z[rows][:, : length * self.description.num_channels]
                value = solver.log_prob(
                    self.denoiser, z, found.past[rows], self.schedule.end, number
                )
                total = total.masked_scatter(rows, value)
        if self.options.block > 1:
            before = torch.cat([torch.zeros_like(total[:, :1]), total[:, :-1]], 1)
            total = torch.where(found.place > 0, total - before, total)
        return torch.where(found.place >= 0, total + found.rest, 0.0)

    def variational_bound(
        self, batch: SequenceBatch, noise: Noise, draws: int = 100
    ) -> tuple[Tensor, Tensor]:
        """A lower bound of log p(x_t | x_{<t}) of ancestral sampling in infinitely many steps.

        Args:
            batch: without padding between its steps; its past has no state.
            noise: of the estimate.
            draws: noise levels of each step.

        Returns:
            (B, T) unbiased estimates of the bound in nats and data units, and their standard
            errors; of blocks of several steps the bound of the whole block, at its last step; 0
            elsewhere, and where not scored.
        """
        found, _ = self._blocks(batch, None)
        steps = batch.x.shape[1]
        z, past, place, rest = (part[:, -steps:] for part in found)
        s = (noise.uniform(z.shape[:2], z)[..., None] + torch.arange(draws).to(z)) / draws
        e = noise.normal((*z.shape[:2], draws, z.shape[-1]), z)
        there = self._there(place + 1)
        excess = self._excess(z[:, :, None], past[:, :, None], s, e, there=there[:, :, None])
        whole = blocks.summed(rest, place)
        bound = log_normal(z, there) + whole - excess.mean(-1)
        error = excess.std(-1) / draws**0.5
        last = (place >= 0) & (moved(place, 1) <= 0)
        return tuple(torch.where(last, value, 0.0) for value in (bound, error))  # type: ignore[return-value]

    def _there(self, length: Tensor) -> Tensor:
        """(...) lengths of blocks -> (..., B D) which of their values are there."""
        channels = self.description.num_channels
        place = torch.arange(self.options.block * channels, device=length.device)
        return place < channels * length[..., None]

    def _excess(
        self,
        z: Tensor,
        past: Tensor,
        s: Tensor,
        e: Tensor,
        weight: Tensor | None = None,
        there: Tensor | None = None,
    ) -> Tensor:
        """(...) nats by which the bound is below that of a normal z, at levels s (...) and with
        noise e (..., B D), of the values that are `there`; `weight` da/ds is that of the schedule,
        unless it is given."""
        s = s.clamp(SMALLEST, 1 - SMALLEST)
        a = self.schedule.angle(s)
        weight = self.schedule.slope(s) if weight is None else weight
        if there is not None:
            e = torch.where(there, e, 0.0)
        noisy, v = noised(z, e, a)
        value = self.denoiser(noisy, a, past)
        if there is not None:
            value = torch.where(there, value, 0.0)
        misfit = a.sin() * value.square().sum(-1) - 2 * (v * value).sum(-1)
        return weight * a.cos() * misfit

    def at_floor(self, batch: SequenceBatch) -> Tensor:
        """(B, T, D) to what extent, 0 to 1, the floor of the map's scale sets each density."""
        given, _, _ = self._read(batch, None)
        size = self.options.block
        begun = blocks.none_unfinished(given.h, size)
        place = blocks.places(batch.scored, batch.context, begun, size)[0].clamp(min=0)
        start = torch.arange(place.shape[1], device=place.device) - place
        low = [m.at_floor(moved(given.y, j)) for j, m in enumerate(self._maps(given))]
        found = blocks.at(torch.stack(low, 2), start)
        own = place[..., None, None].expand(-1, -1, 1, found.shape[-1])
        return found.gather(2, own)[:, :, 0]
