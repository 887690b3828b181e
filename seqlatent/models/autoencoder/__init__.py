"""Autoencoders: a short code of every window of steps, and the window decoded from it.

The error of the reconstruction tells unusual steps; nothing here is a likelihood. (`model.py` has
the equations.)
"""

from seqlatent.models.autoencoder.model import AutoencoderModel
from seqlatent.models.autoencoder.options import AutoencoderOptions

__all__ = [
    "AutoencoderModel",
    "AutoencoderOptions",
]
