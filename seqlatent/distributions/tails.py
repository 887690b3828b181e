"""Normal distributions whose tails bend: one wild value costs tens of nats, not thousands.

    y = u                                                       for |u| <= c,  u ~ N(0, 1)
    y = +-(c + a / c (exp((u^2 - c^2) / (2 a)) - 1))            beyond;  c = 4, a = 1/2

The map is increasing, its slope is continuous, and both directions are closed forms. In the middle
the density is the normal one; beyond 4 standard deviations, where 6 in 100,000 values lie, it falls
as |y|^(-1 - a), as a Pareto tail does (Pickands 1975). A value at 50 costs 18 nats, one at 1,000
costs 23, where the normal distribution takes 1,251 and 500,001. On normal values the tails lose
3e-5 nats each. Four in a million draws are beyond 30; paths are cut where no value was ever near
(`Scaler.limits`).
"""

import math

import torch
from torch import Tensor

BEND = 4.0  # c, in standard deviations
INDEX = 0.5  # a
RARE = 5e-5  # the share of values that other families expect far out
FAR = 60.0  # logarithm of the greatest value, so that it is finite in single precision


def _log_far(size: Tensor) -> Tensor:
    """(u^2 - c^2) / (2 a) of values of this size; 0 in the middle."""
    return torch.log1p(BEND / INDEX * (size - BEND).clamp(min=0))


def unbend(y: Tensor) -> tuple[Tensor, Tensor]:
    """Values y -> u, standard normal if y has bent tails, and log du/dy."""
    size = y.abs()
    log_far = _log_far(size)
    square = 2 * INDEX * log_far
    u = torch.where(size > BEND, (BEND**2 + square).sqrt(), size)
    return torch.copysign(u, y), -log_far - 0.5 * torch.log1p(square / BEND**2)


def bend(u: Tensor) -> Tensor:
    """Standard normal values u -> values y with bent tails: the inverse of `unbend`."""
    size = u.abs()
    far = ((size.square() - BEND**2) / (2 * INDEX)).clamp(0, FAR)
    return torch.copysign(torch.where(size > BEND, BEND + INDEX / BEND * torch.expm1(far), size), u)


def bent_log_prob(y: Tensor) -> Tensor:
    """Log density, in nats, of y with bent tails; the normal one within +-4."""
    size = y.abs()
    log_far = _log_far(size)
    middle = 0.5 * size.clamp(max=BEND).square() + 0.5 * math.log(2 * math.pi)
    return -middle - (1 + INDEX) * log_far - 0.5 * torch.log1p(2 * INDEX / BEND**2 * log_far)


def normal_tail(u: Tensor) -> Tensor:
    """P(|Z| >= |u|) for a standard normal Z, in double precision."""
    return torch.erfc(u.double().abs() / math.sqrt(2))
