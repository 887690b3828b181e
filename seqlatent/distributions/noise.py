"""Where samples come from."""

import torch
from torch import Tensor


def sample_class(log_mass: Tensor, generator: torch.Generator | None) -> Tensor:
    """(..., C) log-masses, up to a constant -> (...) classes.

    The class is where a uniform number falls among the summed masses. torch.multinomial draws a
    number for every class, which takes longer than the densities do.
    """
    total = log_mass.softmax(-1).cumsum(-1)
    u = torch.rand((*total.shape[:-1], 1), generator=generator, device=total.device).to(total)
    # Rounding may put u * total at the end; the last class is then meant.
    drawn = torch.searchsorted(total, u * total[..., -1:], right=True)[..., 0]
    return drawn.clamp(max=log_mass.shape[-1] - 1)


def standard_gamma(shape: Tensor, generator: torch.Generator | None) -> Tensor:
    """Standard gamma draws; torch's distribution of that name takes no generator."""
    return torch._standard_gamma(shape.contiguous(), generator=generator)  # pyright: ignore
