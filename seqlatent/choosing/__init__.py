"""Choices that held-out likelihood makes: the chain of scaling.

scaling.py   the chain, by linear models and short fits
linear.py    linear models of scaled values
"""

from seqlatent.choosing.scaling import Choice, Tried, choose_scaling

__all__ = ["Choice", "Tried", "choose_scaling"]
