"""How far an estimate of log p(x) is off: standard errors and intervals, or that nothing is known.

An estimate p^ of p(x) is unbiased, and log p^ is below log p(x) by about half its variance: the
intervals stand around log p^ plus that. The variance comes from

jackknife    of log mean_k w^k, for weights: leaving out each particle in turn. Unlike the variance
             of w / mean(w), which is at most K, it grows without bound where one particle is all
             (Efron and Stein 1981). What the largest weights add is taken from a generalised Pareto
             distribution, because a sample seldom holds its share of them.
log-normal   for N filters, whose log p^ is nearly normal with a variance s^2 (Berard et al. 2014):
             log p(x) is their mean plus s^2 / 2, with variance s^2 / N + s^4 / (2 (N - 4)) and
             N - 1 degrees of freedom. (Cox's method: Zhou and Gao 1997. With N - 1 under s^4, as
             there, intervals from six filters hold .90 to .95, with N - 4 .935 to .95.)

The variance of a single filter from its particles' descent (Lee and Whiteley 2018) is not used: it
holds for multinomial resampling. With ours, which is systematic, it was 0.19 where 0.51 was true.

No error can be told where the largest weights have too heavy a tail, by the Pareto shape k that
fits them (Vehtari et al. 2024), where few particles have all the weight, or where the variance is
so large that its own errors are what counts. All that is known there is Markov's inequality: p^
exceeds p(x) / 0.05 with a probability of at most 0.05, and so log p(x) > log p^ - log 20 holds with
95 %, whatever the guide.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from seqlatent.inference.widening import SHARE

LEVEL = 0.95  # of the intervals
NORMAL = 1.959964  # their normal quantile
MAX_TAIL = 0.7  # largest Pareto shape k at which an error can be told, from many weights
MAX_REST = 0.2  # largest bias that its correction leaves, in standard errors
MAX_SPREAD = 2.5  # largest variance of log p^ between filters
MIN_ESS = 8.0  # smallest effective sample size of a step, as a mean of inverses
MIN_FREEDOM = 3.0  # smallest number of degrees of freedom
EVEN = 0.1  # a step's largest share of the weight, below which their tail is of no account
ALIKE = 0.1  # likewise, nats above the mean of the others, where too few particles are widened


class Error(NamedTuple):
    """The error of estimates of B sequences.

    Attributes:
        correction: (B,) nats to add to log p^, because it is too low on average.
        variance: (B,) of the corrected estimate; NaN if unknown.
        freedom: (B,) degrees of freedom of the variance.
        tail: (B,) Pareto shape k of the largest weights; inf with too few of them.
        told: (B,) bool, whether an error can be told.
    """

    correction: Tensor
    variance: Tensor
    freedom: Tensor
    tail: Tensor
    told: Tensor

    @property
    def std_error(self) -> Tensor:
        """(B,) in nats; NaN where it cannot be told."""
        return torch.where(self.told, self.variance.sqrt(), torch.nan)

    def interval(self, total: Tensor, unbiased: Tensor) -> tuple[Tensor, Tensor]:
        """The 95 % interval for log p(x).

        Args:
            total: (B,) log p^.
            unbiased: (B,) bool, whether p^ is unbiased, which Markov's inequality needs.

        Returns:
            (B,) lower and (B,) upper end. Where no error can be told, the lower end is Markov's
            bound, or -inf, and the upper end inf.
        """
        half = student_quantile(self.freedom) * self.variance.sqrt()
        markov = torch.where(unbiased, total + math.log(1 - LEVEL), -torch.inf)
        lower = torch.where(self.told, total + self.correction - half, markov)
        return lower, torch.where(self.told, total + self.correction + half, torch.inf)


def student_quantile(freedom: Tensor) -> Tensor:
    """The 97.5 % quantile of Student's t, by its expansion in 1 / freedom: within 1 % from 3 on
    (Abramowitz and Stegun 1964, 26.7.5)."""
    z, v = NORMAL, 1 / freedom
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + v * (first + v * (second + v * third))


def jackknife(log_weights: Tensor, inside: Tensor, less: Tensor | None = None) -> Error:
    """The error of sum_t log mean_k w_t^k, or of sum_t (log mean_k w_t^k - log mean_k v_t^k).

    Args:
        log_weights: (K, B, T); for whole trajectories T is 1.
        inside: (B, T) bool, the steps that count.
        less: (K, B, T) logarithms of v, if there are any.
    """
    lw = log_weights.double()
    size = len(lw)
    if size < 2:
        return unknown(lw[0].sum(-1))
    total = lw.logsumexp(0) - math.log(size)
    others = leave_one_out(lw)
    odds = torch.where(inside, lw - others, -torch.inf)
    if less is not None:
        total = total - less.double().logsumexp(0) + math.log(size)
        others = others - leave_one_out(less.double())
    mean = others.mean(0)
    each = (size - 1) / size * (others - mean).square().sum(0)  # (B, T) of every step's term
    each = torch.where(inside, each, 0.0)
    correction = (size - 1) * torch.where(inside, total - mean, 0.0).sum(-1)
    variance = each.sum(-1)
    relative = (lw - lw.logsumexp(0) + math.log(size)).exp() - 1
    second, fourth = relative.square().mean(0), relative.pow(4).mean(0)
    of_variance = torch.where(inside, (fourth - second.square()).clamp(min=0), 0.0).sum(-1)
    freedom = 2 * variance.square() / (of_variance / size**3).clamp(min=1e-300)
    freedom = freedom.clamp(max=(size - 1) * inside.sum(-1))
    rest = each.square().sum(-1) / variance.sqrt().clamp(min=1e-300)
    tail, growth, even = tails(odds.movedim(1, -1).flatten(0, 1), size * inside.sum(-1), size)
    inverse_ess = torch.where(inside, 1 + second, 0.0).sum(-1) / size / inside.sum(-1).clamp(min=1)
    told = (tail < max_tail(size * inside.sum(-1))) & (inverse_ess < 1 / MIN_ESS)
    told = told & (rest < MAX_REST) & (freedom >= MIN_FREEDOM)
    told = told | even | ~inside.any(-1)  # of nothing scored the sum is 0
    return Error(correction, variance * growth, freedom.clamp(min=MIN_FREEDOM), tail, told)


def leave_one_out(log_weights: Tensor) -> Tensor:
    """(K, ...) log of the mean of the other K - 1 weights."""
    total = log_weights.logsumexp(0)
    share = (log_weights - total).exp()
    rest = total + torch.log1p(-share.clamp(max=1 - 1e-12))
    # Of the largest weight the difference would be lost to rounding.
    top = log_weights.argmax(0, keepdim=True)
    without = log_weights.scatter(0, top, -torch.inf).logsumexp(0, keepdim=True)
    return rest.scatter(0, top, without) - math.log(len(log_weights) - 1)


def max_tail(number: Tensor) -> Tensor:
    """The largest shape k that can be trusted, from a number of weights (Vehtari et al. 2024)."""
    return (1 - 1 / number.double().clamp(min=2).log10()).clamp(max=MAX_TAIL)


def tails(log_odds: Tensor, number: Tensor, num_particles: int) -> tuple[Tensor, Tensor, Tensor]:
    """A generalised Pareto distribution for the largest weights (Zhang and Stephens 2009).

    Args:
        log_odds: (n, B) logarithms of each weight over the mean of its step's others; -inf where
            there is none.
        number: (B,) weights of each sequence.
        num_particles: K.

    Returns:
        (B,) the shape k, inf with too few weights; (B,) the factor, at least 1, by which the
        variance grows if the largest weights are those of the distribution; (B,) bool, whether the
        weights are so even that their tail is of no account: where particles are widened, a tail
        that matters shows.
    """
    shape = torch.full_like(log_odds[0], torch.inf)
    growth = torch.ones_like(shape)
    sizes = torch.minimum(number / 5, 3 * number.double().sqrt()).long()
    for size in set(sizes.tolist()):
        here = sizes == size
        if size >= 5:
            shape[here], growth[here] = _pareto(log_odds[:, here], size)
    most = math.log(EVEN * num_particles) if num_particles >= SHARE else ALIKE
    even = (log_odds.amax(0) < most) & log_odds.isfinite().any(0)
    return shape, growth, even


def _pareto(log_odds: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """(n, B) -> the shape and the growth of the variance, from the `size` largest."""
    largest = log_odds.topk(size + 1, 0).values
    unit = largest[0]  # everything is divided by the largest, which may be huge
    scaled = (largest - unit).exp()
    excess = (scaled[:size] - scaled[size]).flip(0).clamp(min=1e-300)
    grid = torch.arange(1, 31 + int(math.sqrt(size)), device=excess.device)[:, None] - 0.5
    quarter = excess[int(size / 4 + 0.5) - 1]
    theta = 1 / excess[-1] + (1 - ((len(grid)) / grid).sqrt()) / (3 * quarter)
    shapes = torch.log1p(-theta[:, None] * excess).mean(1)
    profile = size * ((-theta / shapes).log() - shapes - 1)
    theta = (profile.softmax(0) * theta).sum(0)
    shape = torch.log1p(-theta * excess).mean(0)
    scale = -shape / theta
    shape = (size * shape + 10 * 0.5) / (size + 10)  # a weak prior, as few weights need it
    # Second moments of weight - 1 above the threshold, by the sample and by the distribution.
    one, level, k = (-unit).exp(), scaled[size], shape.clamp(max=0.35)
    start = level - one
    expected = start.square() + 2 * start * scale / (1 - k)
    expected = size * (expected + 2 * scale.square() / ((1 - k) * (1 - 2 * k)))
    found = (scaled[:size] - one).square().sum(0)
    finite = log_odds.isfinite()
    whole = torch.where(finite, ((log_odds - unit).exp() - one).square(), 0.0).sum(0)
    growth = (1 + (expected - found) / whole.clamp(min=1e-300)).clamp(min=1)
    return shape.nan_to_num(nan=torch.inf), growth.nan_to_num(nan=1.0)


def log_normal(ends: Tensor, starts: Tensor, tail: Tensor, allowed: Tensor) -> Error:
    """The error of N filters.

    Args:
        ends: (N, B) log p^(x_{1:T}) of every filter.
        starts: (N, B) log p^ of the context alone, which the score leaves out; 0 without one.
        tail: (B,) Pareto shape of all filters' weights.
        allowed: (B,) bool, whether that tail permits an error.
    """
    number = len(ends)
    if number < 5:
        return unknown(ends[0])
    end, start = ends.double(), starts.double()
    total, first = (x.logsumexp(0) - math.log(number) for x in (end, start))
    spread, before = end.var(0), start.var(0)
    both = ((end - end.mean(0)) * (start - start.mean(0))).sum(0) / (number - 1)
    centre = (end - start).mean(0) + (spread - before) / 2
    variance = (end - start).var(0) / number + (
        spread.square() + before.square() - 2 * both.square()
    ).clamp(min=0) / (2 * (number - 4))
    told = allowed & (torch.maximum(spread, before) < MAX_SPREAD)
    freedom = torch.full_like(variance, number - 1)
    return Error(centre - (total - first), variance, freedom, tail, told)


def unknown(like: Tensor) -> Error:
    """(B,) estimates of which nothing is known, as with one particle."""
    nothing = torch.full_like(like, torch.nan, dtype=torch.float64)
    told = torch.zeros_like(like, dtype=torch.bool)
    return Error(
        torch.zeros_like(nothing), nothing, nothing, torch.full_like(nothing, torch.inf), told
    )
