"""Hidden states of processes: what the filter and the smoother say, against enumeration and dense
Gaussians, and against the states themselves.

Monte-Carlo checks have fixed seeds and allow four standard errors.
"""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from process_checks import ONE_OF_EACH, TWO_CHANNELS, assert_mean, values
from scipy.stats import norm

from seqlatent.errors import InputError
from seqlatent.processes import (
    HiddenMarkov,
    LinearGaussianProcess,
    SlowTrend,
    StateProcess,
    SwitchingAutoregressive,
    SwitchingRegimes,
)
from seqlatent.processes.particles import ParticleProcess

WITH_STATES = {name: p for name, p in ONE_OF_EACH.items() if isinstance(p, StateProcess)}
every_state_process = pytest.mark.parametrize(
    "process", WITH_STATES.values(), ids=list(WITH_STATES)
)


def test_processes_with_states_are_known():
    assert set(WITH_STATES) == {
        "hmm", "switching-ar", "switching-regimes", "linear-gaussian", "slow-trend", "pendulum",
        "lorenz",
    }  # fmt: skip


@every_state_process
def test_states_go_with_the_sample_of_the_same_seed(process):
    data, states = process.sample_with_states(4, 9, seed=5)
    np.testing.assert_array_equal(values(data), values(process.sample(4, 9, seed=5)))
    if process.num_regimes:
        assert states.shape == (4, 9) and set(np.unique(states)) <= set(range(process.num_regimes))
    else:
        assert states.shape == (4, 9, len(process.state_names))


@every_state_process
def test_the_filter_does_not_see_the_future_and_the_smoother_does(process):
    x, other = (values(process.sample(4, 8, seed=s)) for s in (1, 2))
    changed = np.concatenate([x[:, :5], other[:, 5:]], axis=1)
    np.testing.assert_array_equal(process.filter(x)[:, :5], process.filter(changed)[:, :5])
    assert not np.allclose(process.smooth(x)[:, 4], process.smooth(changed)[:, 4], atol=1e-9)
    np.testing.assert_array_equal(process.filter(x)[2:3, :1], process.filter(x[:3])[2:3, :1])


@every_state_process
def test_wrong_values_are_refused(process):
    x = np.ones((2, 3, process.num_channels))
    x[1, 2] = np.inf
    for infer in (process.filter, process.smooth):
        with pytest.raises(InputError, match="sequence '1' has the value inf at step 2"):
            infer(x)
        with pytest.raises(InputError, match=r"shape \(N, T,"):
            infer(np.ones((2, 3)))


@every_state_process
def test_posterior_means_are_calibrated(process):
    """E[(s - m) m] = E[s - m] = 0 for a posterior mean m, and later values do not make it worse."""
    number = 600
    if isinstance(process, ParticleProcess):
        number, process = 64, replace(process, num_particles=500)
    data, states = process.sample_with_states(number, 12, seed=11)
    if process.num_regimes:
        states = np.eye(process.num_regimes)[states]
    means = process.filter(values(data)), process.smooth(values(data))
    for m in means:
        assert_mean((states - m).mean(1), 0.0)
        assert_mean(((states - m) * m).mean(1), 0.0)
    errors = [((states - m) ** 2).mean() for m in means]
    assert errors[1] < 1.05 * errors[0]  # of switching-ar both are 3e-5


def conditionals(process: StateProcess, x: np.ndarray, s: int) -> tuple[np.ndarray, np.ndarray]:
    """Means and scales of x_t (T,) given its past and the regime s."""
    before = np.concatenate([[0.0], x[:-1]])
    if isinstance(process, SwitchingAutoregressive):
        loc, scale = process.phi * before + (2 * s - 1) * process.shift, process.sigma
    elif isinstance(process, HiddenMarkov):
        loc, scale = process.loc[s], process.scale[s]
    else:
        assert isinstance(process, SwitchingRegimes)
        loc = process.level[s] + process.phi[s] * (before - process.level[s])
        scale = process.sigma[s]
    return np.broadcast_to(loc, x.shape), np.broadcast_to(scale, x.shape)


def transition(process: StateProcess, j: int, k: int) -> float:
    if isinstance(process, HiddenMarkov):
        return float(process.transition[j, k])
    assert isinstance(process, SwitchingAutoregressive | SwitchingRegimes)
    return process.stay if j == k else (1 - process.stay) / (process.num_regimes - 1)


def over_paths(process: StateProcess, x: np.ndarray) -> np.ndarray:
    """p(x_{1:T}, s_t = k) as (T, K), by the sum over all K^T paths."""
    K, T = process.num_regimes, len(x)
    density = np.stack([norm.pdf(x, *conditionals(process, x, s)) for s in range(K)], 1)
    joint = np.zeros((T, K))
    for path in itertools.product(range(K), repeat=T):
        chain = math.prod(transition(process, j, k) for j, k in itertools.pairwise(path)) / K
        joint[range(T), path] += chain * math.prod(density[range(T), path])
    return joint


@pytest.mark.parametrize("name", ["hmm", "switching-ar", "switching-regimes"])
def test_regimes_are_the_sum_over_all_paths(name):
    process, T = WITH_STATES[name], 5
    x = np.random.default_rng(3).normal(scale=1.5, size=(3, T))
    filtered, smoothed = process.filter(x[..., None]), process.smooth(x[..., None])
    log_prob = process.log_prob_steps(x[..., None])
    for i, row in enumerate(x):
        joint = over_paths(process, row)
        np.testing.assert_allclose(smoothed[i], joint / joint.sum(1, keepdims=True), atol=1e-12)
        for t in range(T):
            prefix = over_paths(process, row[: t + 1])[t]
            np.testing.assert_allclose(filtered[i, t], prefix / prefix.sum(), atol=1e-12)
            assert log_prob[i, : t + 1].sum() == pytest.approx(math.log(prefix.sum()), abs=1e-10)


SINGULAR = LinearGaussianProcess(A=np.array([[0.5, 0.5], [0.0, 1.0]]), Q=np.diag([0.3, 0.0]))


def dense(process: LinearGaussianProcess, T: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and covariance of z_{1:T}, flattened, and the map C of it to x_{1:T}."""
    Z = len(process.A)
    mean, covariance = np.zeros((T, Z)), np.zeros((T, Z, T, Z))
    m, P = process.m0, process.P0
    for t in range(T):
        mean[t] = m
        for later in range(t, T):
            cross = np.linalg.matrix_power(process.A, later - t) @ P
            covariance[later, :, t], covariance[t, :, later] = cross, cross.T
        m, P = process.A @ m, process.A @ P @ process.A.T + process.Q
    C = np.kron(np.eye(T), process.C)
    return mean.ravel(), covariance.reshape(T * Z, T * Z), C


@pytest.mark.parametrize("share_missing", [0.0, 0.3])
@pytest.mark.parametrize(
    "process", [LinearGaussianProcess(), TWO_CHANNELS, SINGULAR], ids=["default", "two", "singular"]
)
def test_linear_gaussian_states_are_the_dense_conditionals(process, share_missing):
    T, D, Z = 6, process.num_channels, len(process.A)
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4, T, D))
    x[rng.random(x.shape) < share_missing] = np.nan
    mean, covariance, C = dense(process, T)
    noise = np.kron(np.eye(T), process.R)

    def given(row: np.ndarray) -> np.ndarray:
        seen = np.flatnonzero(~np.isnan(row))
        S = C[seen] @ covariance @ C[seen].T + noise[np.ix_(seen, seen)]
        gain = np.linalg.solve(S, C[seen] @ covariance).T
        return (mean + gain @ (row[seen] - C[seen] @ mean)).reshape(T, Z)

    filtered, smoothed = process.filter(x), process.smooth(x)
    for i, row in enumerate(x):
        np.testing.assert_allclose(smoothed[i], given(row.ravel()), atol=1e-8)
        for t in range(T):
            past = np.where(np.arange(T)[:, None] <= t, row, np.nan)
            np.testing.assert_allclose(filtered[i, t], given(past.ravel())[t], atol=1e-8)


def test_slow_trend_is_the_stationary_gaussian():
    process, T = SlowTrend(slow=0.9, quick=-0.4, spread=0.7, noise=0.2), 6
    x = values(process.sample(5, T, seed=0))[:, :, 0]
    lags = np.abs(np.subtract.outer(np.arange(T), np.arange(T)))
    trend = 0.9**lags
    S = trend + 0.49 * (-0.4) ** lags + 0.04 * np.eye(T)
    expected = -0.5 * np.einsum("nt,tu,nu->n", x, np.linalg.inv(S), x)
    expected -= 0.5 * (np.linalg.slogdet(S).logabsdet + T * math.log(2 * math.pi))
    log_prob = process.log_prob_steps(x[..., None]).sum(1)
    np.testing.assert_allclose(log_prob, expected, atol=1e-9)
    smoothed = process.smooth(x[..., None])
    np.testing.assert_allclose(smoothed[..., 0], x @ np.linalg.solve(S, trend), atol=1e-9)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"level": np.zeros(1)}, "at least two regimes"),
        ({"phi": np.zeros(2)}, r"with 3 regimes, phi needs shape \(3,\)"),
        ({"phi": np.array([0.0, 1.0, 0.0])}, "phi must lie between -1 and 1"),
        ({"sigma": np.array([1.0, 0.0, 1.0])}, "sigma must be positive"),
        ({"stay": 1.0}, "stay must lie between 0 and 1"),
    ],
)
def test_wrong_regimes_are_refused(parameters, message):
    with pytest.raises(InputError, match=message):
        SwitchingRegimes(**parameters)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"slow": 1.0}, "slow must lie between"), ({"noise": 0.0}, "noise must be positive")],
)
def test_wrong_trends_are_refused(parameters, message):
    with pytest.raises(InputError, match=message):
        SlowTrend(**parameters)
