"""Wider noise for some of the particles, so that a guide that is too narrow cannot hide; in filters
also latents from the prior, so that one that is far off costs little.

A guide narrower than the posterior leaves the values that matter unseen: its weights look alike,
and both the estimate and the error that they suggest are too low. So an eighth of the particles
draw their noise with three times the scale, half of these in one latent and half in all, and every
particle is weighted by the mixture that it comes from,

    w = p(x, z) / q(z) * N(eps) / h(eps),    h = (1 - 2a) N(0, I) + a one latent wide + a all wide

with a = 1/16. The estimates stay unbiased, no weight grows by more than 1/(1 - 2a), and where the
wide particles find what the others missed, their weights are so large that the error is seen.
(Hesterberg 1995, defensive importance sampling; Owen and Zhou 2000, with the number of particles of
each kind fixed.) Fewer than sixteen particles are left as they are.

In a filter of latents that depend on each other a sixteenth of the particles, and one of eight or
more, sample z_t from the prior. With b their share,

    w = p(x_t | z_t) p(z_t | .) / (q(z_t | .) h(eps) / N(eps) + b p(z_t | .))

with b less of N in h. However many of the prior's scales away a guide puts the latents, after four
steps of training say, the estimate is about that of the prior's particles alone, and no weight
exceeds p(x_t | z_t) / b.
"""

import math

import torch
from torch import Tensor

WIDTH = 3.0  # scale of wide noise
SHARE = 16  # of so many particles one is wide in one latent, one in all, and one the prior's
FEWEST = 8  # particles of which one is the prior's
PRIOR_PLACE = 3  # of the prior's in each 16, where none is wide


def is_wide(num_particles: int, device: torch.device) -> Tensor:
    """(K,) bool, which places are those of wide particles; never the first."""
    place, period = torch.arange(num_particles, device=device), SHARE // 2
    return (place % period == period - 1) & (place // period < 2 * (num_particles // SHARE))


def is_from_prior(num_particles: int, shift: Tensor) -> Tensor:
    """(K, B, T) bool, which particles are the prior's, their places moved by `shift` (B, T) as in
    `widen`."""
    place = torch.arange(num_particles, device=shift.device)[:, None, None]
    place = (place + shift) % num_particles
    return (place % SHARE == PRIOR_PLACE) & (place // SHARE < num_from_prior(num_particles))


def num_from_prior(num_particles: int) -> int:
    """How many particles of a filter are the prior's."""
    return max(num_particles // SHARE, int(num_particles >= FEWEST))


def _steps(start: int | Tensor, num_steps: int, like: Tensor) -> Tensor:
    """(T,) or (B, T) numbers of the steps from `start` on."""
    step = torch.arange(num_steps, device=like.device)
    return step + (start[:, None] if isinstance(start, Tensor) else start)


def widen(
    eps: Tensor, start: int | Tensor = 0, shift: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Widen the noise of some particles.

    Args:
        eps: (K, B, T, Z) standard normal noise of steps start, ..., start + T - 1.
        start: the first of the steps, or (B,) those of each sequence, on which it depends which
            latents are widened.
        shift: (B, T) whole numbers, uniform in 0, ..., K - 1, by which the places of the wide
            particles are moved. A filter needs it, because its particles have different pasts.

    Returns:
        the noise, and (K, B or 1, T or 1) bool, which particles are wide.
    """
    size, _, num_steps, dim = eps.shape
    each = size // SHARE
    place = torch.arange(size, device=eps.device)[:, None, None]
    if shift is not None:
        place = (place + shift) % size
    nth = place // (SHARE // 2)
    wide = is_wide(size, eps.device)[place]
    step = _steps(start, num_steps, eps)
    one = (nth // 2 + each * step) % dim == torch.arange(dim, device=eps.device)[
        :, None, None, None
    ]
    scaled = wide[..., None] & (one.movedim(0, -1) | (nth % 2 == 1)[..., None])
    return torch.where(scaled, WIDTH * eps, eps), wide


def log_ratios(eps: Tensor, start: int | Tensor = 0) -> Tensor:
    """(2, K, B, T) log densities of noise that is wide in one latent, and in all, less those of
    standard normal noise; with the arguments of `widen`."""
    size, _, num_steps, dim = eps.shape
    each = size // SHARE
    if not each:
        return eps.new_zeros(2, *eps.shape[:3])
    ratio = eps.square() * (0.5 - 0.5 / WIDTH**2) - math.log(WIDTH)
    first = torch.arange(each, device=eps.device)[:, None, None]
    latent = (first + each * _steps(start, num_steps, eps)) % dim  # (each, B or 1, T)
    share = torch.nn.functional.one_hot(latent, dim).to(ratio).mean(0).log()
    return torch.stack([(ratio + share).logsumexp(-1), ratio.sum(-1)])


def log_mixture(ratios: Tensor, size: int) -> Tensor:
    """(2, K, B, T) log ratios -> (K, B, T) the mixture's, for K particles in all."""
    share = size // SHARE / size
    if not share:
        return ratios[0]
    narrow = torch.full_like(ratios[:1], math.log1p(-2 * share))
    return torch.cat([narrow, ratios + math.log(share)]).logsumexp(0)


def log_over_prior(
    eps: Tensor, log_ratio: Tensor, start: int | Tensor = 0, from_prior: bool = True
) -> Tensor:
    """The log density of all that a filter's particles come from, less the prior's.

    Args:
        eps: (K, B, T, Z) noise by which the guide makes the latents.
        log_ratio: (K, B, T) log p(z_t | .) - log q(z_t | .).
        start: as in `widen`.
        from_prior: whether some of the particles are the prior's.

    Returns:
        (K, B, T). Taken over the prior and not over q, it is exact to rounding where q all but
        vanishes.
    """
    size = len(eps)
    wide, prior = size // SHARE / size, num_from_prior(size) / size if from_prior else 0.0
    terms = [math.log1p(-2 * wide - prior) - log_ratio]
    if wide:
        terms.extend(log_ratios(eps, start) + math.log(wide) - log_ratio)
    if prior:
        terms.append(torch.full_like(log_ratio, math.log(prior)))
    return torch.stack(terms).logsumexp(0)
