"""What the critic and the generator minimise, and the energy score that both are held to.

    minimax       critic     E softplus(-f(x)) + E softplus(f(g)) + lambda E |grad f(x)|^2
                                                                       (Goodfellow et al. 2014)
                  generator  E softplus(-f(g))                         their non-saturating form
    Wasserstein   critic     E f(g) - E f(x) + lambda E (|grad f| - 1)^2    (Gulrajani et al. 2017)
                  generator  -E f(g)

The energy score  E|X - x| - E|X - X'| / 2  is least in the mean where X, X' have the distribution
of x, and only there (Gneiting and Raftery 2007).
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from seqlatent.data.share import drawn, total

TINY = 1e-12  # keeps the gradient of a norm finite at 0


def mean(values: Tensor, weight: Tensor) -> Tensor:
    """() mean of (N,) values with weights 0 or 1; 0 where all are 0. Of several processes that
    share a batch, each has its part of the mean of all."""
    return (values * weight).sum() / total(weight.sum()).clamp(min=1)


def minimax_critic(real: Tensor, fake: Tensor, weight: Tensor) -> Tensor:
    """The critic's loss, given its (N,) verdicts."""
    return mean(F.softplus(-real) + F.softplus(fake), weight)


def minimax_generator(fake: Tensor, weight: Tensor) -> Tensor:
    """The generator's loss that does not saturate where the critic is sure."""
    return mean(F.softplus(-fake), weight)


def wasserstein_critic(real: Tensor, fake: Tensor, weight: Tensor) -> Tensor:
    """Less the estimated Wasserstein distance, given a critic's (N,) verdicts."""
    return mean(fake - real, weight)


def wasserstein_generator(fake: Tensor, weight: Tensor) -> Tensor:
    """The generator's loss: the part of the distance that it can change."""
    return -mean(fake, weight)


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, weight: Tensor
) -> Tensor:
    """() the mean of (|grad f| - 1)^2 at random points between real and fake.

    Args:
        critic: (N, ...) values -> (N,) verdicts.
        real, fake: (N, ...).
        weight: (N,) 0 or 1.
    """
    size = (len(real), *[1] * (real.dim() - 1))
    place = drawn(partial(torch.rand, dtype=real.dtype, device=real.device), size)
    between = (place * real + (1 - place) * fake).detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    return mean((norm(slope.flatten(1)) - 1).square(), weight)


def slope_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, weight: Tensor) -> Tensor:
    """() the mean of |grad f|^2 at real points, without which the minimax game need not converge
    (Mescheder et al. 2018); arguments as of `gradient_penalty`."""
    real = real.detach().requires_grad_()
    (slope,) = torch.autograd.grad(critic(real).sum(), real, create_graph=True)
    return mean(slope.flatten(1).square().sum(1), weight)


def norm(difference: Tensor) -> Tensor:
    """(..., K) -> (...) Euclidean size, with a finite gradient at 0."""
    return (difference.square().sum(-1) + TINY).sqrt()


def energy_distances(fake: Tensor, real: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Mean distances E|X - x| and E|X - X'| of draws from what was observed and from each other.

    Args:
        fake: (N, M, K) draws, M at least 2.
        real: (N, K).
        seen: (N, K) 0 or 1; distances are of what is seen.

    Returns:
        (N,) each, divided by the root of the number of values seen.
    """
    size = seen.sum(-1).clamp(min=1).sqrt()
    M = fake.shape[1]
    from_real = norm((fake - real[:, None]) * seen[:, None]).mean(1)
    i, j = torch.triu_indices(M, M, 1, device=fake.device)
    among = norm((fake[:, i] - fake[:, j]) * seen[:, None]).mean(1)
    return from_real / size, among / size
