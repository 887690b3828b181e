"""The last season again, and a random walk: their laws against closed forms."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

from seqlatent.tasks.baselines import (
    random_walk,
    seasonal_naive,
    seasonal_naive_log_prob,
    usable_season,
)

T, D, S = 60, 2, 20_000


@pytest.fixture
def history() -> np.ndarray:
    rng = np.random.default_rng(0)
    wave = np.sin(2 * np.pi * np.arange(T) / 4)[:, None] * [3, 1]
    noise = rng.normal(size=(T, D)) @ [[1.0, 0.7], [0.0, 0.5]]
    return wave + noise


def differences(x: np.ndarray, m: int) -> np.ndarray:
    return x[m:] - x[:-m]


@pytest.mark.parametrize("m", [1, 4])
def test_seasonal_naive_has_the_textbook_mean_and_variance(history, m):
    paths = seasonal_naive(history, 10, m, S, np.random.default_rng(1))
    assert paths.shape == (S, 10, D)
    moment = differences(history, m).T @ differences(history, m) / (T - m)
    for h in range(1, 11):
        k = -(-h // m)
        wanted = history[T + h - 1 - k * m]
        scale = np.sqrt(k * np.diag(moment))
        assert (np.abs(paths[:, h - 1].mean(0) - wanted) < 4 * scale / np.sqrt(S)).all()
        np.testing.assert_allclose(np.cov(paths[:, h - 1].T), k * moment, rtol=0.05, atol=0.03)


def test_a_season_later_the_noise_is_still_there(history):
    x = seasonal_naive(history, 6, 4, S, np.random.default_rng(1))[..., 0]
    r = np.corrcoef(x.T)
    assert r[0, 4] == pytest.approx(np.sqrt(1 / 2), abs=0.02)
    assert abs(r[0, 1]) < 0.03


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("m", [1, 4])
def test_log_prob_is_that_of_the_dense_normal(history, m, gaps):
    """A matrix of all steps and channels, from the sums of innovations that the paths are."""
    horizon = 9
    truth = np.random.default_rng(2).normal(size=(horizon, D)) * 3
    if gaps:
        truth[2, 0] = truth[5] = np.nan
    moment = differences(history, m).T @ differences(history, m) / (T - m)
    sums = np.array([[float(i >= j and (i - j) % m == 0) for j in range(horizon)]
                     for i in range(horizon)])  # fmt: skip
    covariance = np.kron(sums @ sums.T, moment)
    mean = np.stack([history[T + h - m * (h // m + 1)] for h in range(horizon)]).ravel()
    seen = np.isfinite(truth.ravel())
    wanted = multivariate_normal(mean[seen], covariance[np.ix_(seen, seen)]).logpdf(
        truth.ravel()[seen]
    )
    assert seasonal_naive_log_prob(history, truth, m) == pytest.approx(wanted)


def test_log_prob_of_one_step(history):
    x = history[:, :1]
    sigma = np.sqrt((differences(x, 4) ** 2).mean())
    wanted = norm(x[-4, 0], sigma).logpdf(1.5)
    assert seasonal_naive_log_prob(x, np.array([[1.5]]), 4) == pytest.approx(wanted)


def test_no_density_without_spread():
    x, truth = np.ones((10, 1)), np.ones((2, 1))
    assert np.isnan(seasonal_naive_log_prob(x, truth, 1))
    assert np.isnan(seasonal_naive_log_prob(x[:1], truth, 1))
    both = np.random.default_rng(0).normal(size=(10, 1)) * [1, 1]  # one channel is the other
    assert np.isnan(seasonal_naive_log_prob(both, np.ones((2, 2)), 1))
    assert seasonal_naive_log_prob(x, truth * np.nan, 1) == 0


def test_random_walk_draws_the_differences_of_the_history(history):
    x = history + np.arange(T)[:, None]  # its drift does not go on
    paths = random_walk(x, 5, S, np.random.default_rng(3))
    steps = differences(x, 1) - differences(x, 1).mean(0)
    first = paths[:, 0] - x[-1]
    assert np.abs(first[:, None] - steps[None]).sum(-1).min(1).max() < 1e-9
    for h in range(5):
        scale = np.sqrt((h + 1) * steps.var(0))
        assert (np.abs(paths[:, h].mean(0) - x[-1]) < 4 * scale / np.sqrt(S)).all()
        wanted = (h + 1) * np.cov(steps.T, bias=True)
        np.testing.assert_allclose(np.cov(paths[:, h].T), wanted, rtol=0.06, atol=0.06)


@pytest.mark.parametrize("forecast", ["naive", "walk"])
def test_missing_values(history, forecast):
    x = history.copy()
    x[-1], x[-5, 0], x[10] = np.nan, np.nan, np.nan
    rng = np.random.default_rng(4)
    if forecast == "walk":
        mean = random_walk(x, 1, S, rng).mean(0)[0]
        np.testing.assert_allclose(mean, history[-2], atol=0.1)
        return
    paths = seasonal_naive(x, 4, 4, S, rng)
    wanted = history[-4:].copy()
    wanted[3] = [history[-9, 0], history[-5, 1]]
    np.testing.assert_allclose(paths.mean(0), wanted, atol=0.1)


@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_short_histories(num_steps):
    x = np.arange(num_steps)[:, None] + 1.0
    rng = np.random.default_rng(5)
    for paths in (seasonal_naive(x, 3, 1, 7, rng), random_walk(x, 3, 7, rng)):
        assert paths.shape == (7, 3, 1)
        assert np.isfinite(paths).all()
    assert (random_walk(x, 3, 7, rng) == num_steps).all()  # it has no drift and no spread
    assert np.isfinite(random_walk(np.full((3, 1), np.nan), 2, 4, rng)).all()


def test_labels_repeat():
    x = np.array([[0, 1.0], [2, 5.0], [1, 2.0], [2, 4.0]])
    rng = np.random.default_rng(6)
    assert (seasonal_naive(x, 3, 2, 5, rng, labels=[0])[..., 0] == [1, 2, 1]).all()
    assert (random_walk(x, 3, 5, rng, labels=[0])[..., 0] == 2).all()
    assert random_walk(x, 3, 5, rng, labels=[0])[..., 1].std() > 0


def test_a_season_needs_two_of_it():
    assert usable_season(24, 12) == 12
    assert usable_season(23, 12) == 1
