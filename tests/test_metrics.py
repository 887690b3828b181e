"""Measures of forecasts against an independent library, closed forms, and calibrated forecasts."""

import math

import numpy as np
import pytest

from seqlatent.tasks import metrics

S, H, D = 40, 5, 3


@pytest.fixture
def made() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(S, H, D)) * [1, 10, 0.1], rng.normal(size=(H, D)) * [1, 10, 0.1]


# -- the library scoringrules -----------------------------------------------------------------


def test_crps_is_the_library_s(made):
    library = pytest.importorskip("scoringrules")
    x, y = made
    wanted = library.crps_ensemble(y, x, m_axis=0, estimator="fair")
    np.testing.assert_allclose(metrics.crps(x, y), wanted, rtol=1e-10)
    wanted = library.crps_ensemble(y.sum(-1), x.sum(-1), m_axis=0, estimator="fair")
    np.testing.assert_allclose(metrics.crps_of_sum(x, y), wanted, rtol=1e-10)


def test_energy_score_is_the_library_s(made):
    library = pytest.importorskip("scoringrules")
    x, y = made
    wanted = library.es_ensemble(y.ravel(), x.reshape(S, -1), m_axis=0, v_axis=-1, estimator="fair")
    assert metrics.energy_score(x, y) == pytest.approx(float(wanted), rel=1e-10)


@pytest.mark.parametrize("p", [0.5, 1.0, 2.0])
def test_variogram_score_is_the_library_s(made, p):
    library = pytest.importorskip("scoringrules")
    x, y = made
    wanted = library.vs_ensemble(y.ravel(), x.reshape(S, -1), p=p, m_axis=0, v_axis=-1,
                                 estimator="nrg")  # fmt: skip
    assert metrics.variogram_score(x, y, p) == pytest.approx(float(wanted), rel=1e-10)


def test_quantile_loss_is_twice_the_library_s(made):
    library = pytest.importorskip("scoringrules")
    x, y = made
    for level, loss in zip(metrics.LEVELS, metrics.quantile_loss(x, y), strict=True):
        wanted = library.quantile_score(y, np.quantile(x, level, axis=0), level)
        np.testing.assert_allclose(loss, 2 * wanted, rtol=1e-10)


# -- closed forms -------------------------------------------------------------------------------


def test_crps_of_a_normal():
    """sigma (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)), Gneiting and Raftery (2007); within four
    standard errors."""
    mean, sigma, y = 2.0, 3.0, 4.5
    z = (y - mean) / sigma
    phi = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    wanted = sigma * (z * math.erf(z / math.sqrt(2)) + 2 * phi - 1 / math.sqrt(math.pi))
    rng = np.random.default_rng(1)
    # many small groups of paths: an estimate with a bias would show
    scores = [metrics.crps(rng.normal(mean, sigma, (5, 1, 1)), np.full((1, 1), y)).item()
              for _ in range(4000)]  # fmt: skip
    error = np.std(scores) / math.sqrt(len(scores))
    assert abs(np.mean(scores) - wanted) < 4 * error


def test_crps_is_half_the_mean_quantile_loss_over_all_levels(made):
    """CRPS = int_0^1 2 rho_u(y - q_u) du, here of a fine grid of paths and levels."""
    y = np.array([[0.3]])
    x = np.linspace(-1, 2, 4001)[:, None, None]
    levels = (np.arange(2000) + 0.5) / 2000
    wanted = metrics.quantile_loss(x, y, levels.tolist()).mean()
    assert metrics.crps(x, y).item() == pytest.approx(wanted, rel=1e-3)


def test_quantile_loss_by_hand():
    x = np.array([0.0, 1.0, 2.0, 3.0, 4.0])[:, None, None]
    loss = metrics.quantile_loss(x, np.array([[3.0]]), (0.25, 0.5, 0.75, 1.0)).ravel()
    # q = 1, 2, 3, 4: twice 0.25 * 2, 0.5 * 1, 0, 0 * 1
    np.testing.assert_allclose(loss, [1.0, 1.0, 0.0, 0.0])
    loss = metrics.quantile_loss(x, np.array([[0.0]]), (0.25, 0.75)).ravel()
    np.testing.assert_allclose(loss, [2 * 0.75 * 1, 2 * 0.25 * 3])


def test_energy_score_of_one_value_is_crps(made):
    x, y = made
    x, y = x[:, :1, :1], y[:1, :1]
    assert metrics.energy_score(x, y) == pytest.approx(metrics.crps(x, y).item())


def test_mase_by_hand():
    history = np.array([[1.0], [5.0], [2.0], [np.nan], [5.0], [9.0]])
    truth, point = np.array([[4.0], [np.nan], [8.0]]), np.array([[3.0], [0.0], [5.0]])
    # mean error 2; seasonal differences 1, nan, 3, nan of season 2
    np.testing.assert_allclose(metrics.mase(point, truth, history, 2), [1.0])
    # differences 4, -3, nan, nan, 4 of season 1
    np.testing.assert_allclose(metrics.mase(point, truth, history, 1), [2 / (11 / 3)])
    assert np.isnan(metrics.mase(point, truth, np.ones((4, 1)), 1)).all()
    assert np.isnan(metrics.mase(point, truth, history[:2], 2)).all()


def test_smape_by_hand():
    truth, point = np.array([[4.0, 0.0, 0.0, np.nan]]), np.array([[2.0, 0.0, 3.0, 1.0]])
    np.testing.assert_allclose(metrics.smape(point, truth), [[200 * 2 / 6, 0, 200, np.nan]])


def test_accuracy_by_hand():
    x = np.array([[0, 1, 2], [0, 1, 1], [1, 0, 2]], dtype=float)
    np.testing.assert_array_equal(metrics.accuracy(x, np.array([0, 0, np.nan])), [1, 0, np.nan])


# -- calibrated forecasts ---------------------------------------------------------------------


def calibrated(num: int, discrete: bool, paths: int = 19):
    """Random walks as forecasts, and one more of them as the truth."""
    rng = np.random.default_rng(2)
    for _ in range(num):
        x = rng.poisson(1, (paths + 1, H, D)) if discrete else rng.normal(size=(paths + 1, H, D))
        x = x.cumsum(1).astype(float)
        yield x[1:], x[0]


def check_share(hits: np.ndarray, level: float) -> None:
    """(n,) independent hits come at a level, to within four standard errors."""
    error = math.sqrt(level * (1 - level) / len(hits))
    assert abs(hits.mean() - level) < 4 * error


def test_coverage_of_a_calibrated_forecast():
    """With 19 paths the intervals end at paths, so that each level is exact."""
    levels = (0.5, 0.8, 0.9)
    hits = np.stack([metrics.covered(x, y, levels) for x, y in calibrated(3000, False)])
    joint = np.stack([metrics.covered_jointly(x, y, levels) for x, y in calibrated(3000, False)])
    for i, level in enumerate(levels):
        for h in (0, H - 1):
            check_share(hits[:, i, h, 0], level)
        check_share(joint[:, i], level)
    # single intervals hold a whole path much more rarely
    assert hits[:, 1].min((1, 2)).mean() < 0.3


@pytest.mark.parametrize("discrete", [False, True])
def test_pit_of_a_calibrated_forecast_is_uniform(discrete):
    rng = np.random.default_rng(3)
    u = np.stack([metrics.pit(x, y, rng) for x, y in calibrated(3000, discrete)])
    assert ((u > 0) & (u < 1)).all()
    for level in (0.1, 0.25, 0.5, 0.9):
        check_share(u[:, 2, 1] < level, level)


def test_counts_of_paths_vary_as_the_truth_s_do():
    """Over many windows the variance of a bin's count is the same for the truth and for the paths;
    both are wider than that of independent values, because a walk stays where it is."""
    rng = np.random.default_rng(4)
    of_truth, of_paths = [], []
    for x, y in calibrated(2000, False):
        of_truth.append((metrics.pit(x, y, rng)[:, 0] < 0.2).sum())
        counts = metrics.pit_counts_of_paths(x[..., :1], y[:, :1], 5, rng)
        assert (counts.sum(1) == H).all()
        of_paths.append(counts[:, 0])
    independent = H * 0.2 * 0.8
    assert np.mean(of_paths) == pytest.approx(H * 0.2, rel=0.01)
    assert np.var(of_truth) == pytest.approx(np.var(of_paths), rel=0.1)
    assert np.var(of_paths) > 1.5 * independent


def test_a_forecast_that_is_too_narrow_is_seen():
    pairs = [(0.5 * x, y) for x, y in calibrated(500, False)]
    assert np.mean([metrics.covered(x, y, (0.9,)) for x, y in pairs]) < 0.7
    assert np.mean([metrics.covered_jointly(x, y, (0.9,)) for x, y in pairs]) < 0.4


# -- missing values ---------------------------------------------------------------------------


def test_missing_values_are_left_out(made):
    x, y = made
    gap = y.copy()
    gap[1, 2] = gap[3] = np.nan
    seen = np.isfinite(gap)
    rng = np.random.default_rng
    for measure in (
        metrics.crps,
        lambda a, b: metrics.quantile_loss(a, b)[3],
        lambda a, b: metrics.covered(a, b)[1],
        lambda a, b: metrics.smape(np.median(a, 0), b),
        lambda a, b: metrics.pit(a, b, rng(0)),
    ):
        whole, part = measure(x, y), measure(x, gap)
        np.testing.assert_array_equal(np.isnan(part), ~seen)
        np.testing.assert_array_equal(part[seen], whole[seen])
    assert np.isnan(metrics.crps_of_sum(x, gap)).tolist() == [False, True, False, True, False]
    flat, rest = x[:, seen][:, None], gap[seen][None]
    assert metrics.energy_score(x, gap) == pytest.approx(metrics.energy_score(flat, rest))
    assert metrics.variogram_score(x, gap) == pytest.approx(metrics.variogram_score(flat, rest))
    joint = metrics.covered_jointly(x, gap)
    np.testing.assert_array_equal(joint, metrics.covered_jointly(flat, rest))
    assert (metrics.pit_counts_of_paths(x, gap, 4, rng(0)).sum(1) == seen.sum()).all()


def test_nothing_is_left():
    x, y = np.zeros((3, H, D)), np.full((H, D), np.nan)
    assert np.isnan(metrics.energy_score(x, y))
    assert np.isnan(metrics.variogram_score(x, y))
    assert np.isnan(metrics.covered_jointly(x, y)).all()
    assert np.isnan(metrics.crps(x, y)).all()


def test_a_variogram_of_too_many_values_is_left_out():
    x = np.zeros((2, metrics.MAX_VALUES + 1, 1))
    assert np.isnan(metrics.variogram_score(x, x[0]))
