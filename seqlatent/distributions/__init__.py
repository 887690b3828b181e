"""Distributions of one step's values, and the heads that compute them from features.

The *emission* p(x_t | h_t) is chosen to suit the data and reported; the option `emission` overrides
the choice.

    data                          emissions, the default first
    real values                   mixture (of normals), normal, student-t, sinh-arcsinh, spline,
                                  sinh-arcsinh-spline; covariance-mixture, of all channels at once
    counts                        negative-binomial, poisson, zero-inflated (for intermittent
                                  demand)
    0 and 1                       bernoulli; subset for sixteen channels or more of which few are 1,
                                  such as the keys of a piano
    labels                        categorical; ordinal for categories 0, 1, ... whose order matters
    columns of different kinds    mixed: each column has the emission that it would have alone

Several channels are modelled one after another, so that they can depend on each other within a
step; `channels=independent` switches this off. `linear-gaussian` supports `normal` only, with a
full covariance. `flow` supports the emissions of real values that are invertible maps.

`subset` is an exact distribution over all 2^D sets of active channels: it samples them in ascending
order, each by a softmax over the channels above the last one, until "end" (`subset.py`). Scales
have a floor tied to the grid on which values were recorded; see "grids" in `seqlatent.tasks`.

A value far out costs tens of nats under every family of real values and of counts: the tails of
normal parts bend (`tails.py`), and `student-t` and the families of counts expect one value in
20,000 from a heavy tail (`families.py`, `counts.py`).

A family has a `log_prob`, samples, and the features of a value that networks see (`families.py`). A
head turns features into the parameters of all channels (`heads.py`). `emission.py` lists them by
name.
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
