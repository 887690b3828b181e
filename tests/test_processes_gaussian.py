"""Gaussian processes against dense Gaussians, which share no code with them."""

import itertools
import math

import numpy as np
import pytest
from process_checks import (
    TWO_CHANNELS,
    ar2_covariance,
    assert_covariance,
    assert_mean,
    gaussian_log_prob,
    gaussian_steps,
    linear_gaussian_moments,
    values,
)

from seqlatent.data.dataset import SequenceDataset
from seqlatent.errors import InputError
from seqlatent.processes import AutoregressiveTwo, LinearGaussianProcess


@pytest.mark.parametrize("T", [1, 2, 3, 8])
@pytest.mark.parametrize("parameters", [(), (0.5, 0.3, 2.0), (-1.2, -0.5, 0.1)])
def test_ar2_is_the_dense_gaussian(parameters, T):
    process = AutoregressiveTwo(*parameters)
    x = np.random.default_rng(0).normal(size=(4, T, 1))
    covariance = ar2_covariance(process, T)
    expected = [gaussian_steps(row, np.zeros(T), covariance) for row in x]
    np.testing.assert_allclose(process.log_prob_steps(x), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("process", [LinearGaussianProcess(), TWO_CHANNELS], ids=["default", "two"])
@pytest.mark.parametrize("share_missing", [0.0, 0.4])
def test_linear_gaussian_is_the_dense_gaussian(process, share_missing):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(5, 7, process.num_channels))
    x[rng.random(x.shape) < share_missing] = np.nan
    if share_missing:
        x[0, 0] = x[1, 3:5] = x[2] = np.nan  # the first step, a gap, everything
    moments = linear_gaussian_moments(process, 7)
    expected = [gaussian_steps(row, *moments) for row in x]
    np.testing.assert_allclose(process.log_prob_steps(x), expected, rtol=1e-8, atol=1e-8)
    data = SequenceDataset.from_arrays(x)
    np.testing.assert_allclose(process.log_prob(data), np.sum(expected, axis=1), atol=1e-8)


def test_ar2_sample_moments():
    process = AutoregressiveTwo()
    x = values(process.sample(20_000, 5, seed=4))[:, :, 0]
    assert_covariance(x, 0.0, ar2_covariance(process, 5))


@pytest.mark.parametrize("process", [LinearGaussianProcess(), TWO_CHANNELS], ids=["default", "two"])
def test_linear_gaussian_sample_moments(process):
    x = values(process.sample(20_000, 4, seed=5)).reshape(20_000, -1)
    assert_covariance(x, *linear_gaussian_moments(process, 4))


def test_ar2_mean_log_prob_is_minus_the_entropy():
    process, T = AutoregressiveTwo(), 50
    log_prob = process.log_prob(process.sample(4000, T, seed=8))
    log_det = np.linalg.slogdet(2 * math.pi * math.e * ar2_covariance(process, T)).logabsdet
    assert_mean(log_prob, -0.5 * log_det)


def test_regret_of_white_noise_on_ar2():
    # Against iid samples of the same variance: KL = 1/2 (T log var - log det covariance).
    process, T = AutoregressiveTwo(), 20
    covariance = ar2_covariance(process, T)
    white = AutoregressiveTwo(0.0, 0.0, math.sqrt(covariance[0, 0]))
    test = process.sample(4000, T, seed=9)
    log_det = np.linalg.slogdet(covariance).logabsdet
    expected = 0.5 * (T * math.log(covariance[0, 0]) - log_det)
    assert expected > 10
    assert_mean(process.log_prob(test) - white.log_prob(test), expected)


def test_ar2_accepts_exactly_the_stationary_coefficients():
    accepted = []
    grid = list(itertools.product(np.arange(-2.3, 2.4, 0.2), np.arange(-1.25, 1.3, 0.1)))
    for a1, a2 in grid:
        try:
            AutoregressiveTwo(a1, a2)
            accepted.append(True)
        except InputError:
            accepted.append(False)
    inside = [bool((np.abs(np.roots([1, -a1, -a2])) < 1).all()) for a1, a2 in grid]
    assert accepted == inside and 0 < sum(inside) < len(inside)


def test_linear_gaussian_may_have_no_noise_in_the_state():
    # A fixed unknown level: P0 and Q are singular (P0 has rank one, so its least eigenvalue comes
    # out a rounding error below zero), and the joint of x is not.
    P0 = np.outer([2.0, 1.1], [2.0, 1.1])
    assert np.linalg.eigvalsh(P0).min() != 0
    still = LinearGaussianProcess(A=np.eye(2), Q=np.zeros((2, 2)), P0=P0)
    x = values(still.sample(3, 6, seed=11))
    expected = gaussian_log_prob(x[:, :, 0], np.zeros(6), 0.1 * np.eye(6) + 4.0)
    np.testing.assert_allclose(still.log_prob_steps(x).sum(axis=1), expected, rtol=1e-8)


def test_linear_gaussian_needs_noise_in_every_direction_of_x():
    with pytest.raises(InputError, match="R must be symmetric and positive definite"):
        LinearGaussianProcess(
            C=np.eye(2), R=np.outer([2.0, 0.1], [2.0, 0.1])
        )  # rank one, up to rounding
