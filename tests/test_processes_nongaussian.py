"""Processes that are not Gaussian against scipy and closed forms: counts, clustered volatility,
skewed noise and a bent distribution."""

import math

import numpy as np
import pytest
from process_checks import assert_covariance, assert_mean, values
from scipy.integrate import trapezoid
from scipy.stats import kstest, loggamma, norm, poisson
from scipy.stats import t as student_t

from seqlatent.errors import InputError
from seqlatent.processes import Banana, Garch, PoissonCounts, SkewedAutoregressive


def test_counts_are_poisson_at_the_unrolled_rate():
    process = PoissonCounts(omega=0.7, alpha=0.4, beta=0.35)
    x = np.array([[3, 0, 5, 2, 11, 0, 0, 1], [0, 0, 0, 0, 250, 3, 1, 7]])
    expected = np.empty(x.shape)
    for t in range(x.shape[1]):
        past = [0.35**j * (0.7 + 0.4 * x[:, t - 1 - j]) for j in range(t)]
        rate = 0.35**t * 0.7 / 0.25 + sum(past)
        expected[:, t] = poisson.logpmf(x[:, t], rate)
    np.testing.assert_allclose(process.log_prob_steps(x[:, :, None]), expected, rtol=1e-12)


@pytest.mark.parametrize("parameters", [(), (0.3, 0.1, 0.5, 9.0)])
def test_garch_is_student_at_the_unrolled_scale(parameters):
    process = Garch(*parameters)
    x = np.random.default_rng(2).normal(size=(3, 6))
    omega, alpha, beta, df = (process.omega, process.alpha, process.beta, process.df)
    expected = np.empty(x.shape)
    for t in range(6):
        past = [beta**j * (omega + alpha * x[:, t - 1 - j] ** 2) for j in range(t)]
        variance = beta**t * omega / (1 - alpha - beta) + sum(past)
        expected[:, t] = student_t.logpdf(x[:, t], df, 0, np.sqrt(variance * (df - 2) / df))
    np.testing.assert_allclose(process.log_prob_steps(x[:, :, None]), expected, rtol=1e-10)


def test_skewed_noise_is_log_gamma():
    process = SkewedAutoregressive(phi=0.4, scale=1.3, shape=0.6)
    x = np.random.default_rng(2).normal(size=(3, 6))
    before = np.pad(x, ((0, 0), (1, 0)))[:, :-1]
    # scipy's loggamma is the logarithm itself
    expected = loggamma.logpdf(-(x - 0.4 * before) / 1.3, 0.6) - math.log(1.3)
    np.testing.assert_allclose(process.log_prob_steps(x[:, :, None]), expected, rtol=1e-10)
    samples = values(SkewedAutoregressive().sample(40_000, 2, seed=4))[..., 0]
    noise = (samples[:, 1] - 0.7 * samples[:, 0]) / 0.3
    assert kstest(-noise, loggamma(0.3).cdf).pvalue > 0.01
    assert kstest(-samples[:, 0] / 0.3, loggamma(0.3).cdf).pvalue > 0.01


def test_banana_is_a_normal_distribution_unbent():
    """b_t - bend (a_t^2 - level) is an autoregression of its own, and shearing keeps volumes."""
    process = Banana(phi=0.4, bend=-0.6, wide=1.3, narrow=0.2)
    x = np.random.default_rng(3).normal(size=(4, 5, 2))
    a, b = x[..., 0], x[..., 1]
    before = np.pad(x, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    straight = b + 0.6 * (a**2 - 1.3**2 / (1 - 0.16))
    expected = norm.logpdf(a, 0.4 * before[..., 0], 1.3)
    expected = expected + norm.logpdf(straight, 0.4 * before[..., 1], 0.2)
    np.testing.assert_allclose(process.log_prob_steps(x), expected, rtol=1e-10)


def test_garch_sample_moments():
    # Variances are stationary from the first step on. With k = E e^4 = 3 (df - 2) / (df - 4):
    # E s_t^4 follows from s_t^2 = omega + (alpha e^2 + beta) s_{t-1}^2.
    process, T = Garch(df=12.0, alpha=0.1), 3
    x = values(process.sample(40_000, T, seed=8))[:, :, 0]
    mean = process.omega / (1 - process.alpha - process.beta)
    assert_covariance(x, 0.0, mean * np.eye(T))
    kurtosis = 3 * (process.df - 2) / (process.df - 4)
    growth = process.alpha**2 * kurtosis + 2 * process.alpha * process.beta + process.beta**2
    both = process.omega * (process.omega + 2 * (process.alpha + process.beta) * mean)
    assert_mean(
        x[:, 1] ** 2 * (x[:, 0] ** 2),
        process.omega * mean + (process.alpha * kurtosis + process.beta) * mean**2,
    )
    assert_mean(x[:, 1] ** 4, kurtosis * (both + growth * mean**2))


def test_banana_sample_moments():
    # E a_t^2 follows its recursion from a_0 = 0, and
    # E b_t = sum_i phi^(t-i) bend (E a_i^2 - level).
    process, T = Banana(), 4
    x = values(process.sample(40_000, T, seed=9))
    level = process.wide**2 / (1 - process.phi**2)
    square = process.wide**2 * np.cumsum(process.phi ** (2 * np.arange(T)))
    weights = np.tril(process.phi ** np.abs(np.subtract.outer(np.arange(T), np.arange(T))))
    assert_mean(x[..., 0], 0.0)
    assert_mean(x[..., 0] ** 2, square)
    assert_mean(x[..., 1], weights @ (process.bend * (square - level)))
    assert_mean(x[..., 0] * x[..., 1], 0.0)  # correlation sees nothing; the next moment does
    third = (x[:, 0, 0] ** 2) * x[:, 0, 1]
    assert_mean(third, process.bend * (3 * process.wide**4 - process.wide**2 * level))


@pytest.mark.parametrize("length", [1, 3])
def test_banana_integrates_to_one_over_its_plane(length):
    a, b = np.linspace(-8, 8, 401), np.linspace(-12, 50, 3101)
    history = values(Banana().sample(1, length, seed=3))[0, :-1]
    plane = np.stack(np.meshgrid(a, b, indexing="ij"), -1).reshape(-1, 1, 2)
    x = np.concatenate([np.tile(history, (len(plane), 1, 1)), plane], axis=1)
    density = np.exp(Banana().log_prob_steps(x)[:, -1]).reshape(len(a), len(b))
    assert trapezoid(trapezoid(density, b), a) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_predictive_counts_sum_to_one(length):
    counts = np.arange(150.0)
    history = values(PoissonCounts().sample(1, length, seed=3))[0, :-1]
    x = np.concatenate([np.tile(history, (150, 1, 1)), counts[:, None, None]], axis=1)
    assert np.exp(PoissonCounts().log_prob_steps(x)[:, -1]).sum() == pytest.approx(1, abs=1e-12)


def test_counts_sample_moments():
    # With deviations l of the rate and x of the count from mu: x = l + noise of variance mu,
    # and l_{t+1} = alpha x_t + beta l_t.
    process, T = PoissonCounts(), 6
    x = values(process.sample(20_000, T, seed=7))[:, :, 0]
    mu = process.omega / (1 - process.alpha - process.beta)
    rate_variance, covariance = 0.0, np.zeros((T, T))
    for t in range(T):
        covariance[t, t] = rate_variance + mu
        lagged = process.alpha * covariance[t, t] + process.beta * rate_variance
        for later in range(t + 1, T):
            decay = (process.alpha + process.beta) ** (later - t - 1)
            covariance[t, later] = covariance[later, t] = lagged * decay
        rate_variance = (process.alpha + process.beta) ** 2 * rate_variance + process.alpha**2 * mu
    assert_covariance(x, mu, covariance)


@pytest.mark.parametrize("value", [-1.0, 0.5])
def test_counts_refuse_what_is_no_count(value):
    with pytest.raises(InputError, match=f"sequence '0' has the value {value} at step 1; .*counts"):
        PoissonCounts().log_prob_steps(np.array([[[1.0], [value]]]))
