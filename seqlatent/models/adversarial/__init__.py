"""Adversarial models: a generator of sequences and the critic that trains it; no likelihood.

`gan` plays the minimax game, `wgan` minimises a Wasserstein distance. `model.py` has the
equations.
"""

from seqlatent.models.adversarial.model import (
    AdversarialModel,
    GANModel,
    WGANModel,
)
from seqlatent.models.adversarial.options import AdversarialOptions, WassersteinOptions

__all__ = [
    "AdversarialModel",
    "AdversarialOptions",
    "GANModel",
    "WGANModel",
    "WassersteinOptions",
]
