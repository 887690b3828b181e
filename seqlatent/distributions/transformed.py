"""Families of distributions of one value by a change of variables.

    z = t(f(y)),  y = (x - loc) / scale,  z ~ N(0, 1)
    log p(x) = log N(z; 0, 1) + log (t o f)'(y) - log scale

With f the identity this is the normal distribution. t is the identity too, but beyond 4 standard
deviations it bends the tails (tails.py), so that a wild value has a density. Applied to one
channel after another (`autoregressive.py`), the D maps of a step form a triangular map from x_t to
z_t, whose log-determinant is the sum of theirs.
"""

import math
from collections.abc import Sequence

from torch import Tensor

from seqlatent.data.description import ChannelDescription
from seqlatent.distributions.bijections import Bijection, Compose
from seqlatent.distributions.families import LocationScale
from seqlatent.distributions.noise import Noise
from seqlatent.distributions.tails import bend, normal_tail, unbend


class Transformed(LocationScale):
    """Distributions of x = loc + scale f^{-1}(z) with a standard normal z.

    Args:
        channels: of the training data.
        units: (D,) size, in data units, of one unit of the values given to `log_prob`.
        *shape: the maps that make up f, applied to y one after another; without any, f is the
            identity and the distribution is normal.

    Attributes:
        bends: whether t bends the tails; false where a further map of z does.
    """

    bends = True

    def __init__(
        self, channels: tuple[ChannelDescription, ...], units: Sequence[float], *shape: Bijection
    ):
        super().__init__(channels, units)
        self.shape: Bijection = shape[0] if len(shape) == 1 else Compose(*shape)
        self.num_params = 2 + self.shape.num_params

    def map(self, params: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """(..., P), (...) values -> z and log dz/dx, (...) each."""
        scale = self.scale(params[..., 1], self.floor)
        z, log_slope = self.shape.forward(params[..., 2:], (x - params[..., 0]) / scale)
        if self.bends:
            z, more = unbend(z)
            log_slope = log_slope + more
        return z, log_slope - scale.log()

    def encode(self, params: Tensor, x: Tensor) -> Tensor:
        """(..., P), (...) values -> (...) latents z, which are standard normal if the values follow
        the distribution."""
        return self.map(params, x)[0]

    def decode(self, params: Tensor, z: Tensor) -> Tensor:
        """(..., P), (...) latents -> (...) values."""
        y = self.shape.inverse(params[..., 2:], bend(z) if self.bends else z)
        return params[..., 0] + self.scale(params[..., 1], self.floor) * y

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        z, log_slope = self.map(params, x)
        return self.base_log_prob(z) + log_slope

    def tail(self, params: Tensor, x: Tensor) -> Tensor | None:
        if self.shape.num_params:  # the density need not fall on both sides of its centre
            return None
        return normal_tail(self.map(params, x)[0])

    def base_log_prob(self, z: Tensor) -> Tensor:
        """(...) log N(z; 0, 1)."""
        return -0.5 * z * z - 0.5 * math.log(2 * math.pi)

    def sample(self, params: Tensor, noise: Noise) -> Tensor:
        return self.decode(params, noise.normal(params.shape[:-1], params))

    def at_floor(self, params: Tensor, x: Tensor) -> Tensor:
        local_scale = (-self.map(params, x)[1]).exp()  # dx/dz, which f can make small too
        return (local_scale < 1.5 * self.floor).to(x)
