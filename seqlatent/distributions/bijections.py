"""Increasing maps z = f(y) of the real line, with a few parameters each.

Any real numbers (..., P) are valid parameters; zeros give the identity. Every map has an exact
inverse and an exact log f'(y), and is defined, finite and invertible on the whole line, so that
outliers have a finite density.
"""

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.distributions import Transform
from torch.nn import functional as F
from zuko.transforms import MonotonicRQSTransform


class Bijection(Protocol):
    """An increasing map; `num_params` is P."""

    num_params: int

    def forward(self, params: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """(..., P), (...) -> z = f(y) and log f'(y), (...) each."""
        ...

    def inverse(self, params: Tensor, z: Tensor) -> Tensor:
        """(..., P), (...) -> (...) y = f^{-1}(z)."""
        ...


class SinhArcsinh:
    """Tails and skew (Jones and Pewsey 2009).

        z = sinh(w) / d,    w = d (asinh(y) + e),    log dz/dy = log cosh(w) - log(1 + y^2) / 2

    With d < 1 the tails of y are heavier than those of z, with d > 1 lighter; e sets the skew.
    Dividing by d keeps the slope near 1 in the middle, so that d does not change the scale. d is
    limited to [0.1, 1.25] and e to +-1.5, so that neither densities nor samples overflow in single
    precision.
    """

    num_params: int = 2

    def _parts(self, params: Tensor) -> tuple[Tensor, Tensor]:
        tails = 0.1 + 1.15 * torch.sigmoid(params[..., 0] + math.log(0.9 / 0.25))
        return tails, 1.5 * torch.tanh(params[..., 1] / 1.5)

    def forward(self, params: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        tails, skew = self._parts(params)
        w = tails * (torch.asinh(y) + skew)
        log_cosh = w.abs() + F.softplus(-2 * w.abs()) - math.log(2)
        return torch.sinh(w) / tails, log_cosh - 0.5 * torch.log1p(y * y)

    def inverse(self, params: Tensor, z: Tensor) -> Tensor:
        tails, skew = self._parts(params)
        w = torch.asinh(z * tails) / tails - skew
        return torch.sinh(w.clamp(-85.0, 85.0))  # beyond, no finite number in single precision


class _BinsFirst(MonotonicRQSTransform):
    """Zuko's spline of (..., K) raw widths and heights and (..., K - 1) slopes. Its knots are found
    with bins as the first dimension: a softmax over a short last one is slow on a CPU."""

    def __init__(self, widths: Tensor, heights: Tensor, slopes: Tensor, bound: float, slope: float):
        Transform.__init__(self)

        def knots(raw: Tensor) -> Tensor:
            raw = raw.movedim(-1, 0)
            share = (raw / (1 + (2 * raw / math.log(slope)).abs())).softmax(0)
            ends = torch.cat([torch.zeros_like(share[:1]), share.cumsum(0)])
            return (bound * (2 * ends - 1)).movedim(0, -1)

        self.horizontal, self.vertical = knots(widths), knots(heights)
        bounded = slopes / (1 + (slopes / math.log(slope)).abs())
        self.derivatives = F.pad(bounded, (1, 1)).exp()


class Spline:
    """A rational-quadratic spline on [-5, 5] and the identity beyond (Durkan et al. 2019).

    It can give a density any shape in the middle, with several modes. Slopes lie between 1/1000 and
    1000.

    Args:
        num_bins: pieces of the spline.
    """

    def __init__(self, num_bins: int = 8):
        self.num_bins, self.num_params = num_bins, 3 * num_bins - 1

    def _transform(self, params: Tensor) -> MonotonicRQSTransform:
        k = self.num_bins
        widths, heights, slopes = params.split([k, k, k - 1], -1)
        return _BinsFirst(widths, heights, slopes, bound=5.0, slope=1e-3)

    def forward(self, params: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return self._transform(params).call_and_ladj(y)

    def inverse(self, params: Tensor, z: Tensor) -> Tensor:
        y = self._transform(params).inv(z)
        assert y is not None  # the type that torch's stubs give
        return y


class Compose:
    """One map after another, each with its own parameters; without maps, the identity."""

    def __init__(self, *parts: Bijection):
        self.parts = parts
        self._sizes = [part.num_params for part in parts]
        self.num_params = sum(self._sizes)

    def forward(self, params: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        log_slope = torch.zeros_like(y)
        for part, own in zip(self.parts, params.split(self._sizes, -1), strict=True):
            y, more = part.forward(own, y)
            log_slope = log_slope + more
        return y, log_slope

    def inverse(self, params: Tensor, z: Tensor) -> Tensor:
        split = zip(self.parts, params.split(self._sizes, -1), strict=True)
        for part, own in reversed(list(split)):
            z = part.inverse(own, z)
        return z
