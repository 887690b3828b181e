"""Anomalies: the tail's law, smoothing, intervals, the rate of false alarms, batch and online."""

import numpy as np
import pandas as pd
import pytest
from cases import MODELS, dataset, example, first_quick, model
from scipy.stats import genpareto

import seqlatent as sl
from seqlatent.api import Model
from seqlatent.data.dataset import SequenceDataset
from seqlatent.errors import InputError
from seqlatent.inference.protocols import Density
from seqlatent.tasks.alarms import (
    Tail,
    calibration,
    generalised_pareto,
    intervals,
    smooth,
    weight_of,
)
from seqlatent.tasks.detecting import calibrate, detect
from seqlatent.tasks.following import follow
from seqlatent.tasks.watching import Detector

PHI, SIGMA = 0.8, 1.0


def ar(num: int, steps: int, seed: int) -> np.ndarray:
    """(num, steps) of x_t = 0.8 x_{t-1} + N(0, 1), from the stationary law on."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(num, steps))
    x[:, 0] /= np.sqrt(1 - PHI**2)
    for t in range(1, steps):
        x[:, t] += PHI * x[:, t - 1]
    return x


def true_surprise(x: np.ndarray) -> list[np.ndarray]:
    """-log p(x_t | x_{<t}) of the process itself, series by series."""
    first = x[:, :1] * np.sqrt(1 - PHI**2)
    e = np.concatenate([first, x[:, 1:] - PHI * x[:, :-1]], 1)
    v = 0.5 * e**2 + 0.5 * np.log(2 * np.pi)
    v[:, 0] -= 0.5 * np.log(1 - PHI**2)
    return list(v)


@pytest.fixture(scope="module")
def fitted() -> Model:
    """A linear model of the process, with 5,000 steps held out."""
    return sl.LinearGaussian(latent_dim=1, scaling="global").fit(
        list(ar(10, 100, 0)), valid=list(ar(10, 500, 99)), max_steps=40, progress=False
    )


# -- the tail --------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.2])
def test_pareto_quantiles(shape):
    """n = 20,000: the errors of xi and sigma are near 0.02, those of quantiles a few per cent."""
    y = genpareto(shape, scale=2.0).rvs(20_000, random_state=np.random.default_rng(0))
    xi, sigma = generalised_pareto(y)
    assert xi == pytest.approx(shape, abs=0.04)
    assert sigma == pytest.approx(2.0, rel=0.04)


def test_pareto_moments_are_exact():
    """Of quantiles at equal steps of probability, the moments are those of the law."""
    p = (np.arange(200_000) + 0.5) / 200_000
    for shape in (-0.4, 0.1, 0.3):
        xi, sigma = generalised_pareto(genpareto(shape, scale=3.0).ppf(p))
        assert xi == pytest.approx(shape, abs=5e-3)
        assert sigma == pytest.approx(3.0, rel=5e-3)


def test_quantiles_beyond_the_sample():
    """An exponential sample of 10,000: the value exceeded once in 100,000 is log 100,000 = 11.5.
    One estimate has an error near 1.2, the mean of 100 one near 0.12."""
    rng = np.random.default_rng(1)
    found = [Tail.of(rng.exponential(size=10_000)).quantile(1e-5) for _ in range(100)]
    assert np.mean(found) == pytest.approx(np.log(1e5), abs=0.36)
    assert np.std(found) < 2


def test_rate_and_quantile_are_inverse():
    tail = Tail.of(np.random.default_rng(2).normal(size=1_000))
    rates = np.array([0.3, 0.1, 0.049, 1e-2, 1e-3, 1e-5])
    back = tail.rate(np.array([tail.quantile(r) for r in rates]))
    np.testing.assert_allclose(back[2:], rates[2:], rtol=1e-9)
    np.testing.assert_allclose(back[:2], rates[:2], atol=1e-3)  # steps of the sample


def test_equal_values_have_a_threshold():
    tail = Tail.of(np.ones(100))
    assert tail.quantile(1e-4) == 1.0
    assert tail.rate(np.array([0.5, 1.0, 1.1])).tolist() == [1.0, 0.0, 0.0]
    two = Tail.of(np.repeat([0.0, 3.0], [950, 50]))
    assert two.quantile(1e-4) == pytest.approx(3.0)
    assert two.rate(np.array([3.1])) == 0


# -- smoothing and intervals -----------------------------------------------------------------------


def test_smoothing_is_its_recursion_and_passes_over_missing_steps():
    v = np.array([1.0, np.nan, 4.0, np.nan, np.nan, 2.0])
    a = weight_of(3.0)
    assert (1 - a) ** 3 == pytest.approx(0.5)
    s, expected = 0.7, []
    for value in v:
        s = s if np.isnan(value) else (1 - a) * s + a * value
        expected.append(np.nan if np.isnan(value) else s)
    np.testing.assert_allclose(smooth(v, 3.0, 0.7), expected)
    np.testing.assert_allclose(smooth(v, 0.0, 0.7), v)


def test_intervals():
    alarm = np.array([1, 1, 0, 1, 0, 0, 1, 0], dtype=bool)
    seen = np.ones(8, dtype=bool)
    assert intervals(alarm, seen, 0) == [(0, 1), (3, 3), (6, 6)]
    assert intervals(alarm, seen, 1) == [(0, 3), (6, 6)]
    assert intervals(alarm, seen, 2) == [(0, 6)]
    seen[[2, 4]] = False  # missing steps do not end an alarm
    assert intervals(alarm, seen, 0) == [(0, 3), (6, 6)]
    assert intervals(~seen & alarm, seen, 5) == []


def test_one_step_sounds_the_alarm_for_about_a_half_life():
    rng = np.random.default_rng(3)
    c = calibration([rng.exponential(size=5_000)], 1.0, 2.0, "noise")
    v = np.full(100, c.mean - 0.1)
    v[50] = 1e6
    x = np.zeros((100, 1))
    assert np.flatnonzero(follow(c, v, x).excess > 0).tolist() == [50, 51]
    c = calibration([rng.exponential(size=5_000)], 1.0, 2.0, "noise", 2_000)
    assert np.flatnonzero(follow(c, v, x).excess > 0).tolist() == [50]


# -- false alarms ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rate", [*(pytest.param(rate, marks=pytest.mark.slow) for rate in (0.5, 1.0)), 10.0]
)
def test_false_alarms_come_at_the_rate_that_was_asked_for(rate):
    """40 calibrations on 20,000 steps of the process itself and as many fresh steps: the mean of
    the realised rates is the asked one within three of its standard errors, each 8 % or less."""
    realised = []
    for seed in range(40):
        c = calibration(true_surprise(ar(40, 500, 2 * seed)), rate, 2.0, "the process")
        x = ar(40, 500, 2 * seed + 1)
        fresh = [
            follow(c, *pair).excess for pair in zip(true_surprise(x), x[..., None], strict=True)
        ]
        realised.append(1000 * float((np.concatenate(fresh) > 0).mean()))
    error = np.std(realised) / np.sqrt(len(realised))
    assert error < 0.08 * rate
    assert np.mean(realised) == pytest.approx(rate, abs=3 * error)


@pytest.mark.parametrize("num", [180, pytest.param(500, marks=pytest.mark.slow)])
def test_few_held_out_steps_do_not_make_many_alarms(num):
    """5 alarmed steps per thousand of independent surprise with half-life 8: the mean of 60
    calibrations on 180 or 500 steps is that within 5 and three of its standard errors, where the
    tail of the few smoothed values alone has 25 (4) and 16 (2); it is said that they are few."""
    rng = np.random.default_rng(3)
    fresh = np.sort(smooth(0.5 * rng.normal(size=200_000) ** 2, 8.0, 0.5))
    realised = []
    for _ in range(60):
        c = calibration([0.5 * rng.normal(size=num) ** 2], 5.0, 8.0, "noise")
        realised.append(1000 * (1 - np.searchsorted(fresh, c.threshold) / len(fresh)))
        assert "too few to calibrate that rate" in c.to_text() and "4,6" in c.to_text()
    error = np.std(realised) / np.sqrt(60)
    assert error < 2.5
    assert 5 - 3 * error < np.mean(realised) < 10 + 3 * error
    many = calibration([0.5 * rng.normal(size=6_000) ** 2], 5.0, 8.0, "noise")
    assert "too few" not in many.to_text()


def test_false_alarms_of_a_fitted_model(fitted):
    """On 20,000 fresh steps. Alarms come in runs of about two, and a threshold from 5,000 steps has
    an error of its own: with both, the standard error is about 0.5 a thousand for a rate of 2."""
    fresh = SequenceDataset.from_list(list(ar(40, 500, 1)))
    found = fitted.detect(fresh, false_alarms=2.0)
    assert found.calibration.source == "the held-out data of the fit to data"
    assert found.calibration.num_steps == 5_000
    assert 1000 * found.steps["alarm"].mean() == pytest.approx(2.0, abs=3 * 0.5)


def test_injected_anomalies_are_found(fitted):
    """A single step of 8 deviations, and 20 steps of noise three times as strong, in each of ten
    series."""
    x, rng = ar(10, 400, 2), np.random.default_rng(0)
    x[:, 100] += 8
    x[:, 300:320] += 3 * rng.normal(size=(10, 20))
    found = fitted.detect(list(x), gap=5)
    for name, own in found.alarms.groupby("unique_id"):
        assert ((own["start"] <= 100) & (own["end"] >= 100) & own["peak"].isin([100, 101])).any(), (
            name
        )
        assert ((own["start"] < 320) & (own["end"] >= 300)).any(), name
    assert found.alarms["unique_id"].nunique() == 10
    lengths = found.alarms["end"] - found.alarms["start"] + 1
    assert (found.alarms["length"] == lengths).all()
    steps = found.steps.set_index(["unique_id", "ds"])["surprise"]
    pairs = list(zip(found.alarms["unique_id"], found.alarms["peak"], strict=True))
    np.testing.assert_array_equal(steps.loc[pairs], found.alarms["surprise"])
    score = found.steps.set_index(["unique_id", "ds"])["score"]
    for a in found.alarms.itertuples():
        assert a.score == score.loc[a.unique_id].loc[a.start : a.end].max()


def test_missing_values_are_no_alarm(fitted):
    x = ar(1, 300, 3)
    gaps = x.copy()
    gaps[0, [50, 51, 52, 299]] = np.nan
    found = fitted.detect([*gaps])
    missing = found.steps[found.steps["ds"].isin([50, 51, 52, 299])]
    assert missing["surprise"].isna().all()
    assert missing["smoothed"].isna().all()
    assert not missing["alarm"].any()
    others = found.steps.drop(missing.index)
    assert others[["surprise", "smoothed"]].notna().to_numpy().all()
    before = fitted.detect([*x]).steps["smoothed"][:50]
    np.testing.assert_allclose(found.steps["smoothed"][:50], before)


# -- online ----------------------------------------------------------------------------------------

ONLINE = [name for name in MODELS if isinstance(example(name), Density)]


@pytest.mark.parametrize("memory", [0, 100])
@pytest.mark.parametrize("name", first_quick(ONLINE))
def test_online_is_batch(name, memory):
    """Two channels with missing values, if the model reads any; state is carried along."""
    data = dataset(channels=2, num=4, steps=60)
    module = model(name, data=data)
    if (
        "latents" not in name
        and "coupling" not in name
        and "learned" not in name
        and "diffusion" not in name
    ):
        for s in data:
            s.x[10:12] = np.nan
            s.x[20, 1] = np.nan
    c = calibrate(module, data[1:], source="noise", false_alarms=300, half_life=2, memory=memory)
    found = detect(module, data[:1], c).steps
    detector = Detector(module, c)
    rows = [detector.update(row) for row in data.sequences[0].x]
    for column in ("surprise", "smoothed", "score", "threshold", "excess"):
        online = [getattr(row, column) for row in rows]
        np.testing.assert_allclose(online, found[column], rtol=1e-5, atol=1e-5)
    assert [row.alarm for row in rows] == found["alarm"].tolist()
    assert sum(row.alarm for row in rows) > 0


def hourly(steps: int, seed: int) -> pd.DataFrame:
    """Counts with a daily cycle and a covariate."""
    rng = np.random.default_rng(seed)
    ds = pd.date_range("2024-01-01", periods=steps, freq="h")
    promo = rng.integers(0, 2, steps)
    return pd.DataFrame({"ds": ds, "y": rng.poisson(3 + promo), "promo": promo})


@pytest.fixture(scope="module")
def shop() -> Model:
    data = sl.load(hourly(300, 0), covariates=["promo"])
    return sl.RNN(hidden_dim=4, context_length=3).fit(data, max_steps=3, valid=0.4, progress=False)


def test_rows_with_times_covariates_and_gaps(shop):
    table = hourly(200, 1).drop(index=[40, 41, 90])
    table["y"] = table["y"].astype(float)
    table.loc[60, "y"] = np.nan
    full = hourly(200, 1)  # absent steps, whose covariates are read as 0, cannot be in a table
    full["y"] = full["y"].astype(float)
    full.loc[[40, 41, 60, 90], "y"] = np.nan
    full.loc[[40, 41, 90], "promo"] = 0
    batch = shop.detect(full).steps.drop(index=[40, 41, 90])
    detector = shop.detector()
    rows = [detector.update(row) for row in table.to_dict("records")]
    assert np.isnan([row.surprise for row in rows[:3]]).all()  # context
    np.testing.assert_array_equal([row.ds for row in rows], batch["ds"])
    np.testing.assert_allclose(
        [row.smoothed for row in rows], batch["smoothed"], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"ds": "2024-01-01 05:00", "y": 2}, "no covariate 'promo'"),
        ({"ds": "2024-01-01 05:00", "promo": 1}, "no 'y'"),
        ({"ds": "2024-01-01 05:00", "y": "two", "promo": 1}, "'y' is 'two', which is no number"),
        ({"ds": "2024-01-01 05:00", "y": -2, "promo": 1}, "row"),
        ({"ds": "2024-01-01 05:00", "y": np.inf, "promo": 1}, "no finite number"),
        ({"ds": "2024-01-01 03:00", "y": 2, "promo": 1}, "does not come after 2024-01-01 03:00"),
        ({"ds": "2025-01-01", "y": 2, "promo": 1}, "begin a new stream"),
        ({"ds": "noon", "y": 2, "promo": 1}, "neither a whole number nor a time"),
        ({"ds": 7, "y": 2, "promo": 1}, "timestamps in some rows and whole numbers in others"),
        ({"y": 2, "promo": 1}, "no step"),
        ([1, 2], "2 values"),
    ],
)
def test_a_row_that_cannot_be_read_changes_nothing(row, words, shop):
    first = {"ds": "2024-01-01 03:00", "y": 2, "promo": 0}
    detector, other = shop.detector(), shop.detector()
    detector.update(first)
    other.update(first)
    with pytest.raises(InputError, match=words):
        detector.update(row)
    good = {"ds": "2024-01-01 04:00", "y": 3, "promo": 1}
    assert str(detector.update(good)) == str(other.update(good))


def test_models_that_cannot_watch_say_so():
    with pytest.raises(InputError, match="sees later values"):
        Detector(model("dmm"), calibration([np.arange(100.0)], 1.0, 0.0, "numbers"))


# -- what it is calibrated on, and what is refused -------------------------------------------------


def test_estimates_are_found_alike_and_smoothing_guides_refused():
    data = dataset(channels=1, num=4, steps=30)
    c = calibrate(model("vrnn", data=data), data, source="noise", num_particles=8)
    again = calibrate(model("vrnn", data=data), data, source="noise", num_particles=8)
    assert c.threshold == again.threshold
    with pytest.raises(InputError, match="sees later values"):
        calibrate(model("dmm", data=data), data, source="noise")


def test_the_held_out_part_is_found_again(tmp_path, monkeypatch):
    """By a loaded model: of a bundled set by itself, of a file where it is given again."""
    monkeypatch.chdir(tmp_path)
    hourly(300, 0).to_csv("shop.csv", index=False)
    for name, given in (("shop.csv", "shop.csv"), ("nyc-taxi", None)):
        data = sl.load(name, covariates=["promo"]) if given else sl.load(name)
        fresh = sl.RNN(hidden_dim=4).fit(data, max_steps=2, valid=0.3, progress=False)
        fresh.save("run")
        loaded = sl.load_model("run")
        here, there = fresh.detect(data), loaded.detect(data, calibrate=given)
        assert here.calibration.source == there.calibration.source
        assert f"held-out data of the fit to {name}" in there.calibration.to_text()
        assert here.threshold == there.threshold
        assert there.calibration.num_steps == round(0.3 * int(data.lengths.sum()))
        if given:
            with pytest.raises(InputError, match="does not hold the data"):
                loaded.detect(data)


def test_other_data_are_calibrated_on_whole(shop):
    c = shop.detect(hourly(100, 5), calibrate=hourly(100, 4)).calibration
    assert c.num_steps == 97
    assert c.source == "data"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"false_alarms": 0}, "false_alarms=0"),
        ({"false_alarms": 1000}, "false_alarms=1000"),
        ({"false_alarms": np.nan}, "false_alarms=nan"),
        ({"half_life": -1}, "half_life=-1"),
        ({"half_life": np.inf}, "half_life=inf"),
        ({"memory": -1}, "memory=-1"),
        ({"memory": 10}, "50 or more, or 0"),
        ({"memory": np.inf}, "memory=inf"),
        ({"gap": -1}, "gap=-1"),
        ({"calibrate": [np.zeros(20)]}, "at least 50 held-out steps, and there are 20"),
    ],
)
def test_arguments_out_of_range(arguments, words, fitted):
    with pytest.raises(InputError, match=words):
        fitted.detect(list(ar(1, 100, 0)), **arguments)


def test_data_that_have_changed_are_warned_of(fitted, caplog):
    """Five times as much noise; nothing is said of data like those of the calibration."""
    fitted.detect(list(ar(2, 400, 5)), memory=0)
    assert not caplog.records
    fitted.detect(list(5 * ar(2, 400, 5)), memory=0)
    (record,) = caplog.records
    assert "of a thousand steps are alarmed, and the threshold stands for 1" in record.getMessage()


def test_no_alarm_is_an_empty_table_of_the_same_types(fitted):
    none = fitted.detect(list(np.zeros((1, 100))), half_life=20)
    some = fitted.detect(list(100 * ar(1, 100, 0)))
    assert len(none.alarms) == 0 < len(some.alarms)
    assert list(none.alarms) == list(some.alarms)
    assert (none.alarms.dtypes == some.alarms.dtypes).all()
    assert "0 alarms in 0 of 1 sequence" in none.to_text()
