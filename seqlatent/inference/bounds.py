"""Estimates of log p(x) from importance weights, one implementation for all uses.

With draws z^k from a guide q, the log-weights of K particles at each step are

    log w_t^k = log p(x_t | .) + log p(z_t^k | .) - log q(z_t^k | .)

ELBO       sum_t (1/K) sum_k log w_t^k         a lower bound of log p(x) in expectation
per step   sum_t log (1/K) sum_k w_t^k         likewise, and tight; with K = 1 they are the same

The per-step form needs a posterior that factorises over time given x: then the average at each step
has the conditional mean p(x_t | x_{<t}) whatever the earlier draws were, the product is an unbiased
estimate of p(x), and its error grows linearly in T. It holds when neither prior nor emission sees
earlier latents (they may see earlier observations). Importance weighting: Burda et al. 2016.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Estimate(NamedTuple):
    """An estimate at every step.

    Attributes:
        log_prob: (B, T) estimate of log p(x_t | x_{<t}), nats.
        variance: (B, T) Monte-Carlo variance of `log_prob`; steps add up.
    """

    log_prob: Tensor
    variance: Tensor


def per_step_importance(log_weights: Tensor) -> Estimate:
    """(K, B, T) log-weights -> the per-step importance estimate.

    The variance is that of log of a mean, by the delta method: var(w) / (K mean(w)^2).
    """
    k = len(log_weights)
    log_mean = log_weights.logsumexp(0) - math.log(k)
    if k == 1:
        return Estimate(log_mean, torch.full_like(log_mean, torch.nan))
    relative = (log_weights - log_mean).exp()
    return Estimate(log_mean, relative.var(0, correction=1) / k)
