"""Distributions of one step's values, and the heads that make them from features.

The *emission* p(x_t | h_t) is chosen by the data and printed; the option `emission` overrides it.

    data                          emissions, the default first
    real values                   mixture (of normals), normal, student-t, sinh-arcsinh, spline,
                                  sinh-arcsinh-spline; covariance-mixture, of all channels at once
    counts                        negative-binomial, poisson, zero-inflated (for demand that comes
                                  now and then)
    0 and 1                       bernoulli; from sixteen channels of which few are 1, such as a
                                  piano's keys, subset
    labels                        categorical; ordinal for categories 0, 1, ... whose order matters
    columns of different kinds    mixed: each column has the distribution that it would have alone

Several channels are modelled one after another, so that they may depend on each other within a
step; `channels=independent` switches that off. `linear-gaussian` has `normal` alone, with a full
covariance. `flow` has the real values' invertible maps.

`subset` is exact over all 2^D sets of active channels: it draws them in ascending order, each by a
softmax over the channels above the last, until "end" (`subset.py`). Scales have a floor tied to the
grid on which values were recorded; see "grids" in `seqlatent.tasks`.

A family gives `log_prob`, samples, and what networks see of a value (`families.py`); a head turns
features into its parameters for all channels (`heads.py`); `emission.py` lists them by name.
"""

from seqlatent.distributions.build import build_family, build_head
from seqlatent.distributions.choice import check_support, choose_emission
from seqlatent.distributions.emission import EMISSIONS, Emission, register_emission
from seqlatent.distributions.emission_options import EmissionOptions
from seqlatent.distributions.families import Family, LocationScale
from seqlatent.distributions.heads import Head, StepDistribution
from seqlatent.distributions.noise import Noise, SequenceNoise, TorchNoise
from seqlatent.distributions.transformed import Transformed

__all__ = [
    "EMISSIONS",
    "Emission",
    "EmissionOptions",
    "Family",
    "Head",
    "LocationScale",
    "Noise",
    "SequenceNoise",
    "StepDistribution",
    "TorchNoise",
    "Transformed",
    "build_family",
    "build_head",
    "check_support",
    "choose_emission",
    "register_emission",
]
