"""Estimates of log p(x) from importance weights: one implementation for training and scoring.

With samples z^k from a guide q, the log-weights of K particles at each step are

    log w_t^k = log p(x_t | .) + log p(z_t^k | .) - log q(z_t^k | .)

ELBO       sum_t (1/K) sum_k log w_t^k         a lower bound of log p(x) in expectation
per step   sum_t log (1/K) sum_k w_t^k         likewise, and tight; with K = 1 they are the same
joint      log (1/K) sum_k prod_t w_t^k        likewise, for any model; loose on long sequences
smc        see smc.py                          likewise, with resampling

The per-step form needs a posterior that factorises over time given x: then the average at each step
has the conditional mean p(x_t | x_{<t}) whatever the earlier samples were, the product is an
unbiased estimate of p(x), and its error grows linearly in T. It holds when neither prior nor
emission sees earlier latents (they may see earlier observations). Importance weighting: Burda et
al. 2016.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Estimate(NamedTuple):
    """An estimate of log p(x_{1:T}), spread over the steps.

    Attributes:
        log_prob: (B, T) what each step adds, nats; an estimate of log p(x_t | x_{<t}).
        variance: (B,) Monte-Carlo variance of the sum; NaN where one particle cannot tell.
        ess: (B,) effective sample size, between 1 and K; per step, the mean over steps that weigh.
        elbo: (B,) the bound of one particle from the same samples, nats: how far the particles
            raise the bound says how far the guide is from the posterior.
    """

    log_prob: Tensor
    variance: Tensor
    ess: Tensor
    elbo: Tensor


def per_step_importance(log_weights: Tensor) -> Estimate:
    """(K, B, T) log-weights -> the per-step estimate.

    The variance is that of log of a mean, by the delta method: var(w) / (K mean(w)^2).
    """
    k = len(log_weights)
    log_mean = log_weights.logsumexp(0) - math.log(k)
    elbo = log_weights.mean(0).sum(-1)
    relative = (log_weights - log_mean).exp()
    weighs = (log_weights != 0).any(0)  # not padding
    ess = k / relative.square().mean(0)
    mean_ess = torch.where(weighs, ess, 0.0).sum(-1) / weighs.sum(-1).clamp(min=1)
    variance = relative.var(0, correction=1).sum(-1) / k if k > 1 else _unknown(elbo)
    return Estimate(log_mean, variance, mean_ess, elbo)


def joint_importance(log_weights: Tensor) -> Estimate:
    """(K, B, T) log-weights -> the estimate from whole trajectories.

    What a step adds is the difference of the estimates that end with it and before it.
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
    """Make the guide's gradient of log mean_k w^k the one that does not drown in noise.

    With many samples, the bound tells the guide less and less where to move them. Where log q
    passes gradients to z alone, d/d phi log mean_k w^k has the same mean as sum_k v_k^2 (d log w^k
    / dz^k) (dz^k / d phi) with v = softmax(log w): each sample's gradient is weighed twice. (Tucker
    et al. 2019.)

    Args:
        z: (K, B, T, Z) samples, through which gradients reach the guide.
        log_weights: (K, B, T) of each step's estimate.
    """
    share = log_weights.detach().softmax(0)[..., None]
    z.register_hook(lambda gradient: gradient * share)


def average(estimates: list[Estimate]) -> Estimate:
    """Independent estimates of the same sequences, put together.

    Their mean (of p(x), not of its logarithm) is unbiased where they are, and their spread gives
    its variance.
    """
    if len(estimates) == 1:
        return estimates[0]
    running = torch.stack([e.log_prob.cumsum(-1) for e in estimates])
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
