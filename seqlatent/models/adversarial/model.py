"""Generators that a critic trains: samples without a density.

    x_t = g(x_{<t}, e_t),    e_t ~ N(0, I)                          the generator (generator.py)
    f(x_{s-P:s}, x_{s:s+L})                                         the critic's verdict (critic.py)

In training the generator runs freely: L steps that it feeds back to itself, with gradients through
all of them, from a random step of a real sequence or, in a share of the windows, from nothing. The
critic is given the same P steps before real and generated windows, so that it judges whether a
window goes on from what came before it, and the same gaps.

Two things hold the game where a critic alone would let it drift:

    loss of g = adversarial loss + energy_weight * ES(g(x_{<t}, .), x_t)

where ES is the energy score of one step ahead given real values (Gneiting and Raftery 2007; a loss
of one step beside the critic's, of another form: Yoon et al. 2019, TimeGAN), by which alone the
first `start_steps` go; and what is validated and kept is a moving average of the parameters.

What is kept, of the steps since the critic has had a say, has the best energy score of held-out
windows that run freely, as whole windows and as differences between steps, given their past and
from nothing.
"""

from abc import abstractmethod
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from seqlatent.data.batch import SequenceBatch
from seqlatent.data.description import DataDescription
from seqlatent.data.share import drawn, largest, sharing, total
from seqlatent.distributions.choice import choose_emission
from seqlatent.distributions.noise import Noise, TorchNoise
from seqlatent.errors import InputError
from seqlatent.inference.protocols import ModelState
from seqlatent.inference.training_protocols import OwnSelection, OwnTraining, Update
from seqlatent.models.adversarial import losses
from seqlatent.models.adversarial.critic import Critic
from seqlatent.models.adversarial.generator import Generator
from seqlatent.models.adversarial.options import AdversarialOptions, WassersteinOptions
from seqlatent.models.adversarial.windows import (
    ROWS,
    Windows,
    cut_windows,
    first_steps,
    memory_before,
    recent,
    views,
    windows_of,
)
from seqlatent.models.base import SequenceModel
from seqlatent.nn.causal import repeat_state
from seqlatent.nn.layers import soft_clip

FROM_NOTHING = 0.25  # share of them
DRAWS = 4  # of a held-out window
MOST_WINDOWS = 16  # of a held-out sequence
SHORTEST, USUAL, LONGEST = 12, 16, 24  # steps of windows by default


class Reading(NamedTuple):
    """What the generator makes of a batch: scaled values y (B, T, D), embeddings (B, T, F), inputs
    u (B, T, .) and what is remembered after each, h (B, T, H)."""

    y: Tensor
    embedding: Tensor
    u: Tensor
    h: Tensor


class AdversarialModel(SequenceModel, OwnTraining, OwnSelection):
    """Base of `gan` and `wgan`, which differ in what critic and generator minimise.

    Attributes:
        steps: L, of a window; the critic sees half as many steps before it.
        judged: () how many steps the critic has been trained for.
        notes: numbers since the last row of the training curve, by name.
    """

    Options: ClassVar[Any] = AdversarialOptions
    score_name = "energy_score"
    learning_rate, average, reads_past = 2e-3, 0.99, True
    gaps = "new"  # the values themselves are what its critic sees
    betas: ClassVar[tuple[float, float]] = (0.5, 0.9)
    options: AdversarialOptions
    judged: Tensor

    def __init__(self, options: AdversarialOptions, description: DataDescription):
        super().__init__(options, description)
        o, channels = options, description.num_channels
        usual = 2 * description.seasons[0] if description.seasons else USUAL
        self.steps = o.critic_window or min(max(usual, SHORTEST), LONGEST)
        noise_dim = channels + 4 if o.noise_dim is None else o.noise_dim
        if noise_dim < channels:
            raise InputError(
                f"noise_dim={noise_dim} is below the number of channels, {channels}, so that the "
                "channels would depend on each other exactly; raise it"
            )
        self.generator = Generator(self.input_dim, channels, o.hidden_dim, noise_dim)
        given = self.covariate_scaler.out_dim + 2 * channels + 1
        self.critic = Critic(2 * channels, given, o.critic_dim, o.spectral_norm)
        self.register_buffer("judged", torch.zeros((), dtype=torch.int64))
        self.notes: dict[str, list[float]] = {}

    @classmethod
    def complete(cls, options: Any, description: DataDescription) -> tuple[Any, str]:
        """The options as they are.

        Raises:
            InputError: for counts, labels, and zeros and ones, which the generator cannot make.
        """
        name, reason = choose_emission(description)
        if name != "mixture":
            raise InputError(
                f"model '{cls.family}' is for real values, and here {reason}: fit --model rnn, "
                f"whose emission would be {name}"
            )
        return options, ""

    @classmethod
    def unused_options(cls, options: AdversarialOptions) -> dict[str, str]:
        return {"start_steps": "energy_weight above 0"} if options.energy_weight == 0 else {}

    # -- what the two losses differ in ------------------------------------------------------------

    @abstractmethod
    def critic_loss(self, real: Tensor, fake: Tensor, weight: Tensor) -> Tensor:
        """Of (N,) verdicts."""

    @abstractmethod
    def generator_loss(self, fake: Tensor, weight: Tensor) -> Tensor:
        """Of (N,) verdicts."""

    @abstractmethod
    def penalty(self, critic: Any, real: Tensor, fake: Tensor, weight: Tensor) -> Tensor:
        """Of the critic, a function of (N, P + L, 2 D) values, beside its loss."""

    # -- reading and sampling ---------------------------------------------------------------------

    def read(self, batch: SequenceBatch, state: ModelState | None = None) -> ModelState:
        state = state or self.begin(batch)
        _, embedding, u = self.inputs(batch, state)
        network = self.generator.network(u, state.network)[1]
        return ModelState(state.memory, embedding[:, -1:], network)

    def sample_step(
        self, state: ModelState, covariates: Tensor, noise: Noise
    ) -> tuple[Tensor, ModelState]:
        u = self.next_input(state, covariates)
        h, network = self.generator.network(u, state.network)
        e = noise.normal((len(u), 1, self.generator.noise_dim), u)
        y = self.generator.step(h, u, e)
        last = self.embed_next(y, state)
        x, memory = self.unscale_step(y, state)
        return x, ModelState(memory, last, network)

    def reading(self, batch: SequenceBatch) -> Reading:
        """What the generator makes of all steps of a batch, given real values."""
        y, embedding, u = self.inputs(batch, None)
        return Reading(y, embedding, u, self.generator.remember(u))

    # -- windows ----------------------------------------------------------------------------------

    def windows(
        self, batch: SequenceBatch, reading: Reading, rows: Tensor, starts: Tensor, known: Tensor
    ) -> Windows:
        """Windows of (N,) `rows` from the steps `starts` on; the generator starts from nothing
        where what was before is not `known`."""
        some, place = known & (starts > 0), (starts - 1).clamp(min=0)
        h = torch.where(some[:, None], reading.h[rows, place], 0.0)
        last = reading.embedding[rows, place][:, None]
        last = torch.where(some[:, None, None], last, self.begin(None).last)
        memory = memory_before(self.scaler, batch, rows, starts, known)
        state = ModelState(memory, last, (h,))
        longest = int(largest((batch.lengths[rows] - starts).max()))
        return cut_windows(
            batch, state, rows, starts, known, max(2, min(self.steps, longest)), self.steps // 2,
            self.covariate_scaler.past,
        )  # fmt: skip

    def training_windows(self, batch: SequenceBatch, reading: Reading, rows: Tensor) -> Windows:
        """Random windows of (N,) `rows` of a batch."""
        rand = partial(torch.rand, device=rows.device)
        known = drawn(rand, rows.shape) >= FROM_NOTHING
        place = drawn(rand, rows.shape)
        starts = first_steps(batch, rows, place, known, self.steps)
        return self.windows(batch, reading, rows, starts, known)

    def verdict(self, windows: Windows, values: Tensor, seen: Tensor) -> Tensor:
        """(N,) what the critic says of (N, P + L, 2 D) values and differences."""
        known = self.covariate_scaler(windows.covariates).detach()
        before = known.new_zeros(len(known), windows.before.shape[1], known.shape[-1])
        given = torch.cat([torch.cat([before, known], 1), 1 - seen, windows.inside[..., None]], -1)
        return self.critic(values, given, windows.inside)

    # -- how it is trained ------------------------------------------------------------------------

    def optimizers(self, learning_rate: float) -> dict[str, Optimizer]:
        generator = [*self.generator.parameters(), *self.covariate_scaler.parameters()]
        return {
            "generator": Adam(generator, learning_rate, betas=self.betas),
            "critic": Adam(self.critic.parameters(), learning_rate, betas=self.betas),
        }

    def energy_ahead(self, batch: SequenceBatch, reading: Reading) -> Tensor:
        """() the energy score of each scored step given the real ones before it."""
        seen = batch.observed & batch.scored[..., None]
        h, u = (part.expand(2, *part.shape) for part in (reading.h, reading.u))
        numbers = partial(torch.randn, dtype=h.dtype, device=h.device)
        e = drawn(numbers, (*h.shape[:3], self.generator.noise_dim), 1)
        fake = self.generator.step(h, u, e)
        y = soft_clip(reading.y).flatten(0, 1)
        parts = losses.energy_distances(
            fake.flatten(1, 2).transpose(0, 1), y, seen.flatten(0, 1).to(y)
        )
        return losses.mean(parts[0] - 0.5 * parts[1], batch.scored.flatten().to(y))

    def training_step(self, batch: SequenceBatch, step: int, update: Update) -> Tensor:
        o, batch = self.options, recent(batch, self.scaler, self.steps)
        reading = self.reading(batch)
        energy = self.energy_ahead(batch, reading) if o.energy_weight else reading.h.new_zeros(())
        if o.energy_weight and step < o.start_steps:
            update("generator", energy)
            return energy.detach()
        rows, share = windows_of(len(batch.x))
        with sharing(share):
            windows = self.training_windows(batch, reading, rows.to(batch.x.device))
            fake, _ = self.sample_steps(windows.state, windows.covariates, TorchNoise())
            fake = views(windows, fake, self.scaler)[0]
            self._train_critic(windows, fake.detach(), update)
        self.critic.requires_grad_(False)
        verdict = self.verdict(windows, fake, views(windows, windows.x, self.scaler)[1])
        loss = self.generator_loss(verdict, windows.weight)
        update("generator", loss + o.energy_weight * energy)
        self.critic.requires_grad_(True)
        return loss.detach()

    def _train_critic(self, windows: Windows, fake: Tensor, update: Update) -> None:
        """Steps of the critic, each with new generated windows, the last with `fake`."""
        real, seen = views(windows, windows.x, self.scaler)
        pool = [*self._draws(windows, self.options.critic_steps - 1).unbind(1), fake]
        for values in pool:
            verdicts = [self.verdict(windows, v, seen) for v in (real, values)]
            loss = self.critic_loss(verdicts[0], verdicts[1], windows.weight)
            self.note("critic_loss", float(total(loss)))
            if self.options.penalty_weight:
                size = self.penalty(
                    lambda v: self.verdict(windows, v, seen), real, values, windows.weight
                )
                loss = loss + self.options.penalty_weight * size
            update("critic", loss)
            self.judged += 1

    @torch.no_grad()
    def _draws(self, windows: Windows, num: int, noise: Noise | None = None) -> Tensor:
        """(N, num, P + L, 2 D) what is compared of new generated windows."""
        size, steps = windows.x.shape[:2]
        if num == 0:
            return windows.x.new_zeros(size, 0, 1, 1)
        covariates = windows.covariates.repeat_interleave(num, 0)
        state = repeat_state(windows.state, num)
        x, _ = self.sample_steps(state, covariates, noise or TorchNoise())
        x = x.reshape(size, num, steps, -1).transpose(0, 1)
        return views(windows, x, self.scaler)[0].transpose(0, 1)

    # -- what it is chosen by ---------------------------------------------------------------------

    def held_out(
        self, batch: SequenceBatch, known: bool, draws: int, noise: Noise
    ) -> tuple[Windows, Tensor, Tensor, Tensor]:
        """Windows spread evenly over each sequence, K for each of B, those of one side by side:
        their (B K, P + L, 2 D) values, what is seen of them, and (B K, draws, P + L, 2 D) draws."""
        size = len(batch.x)
        num = min(max(1, ROWS // size), MOST_WINDOWS)
        rows = torch.arange(size, device=batch.x.device).repeat_interleave(num)
        place = torch.linspace(0, 1, num, device=rows.device).repeat(size)
        knowing = torch.full_like(place, known, dtype=torch.bool)
        batch = recent(batch, self.scaler, self.steps)
        starts = first_steps(batch, rows, place, knowing, self.steps)
        windows = self.windows(batch, self.reading(batch), rows, starts, knowing)
        real, seen = views(windows, windows.x, self.scaler)
        return windows, real, seen, self._draws(windows, draws, noise)

    def validation_score(self, batch: SequenceBatch, noise: Noise) -> Tensor:
        """(B,) less the energy score of windows that run freely, given their past and from nothing:
        the mean of that of scaled values and that of scaled differences."""
        total, apart, among = torch.zeros(len(batch.x), device=batch.x.device), 0.0, 0.0
        for known in (True, False):
            windows, real, seen, fake = self.held_out(batch, known, DRAWS, noise)
            seen = seen * windows.inside[..., None]
            weight = windows.weight.reshape(len(total), -1)
            for r, f, s in zip(*(part.chunk(2, -1) for part in (real, fake, seen)), strict=True):
                a, b = losses.energy_distances(f.flatten(2), r.flatten(1), s.flatten(1))
                a, b = a.reshape(weight.shape), b.reshape(weight.shape)
                total -= ((a - 0.5 * b) * weight).sum(1) / weight.sum(1).clamp(min=1) / 4
                apart, among = apart + float((a * weight).sum()), among + float((b * weight).sum())
        self.note("diversity", among / max(apart, losses.TINY))
        return total

    def selectable(self) -> bool:
        """Whether the critic has had a say in the parameters."""
        return int(self.judged) > 0

    def note(self, name: str, value: float) -> None:
        """Add a number to those of which the training curve has the mean."""
        self.notes.setdefault(name, []).append(value)

    def curve_numbers(self) -> dict[str, float]:
        means = {name: sum(values) / len(values) for name, values in self.notes.items()}
        self.notes.clear()
        return means


class GANModel(AdversarialModel):
    """Samples without a likelihood, trained against a critic (Goodfellow et al. 2014).

        x_t = g(x_{<t}, e_t),    min_g max_f E log s(f(x)) + E log (1 - s(f(g)))

    Use it for samples that are judged as whole windows, not step by step. For scores, or for
    calibrated forecasts with less effort, use `rnn`.
    """

    family, trained_by = "gan", "minimax loss"

    def critic_loss(self, real: Tensor, fake: Tensor, weight: Tensor) -> Tensor:
        return losses.minimax_critic(real, fake, weight)

    def generator_loss(self, fake: Tensor, weight: Tensor) -> Tensor:
        return losses.minimax_generator(fake, weight)

    def penalty(self, critic: Any, real: Tensor, fake: Tensor, weight: Tensor) -> Tensor:
        return losses.slope_penalty(critic, real, weight)


class WGANModel(AdversarialModel):
    """Samples that minimise a Wasserstein distance from the data (Gulrajani et al. 2017).

        x_t = g(x_{<t}, e_t),    min_g max_f E f(x) - E f(g) - lambda E (|grad f| - 1)^2

    Use it where `gan` does not settle: its critic does not saturate. Its steps take longer.
    """

    family, Options, trained_by = "wgan", WassersteinOptions, "Wasserstein distance"

    def critic_loss(self, real: Tensor, fake: Tensor, weight: Tensor) -> Tensor:
        return losses.wasserstein_critic(real, fake, weight)

    def generator_loss(self, fake: Tensor, weight: Tensor) -> Tensor:
        return losses.wasserstein_generator(fake, weight)

    def penalty(self, critic: Any, real: Tensor, fake: Tensor, weight: Tensor) -> Tensor:
        return losses.gradient_penalty(critic, real, fake, weight)
