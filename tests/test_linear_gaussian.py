"""The linear-Gaussian model against the dense joint law of all latents and values, and against the
simulator's own Kalman filter, with the true parameters put in."""

import math

import numpy as np
import pytest
import torch
from cases import dataset
from cases import model as case
from scipy.linalg import solve_discrete_lyapunov
from scipy.stats import multivariate_normal

from seqlatent.api import RNN, LinearGaussian
from seqlatent.data.batch import SequenceBatch, collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.sequence import Sequence
from seqlatent.distributions.choice import choose_emission
from seqlatent.distributions.tails import bent_log_prob
from seqlatent.errors import InputError
from seqlatent.models.gaussian_parts import CholeskyFactor
from seqlatent.models.linear_gaussian import LinearGaussianModel
from seqlatent.options import make
from seqlatent.processes import LinearGaussianProcess as Process
from seqlatent.tasks.encoding import encode
from seqlatent.tasks.forecasting import forecast
from seqlatent.tasks.scoring import score
from seqlatent.training.fitting import fit
from seqlatent.training.options import TrainingOptions

TWO_CHANNELS = Process(
    A=np.array([[0.9, 0.3, 0.0], [-0.2, 0.7, 0.1], [0.0, 0.3, -0.5]]),
    C=np.array([[1.0, 0.5, 0.0], [-0.4, 2.0, 1.0]]),
    Q=np.array([[0.5, 0.2, 0.0], [0.2, 0.3, 0.1], [0.0, 0.1, 0.7]]),
    R=np.array([[0.4, 0.3], [0.3, 0.6]]),
    m0=np.array([1.0, -2.0, 0.5]),
    P0=np.array([[2.0, 0.6, 0.0], [0.6, 0.8, 0.1], [0.0, 0.1, 0.3]]),
)
PROCESSES = {"default": Process(), "two": TWO_CHANNELS}
STIFF = Process(R=np.array([[1e-6]]), P0=1e4 * np.eye(2))  # variances ten orders apart
every_process = pytest.mark.parametrize("process", PROCESSES.values(), ids=list(PROCESSES))
every_gap = pytest.mark.parametrize("share_missing", [0.0, 0.4])


def build(data: SequenceDataset, **options) -> LinearGaussianModel:
    chosen = make(LinearGaussianModel.Options, {"emission": "normal", **options})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LinearGaussianModel(chosen, DataDescription.of(data)).eval()


def basis(process: Process) -> np.ndarray:
    """T for which T z has the stationary law N(0, I)."""
    stationary = solve_discrete_lyapunov(process.A, process.Q)
    return np.linalg.inv(np.linalg.cholesky(stationary))


def put(factor: CholeskyFactor, covariance: np.ndarray) -> None:
    L = torch.from_numpy(np.linalg.cholesky(covariance))
    factor.diagonal.data = torch.log(torch.expm1(L.diagonal() - factor.floor))
    if factor.lower is not None:
        row, column = torch.tril_indices(len(L), len(L), -1)
        factor.lower.data = L[row, column]


def true_model(process: Process) -> LinearGaussianModel:
    """The model with the process's parameters, z in the model's basis."""
    Z, T = len(process.A), basis(process)
    # Unit-scale data, so that the scale's floor lies below any noise of the process.
    unit = np.random.default_rng(0).normal(size=(5, 5, process.num_channels))
    m = build(SequenceDataset.from_arrays(unit), latent_dim=Z, scaling="none")
    inverse = np.linalg.inv(T)
    A, C = T @ process.A @ inverse, process.C @ inverse
    L = np.linalg.inv(np.linalg.cholesky(T @ process.Q @ T.T))
    with torch.no_grad():
        for parameter, value in ((m.M, L @ A), (m.C, C), (m.m0, T @ process.m0)):
            parameter.copy_(torch.from_numpy(value))
        put(m.P0_factor, T @ process.P0 @ T.T)
        put(m.R_factor, process.R)
    return m


def sequences(process: Process, steps: int, share_missing: float) -> np.ndarray:
    """(6, T, D) values far from the process's own; the first step, a gap, everything missing."""
    rng = np.random.default_rng(1)
    x = 2 * rng.normal(size=(6, steps, process.num_channels))
    x[rng.random(x.shape) < share_missing] = np.nan
    if share_missing:
        x[0, 0] = x[1, 3:5] = x[2] = np.nan
    return x


def batch_of(x: np.ndarray) -> SequenceBatch:
    return collate(SequenceDataset.from_arrays(x).sequences)


def joint(process: Process, T: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of (z_{1:T}, x_{1:T}) flattened, from Cov(z_t, z_s) = A^{t-s} P_s."""
    power = np.linalg.matrix_power
    P = [process.P0]
    while len(P) < T:
        P.append(process.A @ P[-1] @ process.A.T + process.Q)
    z = np.block(
        [
            [power(process.A, t - s) @ P[s] if t >= s else P[t] @ power(process.A, s - t).T
             for s in range(T)]
            for t in range(T)
        ]
    )  # fmt: skip
    C = np.kron(np.eye(T), process.C)
    x = C @ z @ C.T + np.kron(np.eye(T), process.R)
    mean = np.concatenate([power(process.A, t) @ process.m0 for t in range(T)])
    return np.concatenate([mean, C @ mean]), np.block([[z, z @ C.T], [C @ z, x]])


def given(
    mean: np.ndarray, covariance: np.ndarray, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of every dimension, given those that are not NaN in `known`."""
    seen = np.flatnonzero(~np.isnan(known))
    if len(seen) == 0:
        return mean, covariance
    gain = np.linalg.solve(covariance[np.ix_(seen, seen)], covariance[seen]).T
    return mean + gain @ (known - mean)[seen], covariance - gain @ covariance[seen]


@pytest.fixture
def normal_tails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model without its bent tails: a linear-Gaussian law, whose densities are known."""
    normal = torch.distributions.Normal(0.0, 1.0)
    monkeypatch.setattr("seqlatent.models.linear_gaussian.bent_log_prob", normal.log_prob)


@pytest.mark.parametrize("process", [*PROCESSES.values(), STIFF], ids=[*PROCESSES, "stiff"])
@every_gap
def test_log_prob_is_that_of_the_simulators_filter(
    process: Process, share_missing: float, normal_tails: None
):
    x = sequences(process, 40, share_missing)
    actual, _ = true_model(process).log_prob(batch_of(x))
    assert actual.dtype == torch.float64
    np.testing.assert_allclose(actual.detach(), process.log_prob_steps(x), rtol=0, atol=1e-8)
    assert np.abs(actual.detach().numpy()).max() > 5


@every_process
@every_gap
def test_log_prob_is_that_of_the_dense_gaussian(
    process: Process, share_missing: float, normal_tails: None
):
    x = sequences(process, 7, share_missing)
    Z, (mean, covariance) = 7 * len(process.A), joint(process, 7)
    actual = true_model(process).log_prob(batch_of(x))[0].sum(1)
    for row, value in zip(x.reshape(len(x), -1), actual.tolist(), strict=True):
        seen = Z + np.flatnonzero(~np.isnan(row))
        law = mean[seen], covariance[np.ix_(seen, seen)]
        expected = multivariate_normal.logpdf(row[seen - Z], *law) if len(seen) else 0.0
        assert value == pytest.approx(float(expected), abs=1e-8)


@every_process
@every_gap
def test_tails_of_the_dense_gaussian_bend(process: Process, share_missing: float):
    """By its Cholesky factor: innovations in standard deviations, whose tails bend beyond 4."""
    x = sequences(process, 7, share_missing)
    Z, (mean, covariance) = 7 * len(process.A), joint(process, 7)
    actual = true_model(process).log_prob(batch_of(x))[0].sum(1)
    largest = 0.0
    for row, value in zip(x.reshape(len(x), -1), actual.tolist(), strict=True):
        seen = Z + np.flatnonzero(~np.isnan(row))
        L = np.linalg.cholesky(covariance[np.ix_(seen, seen)])
        e = np.linalg.solve(L, row[seen - Z] - mean[seen])
        expected = float(bent_log_prob(torch.from_numpy(e)).sum()) - np.log(L.diagonal()).sum()
        assert value == pytest.approx(expected, abs=1e-8)
        largest = max(largest, np.abs(e).max(initial=0.0))
        if len(seen) and np.abs(e).max() <= 4:
            law = mean[seen], covariance[np.ix_(seen, seen)]
            assert value == pytest.approx(multivariate_normal.logpdf(row[seen - Z], *law), abs=1e-8)
    assert share_missing or largest > 5


def test_a_wild_value_has_a_density_and_is_then_missing():
    """By quadrature over the wild channel of a step; by a gap in its place for all others."""
    data = SequenceDataset.from_arrays(np.random.default_rng(0).normal(size=(5, 8, 2)))
    m = build(data, latent_dim=2)
    x = data.sequences[0].x.copy()[None]
    x[0, 4, 0] = 60.0
    wild, gap = x.copy(), x.copy()
    gap[0, 4, 0] = np.nan
    both = [m.log_prob(batch_of(v))[0][0].detach().numpy() for v in (wild, gap)]
    np.testing.assert_allclose(both[0][5:], both[1][5:], rtol=0, atol=1e-12)
    cost = both[1][4] - both[0][4]
    assert 15 < cost < 25
    # The second channel integrates to 1 beside a tame and a wild value of the first one.
    size = np.exp(np.linspace(-9, 30, 700))
    grid = np.concatenate([-size[::-1], size])
    for first in (0.5, 60.0):
        batch = np.repeat(x[:, :5], len(grid) + 1, 0)
        batch[:, 4, 0], batch[:, 4, 1] = first, [*grid, np.nan]
        density = m.log_prob(batch_of(batch))[0][:, 4].exp().detach().numpy()
        assert np.trapezoid(density[:-1], grid) / density[-1] == pytest.approx(1, abs=1e-3)
    smoothed = [m.smoother(batch_of(v))[0].detach().numpy() for v in (wild, gap)]
    np.testing.assert_allclose(*smoothed, rtol=0, atol=1e-12)


@every_process
@every_gap
def test_filter_and_smoother_are_the_dense_conditionals(process: Process, share_missing: float):
    steps, Z, T = 7, len(process.A), basis(process)
    x, m, law = sequences(process, steps, share_missing), true_model(process), joint(process, steps)
    with torch.no_grad():
        filtered, smoothed = m.filter(batch_of(x))[:2], m.smoother(batch_of(x))
    assert len(filtered[1]) == len(smoothed[1]) == (6 if share_missing else 1)
    for i in range(len(x)):
        for t in range(steps):
            past = x[i].copy()
            past[t + 1 :] = np.nan
            for (means, covariances), known in ((filtered, past), (smoothed, x[i])):
                whole = np.concatenate([np.full(steps * Z, np.nan), known.ravel()])
                mean, covariance = given(*law, whole)
                part = slice(t * Z, (t + 1) * Z)
                mean, covariance = T @ mean[part], T @ covariance[part, part] @ T.T
                shared = covariances.expand(len(x), -1, -1, -1)
                np.testing.assert_allclose(means[i, t], mean, rtol=0, atol=1e-9)
                np.testing.assert_allclose(shared[i, t], covariance, rtol=0, atol=1e-9)


@every_process
def test_forecast_paths_have_the_dense_conditional_moments(process: Process):
    """Means, and covariances between steps and channels, within four standard errors."""
    history, ahead, D = sequences(process, 5, 0.4)[3], 3, process.num_channels
    known = np.concatenate([history.ravel(), np.full(ahead * D, np.nan)])
    whole = np.concatenate([np.full(8 * len(process.A), np.nan), known])
    mean, covariance = (part[..., -ahead * D :] for part in given(*joint(process, 8), whole))
    data = SequenceDataset.from_arrays(history[None])
    paths = forecast(true_model(process), data, ahead, num_samples=20_000)[0].samples
    paths = paths.reshape(20_000, -1)
    centred = paths - mean
    for draws, expected in (
        (paths, mean),
        (centred[:, :, None] * centred[:, None], covariance[-ahead * D :]),
    ):
        error = draws.std(0) / math.sqrt(len(draws))
        np.testing.assert_array_less(np.abs(draws.mean(0) - expected), 4 * error)


def test_any_parameters_give_a_stable_system_with_a_standard_normal_stationary_distribution():
    m = build(dataset(), latent_dim=5)
    for size in (0.1, 3.0, 300.0):
        m.M.data = size * torch.randn(5, 5, dtype=torch.float64)
        s = m.system()
        assert torch.linalg.eigvals(s.A).abs().max() < 1
        assert torch.linalg.eigvalsh(s.Q).min() > 0
        torch.testing.assert_close(s.A @ s.A.mT + s.Q, torch.eye(5).double())


@pytest.mark.parametrize("latent_dim", [1, 2, 5])
def test_training_begins_with_damped_oscillations(latent_dim: int):
    radius = torch.linalg.eigvals(build(dataset(), latent_dim=latent_dim).system().A).abs()
    torch.testing.assert_close(radius, torch.full_like(radius, 0.9))


def test_covariates_move_the_mean_of_the_values():
    """Scores as the same values less E u, by the model without covariates."""
    rng = np.random.default_rng(2)
    x, u = rng.normal(size=(3, 6, 2)), rng.normal(size=(3, 6, 2))
    E = np.array([[0.5, -1.0], [2.0, 0.3]])

    def data(values: np.ndarray, covariates: np.ndarray, names: tuple[str, ...]):
        rows = [
            Sequence(str(i), np.arange(6), *pair)
            for i, pair in enumerate(zip(values, covariates, strict=True))
        ]
        return SequenceDataset(tuple(rows), ("a", "b"), covariate_names=names)

    known = data(x, u, ("u", "w"))
    m = build(known, latent_dim=2, scaling="none")
    plain = build(data(x, u[..., :0], ()), latent_dim=2, scaling="none")
    assert m.E is not None and plain.E is None
    assert torch.equal(m.C, plain.C)  # fresh parameters of one seed
    m.E.data = torch.from_numpy(E)
    scaled = (u - m.description.covariate_loc) / m.description.covariate_scale
    less = data(x - scaled @ E.T, u[..., :0], ())
    np.testing.assert_allclose(
        score(m, known)[0]["log_prob"], score(plain, less)[0]["log_prob"], rtol=0, atol=1e-5
    )
    m.loss(collate(known.sequences)).backward()
    assert (m.E.grad != 0).all()


def test_at_floor_is_where_a_channels_scale_is():
    m, batch = build(dataset(channels=2), latent_dim=2), batch_of(np.zeros((2, 3, 2)))
    assert not m.at_floor(batch).any()
    with torch.no_grad():  # nothing of channel 1 is left but noise at the floor
        m.C[1] = 0
        m.R_factor.diagonal[1] = -20
    assert m.at_floor(batch).tolist() == [[[0.0, 1.0]] * 3] * 2


def test_independent_channels_have_a_diagonal_noise():
    x = dataset(channels=3)
    assert build(x, channels="independent").R_factor.lower is None
    assert build(x).R_factor.lower is not None


def test_encode_gives_the_smoothed_state():
    m, data = case("linear-gaussian"), dataset(num=2)
    frame = encode(m, data)
    for s in data:
        part = frame[frame["unique_id"] == s.unique_id]
        with torch.no_grad():
            mean, covariance = m.smoother(collate([s]))
        for k in range(3):
            np.testing.assert_array_equal(part[f"z{k + 1}_mean"], mean[0, :, k])
            np.testing.assert_array_equal(part[f"z{k + 1}_scale"], covariance[0, :, k, k].sqrt())
    assert frame.equals(encode(m, data, num_samples=3, seed=5))  # nothing is drawn


def test_emissions():
    """Normal is all it has: `auto` takes it whatever the values; others are refused."""
    counts = DataDescription.of(dataset("count"))
    assert LinearGaussianModel.choose_emission(counts)[0] == "normal"
    assert choose_emission(counts)[0] == "negative-binomial"
    with pytest.raises(InputError, match="'linear-gaussian' cannot have emission=poisson, only no"):
        build(dataset("count"), emission="poisson")
    x = dataset("count", num=20)
    fitted = LinearGaussian(latent_dim=2).fit(x, max_steps=1)
    assert fitted.module.options.emission == "normal"
    with pytest.raises(InputError, match="cannot have emission=mixture"):
        LinearGaussian(emission="mixture").fit(x, max_steps=1)
    assert RNN(hidden_dim=2, emission="poisson").fit(x, max_steps=1).options.emission == "poisson"


def test_fit_comes_near_the_truth():
    truth = Process()
    train, test = truth.sample(200, 30, seed=0), truth.sample(400, 30, seed=1)
    m = build(train, latent_dim=2)
    regret = [float(np.mean(truth.log_prob(test) - score(m, test)[0]["log_prob"])) / 30]
    options = TrainingOptions(max_steps=80)
    result = fit(m, train, truth.sample(50, 30, seed=2), options, device="cpu")
    assert max(row["learning_rate"] for row in result.curve) > 0.02  # the model's own
    regret.append(float(np.mean(truth.log_prob(test) - score(m, test)[0]["log_prob"])) / 30)
    assert regret[0] > 0.1
    assert regret[1] < 0.01
