"""Normal distributions whose tails bend: one wild value costs tens of nats, not thousands.

    y = u                                        for |u| <= 4,  u ~ N(0, 1)
    y = +-(4 + (exp((u^2 - 16) / 2) - 1) / 4)    beyond

The map is increasing, its slope is continuous, and both directions are closed forms. In the middle
the density is the normal one; beyond 4 standard deviations, where 6 in 100,000 values lie, it falls
as y^-2, as a Pareto tail does (Pickands 1975). A value at 50 costs 20 nats, where the normal
distribution takes 1,251; values drawn beyond 30 are one in a million. On normal values it loses
less than 1e-5 nats.
"""

import math

import torch
from torch import Tensor

BEND = 4.0  # standard deviations
FAR = 60.0  # logarithm of the greatest value, so that it is finite in single precision
_LOG_NORMAL = 0.5 * math.log(2 * math.pi)


def unbend(y: Tensor) -> tuple[Tensor, Tensor]:
    """Values y -> u, standard normal if y has bent tails, and log du/dy."""
    size = y.abs()
    log_far = torch.log1p(BEND * (size - BEND).clamp(min=0))
    u = torch.where(size > BEND, (BEND**2 + 2 * log_far).sqrt(), size)
    log_slope = -log_far - 0.5 * torch.log1p(2 * log_far / BEND**2)
    return torch.copysign(u, y), log_slope


def bend(u: Tensor) -> Tensor:
    """Standard normal values u -> values y with bent tails: the inverse of `unbend`."""
    size = u.abs()
    far = (0.5 * (size.square() - BEND**2)).clamp(0, FAR)
    return torch.copysign(torch.where(size > BEND, BEND + torch.expm1(far) / BEND, size), u)


def bent_log_prob(y: Tensor) -> Tensor:
    """Log density, in nats, of y with bent tails; the normal one within +-4."""
    size = y.abs()
    log_far = torch.log1p(BEND * (size - BEND).clamp(min=0))
    middle = 0.5 * size.clamp(max=BEND).square() + _LOG_NORMAL
    return -middle - 2 * log_far - 0.5 * torch.log1p(2 * log_far / BEND**2)
