"""The diffusion model: its training, and samples of it, of whole blocks (`density.py`)."""

from functools import partial

import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.share import current, drawn, in_turn, sharing
from seqlatent.distributions.choice import choose_emission
from seqlatent.distributions.noise import Noise
from seqlatent.errors import InputError
from seqlatent.inference.protocols import ModelState
from seqlatent.models.diffusion import blocks, solver
from seqlatent.models.diffusion.blocks import moved
from seqlatent.models.diffusion.denoiser import log_normal
from seqlatent.models.diffusion.density import DenoisedBlocks
from seqlatent.models.diffusion.options import DiffusionOptions
from seqlatent.models.emission_model import refuse_partly
from seqlatent.models.past_network import unused_network_options

DRAWS = 4  # noise levels of every step in a training step: they cost less than its network
GOLDEN = 0.6180339887498949  # its multiples, modulo 1, spread evenly however many there are


class DiffusionModel(DenoisedBlocks):
    """Values denoised step by step: likelihood by the ODE of the noise (Song et al. 2021).

        p(x_t | x_{<t}) = p(x_t | h_t),    dz/da = sin(a) F(z, a, h_t),    z(end) ~ N(0, I)

    Use it for real values whose distribution given the past has a shape that no emission has, and
    several channels that depend on each other. It takes longer to sample than `rnn`. With block=B
    it denoises B steps together, given those before them.
    """

    family, Options = "diffusion", DiffusionOptions
    trained_by = "a sum of denoising losses"

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

    def _lengths(self, seen: Tensor) -> Tensor:
        """(N, T) how many steps the block that begins at each step has in training: B as often as
        any other number is possible, evenly spread, if as many are seen."""
        size = self.options.block
        first = torch.rand(1, dtype=torch.float64, device=seen.device)
        spread = (first + torch.arange(seen.shape[1]).to(first) * GOLDEN) % 1.0
        chosen = (2 * size * spread).ceil().clamp(1, size).long()
        return torch.minimum(chosen, blocks.runs(seen, size))

    def _bound(self, batch: SequenceBatch) -> dict[str, Tensor]:
        """The two parts of the bound, (N,) each, of the N scored steps, in nats and data units. Of
        several steps, that of a block which begins at each step, by the number of its steps."""
        given, log_slope, _ = self._read(batch, None)
        seen, there, each = batch.scored, None, None
        if self.options.block == 1:
            z, log_det = self.head(given.h).map(given.y)
            z, past = z[seen], self.denoiser.condition(given.h[seen])
            rest = (log_det + log_slope)[seen]
        else:
            length = self._lengths(seen)
            z, log_det = self._mapped(given)
            slopes = torch.stack([moved(log_slope, j) for j in range(self.options.block)], 2)
            within = blocks.of_length((log_det + slopes)[..., None], length)
            z = blocks.of_length(z, length)[seen]
            past = self._condition(given.h, self._later(given), length.clamp(min=1))[seen]
            there, each, rest = self._there(length[seen]), length[seen], within.sum(-1)[seen]
        normal = log_normal(z, there) + rest
        with sharing(in_turn(len(z), z.device)):
            s, weight = self._levels((DRAWS, len(z)), z)
            normal_numbers = partial(torch.randn, dtype=z.dtype, device=z.device)
            e = drawn(normal_numbers, (DRAWS, *z.shape), 1)
        denoising = -self._excess(z, past, s, e, weight, there).mean(0)
        if each is not None:
            normal, denoising = normal / each, denoising / each
        return {"normal": normal, "denoising": denoising}

    def loss(self, batch: SequenceBatch, step: int | None = None) -> Tensor:
        parts = self._bound(batch)
        return -sum(part.sum() for part in parts.values()) / batch.num_scored  # type: ignore[return-value]

    def terms(self, batch: SequenceBatch) -> dict[str, Tensor]:
        seen = batch.scored
        return {
            name: torch.zeros(seen.shape).to(part).masked_scatter(seen, part)
            for name, part in self._bound(batch).items()
        }

    # -- sampling ---------------------------------------------------------------------------------

    def read(self, batch: SequenceBatch, state: ModelState | None = None) -> ModelState:
        """See `StepModel`; a new block begins after it."""
        after = self._read(batch, state)[-1]
        return self._with_network(after, after.network)

    def sample_steps(
        self, state: ModelState, covariates: Tensor, noise: Noise
    ) -> tuple[Tensor, ModelState]:
        """See `SequenceModel`; the first block begins after the state, and the last is as long as
        is asked for."""
        size = self.options.block
        if size == 1:
            return super().sample_steps(state, covariates, noise)
        parts = []
        for some in covariates.split(size, 1):
            x, state = self._sample_block(state, some, noise)
            parts.append(x)
        return torch.cat(parts, 1), state

    def _sample_block(
        self, state: ModelState, covariates: Tensor, noise: Noise
    ) -> tuple[Tensor, ModelState]:
        num, length = covariates.shape[:2]
        h, network = self._features(self.next_input(state, covariates[:, :1]), self._network(state))
        known = [part[:, None] for part in self._known(covariates).unbind(1)]
        absent = [torch.zeros_like(known[0])] * (self.options.block - length)
        lengths = torch.full((num, 1), length, device=h.device)
        past = self._condition(h, [*known[1:], *absent], lengths)[:, 0]
        z = noise.normal((num, 1, length * self.description.num_channels), h)[:, 0]
        z = self._denoised(z, past, noise).unflatten(-1, (length, -1))
        values = []
        for j, head in enumerate(self._heads()[:length]):
            if j:
                u = self.next_input(state, covariates[:, j : j + 1])
                network = self.network(u, network)[1]
            y = head(torch.cat([h, known[j]], -1) if j else h).invert(z[:, j : j + 1])
            x, memory = self.unscale_step(y, state)
            state = ModelState(memory, self.embed_next(y, state), (network, None))
            values.append(x)
        return torch.cat(values, 1), state

    def fill_step(
        self,
        state: ModelState,
        y: Tensor,
        observed: Tensor,
        covariates: Tensor,
        noise: Noise,
    ) -> tuple[Tensor, Tensor, ModelState]:
        """See `Fillable`; only for steps of which all values are missing, or none, and by blocks
        of one step.

        Raises:
            InputError: for others.
        """
        h, network = self._features(self.next_input(state, covariates), self._network(state))
        maps, past, y = self.head(h), self._one(h)[:, 0], y.to(h)
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
        after = ModelState(state.memory, self.embed_next(y, state), network)
        return y, log_prob, self._with_network(after, network)

    def _denoised(self, z: Tensor, past: Tensor, noise: Noise) -> Tensor:
        """(N, D) standard normal numbers -> (N, D) samples by the chosen sampler."""
        steps = self.options.sampling_steps
        if self.options.sampler == "ode":
            return solver.flow_samples(self.denoiser, z, past, self.schedule.end, steps)
        levels = self.schedule.levels(steps)
        return solver.ancestral_samples(self.denoiser, noise, z, past, levels)
