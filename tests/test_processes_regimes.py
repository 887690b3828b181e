"""Processes with hidden regimes against sums over all paths of the regimes."""

import itertools
import math

import numpy as np
import pytest
from process_checks import assert_covariance, assert_mean, values
from scipy.linalg import toeplitz
from scipy.stats import norm

from seqlatent.processes import HiddenMarkov, SwitchingAutoregressive


@pytest.mark.parametrize("T", [1, 2, 6])
@pytest.mark.parametrize("parameters", [(), (-0.3, 0.5, 1.2, 0.2)])
def test_switching_ar_is_the_sum_over_all_state_paths(parameters, T):
    process = SwitchingAutoregressive(*parameters)
    x = np.random.default_rng(2).normal(scale=1.5, size=(4, T))

    def joint(prefix: np.ndarray) -> float:
        before = np.concatenate([[0.0], prefix[:-1]])
        total = 0.0
        for path in itertools.product([-1, 1], repeat=len(prefix)):
            stays = sum(a == b for a, b in itertools.pairwise(path))
            turns = len(path) - 1 - stays
            loc = process.phi * before + process.shift * np.array(path)
            emission = norm.pdf(prefix, loc, process.sigma).prod()
            total += 0.5 * process.stay**stays * (1 - process.stay) ** turns * emission
        return math.log(total)

    expected = [np.diff([0.0, *(joint(row[:t]) for t in range(1, T + 1))]) for row in x]
    log_prob = process.log_prob_steps(x[:, :, None])
    np.testing.assert_allclose(log_prob, expected, rtol=1e-10, atol=1e-10)


def test_switching_ar_survives_improbable_values():
    # Thirty sigma off either mode the densities are below the smallest float; their logs are not.
    process = SwitchingAutoregressive()
    x = np.full((1, 3, 1), 20.0)
    steps = process.log_prob_steps(x)[0]
    assert steps[0] == pytest.approx(math.log(0.5) + norm.logpdf(20.0, 1.0, 0.3), rel=1e-12)
    # By then the state is surely +1, whatever the prior said.
    expected = math.log(0.7) + norm.logpdf(20.0, 13.0, 0.3)
    np.testing.assert_allclose(steps[1:], expected, rtol=1e-12)


@pytest.mark.parametrize("T", [1, 2, 6])
def test_hidden_markov_is_the_sum_over_all_regime_paths(T):
    process = HiddenMarkov()
    x = np.random.default_rng(2).normal(scale=1.5, size=(4, T))

    def joint(prefix: np.ndarray) -> float:
        total = 0.0
        for path in itertools.product(range(3), repeat=len(prefix)):
            chain = math.prod(process.transition[j, k] for j, k in itertools.pairwise(path)) / 3
            states = list(path)
            total += chain * norm.pdf(prefix, process.loc[states], process.scale[states]).prod()
        return math.log(total)

    expected = [np.diff([0.0, *(joint(row[:t]) for t in range(1, T + 1))]) for row in x]
    log_prob = process.log_prob_steps(x[:, :, None])
    np.testing.assert_allclose(log_prob, expected, rtol=1e-10, atol=1e-10)


def test_switching_ar_sample_moments():
    # x = L (shift s + sigma e) with L_{ti} = phi^{t-i}, and E s_i s_j = (2 stay - 1)^|i-j|.
    process, T = SwitchingAutoregressive(), 5
    x = values(process.sample(20_000, T, seed=6))[:, :, 0]
    L = np.tril(process.phi ** np.maximum(np.subtract.outer(np.arange(T), np.arange(T)), 0))
    signs = toeplitz((2 * process.stay - 1) ** np.arange(T))
    drive = process.shift**2 * signs + process.sigma**2 * np.eye(T)
    assert_covariance(x, 0.0, L @ drive @ L.T)
    assert_mean(x[:, 0] ** 4, 1 + 6 * 0.3**2 + 3 * 0.3**4)  # of +-1 + 0.3 e: far from Gaussian


def test_hidden_markov_sample_moments():
    # From chosen, unequal regimes: p_t = start transition^{t-1}, and x_t, x_s are independent
    # given the regimes. Third moments tell spreads from levels.
    transition = np.array([[0.7, 0.2, 0.1], [0.3, 0.5, 0.2], [0.1, 0.3, 0.6]])
    process, T = HiddenMarkov(transition=transition), 4
    x = values(process.sample(20_000, T, seed=12))[:, :, 0]
    loc, scale = process.loc, process.scale
    power = [np.linalg.matrix_power(transition, k) for k in range(T)]
    p = [np.full(3, 1 / 3) @ power[t] for t in range(T)]
    mean = np.array([p[t] @ loc for t in range(T)])
    second = np.diag([p[t] @ (loc**2 + scale**2) for t in range(T)])
    for t, s in itertools.combinations(range(T), 2):
        second[t, s] = second[s, t] = (p[t] * loc) @ power[s - t] @ loc
    assert_covariance(x, mean, second - np.outer(mean, mean))
    assert_mean(x**3, [p[t] @ (loc**3 + 3 * loc * scale**2) for t in range(T)])
    assert_mean(x[:, 0] * x[:, 1] ** 2, (p[0] * loc) @ transition @ (loc**2 + scale**2))
