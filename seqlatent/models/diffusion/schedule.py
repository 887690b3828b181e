"""Noise schedules: how the share of signal falls as the noise level s goes from 0 to 1.

    z(s) = alpha(s) z + sigma(s) e,    alpha^2 + sigma^2 = 1,    alpha = cos a(s), sigma = sin a(s)

    cosine     a(s) = pi s / 2                                     (Nichol and Dhariwal 2021)
    linear     log alpha^2 = -(b s + (beta_max - b) s^2 / 2)       (Song et al. 2021)
    sigmoid    alpha^2 = logistic(3 - 6 s), moved and stretched to go from 1 to 0
                                                                   (Jabri et al. 2023)

A level is known by its angle a. A schedule says how often each level is seen in training and which
levels ancestral sampling passes through. The density does not depend on it, except where it ends.
"""

import math

import torch
from torch import Tensor

from seqlatent.errors import InputError

SCHEDULES = ("cosine", "linear", "sigmoid")
BETA_MIN = 0.1  # b of the linear schedule
SMALLEST = 1e-4  # s: at 0 the angle of two of the schedules has an infinite slope
MOST_LEFT = 0.1  # share of signal, alpha^2, that may be left at the end
LEAST_LEFT = 1e-9
ENDS = 1 / (1 + math.exp(3)), 1 / (1 + math.exp(-3))


class Schedule:
    """A noise schedule.

    Args:
        name: one of `SCHEDULES`.
        beta_max: rate of the noise at the end of the linear schedule.

    Attributes:
        end: the angle at s = 1.
        signal_left: alpha^2 there.

    Raises:
        InputError: if too much signal is left at the end, or hardly any long before it.
    """

    def __init__(self, name: str, beta_max: float):
        self.name, self.beta_max = name, beta_max
        self.signal_left = 0.0 if name != "linear" else math.exp(-(BETA_MIN + beta_max) / 2)
        self.end = math.acos(math.sqrt(self.signal_left))
        if self.signal_left > MOST_LEFT:
            raise InputError(
                f"beta_max={beta_max:g} leaves {self.signal_left:.0%} of the signal at the highest "
                f"noise level, where at most {MOST_LEFT:.0%} may be left; raise it (20 is usual)"
            )
        if name == "linear" and self.signal_left < LEAST_LEFT:
            raise InputError(
                f"beta_max={beta_max:g} leaves a share of {self.signal_left:.0e} of the signal at "
                "the highest noise level, so that most levels are noise alone; lower it (20 is "
                "usual)"
            )

    def angle(self, s: Tensor) -> Tensor:
        """(...) levels s in [0, 1] -> (...) angles a."""
        if self.name == "cosine":
            return 0.5 * math.pi * s
        if self.name == "linear":
            log_signal = -(BETA_MIN * s + 0.5 * (self.beta_max - BETA_MIN) * s * s)
            return torch.atan2(
                (-torch.expm1(log_signal)).clamp(min=0).sqrt(), (log_signal / 2).exp()
            )
        low, high = ENDS
        noise = ((high - torch.sigmoid(3 - 6 * s)) / (high - low)).clamp(0, 1)
        return torch.asin(noise.sqrt())

    def slope(self, s: Tensor) -> Tensor:
        """(...) levels s in (0, 1) -> (...) da/ds."""
        if self.name == "cosine":
            return torch.full_like(s, 0.5 * math.pi)
        a = self.angle(s)
        if self.name == "linear":
            beta = BETA_MIN + (self.beta_max - BETA_MIN) * s
            return 0.5 * beta * a.cos() / a.sin()
        low, high = ENDS
        logistic = torch.sigmoid(3 - 6 * s)
        falls = 6 * logistic * (1 - logistic) / (high - low)  # -d alpha^2 / ds
        return falls / (2 * a.cos() * a.sin()).clamp(min=1e-6)

    def levels(self, number: int) -> Tensor:
        """(number + 1,) angles of evenly spaced s from 0 to 1."""
        return self.angle(torch.linspace(0, 1, number + 1, dtype=torch.float64))
