"""What tests of simulated processes share: moments of samples, and dense Gaussians as oracles.

Monte-Carlo checks have fixed seeds and allow four standard errors, estimated from the same samples.
"""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from scipy.linalg import toeplitz
from scipy.stats import multivariate_normal

from seqlatent.data.dataset import SequenceDataset
from seqlatent.processes import PROCESSES, AutoregressiveTwo, LinearGaussianProcess

TWO_CHANNELS = LinearGaussianProcess(
    A=np.array([[0.9, 0.3], [-0.2, 0.7]]),
    C=np.array([[1.0, 0.5], [-0.4, 2.0]]),
    Q=np.array([[0.5, 0.2], [0.2, 0.3]]),
    R=np.array([[0.4, 0.3], [0.3, 0.6]]),
    m0=np.array([1.0, -2.0]),
    P0=np.array([[2.0, 0.6], [0.6, 0.8]]),
)
ONE_OF_EACH = {name: process() for name, process in PROCESSES.items()}
every_process = pytest.mark.parametrize("process", ONE_OF_EACH.values(), ids=list(ONE_OF_EACH))


def values(data: SequenceDataset) -> np.ndarray:
    return np.stack([s.x for s in data])


def assert_mean(samples: np.ndarray, expected: np.ndarray | float) -> None:
    """The mean over axis 0 is the expected one within four standard errors."""
    error = samples.std(axis=0) / math.sqrt(len(samples))
    np.testing.assert_array_less(np.abs(samples.mean(axis=0) - expected), 4 * error)


def assert_covariance(x: np.ndarray, mean: np.ndarray | float, covariance: np.ndarray) -> None:
    """Samples (N, T) have these moments within four standard errors, entry by entry."""
    assert_mean(x, mean)
    centred = x - mean
    assert_mean(centred[:, :, None] * centred[:, None, :], covariance)


def ar2_covariance(process: AutoregressiveTwo, T: int) -> np.ndarray:
    """Stationary covariance from the moving-average form x_t = sigma sum_j psi_j e_{t-j}."""
    psi = [1.0, process.a1]
    while len(psi) < 2000:
        psi.append(process.a1 * psi[-1] + process.a2 * psi[-2])
    weights = np.array(psi)
    lags = [weights[: 2000 - k] @ weights[k:] for k in range(T)]
    return process.sigma**2 * toeplitz(lags)


def linear_gaussian_moments(
    process: LinearGaussianProcess, T: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of x_{1:T} flattened, as a linear map of all the noises at once."""
    Z, D = process.A.shape[0], len(process.C)
    power = np.linalg.matrix_power
    z_of_noise = np.zeros((T * Z, T * Z))
    for t, i in itertools.product(range(T), range(T)):
        if i <= t:
            z_of_noise[t * Z : (t + 1) * Z, i * Z : (i + 1) * Z] = power(process.A, t - i)
    noise = np.kron(np.eye(T), process.Q)
    noise[:Z, :Z] = process.P0
    C = np.kron(np.eye(T), process.C)
    mean = C @ z_of_noise[:, :Z] @ process.m0
    covariance = C @ z_of_noise @ noise @ z_of_noise.T @ C.T
    assert mean.shape == (T * D,)
    return mean, covariance + np.kron(np.eye(T), process.R)


def gaussian_log_prob(x: np.ndarray, mean: np.ndarray, covariance: Any) -> np.ndarray:
    # `Any`: a type checker infers from scipy's default, 1, that a covariance is an integer.
    return np.asarray(multivariate_normal.logpdf(x, mean, covariance))


def gaussian_steps(x: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """log p(x_t | x_{<t}) of one (T, D) sequence: differences of the observed prefixes' joints."""
    T = len(x)
    joint = [0.0]
    for t in range(1, T + 1):
        seen = np.flatnonzero(~np.isnan(x[:t].ravel()))
        moments = mean[seen], covariance[np.ix_(seen, seen)]
        value = gaussian_log_prob(x[:t].ravel()[seen], *moments) if len(seen) else 0.0
        joint.append(float(value))
    return np.diff(joint)
