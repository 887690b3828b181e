"""Simulated processes against oracles that share no code with them.

Monte-Carlo checks have fixed seeds and allow four standard errors, estimated from the same draws.
"""

import itertools
import math
from typing import Any

import numpy as np
import pytest
from scipy.integrate import trapezoid
from scipy.linalg import toeplitz
from scipy.stats import kstest, loggamma, multivariate_normal, norm, poisson
from scipy.stats import t as student_t

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.sequence import Sequence
from seqlatent.errors import InputError
from seqlatent.processes.continuous import (
    PROCESSES,
    AutoregressiveTwo,
    Banana,
    Garch,
    HiddenMarkov,
    LinearGaussianProcess,
    PoissonCounts,
    SkewedAutoregressive,
    SwitchingAutoregressive,
)

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


def assert_mean(draws: np.ndarray, expected: np.ndarray | float) -> None:
    """The mean over axis 0 is the expected one within four standard errors."""
    error = draws.std(axis=0) / math.sqrt(len(draws))
    np.testing.assert_array_less(np.abs(draws.mean(axis=0) - expected), 4 * error)


def assert_covariance(x: np.ndarray, mean: np.ndarray | float, covariance: np.ndarray) -> None:
    """Draws (N, T) have these moments within four standard errors, entry by entry."""
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
        law = mean[seen], covariance[np.ix_(seen, seen)]
        value = gaussian_log_prob(x[:t].ravel()[seen], *law) if len(seen) else 0.0
        joint.append(float(value))
    return np.diff(joint)


@every_process
def test_sample_is_a_data_set_of_named_sequences(process):
    data = process.sample(3, 7, seed=0)
    assert [s.unique_id for s in data] == ["0", "1", "2"]
    assert data.num_channels == process.num_channels
    for s in data:
        assert s.x.shape == (7, process.num_channels) and s.x.dtype == np.float64
        np.testing.assert_array_equal(s.ds, np.arange(7))
        assert np.issubdtype(s.ds.dtype, np.integer)


def test_sample_has_the_process_channels():
    assert TWO_CHANNELS.num_channels == Banana().num_channels == 2
    assert values(TWO_CHANNELS.sample(3, 7, seed=0)).shape == (3, 7, 2)


@every_process
def test_the_seed_decides_the_sample(process):
    first, again, other = (values(process.sample(4, 9, seed=s)) for s in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(np.unique(first[:, :, 0], axis=0)) == 4  # and the sequences are not copies


@every_process
@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_an_empty_sample_is_refused(process, size):
    with pytest.raises(InputError, match="at least one"):
        process.sample(*size, seed=0)


@every_process
def test_log_prob_of_ragged_sequences_with_context_sums_each_ones_scored_steps(process):
    x = values(process.sample(3, 8, seed=1))
    steps = process.log_prob_steps(x)
    assert steps.shape == (3, 8)
    spans = [(0, 8, 0), (0, 5, 2), (0, 1, 0)]
    whole = SequenceDataset.from_arrays(x).sequences
    ragged = tuple(s.slice(*span) for s, span in zip(whole, spans, strict=True))
    targets = SequenceDataset.from_arrays(x).targets
    log_prob = process.log_prob(SequenceDataset(ragged, targets))
    expected = [steps[0].sum(), steps[1, 2:5].sum(), steps[2, 0]]
    np.testing.assert_allclose(log_prob, expected, rtol=1e-12)


@every_process
def test_steps_do_not_see_the_future(process):
    x, other = (values(process.sample(20, 8, seed=s)) for s in (1, 2))
    changed = np.concatenate([x[:, :5], other[:, 5:]], axis=1)
    before, after = process.log_prob_steps(x), process.log_prob_steps(changed)
    np.testing.assert_array_equal(before[:, :5], after[:, :5])
    assert (before[:, 5] != after[:, 5]).any()


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
    draws = values(SkewedAutoregressive().sample(40_000, 2, seed=4))[..., 0]
    noise = (draws[:, 1] - 0.7 * draws[:, 0]) / 0.3
    assert kstest(-noise, loggamma(0.3).cdf).pvalue > 0.01
    assert kstest(-draws[:, 0] / 0.3, loggamma(0.3).cdf).pvalue > 0.01


def test_banana_is_a_normal_law_unbent():
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


@pytest.mark.parametrize("name", ["ar2", "linear-gaussian", "switching-ar", "hmm"])
@pytest.mark.parametrize("length", [1, 2, 5])
def test_predictive_densities_integrate_to_one(name, length):
    process = ONE_OF_EACH[name]
    grid = np.linspace(-15, 15, 6001)
    history = values(process.sample(1, length, seed=3))[0, :-1]
    x = np.concatenate([np.tile(history, (len(grid), 1, 1)), grid[:, None, None]], axis=1)
    density = np.exp(process.log_prob_steps(x)[:, -1])
    assert trapezoid(density, grid) == pytest.approx(1, abs=1e-10)
    modes = (np.diff(np.sign(np.diff(density[density > 1e-100]))) < 0).sum()
    if name != "hmm":  # the number of its modes depends on the history
        assert modes == (2 if name == "switching-ar" else 1)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_predictive_counts_sum_to_one(length):
    counts = np.arange(150.0)
    history = values(PoissonCounts().sample(1, length, seed=3))[0, :-1]
    x = np.concatenate([np.tile(history, (150, 1, 1)), counts[:, None, None]], axis=1)
    assert np.exp(PoissonCounts().log_prob_steps(x)[:, -1]).sum() == pytest.approx(1, abs=1e-12)


def test_ar2_sample_moments():
    process = AutoregressiveTwo()
    x = values(process.sample(20_000, 5, seed=4))[:, :, 0]
    assert_covariance(x, 0.0, ar2_covariance(process, 5))


@pytest.mark.parametrize("process", [LinearGaussianProcess(), TWO_CHANNELS], ids=["default", "two"])
def test_linear_gaussian_sample_moments(process):
    x = values(process.sample(20_000, 4, seed=5)).reshape(20_000, -1)
    assert_covariance(x, *linear_gaussian_moments(process, 4))


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


def test_ar2_mean_log_prob_is_minus_the_entropy():
    process, T = AutoregressiveTwo(), 50
    log_prob = process.log_prob(process.sample(4000, T, seed=8))
    log_det = np.linalg.slogdet(2 * math.pi * math.e * ar2_covariance(process, T)).logabsdet
    assert_mean(log_prob, -0.5 * log_det)


def test_regret_of_white_noise_on_ar2():
    # Against iid draws of the same variance: KL = 1/2 (T log var - log det covariance).
    process, T = AutoregressiveTwo(), 20
    covariance = ar2_covariance(process, T)
    white = AutoregressiveTwo(0.0, 0.0, math.sqrt(covariance[0, 0]))
    test = process.sample(4000, T, seed=9)
    log_det = np.linalg.slogdet(covariance).logabsdet
    expected = 0.5 * (T * math.log(covariance[0, 0]) - log_det)
    assert expected > 10
    assert_mean(process.log_prob(test) - white.log_prob(test), expected)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("ar2", AutoregressiveTwo(a1=1.3)),
        ("linear-gaussian", LinearGaussianProcess(R=np.array([[0.2]]))),
        ("switching-ar", SwitchingAutoregressive(stay=0.6)),
        ("switching-ar", SwitchingAutoregressive(shift=0.9)),
        ("counts", PoissonCounts(alpha=0.4, beta=0.4)),
        ("hmm", HiddenMarkov(transition=HiddenMarkov().transition.T)),
        ("hmm", HiddenMarkov(scale=np.array([0.5, 1.0, 0.3]))),
        ("garch", Garch(df=7.0)),
        ("garch", Garch(alpha=0.15)),
        ("banana", Banana(bend=0.69)),
        ("skewed-ar", SkewedAutoregressive(shape=0.32)),
    ],
)
def test_density_ratios_tie_each_sampler_to_its_density(name, wrong):
    # E_p[q(x) / p(x)] = 1 for any density q when x ~ p, and E_p[log p - log q] = KL > 0.
    truth = ONE_OF_EACH[name]
    data = truth.sample(10_000, 8, seed=10)
    regret = truth.log_prob(data) - wrong.log_prob(data)
    assert_mean(np.exp(-regret), 1.0)
    assert regret.mean() > 4 * regret.std() / math.sqrt(len(regret))


@pytest.mark.parametrize("name", ["ar2", "switching-ar", "counts", "hmm", "garch", "skewed-ar"])
def test_missing_values_are_refused_by_the_sequence_name(name):
    x = np.ones((3, 4, 1))
    x[1, 2] = np.nan
    with pytest.raises(InputError, match="sequence '1' has the value nan at step 2"):
        ONE_OF_EACH[name].log_prob_steps(x)
    named = tuple(
        Sequence(f"shop {i}", np.arange(4), row, np.zeros((4, 0))) for i, row in enumerate(x)
    )
    with pytest.raises(InputError, match="sequence 'shop 1' has the value nan at step 2"):
        ONE_OF_EACH[name].log_prob(SequenceDataset(named, ("y",)))


@every_process
def test_infinite_values_and_wrong_shapes_are_refused(process):
    x = np.ones((1, 2, process.num_channels))
    x[0, 1] = np.inf
    with pytest.raises(InputError, match="sequence '0' has the value inf at step 1"):
        process.log_prob_steps(x)
    for shape in [(3, 4), (3, 4, process.num_channels + 1)]:
        with pytest.raises(InputError, match=rf"shape \(N, T, {process.num_channels}\)"):
            process.log_prob_steps(np.ones(shape))


@pytest.mark.parametrize("value", [-1.0, 0.5])
def test_counts_refuse_what_is_no_count(value):
    with pytest.raises(InputError, match=f"sequence '0' has the value {value} at step 1; .*counts"):
        PoissonCounts().log_prob_steps(np.array([[[1.0], [value]]]))


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


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("ar2", {"a2": -1.0}, "stationary"),
        ("ar2", {"a1": math.nan}, "stationary"),
        ("ar2", {"sigma": 0.0}, "sigma must be positive"),
        ("ar2", {"sigma": math.nan}, "sigma must be positive"),
        ("linear-gaussian", {"R": np.zeros((1, 1))}, "R must be symmetric and positive definite"),
        ("linear-gaussian", {"Q": np.diag([1.0, -0.1])}, "Q must be .* semidefinite"),
        ("linear-gaussian", {"P0": np.array([[1.0, 0.5], [0.0, 1.0]])}, "P0 must be symmetric"),
        ("linear-gaussian", {"A": np.eye(3)}, r"A needs shape \(2, 2\) .* not shape \(3, 3\)"),
        ("linear-gaussian", {"m0": np.array([0.0, np.inf])}, "m0 needs .* finite numbers"),
        ("switching-ar", {"phi": 1.0}, "phi must lie between -1 and 1"),
        ("switching-ar", {"sigma": -0.3}, "sigma must be positive"),
        ("switching-ar", {"stay": 1.0}, "stay must lie between 0 and 1"),
        ("switching-ar", {"shift": math.inf}, "shift must be finite"),
        ("hmm", {"scale": np.array([1.0, 0.0, 1.0])}, "scale must be positive"),
        ("hmm", {"loc": np.array([1.0, 0.0, np.nan])}, "loc needs .* finite numbers"),
        ("hmm", {"loc": np.zeros(2)}, r"scale needs shape \(2,\)"),
        ("hmm", {"transition": np.eye(3)}, "positive probabilities"),
        ("hmm", {"transition": np.full((3, 3), 0.3)}, "sum to 1"),
        ("garch", {"omega": 0.0}, "omega must be positive"),
        ("garch", {"alpha": 0.5, "beta": 0.5}, "alpha \\+ beta < 1"),
        ("garch", {"df": 2.0}, "df above 2"),
        ("skewed-ar", {"shape": 0.0}, "shape must be positive"),
        ("skewed-ar", {"phi": 1.0}, "phi must lie between -1 and 1"),
        ("banana", {"phi": -1.0}, "phi must lie between -1 and 1"),
        ("banana", {"narrow": 0.0}, "narrow must be positive"),
        ("banana", {"bend": math.nan}, "bend must be finite"),
        ("counts", {"omega": 0.0}, "omega must be positive"),
        ("counts", {"alpha": -0.1}, "alpha >= 0"),
        ("counts", {"alpha": 0.6, "beta": 0.4}, "alpha \\+ beta < 1"),
    ],
)
def test_invalid_parameters_are_refused(name, parameters, message):
    with pytest.raises(InputError, match=message):
        PROCESSES[name](**parameters)


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
