"""From noise to values and back: the probability-flow ODE, and ancestral sampling.

    dz/da = sin(a) F(z, a, h),    z(end) ~ N(0, I)
    log p(z) = log N(z(end); 0, I) + int_0^end sin(a) tr dF/dz da       (Song et al. 2021)

The equation is solved by the classical Runge-Kutta method of fourth order with fixed steps, shorter
near a = 0, where narrow modes turn fast. Half as many steps give the error: a method of order four
errs 16 times as much with steps twice as long, so the difference over 15 estimates the error.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from seqlatent.distributions.noise import Noise
from seqlatent.models.diffusion.denoiser import log_normal

CACHED = 2048  # points that are solved together: faster in parts that fit the processor's cache
WARP = 1.5  # angles of the grid grow as the step's number to this power


class Velocity(Protocol):
    """A denoiser, as far as solvers need it (`denoiser.py`)."""

    def __call__(self, z: Tensor, a: Tensor, past: Tensor) -> Tensor: ...

    def with_trace(self, z: Tensor, a: Tensor, past: Tensor) -> tuple[Tensor, Tensor]: ...


def grid(steps: int, end: float, like: Tensor) -> Tensor:
    """(steps + 1,) angles from 0 to `end`."""
    return end * torch.linspace(0, 1, steps + 1, dtype=like.dtype, device=like.device) ** WARP


def runge_kutta(
    field: Callable[[Sequence[Tensor], Tensor], Sequence[Tensor]],
    start: Sequence[Tensor],
    angles: Tensor,
) -> list[Tensor]:
    """The solution of dx/da = field(x, a) at the last of the angles, from `start` at the first."""
    x = list(start)

    def moved(by: Sequence[Tensor], size: Tensor) -> list[Tensor]:
        return [p + size * k for p, k in zip(x, by, strict=True)]

    for a, b in pairwise(angles):
        size, middle = b - a, (a + b) / 2
        k1 = field(x, a)
        k2 = field(moved(k1, size / 2), middle)
        k3 = field(moved(k2, size / 2), middle)
        k4 = field(moved(k3, size), b)
        x = [
            p + size / 6 * (q1 + 2 * q2 + 2 * q3 + q4)
            for p, q1, q2, q3, q4 in zip(x, k1, k2, k3, k4, strict=True)
        ]
    return x


def log_prob(denoiser: Velocity, z: Tensor, past: Tensor, end: float, steps: int) -> Tensor:
    """(N, D) values given the (N, .) past -> (N,) log densities in nats."""

    def one(part: Tensor, given: Tensor) -> Tensor:
        def field(x: Sequence[Tensor], a: Tensor) -> list[Tensor]:
            velocity, trace = denoiser.with_trace(x[0], a, given)
            return [a.sin() * velocity, a.sin() * trace]

        last, total = runge_kutta(field, [part, part[:, 0] * 0], grid(steps, end, z))
        return log_normal(last) + total

    return torch.cat([one(*p) for p in zip(z.split(CACHED), past.split(CACHED), strict=True)])


def flow_samples(denoiser: Velocity, noise: Tensor, past: Tensor, end: float, steps: int) -> Tensor:
    """(N, D) standard normal numbers -> (N, D) samples given the (N, .) past, by the same ODE."""

    def one(part: Tensor, given: Tensor) -> Tensor:
        def field(x: Sequence[Tensor], a: Tensor) -> list[Tensor]:
            return [a.sin() * denoiser(x[0], a, given)]

        return runge_kutta(field, [part], grid(steps, end, noise).flip(0))[0]

    return torch.cat([one(*p) for p in zip(noise.split(CACHED), past.split(CACHED), strict=True)])


def ancestral_samples(
    denoiser: Velocity, noise: Noise, z: Tensor, past: Tensor, levels: Tensor
) -> Tensor:
    """(N, D) standard normal numbers -> (N, D) samples, with new noise at every level (Ho et al.
    2020).

    Each step has the mean of q(z(b) | z(a), z) with the denoised value in the place of z, and the
    larger of Ho et al.'s two variances, which is the right one for F = 0, with any number of steps,
    and at low noise. If the denoiser is exact and levels are many, samples follow the density of
    the ODE; otherwise they do not.

    Args:
        denoiser: of the model.
        noise: of the steps.
        z: at the highest level.
        past: (N, .).
        levels: (S + 1,) angles from 0 to the end.
    """
    angles = levels.to(z).flip(0)
    for a, b in pairwise(angles):
        denoised = a.cos() * z - a.sin() ** 2 * denoiser(z, a, past)
        ratio = a.cos() / b.cos()
        added = 1 - (ratio * b.sin() / a.sin()) ** 2  # share of the noise at a that is new since b
        mean = ratio * b.sin() ** 2 / a.sin() ** 2 * z + b.cos() * added * denoised
        z = mean + (1 - ratio**2).sqrt() * noise.normal(z.shape, z)
    return z
