"""Data that the parts of the latent-variable model exchange."""

from typing import NamedTuple

from torch import Tensor

from seqlatent.inference.protocols import ModelState


class Reading(NamedTuple):
    """What the networks over x compute from a batch.

    Attributes:
        y, observed: (B, T, D) scaled values, and whether each was observed.
        loc, scale: (B, T, D) how the values are scaled.
        log_scale: (B, T) nats to subtract from log densities in scaled units to get data units.
        emission, prior, seen: (B, T, .) what emission, prior and guide see besides latents.
        inside: (B, T) bool, the steps with weights: all up to the sequence's end or, if the
            posterior factorises, only the scored ones, because the others' latents then have no
            effect.
        counted: (B, T) bool, those of them after the context, which enter the loss.
        after: the state after the last step, without latents.
    """

    y: Tensor
    observed: Tensor
    loc: Tensor
    scale: Tensor
    log_scale: Tensor
    emission: Tensor
    prior: Tensor
    seen: Tensor
    inside: Tensor
    counted: Tensor
    after: ModelState

    def steps(self, start: int, stop: int) -> "Reading":
        """Steps start..stop-1."""
        return Reading(*(part[:, start:stop] for part in self[:-1]), self.after)  # type: ignore[arg-type]

    def sequences(self, some: slice) -> "Reading":
        """Some of the sequences."""
        parts = (part if len(part) == 1 else part[some] for part in self[:-1])
        return Reading(*parts, self.after)  # type: ignore[arg-type]

    def repeated(self, num: int) -> "Reading":
        """Each sequence `num` times, side by side."""
        return Reading(*(part.repeat_interleave(num, 0) for part in self[:-1]), self.after)  # type: ignore[arg-type]


class LatentSample(NamedTuple):
    """Latents from the guide, (K, B, T, Z), and (K, B, T) densities at them, nats, data units; and
    the noise of the latents, if it is known."""

    z: Tensor
    log_x: Tensor
    log_prior: Tensor
    log_q: Tensor
    eps: Tensor | None = None

    @property
    def log_weight(self) -> Tensor:
        """(K, B, T) log p(x_t | .) + log p(z_t | .) - log q(z_t | .)."""
        return self.annealed(1.0)

    def annealed(self, kl_weight: float) -> Tensor:
        """`log_weight` with a weight on the KL, which is below 1 early in training."""
        return self.log_x + kl_weight * (self.log_prior - self.log_q)
