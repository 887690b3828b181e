"""Estimates of log p(x) from importance weights, for both training and scoring.

With samples z^k from a guide q, the log-weights of K particles at each step are

    log w_t^k = log p(x_t | .) + log p(z_t^k | .) - log q(z_t^k | .)

and the estimates, all of them lower bounds of log p(x) in expectation, are

ELBO       sum_t (1/K) sum_k log w_t^k         for any model
per step   sum_t log (1/K) sum_k w_t^k         where the posterior factorises; the ELBO if K = 1
joint      log (1/K) sum_k prod_t w_t^k        for any model; loose on long sequences
smc        see smc.py                          for any model, with resampling

The per-step form needs a posterior that factorises over time given x. The average at each step then
has the conditional mean p(x_t | x_{<t}) whatever the earlier samples were, the product is an
unbiased estimate of p(x), and its error grows linearly in T. The posterior factorises when neither
prior nor emission sees earlier latents (they may see earlier observations). Importance weighting:
Burda et al. 2016.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from seqlatent.inference.errors import Error


class Estimate(NamedTuple):
    """An estimate of log p(x_{1:T}), as a sum over the steps.

    Attributes:
        log_prob: (B, T) each step's term, an estimate of log p(x_t | x_{<t}), in nats.
        variance: (B,) Monte-Carlo variance of the sum by the delta method, which is right where it
            is small; NaN with a single particle.
        ess: (B,) effective sample size, between 1 and K; for estimates by step, the mean over the
            steps with a weight.
        elbo: (B,) the bound with one particle, from the same samples, in nats. The more K particles
            raise it, the further the guide is from the posterior.
        error: what can be told of the error of the score (`estimate` of likelihood.py); else None.
    """

    log_prob: Tensor
    variance: Tensor
    ess: Tensor
    elbo: Tensor
    error: Error | None = None


def per_step_importance(log_weights: Tensor) -> Estimate:
    """(K, B, T) log-weights -> the per-step estimate.

    The variance is that of the logarithm of a mean by the delta method: var(w) / (K mean(w)^2).
    """
    k = len(log_weights)
    log_mean = log_weights.logsumexp(0) - math.log(k)
    elbo = log_weights.mean(0).sum(-1)
    relative = (log_weights - log_mean).exp()
    inside = (log_weights != 0).any(0)  # not padding
    ess = k / relative.square().mean(0)
    mean_ess = torch.where(inside, ess, 0.0).sum(-1) / inside.sum(-1).clamp(min=1)
    variance = relative.var(0, correction=1).sum(-1) / k if k > 1 else _unknown(elbo)
    return Estimate(log_mean, variance, mean_ess, elbo)


def joint_importance(log_weights: Tensor) -> Estimate:
    """(K, B, T) log-weights -> the estimate from whole trajectories.

    A step's term is the estimate up to and including it, less the estimate up to the step before.
    """
    k = len(log_weights)
    running = log_weights.cumsum(-1)
    log_mean = running.logsumexp(0) - math.log(k)
    log_prob = log_mean.diff(dim=-1, prepend=torch.zeros_like(log_mean[..., :1]))
    relative = (running[..., -1] - log_mean[..., -1]).exp()
    elbo = running[..., -1].mean(0)
    variance = relative.var(0, correction=1) / k if k > 1 else _unknown(elbo)
    return Estimate(log_prob, variance, k / relative.square().mean(0), elbo)


def doubly_reparametrised(z: Tensor, log_weights: Tensor) -> None:
    """Make the guide's gradient of log mean_k w^k the doubly reparametrised one.

    With more samples, the signal-to-noise ratio of the plain gradient falls. If log q passes
    gradients to z only, d/d phi log mean_k w^k has the same mean as sum_k v_k^2 (d log w^k / dz^k)
    (dz^k / d phi) with v = softmax(log w), and this one's ratio does not fall. The function
    multiplies each sample's gradient by v_k once more. (Tucker et al. 2019.)

    Args:
        z: (K, B, T, Z) samples, through which gradients reach the guide.
        log_weights: (K, B, T) of each step.
    """
    share = log_weights.detach().softmax(0)[..., None]
    z.register_hook(lambda gradient: gradient * share)


def average(estimates: list[Estimate]) -> Estimate:
    """Combine independent estimates of the same sequences.

    The mean of the estimates of p(x), not of its logarithm, is unbiased if they are; their spread
    gives its variance.
    """
    if len(estimates) == 1:
        return estimates[0]
    running = torch.stack([e.log_prob.double().cumsum(-1) for e in estimates])
    log_mean = running.logsumexp(0) - math.log(len(estimates))
    log_prob = log_mean.diff(dim=-1, prepend=torch.zeros_like(log_mean[..., :1]))
    relative = (running[..., -1] - log_mean[..., -1]).exp()
    return Estimate(
        log_prob,
        relative.var(0, correction=1) / len(estimates),
        torch.stack([e.ess for e in estimates]).mean(0),
        torch.stack([e.elbo for e in estimates]).mean(0),
    )


def _unknown(like: Tensor) -> Tensor:
    return torch.full_like(like, torch.nan)
