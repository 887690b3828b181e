"""What the latent-variable model hands from one of its parts to another."""

from typing import NamedTuple

from torch import Tensor

from seqlatent.inference.protocols import ModelState


class Reading(NamedTuple):
    """What the networks over x make of a batch.

    Attributes:
        y, observed: (B, T, D) scaled values, and whether each was observed.
        origin: (B, T, D) the values, in data units, that are 0 when scaled.
        log_scale: (B, T) that takes log-densities to data units.
        emission, prior, seen: (B, T, .) what emission, prior and guide see besides latents.
        inside: (B, T) bool, the steps that weigh: all up to the sequence's end, or only the scored
            ones where the posterior factorises, as the others' latents then change nothing.
        counted: those of them that come after the context, and so enter the loss.
        after: the state after the last step, without latents.
    """

    y: Tensor
    observed: Tensor
    origin: Tensor
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

    def inverse(self, y: Tensor) -> Tensor:
        """(..., B, T, D) scaled values of these steps in data units, each on the past as given."""
        return self.origin + y.to(self.origin) * self.after.scaling.scale


class LatentSample(NamedTuple):
    """Latents from the guide, (K, B, T, Z), and (K, B, T) densities at them, nats, data units."""

    z: Tensor
    log_x: Tensor
    log_prior: Tensor
    log_q: Tensor

    @property
    def log_weight(self) -> Tensor:
        """(K, B, T) log p(x_t | .) + log p(z_t | .) - log q(z_t | .)."""
        return self.annealed(1.0)

    def annealed(self, kl_weight: float) -> Tensor:
        """The same with part of the price that the latents pay, as while training begins."""
        return self.log_x + kl_weight * (self.log_prior - self.log_q)
