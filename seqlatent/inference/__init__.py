"""Likelihoods, posteriors and missing values from any model that declares what it can do.

A model declares what it can do by its base classes (`protocols.py`): an exact density, a
bound, an estimated density, an exact posterior, invertible latents, filling of gaps.

    bounds.py        log p(x) from importance weights: ELBO, per step, joint
    smc.py           the same with resampling: sequential Monte Carlo
    likelihood.py    which estimate suits a model, and the noise of each sequence
    posterior.py     the guide's samples, weighted until they follow p(z | x)
    imputation.py    missing values by weighted paths
    paths.py         sample paths of many sequences at once
    diagnostics.py   the warning that latents are unused

The per-step estimate needs a posterior that factorises over time given x, which an independent
prior gives. Its error then grows linearly in T, that of whole trajectories exponentially. Where
latents depend on earlier ones, `smc` is the estimate of choice. All are lower bounds of log p(x) in
expectation.
"""

from seqlatent.inference.bounds import Estimate, joint_importance, per_step_importance
from seqlatent.inference.likelihood import estimate, kind_of, mean_log_prob, score_sequences
from seqlatent.inference.paths import forecast_paths, sample_paths
from seqlatent.inference.posterior import Posterior, weighted_posterior
from seqlatent.inference.protocols import (
    DensityBound,
    EstimatedDensity,
    ExactDensity,
    ExactPosterior,
    Fillable,
    InvertibleLatents,
    LossTraining,
    ModelState,
    OwnSelection,
    OwnTraining,
    StepModel,
)
from seqlatent.inference.smc import particle_filter

__all__ = [
    "DensityBound",
    "Estimate",
    "EstimatedDensity",
    "ExactDensity",
    "ExactPosterior",
    "Fillable",
    "InvertibleLatents",
    "LossTraining",
    "ModelState",
    "OwnSelection",
    "OwnTraining",
    "Posterior",
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
