"""Measures of drawn windows against exact answers, and the table of all of them."""

import itertools

import numpy as np
import pytest
from scipy import stats

import seqlatent as sl
from seqlatent.measures import (
    ALL,
    CHEAP,
    MEASURES,
    REFERENCES,
    bootstrap,
    copula,
    correlation,
    energy,
    mmd,
    nearest,
    sliced_wasserstein,
    wasserstein,
)
from seqlatent.measures.distances import wasserstein_1d
from seqlatent.measures.neighbours import to_nearest
from seqlatent.measures.windows import checked, some, squared_distances, to_unit_range


def walks(number: int, seed: int, steps: int = 8, channels: int = 3) -> np.ndarray:
    """(N, T, D) random walks whose channels go together, in units of their own."""
    rng = np.random.default_rng(seed)
    mix = np.array([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [-0.5, 0.2, 0.8]])[:channels, :channels]
    walk = rng.normal(size=(number, steps, channels)).cumsum(1) @ mix.T
    return walk * np.array([1.0, 10.0, 100.0])[:channels] + 5


# -- distances ------------------------------------------------------------------------------------


def test_wasserstein_of_a_shift_is_the_shift():
    real = walks(50, 0)
    shift = np.array([0.3, -0.2, 0.1])
    found = wasserstein(real, real + shift * real.std((0, 1)))
    assert found == pytest.approx(0.2, rel=1e-12)
    assert wasserstein(real, real) == 0


@pytest.mark.parametrize("numbers", [(40, 40), (40, 61), (7, 200)])
def test_wasserstein_is_that_of_scipy(numbers):
    rng = np.random.default_rng(1)
    x, y = (rng.integers(0, 30, n) / 7 for n in numbers)  # with equal values
    assert wasserstein_1d(x, y) == pytest.approx(stats.wasserstein_distance(x, y), rel=1e-12)


def test_sliced_wasserstein_of_a_shift_is_its_mean_projection():
    """A shift of length s projects to s |theta_1|, whose mean over the sphere is known; 200
    directions give it to within four standard errors."""
    real, size = walks(50, 2), 24
    shifted = real + 0.5 * real.std((0, 1))
    along = stats.beta(0.5, (size - 1) / 2)  # of theta_1^2
    mean = along.expect(np.sqrt)
    error = 4 * np.sqrt((along.mean() - mean**2) / 200)
    length = 0.5 * np.sqrt(size)
    assert sliced_wasserstein(real, shifted) == pytest.approx(length * mean, abs=length * error)


@pytest.mark.parametrize(("measure", "usual"), [(mmd, 1e-2), (energy, 2e-2)])
def test_unbiased_measures_have_mean_zero_between_equals(measure, usual):
    """Over 200 pairs of sets of different sizes; the error of the mean is estimated from them."""
    found = [measure(walks(30, 2 * k), walks(45, 2 * k + 1)) for k in range(200)]
    error = np.std(found, ddof=1) / np.sqrt(len(found))
    assert error < usual / 5
    assert abs(np.mean(found)) < 3 * error
    assert np.mean(np.array(found) < 0) > 0.3  # a biased one is never below 0
    wide = np.mean([measure(walks(30, 2 * k), 1.5 * walks(45, 2 * k + 1)) for k in range(20)])
    assert wide > 10 * error


def test_mmd_and_energy_are_sums_over_pairs():
    real, drawn = walks(12, 3), 1.3 * walks(15, 4)
    x, y = ((s - real.mean((0, 1))) / real.std((0, 1)) for s in (real, drawn))
    x, y = x.reshape(12, -1), y.reshape(15, -1)

    def mean_of(f, a, b=None) -> float:
        if b is not None:
            return float(np.mean([f(i, j) for i in a for j in b]))
        return float(np.mean([f(i, j) for i, j in itertools.permutations(a, 2)]))

    def contrast(f) -> float:
        return 2 * mean_of(f, x, y) - mean_of(f, x) - mean_of(f, y)

    distance = lambda a, b: np.linalg.norm(a - b) / np.sqrt(24)  # noqa: E731
    assert energy(real, drawn) == pytest.approx(contrast(distance), rel=1e-9)
    both = np.concatenate([x, y])
    median = np.median([distance(both[i], both[j]) for i in range(27) for j in range(i)])
    widths = np.array([0.25, 0.5, 1, 2, 4]) * median
    kernel = lambda a, b: np.exp(-(distance(a, b) ** 2) / (2 * widths**2)).mean()  # noqa: E731
    assert mmd(real, drawn) == pytest.approx(-contrast(kernel), rel=1e-9)


def test_correlation_is_that_of_the_channels():
    real, drawn = walks(300, 5), walks(200, 6)
    drawn[..., 1] *= -1
    r, s = (np.corrcoef(x.reshape(-1, 3).T) for x in (real, drawn))
    expected = sum(abs(r[c, d] - s[c, d]) for c in range(3) for d in range(c)) / 10
    assert correlation(real, drawn) == pytest.approx(expected, rel=1e-9)
    assert expected > 0.1
    assert correlation(real[..., :1], drawn[..., :1]) == 0


@pytest.mark.parametrize("name", [n for n in CHEAP if n != "nearest"])
def test_distances_have_no_units(name):
    """Scaling and shifting channels of both sets changes nothing."""
    real, drawn, scale = walks(40, 7), 1.2 * walks(40, 8), np.array([1e-3, 5.0, 1e4])
    function = MEASURES[name].function
    found = function(real, drawn)
    assert function(real * scale + 3, drawn * scale + 3) == pytest.approx(found, rel=1e-6)
    assert found > 1e-3


# -- copies ---------------------------------------------------------------------------------------


def test_copies_are_at_distance_zero():
    train, real = walks(300, 9) + 1e6, walks(200, 10) + 1e6
    copied = bootstrap(train, 150)
    assert nearest(real, copied, train=train) == 0
    assert nearest(train, copied) == 0
    near = copied + 1e-4 * np.random.default_rng(0).normal(size=copied.shape)
    assert 0 < nearest(real, near, train=train) < 1e-2


def test_new_windows_are_as_far_as_held_out_ones():
    """Ratios of medians of 400 windows; ten of them scatter by less than 0.1 around 1."""
    found = [
        nearest(walks(400, 3 * k), walks(400, 3 * k + 1), train=walks(400, 3 * k + 2))
        for k in range(20, 30)
    ]
    assert np.mean(found) == pytest.approx(1, abs=4 * np.std(found, ddof=1) / np.sqrt(10))
    assert np.std(found) < 0.1
    left_out = [nearest(walks(400, 2 * k), walks(400, 2 * k + 1)) for k in range(20, 30)]
    assert np.mean(left_out) == pytest.approx(1, abs=0.05)
    assert nearest(walks(400, 0), 3 * walks(400, 1), train=walks(400, 2)) > 1.5


def test_neighbours_are_those_of_all_pairs(monkeypatch):
    monkeypatch.setattr("seqlatent.measures.windows.BLOCK", 90)  # several blocks
    x, known = walks(25, 11).reshape(25, -1), walks(30, 12).reshape(30, -1)
    pairs = np.linalg.norm(x[:, None] - known, axis=-1)
    np.testing.assert_allclose(to_nearest(x, known), pairs.min(1))
    own = np.linalg.norm(known[:, None] - known, axis=-1) + np.diag(np.full(30, np.inf))
    np.testing.assert_allclose(to_nearest(known, known, np.arange(30)), own.min(1))
    blocks = [block for _, block in squared_distances(x, known)]
    assert len(blocks) > 5
    np.testing.assert_allclose(np.sqrt(np.concatenate(blocks)), pairs, rtol=1e-9)


# -- references -----------------------------------------------------------------------------------


def test_copula_keeps_margins_and_rank_correlations():
    """The margins to within what 4,000 draws allow (Kolmogorov's test at one in 10^4 for each of
    the 24), rank correlations to 0.05."""
    train = np.exp(walks(4000, 13) / np.array([3.0, 30.0, 300.0]))
    drawn = copula(train, 4000, seed=1)
    assert drawn.shape == train.shape
    x, y = train.reshape(4000, -1), drawn.reshape(4000, -1)
    assert np.isin(y, x).all()
    assert min(stats.ks_2samp(x[:, k], y[:, k]).pvalue for k in range(24)) > 1e-4
    ranks = [stats.spearmanr(s).statistic for s in (x, y)]
    np.testing.assert_allclose(ranks[0], ranks[1], atol=0.05)
    assert np.abs(ranks[0][~np.eye(24, dtype=bool)]).max() > 0.9


def test_copula_of_few_windows_and_of_constants():
    train = walks(12, 14)  # fewer windows than values of one
    train[..., 2] = 7.0
    drawn = copula(train, 500, seed=2)
    assert (drawn[..., 2] == 7).all()
    assert np.isin(drawn[:, 3, 0], train[:, 3, 0]).all()
    scores = stats.norm.ppf((stats.rankdata(train[:, 6:8, 0], axis=0) - 0.5) / 12)
    rho = np.corrcoef(scores.T)[0, 1]
    expected = 6 / np.pi * np.arcsin(rho / 2)  # rank correlation of two normal values
    assert stats.spearmanr(drawn[:, 6:8, 0]).statistic == pytest.approx(expected, abs=0.1)
    assert abs(expected) > 0.4


# -- all together ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table():
    train, real, drawn = walks(400, 15), walks(200, 16), 1.5 * walks(150, 17)
    return sl.measure_drawn(real, drawn, train=train, repeats=4)


def test_the_table_has_every_measure_of_all_that_was_drawn(table):
    assert list(table) == ["drawn_by", "measure", "value", "std_error"]
    assert list(table["drawn_by"].unique()) == ["model", *REFERENCES]
    assert list(table["measure"][:6]) == list(CHEAP)
    assert len(table) == 4 * len(CHEAP)
    assert np.isfinite(table[["value", "std_error"]].to_numpy()).all()


def test_a_wrong_model_is_told_from_the_floor(table):
    value = table.set_index(["measure", "drawn_by"])["value"]
    error = table.set_index(["measure", "drawn_by"])["std_error"]
    for name in ("wasserstein", "sliced", "mmd", "energy"):
        apart = value[name, "model"] - value[name, "half"]
        assert apart > 4 * np.hypot(error[name, "model"], error[name, "half"])
    assert value["nearest", "bootstrap"] == 0
    assert value["nearest", "half"] == pytest.approx(1, abs=0.1)
    assert value["nearest", "model"] > 1.1


def test_without_training_windows_the_real_ones_are_those():
    real = walks(300, 18)
    found = sl.measure_drawn(real, walks(300, 19), measures=["nearest"], repeats=3)
    value = found.set_index("drawn_by")["value"]
    assert value["bootstrap"] == 0
    assert value[["model", "half", "copula"]].between(0.85, 1.15).all()


def test_a_seed_reproduces_and_another_one_differs():
    real, drawn = walks(60, 20), walks(60, 21)
    first, again, other = (sl.measure_drawn(real, drawn, repeats=2, seed=s) for s in (1, 1, 2))
    assert first.equals(again)
    assert not np.allclose(first["value"], other["value"])
    once = sl.measure_drawn(real, drawn, repeats=1, measures=["mmd"], references=[])
    assert len(once) == 1
    assert once["std_error"].isna().all()


def test_every_measure_says_what_it_is():
    assert set(CHEAP) < set(ALL)
    for measure in MEASURES.values():
        assert measure.better in ("lower", "near 1")
        assert len(measure.meaning.split()) > 4


@pytest.mark.parametrize(
    ("real", "drawn", "options", "sentence"),
    [
        (np.zeros((20, 3)), np.zeros((20, 4)), {}, r"drawn windows have the steps.*\(4, 1\)"),
        (np.zeros((19, 3, 1)), np.zeros((20, 3, 1)), {}, "19 real windows cannot be halved"),
        (np.zeros((20, 3, 1)), np.zeros((4, 3, 1)), {}, "4 drawn windows: give at least 10"),
        (np.zeros(20), np.zeros((20, 3)), {}, r"real windows have the shape \(20,\)"),
        (np.zeros((20, 3)), np.full((20, 3), np.nan), {}, "20 drawn windows of 20 with missing"),
        (np.zeros((20, 3)), np.zeros((20, 3)), {"measures": ["mdm"]}, "did you mean 'mmd'"),
        (np.zeros((20, 3)), np.zeros((20, 3)), {"measures": "mmd"}, "give a list of names"),
        (np.zeros((20, 3)), np.zeros((20, 3)), {"references": ["whole"]}, "unknown reference"),
        (np.zeros((20, 3)), np.zeros((20, 3)), {"repeats": 0}, "repeats is 0"),
        (
            np.zeros((20, 3)),
            np.zeros((20, 3)),
            {"train": np.zeros((20, 5))},
            "training windows have the steps",
        ),
    ],
)
def test_bad_input_is_refused(real, drawn, options, sentence):
    with pytest.raises(sl.InputError, match=sentence):
        sl.measure_drawn(real, drawn, **options)


def test_windows_that_are_all_alike_can_be_measured():
    found = sl.measure_drawn(np.ones((20, 3)), np.ones((20, 3)), repeats=2)
    of_copies = found["measure"] == "nearest"
    assert found.loc[~of_copies, "value"].abs().max() < 1e-12
    assert found.loc[of_copies, "value"].isna().all()  # copies already: nothing to compare with


def test_windows_are_scaled_by_the_real_ones():
    real, drawn = walks(40, 22), walks(40, 23)
    x, y = to_unit_range(real, drawn)
    assert x.min((0, 1)) == pytest.approx(0)
    assert x.max((0, 1)) == pytest.approx(1)
    again, _ = to_unit_range(x, y)
    np.testing.assert_array_equal(again, x)
    back = y * np.ptp(real, axis=(0, 1)) + real.min((0, 1))
    np.testing.assert_allclose(back, drawn)
    assert checked(real[..., 0], "real").shape == (40, 8, 1)
    assert len(np.unique(some(np.arange(50), 20, np.random.default_rng(0)))) == 20
