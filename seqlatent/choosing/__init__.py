"""Choices that held-out likelihood makes: the chain of scaling, a model's own options, the weights
of a mixture.

settling.py        all that is `auto`, before a fit
scaling.py         the chain, by linear models and short fits
linear.py          linear models of scaled values
alternatives.py    a model's own options, by short fits
trials.py          short fits
mixing.py          mixtures of several fits, and their weights
comparing.py       held-out likelihoods side by side, and how sure their differences are
"""

from seqlatent.choosing.mixing import Fit, check_plan, fit_members, mix
from seqlatent.choosing.scaling import Choice, Tried, choose_scaling
from seqlatent.choosing.settling import Plan, Settled, settle, settled_so_far

__all__ = [
    "Choice",
    "Fit",
    "Plan",
    "Settled",
    "Tried",
    "check_plan",
    "choose_scaling",
    "fit_members",
    "mix",
    "settle",
    "settled_so_far",
]
