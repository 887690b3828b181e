"""The autoencoder: a code z_t of the window of steps around t, and the window decoded from it.

    w_t = (x_{t-a}, ..., x_{t+b}),    P = a + 1 + b steps
    z_t = e(w_t),    w^_t = d(z_t) + m(covariates)                   e, d: coder.py
    min  E |w_t - w^_t|^2                                            over scaled, observed values

The code has fewer numbers, Z, than the window, P D: what is usual of windows passes through it and
what is unusual does not, so that the error x_t - x^_t tells anomalies (for networks of windows:
Sakurada and Yairi 2014; the linear case is singular spectrum analysis, Golyandina et al. 2001). A
code of each step alone would be the identity for a single channel. With encoder=causal the window
ends at t (b = 0), and the code is known when x_t is; with two-sided t is in its middle, where
windows are decoded best.

Samples come from a density that is fitted to the codes beside: a causal network reads the values
so far, and a mixture that is autoregressive over the code's numbers gives the next P steps' code,

    p(z | x_{<t}),  z the code of (x_t, ..., x_{t+P-1}),    x^ = d(z) + errors,    errors ~ N(0, S)

with S the covariance of the errors of a window. What the mixture gives is the change from the code
of the last P steps, so that a level is followed beyond those of the training data. It is trained on
codes as they are: its gradient does not reach the encoder. It is a density of codes, not of values,
and no likelihood of them.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from seqlatent.data.batch import SequenceBatch, collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import ChannelDescription, DataDescription
from seqlatent.data.share import total
from seqlatent.distributions.autoregressive import AutoregressiveHead
from seqlatent.distributions.families import Mixture
from seqlatent.distributions.heads import IndependentHead
from seqlatent.distributions.noise import Noise
from seqlatent.errors import InputError
from seqlatent.inference.protocols import DeterministicCodes, ModelState, Reconstructs
from seqlatent.inference.training_protocols import LossTraining, OwnSelection
from seqlatent.models.autoencoder.coder import (
    LinearPlus,
    filled,
    start_at_components,
    windows,
)
from seqlatent.models.autoencoder.options import AutoencoderOptions
from seqlatent.models.base import SequenceModel
from seqlatent.nn.build import build_network
from seqlatent.nn.feedforward import Beside
from seqlatent.nn.recurrent import CELLS
from seqlatent.text import counted

LONGEST = 48  # steps of a window by default, where a season has so many
USUAL = 16  # values of a window by default, where there is no such season
SHARE = 12  # values of a window for each number of its code, by default
FEWEST, MOST = 2, 32  # numbers of a code, by default
COMPONENTS = 6  # of the mixture
FLOOR = 0.01  # of its scales; codes begin with variance 1
THINNED = 8  # windows that train the density in a step, of those that begin within one window
FORGET = 0.02  # weight of a training step in the covariance of errors
STARTING = 20_000  # windows that principal components are of, about


class AutoencoderModel(SequenceModel, LossTraining, OwnSelection, DeterministicCodes, Reconstructs):
    """A short code of every window of steps, and the window from it (Sakurada and Yairi 2014).

        z_t = e(x_{t-a}, ..., x_{t+b}),    min |x - d(z)|^2

    Use it to find anomalies by the error of the reconstruction, in the units of the data, and to
    compress windows. It has no likelihood: samples and forecasts come from a density that is fitted
    to the codes. Where forecasts are what you want, use `rnn`.
    """

    family, Options, score_name = "autoencoder", AutoencoderOptions, "negative_squared_error"
    trained_by = "reconstruction"
    options: AutoencoderOptions
    error_covariance: Tensor
    integer: Tensor
    lowest: Tensor
    highest: Tensor

    def __init__(self, options: AutoencoderOptions, description: DataDescription):
        options, _ = self.complete(options, description)
        super().__init__(options, description)
        o, D = options, description.num_channels
        assert o.window is not None and o.latent_dim is not None
        self.latent_dim, self.window = o.latent_dim, o.window
        self.after = o.window // 2 if o.encoder == "two-sided" else 0
        self.before = o.window - 1 - self.after
        sizes = o.hidden_dim, o.num_layers, o.activation
        self.encoder = _maps(o.window * self.embedding_dim, o.latent_dim, *sizes)
        self.decoder = _maps(o.latent_dim, o.window * D, *sizes)
        self.effect = None
        if self.covariate_scaler.out_dim:
            self.effect = _maps(self.covariate_scaler.out_dim, D, *sizes)
            torch.nn.init.zeros_(self.effect.linear.weight)
            torch.nn.init.zeros_(self.effect.linear.bias)
        own = {"hidden_input": True} if o.network in CELLS else {}
        self.network = build_network(o.network, self.input_dim, o.hidden_dim, **own)
        width = self.network.out_dim
        self.beside = Beside(width + self.input_dim, width)
        code = ChannelDescription("z", 0.0, 1.0, -1.0, 1.0, FLOOR * 12**0.5, False, 1, 0)
        family = Mixture((code,) * o.latent_dim, (1.0,) * o.latent_dim, COMPONENTS)
        head = IndependentHead if o.latent_dim == 1 else AutoregressiveHead
        self.head = head(family, self.beside.out_dim + o.latent_dim, o.latent_dim)
        self.register_buffer("error_covariance", torch.zeros(o.window * D, o.window * D))
        whole = [c.integer for c in description.channels]
        counts = [c.integer and c.minimum >= 0 for c in description.channels]
        ends = [n and c.maximum <= 1 for n, c in zip(counts, description.channels, strict=True)]
        inf = torch.inf
        self.register_buffer("integer", torch.tensor(whole), persistent=False)
        lowest = torch.tensor([0.0 if n else -inf for n in counts])
        highest = torch.tensor([1.0 if n else inf for n in ends])
        self.register_buffer("lowest", lowest, persistent=False)
        self.register_buffer("highest", highest, persistent=False)

    @classmethod
    def complete(
        cls, options: AutoencoderOptions, description: DataDescription
    ) -> tuple[AutoencoderOptions, str]:
        """The options with the sizes of windows and codes.

        Raises:
            InputError: for labels, and for a code that is no shorter than its window.
        """
        D, o = description.num_channels, options
        if description.categories:
            raise InputError(
                f"model 'autoencoder' is for numbers, and column "
                f"'{next(iter(description.categories))}' holds labels, which have no error in "
                "units; fit --model rnn, or leave the column out"
            )
        window, size = o.window or _usual_window(description), o.latent_dim
        if size is None:
            fewest = max(1, min(FEWEST, window * D - 1))
            size = int(np.clip(round(window * D / SHARE), fewest, MOST))
        if size >= window * D:
            raise InputError(
                f"a code of {counted(size, 'number')} (latent_dim) would copy its window of "
                f"{counted(window * D, 'value')} without loss; choose a smaller latent_dim or a "
                "longer window"
            )
        reason = "" if o == (new := replace(o, window=window, latent_dim=size)) else (
            f"codes: {counted(size, 'number')} for each window of {counted(window, 'step')}"
        )  # fmt: skip
        return new, reason

    @classmethod
    def unused_options(cls, options: AutoencoderOptions) -> dict[str, str]:
        return {} if options.num_layers else {"activation": "num_layers above 0"}

    def start(self, data: SequenceDataset, late: Callable[[], bool]) -> None:
        """Begin at the principal components of the training data's windows.

        Raises:
            InputError: where every series is shorter than a window.
        """
        longest = int(data.lengths.max())
        if longest < self.window:
            raise InputError(
                f"{data.name}: the longest series has {counted(longest, 'step')}, and a window "
                f"{self.window}; choose a shorter window"
            )
        found, count = [], 0
        for i in torch.randperm(len(data)).tolist():
            batch = collate(data[i : i + 1]).to(self.device)
            y, _, _ = self.inputs(batch, None)
            seen = self._target_mask(batch, y)
            pair = torch.cat([torch.where(seen, y, 0.0), seen.to(y)], -1)
            if pair.shape[1] < self.window:
                continue
            w = pair.unfold(1, self.window, 1).movedim(-1, 2)[0]
            keep = torch.randperm(len(w), device=w.device)[:STARTING]
            found.append(w[keep])
            count += len(keep)
            if count >= STARTING:
                break
        w = torch.cat(found)
        values, seen = w.chunk(2, -1)
        complete = (seen > 0).flatten(1).all(1)
        if int(complete.sum()) > values[0].numel():
            values = values[complete]
        start_at_components(self.encoder, self.decoder, values)

    # -- codes and reconstruction -----------------------------------------------------------------

    def codes(self, batch: SequenceBatch) -> Tensor:
        return self._encode(self.inputs(batch, None)[1])

    def _encode(self, embedding: Tensor) -> Tensor:
        """(B, T, F) embedded values -> (B, T, Z)."""
        w = windows(embedding, self.before, self.after, self.begin(None).last[0, 0])
        return self._encode_windows(w)

    def _encode_windows(self, w: Tensor) -> Tensor:
        """(..., P, F) embedded windows -> (..., Z)."""
        values, missing = w.chunk(2, -1)
        w = torch.cat([filled(values, missing > 0), missing], -1)
        return self.encoder(w.flatten(-2))

    def _decode(self, z: Tensor) -> Tensor:
        """(..., Z) codes -> (..., P, D) scaled windows, without the effect of covariates."""
        return self.decoder(z).unflatten(-1, (self.window, -1))

    def _effect(self, covariates: Tensor) -> Tensor | float:
        """(B, T, D) what covariates add to scaled values."""
        return 0.0 if self.effect is None else self.effect(self.covariate_scaler(covariates))

    def reconstruction(self, batch: SequenceBatch) -> Tensor:
        y = self._decode(self.codes(batch))[:, :, self.before] + self._effect(batch.covariates)
        return self.scaler.unscale(y, self.scaler(batch))

    def decode(self, z: Tensor, covariates: Tensor, state: ModelState) -> tuple[Tensor, ModelState]:
        y = self._decode(z)[:, :, self.before] + self._effect(covariates)
        x, memory = self.scaler.inverse(y, state.memory)
        return x, state._replace(memory=memory)

    # -- training ---------------------------------------------------------------------------------

    def _target_mask(self, batch: SequenceBatch, y: Tensor) -> Tensor:
        """(B, T, D) bool, the values that enter the error: observed, scored and not wild."""
        return batch.observed & batch.scored[..., None] & (y.abs() <= self.scaler(batch).limit)

    def _errors(self, batch: SequenceBatch) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Codes (B, T, Z), errors of their windows (B, T, P, D), 0 where not counted, which are
        counted, embedded values, and inputs u of the network of the past."""
        y, embedding, u = self.inputs(batch, None)
        z = self._encode(embedding)
        seen = self._target_mask(batch, y)
        target = torch.where(seen, y, 0.0) - self._effect(batch.covariates)
        around = (self.before, self.after, 0.0)
        step = torch.arange(y.shape[1], device=y.device)
        centred = (step < batch.lengths[:, None])[..., None, None]  # not in padding
        counted_ = (windows(seen.to(y), *around) > 0) & centred
        errors = windows(target, *around) - self._decode(z)
        return z, torch.where(counted_, errors, 0.0), counted_, embedding, u

    def _misfit(self, errors: Tensor) -> Tensor:
        if self.options.error == "squared":
            return errors.square()
        return 2 * F.huber_loss(errors, torch.zeros_like(errors), reduction="none")

    def _following(
        self, batch: SequenceBatch, z: Tensor, embedding: Tensor, u: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(B, S) log p(z | x_{<t}) of the codes of the P steps from t on, where these are all in
        the sequence, and whether they are. In training t is every few steps from a random one on:
        windows that share most of their steps tell little more than one of them."""
        every = max(1, self.window // THINNED) if self.training else 1
        num = max(0, z.shape[1] - self.window + 1)
        t = torch.arange(int(torch.randint(every, ())), num, every, device=z.device)
        if not len(t):
            return z.sum(-1)[:, :0], batch.scored[:, :0]
        h, _ = self.network(u[:, :num])
        with torch.no_grad():  # codes of the steps before t
            before = windows(embedding, self.window, -1, self.begin(None).last[0, 0])
            now = self._encode_windows(before[:, t])
        seen = torch.cat([self.beside(h[:, t], u[:, t]), now], -1)
        value = self.head(seen).log_prob(z[:, t + self.before].detach() - now)
        inside = (t + self.window <= batch.lengths[:, None]) & batch.scored[:, t]
        return torch.where(inside, value, 0.0), inside

    def terms(self, batch: SequenceBatch) -> dict[str, Tensor]:
        errors = self._errors(batch)[1]
        return {"error": self._misfit(errors).sum((-2, -1))}

    def loss(self, batch: SequenceBatch, step: int | None = None) -> Tensor:
        z, errors, seen, embedding, u = self._errors(batch)
        if self.training:
            self._remember_errors(errors, seen, batch)
        misfit = self._misfit(errors).sum() / total(seen.sum()).clamp(min=1)
        log_prob, inside = self._following(batch, z, embedding, u)
        return misfit - log_prob.sum() / (self.latent_dim * total(inside.sum()).clamp(min=1))

    @torch.no_grad()
    def _remember_errors(self, errors: Tensor, seen: Tensor, batch: SequenceBatch) -> None:
        """Move the covariance of a window's errors towards that of a batch; only windows that lie
        in the sequence count."""
        step = torch.arange(errors.shape[1], device=errors.device)
        inside = (step >= self.before) & (step + self.after < batch.lengths[:, None])
        e, m = errors[inside].flatten(1), seen[inside].to(errors).flatten(1)
        counts = total(m.T @ m)
        if not bool(counts.any()):
            return
        now = total(e.T @ e) / counts.clamp(min=1)
        first = not bool(self.error_covariance.any())
        self.error_covariance.lerp_(now, 1.0 if first else FORGET)

    def validation_score(self, batch: SequenceBatch, noise: Noise) -> Tensor:
        _, errors, seen, _, _ = self._errors(batch)
        return -self._misfit(errors).sum((1, 2, 3)) / seen.sum((1, 2, 3)).clamp(min=1)

    # -- sampling ---------------------------------------------------------------------------------

    def _parts(self, state: ModelState) -> tuple[object, Tensor, Tensor]:
        """Of a state: that of the network, the (B, P, F) last embedded values, and the rest of the
        window that is being sampled, (B, any, D) scaled values."""
        if state.network is not None:
            return state.network
        last = state.last.expand(-1, self.window, -1)
        return None, last, last[:, :0, : self.description.num_channels]

    def read(self, batch: SequenceBatch, state: ModelState | None = None) -> ModelState:
        state = state or self.begin(batch)
        _, embedding, u = self.inputs(batch, state)
        network, recent, planned = self._parts(state)
        _, network = self.network(u, network)
        recent = torch.cat([recent.expand(len(u), -1, -1), embedding], 1)[:, -self.window :]
        planned = planned[:, :0].expand(len(u), -1, -1)
        return ModelState(state.memory, embedding[:, -1:], (network, recent, planned))

    def sample_step(
        self, state: ModelState, covariates: Tensor, noise: Noise
    ) -> tuple[Tensor, ModelState]:
        """The state has the rest of the window that is being sampled, without the effect of
        covariates; where nothing is left, the code of the next window is sampled."""
        u = self.next_input(state, covariates)
        network, recent, planned = self._parts(state)
        h, network = self.network(u, network)
        if not planned.shape[1]:
            planned = self._sample_window(self.beside(h, u), recent, noise)
        y = planned[:, :1] + self._effect(covariates)
        last = self.embed_next(y, state)
        recent = torch.cat([recent[:, 1:].expand(len(y), -1, -1), last], 1)
        after = ModelState(state.memory, last, (network, recent, planned[:, 1:]))
        x, memory = self.unscale_step(y, state)
        x = torch.where(self.integer, x.round().clamp(self.lowest, self.highest), x)
        return x, after._replace(memory=memory)

    def _sample_window(self, h: Tensor, recent: Tensor, noise: Noise) -> Tensor:
        """(B, 1, .) features of the past and the (B, P, F) last embedded values -> (B, P, D) scaled
        values of the next window."""
        now = self._encode_windows(recent)[:, None].expand(len(h), -1, -1)
        change = self.head(torch.cat([h, now], -1)).sample(noise=noise)
        window = self._decode(now + change)[:, 0]
        values, vectors = torch.linalg.eigh(self.error_covariance)
        e = noise.normal((len(h), self.window * window.shape[-1]), window)
        return window + (e * values.clamp(min=0).sqrt() @ vectors.T).view_as(window)


def _maps(
    in_dim: int, out_dim: int, hidden_dim: int, num_layers: int, activation: str
) -> LinearPlus:
    return LinearPlus(in_dim, hidden_dim, out_dim, num_layers, activation)


def _usual_window(description: DataDescription) -> int:
    """Steps of a window: a season where it is short and channels are few, else as many as make
    about `USUAL` values; at most half of a usual series."""
    D = description.num_channels
    season = description.seasons[0] if description.seasons else 0
    window = season if 4 <= season <= LONGEST and D <= 4 else round(USUAL / D)
    steps = max(c.num_observed + c.num_missing for c in description.channels)
    least = 2 if D == 1 else 1
    return max(least, min(window, steps // (2 * description.num_series)))
