"""The tails of Student's t distribution, which torch has not.

    P(|t| >= u) = I_x(df / 2, 1 / 2),    x = df / (df + u^2)

with the regularised incomplete beta function I by its continued fraction (Abramowitz and Stegun
1964, 26.5.8 and 26.7.1), evaluated by Lentz's method. It converges fast for x below the mean of the
beta distribution, and the other side is 1 - I_{1-x}(1 / 2, df / 2).
"""

import torch
from torch import Tensor

TERMS = 100  # pairs of the fraction; some ten times the root of df / 2 would do
TINY = 1e-300


def student_tail(u: Tensor, df: Tensor) -> Tensor:
    """P(|t| >= |u|) for t with df degrees of freedom, 1 to 1000; in double precision."""
    u, a = u.double(), df.double() / 2
    b = torch.full_like(a, 0.5)
    square = u.square()
    x, rest = 2 * a / (2 * a + square), square / (2 * a + square)
    log_front = (
        torch.lgamma(a + b) - torch.lgamma(a) - torch.lgamma(b) + a * x.log() + b * rest.log()
    )
    near = x < (a + 1) / (a + b + 2)
    p, q, z = torch.where(near, a, b), torch.where(near, b, a), torch.where(near, x, rest)
    value = log_front.exp() / (p * _fraction(p, q, z))
    return torch.where(near, value, 1 - value).clamp(0, 1)


def _fraction(a: Tensor, b: Tensor, x: Tensor) -> Tensor:
    """The continued fraction of I_x(a, b), upside down: 1 + d_1 x / (1 + d_2 x / (1 + ...))."""
    value, c, d = torch.ones_like(x), torch.ones_like(x), torch.zeros_like(x)
    for m in range(2 * TERMS):
        k = m // 2
        if m % 2 == 0:
            term = -(a + k) * (a + b + k) * x / ((a + m) * (a + m + 1))
        else:
            k += 1
            term = k * (b - k) * x / ((a + 2 * k - 1) * (a + 2 * k))
        d = 1 / _away(1 + term * d)
        c = _away(1 + term / c)
        value = value * c * d
    return value


def _away(x: Tensor) -> Tensor:
    """x, away from 0, by which Lentz's method divides."""
    return torch.where(x.abs() < TINY, TINY, x)
