"""Diffusion models: the values of each step, or of some, denoised from N(0, I) given the past.

The density is that of an ordinary differential equation, computed with a stated error, not a bound;
`sampler=ode` samples from it in a few steps. (`density.py` has the equations.)
"""

from seqlatent.models.diffusion.model import DiffusionModel, DiffusionOptions

__all__ = [
    "DiffusionModel",
    "DiffusionOptions",
]
