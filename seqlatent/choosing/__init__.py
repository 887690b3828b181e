"""Choices that held-out likelihood makes: the chain of scaling, the weights of a mixture.

scaling.py     the chain, by linear models and short fits
linear.py      linear models of scaled values
mixing.py      mixtures of several fits, and their weights
comparing.py   held-out likelihoods side by side, and how sure their differences are
"""

from seqlatent.choosing.mixing import Fit, check_plan, fit_members, mix
from seqlatent.choosing.scaling import Choice, Tried, choice_so_far, choose_scaling

__all__ = [
    "Choice",
    "Fit",
    "Tried",
    "check_plan",
    "choice_so_far",
    "choose_scaling",
    "fit_members",
    "mix",
]
