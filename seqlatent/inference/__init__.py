"""Likelihoods, posteriors and missing values of any model that declares the capability.

A model declares its capabilities by its base classes (`protocols.py`): an exact density, a bound,
an estimated density, an exact posterior, regimes, invertible latents, filling of gaps.

    bounds.py        log p(x) from importance weights: ELBO, per step, joint
    smc.py           the same with resampling: sequential Monte Carlo
    widening.py      wider noise for some particles, so that a guide too narrow shows, and the
                     prior's latents for others, so that one far off costs little
    errors.py        standard errors and intervals, or that no error can be told
    estimating.py    the estimates of a batch and their errors, and the noise of each sequence
    marginals.py     the channels seen where others are missing, by draws of these
    likelihood.py    the estimator that suits a model; scores of data sets
    chains.py        hidden chains of regimes: filter, smoother, best path, sampled paths
    posterior.py     p(z | x) by weighted samples of the guide
    imputation.py    missing values by weighted paths
    paths.py         sample paths of many sequences at once

The per-step estimator needs a posterior that factorises over time given x, as it does with an
independent prior. Its error grows linearly in T, that of whole trajectories exponentially. Where
latents depend on earlier ones, the default is `smc`. All are unbiased for p(x), and so lower bounds
of log p(x) in expectation.
"""

from seqlatent.inference.bounds import Estimate, joint_importance, per_step_importance
from seqlatent.inference.estimating import estimate
from seqlatent.inference.likelihood import kind_of, mean_log_prob, score_sequences
from seqlatent.inference.paths import forecast_paths, sample_paths
from seqlatent.inference.posterior import Posterior, weighted_posterior
from seqlatent.inference.protocols import (
    DensityBound,
    DeterministicCodes,
    DrawnMarginals,
    EstimatedDensity,
    ExactDensity,
    ExactPosterior,
    Fillable,
    InvertibleLatents,
    ModelState,
    OdeDensity,
    Reconstructs,
    Regimes,
    StepModel,
)
from seqlatent.inference.smc import particle_filter
from seqlatent.inference.training_protocols import LossTraining, OwnSelection, OwnTraining

__all__ = [
    "DensityBound",
    "DeterministicCodes",
    "DrawnMarginals",
    "Estimate",
    "EstimatedDensity",
    "ExactDensity",
    "ExactPosterior",
    "Fillable",
    "InvertibleLatents",
    "LossTraining",
    "ModelState",
    "OdeDensity",
    "OwnSelection",
    "OwnTraining",
    "Posterior",
    "Reconstructs",
    "Regimes",
    "StepModel",
    "estimate",
    "forecast_paths",
    "joint_importance",
    "kind_of",
    "mean_log_prob",
    "particle_filter",
    "per_step_importance",
    "sample_paths",
    "score_sequences",
    "weighted_posterior",
]
