"""Evaluation at rolling origins: which windows, what is compared, and how sure the averages are."""

import logging
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from cases import H, dataset, model
from test_adversarial import AdversaryModel, AdversaryOptions

import seqlatent as sl
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.tasks import metrics
from seqlatent.tasks.evaluating import evaluate
from seqlatent.tasks.evaluation import METHODS, MODEL, NAIVE
from seqlatent.tasks.forecasting import forecast, sample
from seqlatent.tasks.scoring import score

# -- windows ------------------------------------------------------------------------------------


def test_windows_end_where_the_series_do(evaluation, pairs):
    assert len(evaluation) == 15
    for s in pairs:
        mine = [w for w in evaluation.windows if w.unique_id == s.unique_id]
        assert [w.start for w in mine] == [len(s) - 9, len(s) - 6, len(s) - 3]
        assert [w.origin for w in mine] == [0, 1, 2]
        for w in mine:
            assert w.cutoff == s.ds[w.start - 1]
            np.testing.assert_array_equal(w.ds, s.ds[w.start : w.start + H])
            np.testing.assert_array_equal(w.truth, s.x[w.start : w.start + H])


def test_a_window_is_the_forecast_from_what_came_before(evaluation, pairs_rnn, pairs):
    """With the values of the window, and those after it, changed: the forecast does not know."""
    w = evaluation.windows[1]
    s = pairs.sequences[0]
    x = s.x.copy()
    x[w.start :] = 99.0
    name = f"{s.unique_id} (from {s.ds[w.start]})"
    history = replace(s, x=x, unique_id=name).slice(0, w.start)
    fc = forecast(pairs_rnn, replace(pairs, sequences=(history,)), H, num_samples=50)[0]
    np.testing.assert_allclose(w.forecasts[MODEL].mean, fc.mean, rtol=1e-6)
    np.testing.assert_allclose(
        w.forecasts[MODEL].crps, metrics.crps(fc.samples, w.truth), rtol=1e-5
    )


def test_log_score_is_a_difference_of_log_likelihoods(evaluation, pairs_rnn, pairs):
    s = pairs.sequences[0]
    for w in evaluation.windows[:3]:
        pieces = (s.slice(0, w.start), s.slice(0, w.start + H))
        names = [replace(p, unique_id=str(i)) for i, p in enumerate(pieces)]
        scores = score(pairs_rnn, replace(pairs, sequences=tuple(names)))[0]["log_prob"]
        total, steps = w.forecasts[MODEL].measures["log_score"]
        assert total == pytest.approx(scores[1] - scores[0], rel=1e-4)
        assert steps == H
    assert evaluation.kind == "exact"


def test_overlapping_windows(pairs_rnn, pairs):
    result = evaluate(pairs_rnn, pairs[0], H, windows=4, step=1, num_samples=4)
    assert [w.start for w in result.windows] == [14, 15, 16, 17]


def test_a_series_windows_do_not_depend_on_the_others(evaluation, pairs_rnn, pairs):
    alone = evaluate(pairs_rnn, pairs[[3]], H, windows=3, num_samples=50, season=2)
    for w, other in zip(alone.windows, evaluation.windows[9:12], strict=True):
        for method in METHODS:
            mine, its = w.forecasts[method], other.forecasts[method]
            np.testing.assert_allclose(mine.mean, its.mean, rtol=1e-5)
            np.testing.assert_allclose(mine.pit, its.pit, atol=0.03)
            assert mine.measures["wql"] == pytest.approx(its.measures["wql"], rel=1e-4)


def test_in_parts_that_fit_in_memory_it_is_the_same(evaluation, pairs_rnn, pairs, monkeypatch):
    monkeypatch.setattr("seqlatent.tasks.evaluating.MAX_NUMBERS", 4 * H * 50 * 2)
    parts = evaluate(pairs_rnn, pairs, H, windows=3, num_samples=50, season=2)
    np.testing.assert_allclose(parts.summary["value"], evaluation.summary["value"], rtol=1e-4)


def test_series_that_are_too_short_for_some_windows(pairs_rnn, caplog):
    long = dataset(channels=2, num=1, steps=20)
    short = dataset(channels=2, num=1, steps=8, seed=1)
    both = replace(
        long, sequences=(*long.sequences, replace(short.sequences[0], unique_id="short"))
    )
    with caplog.at_level(logging.WARNING, "seqlatent"):
        result = evaluate(pairs_rnn, both, H, windows=4, num_samples=4)
    assert "1 of 2 series are too short for 4 windows: short lacks 2" in caplog.text
    assert result.left_out == {"short": 2}
    assert [w.start for w in result.windows if w.unique_id == "short"] == [2, 5]
    assert "short (2)" in repr(result)


def test_all_series_are_too_short(pairs_rnn, pairs):
    with pytest.raises(sl.InputError, match="every series is too short for a window of 20 steps"):
        evaluate(pairs_rnn, pairs, 20)
    assert len(evaluate(pairs_rnn, pairs[0], 19, num_samples=4)) == 1


def test_the_context_of_a_part_is_never_forecast(pairs_rnn, pairs, caplog):
    s = replace(pairs.sequences[0], context=15)
    part = replace(pairs, sequences=(s,))
    result = evaluate(pairs_rnn, part, 2, windows=5, num_samples=4)
    assert [w.start for w in result.windows] == [16, 18]
    with pytest.raises(sl.InputError, match="has 5 steps after 15 of context"):
        evaluate(pairs_rnn, part, 6)


@pytest.mark.parametrize("options", [{"scaling": "running", "context_length": 4},
                                     {"scaling": "increments", "context_length": 1}])  # fmt: skip
def test_models_with_a_context(options, pairs):
    rnn = model("rnn", data=pairs, **options)
    result = evaluate(rnn, pairs[0], H, windows=9, num_samples=4)
    first = 5 if options["context_length"] == 4 else 2
    assert min(w.start for w in result.windows) == first


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"windows": 0}, "windows=0 must be at least 1"),
        ({"step": 0}, "step=0"),
        ({"num_samples": 1}, "num_samples=1 must be at least 2"),
        ({"season": 0}, "season=0"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_arguments_out_of_range(pairs_rnn, pairs, words, message):
    with pytest.raises(sl.InputError, match=message):
        evaluate(pairs_rnn, pairs, H, **words)


# -- what is measured ---------------------------------------------------------------------------


def test_missing_truth_is_skipped(pairs_rnn, pairs):
    x = pairs.sequences[0].x.copy()
    x[-1, 0] = x[-H] = np.nan
    gaps = replace(pairs, sequences=(replace(pairs.sequences[0], x=x),))
    result = evaluate(pairs_rnn, gaps, H, num_samples=20)
    found = result.windows[0].forecasts[MODEL]
    np.testing.assert_array_equal(np.isnan(found.crps), np.isnan(x[-H:]))
    assert found.measures["crps"][1] == 3  # of six values
    assert found.measures["log_score"][1] == 2  # steps
    assert found.measures["crps_sum"][1] == 1
    naive = result.summary.query("method == @NAIVE").set_index("measure")["value"]
    assert np.isnan(naive["crps_growth"])  # the first step has no value
    assert np.isfinite(naive.drop("crps_growth")).all()
    x[-H:] = np.nan
    nothing = replace(pairs, sequences=(replace(pairs.sequences[0], x=x),))
    assert evaluate(pairs_rnn, nothing, H, num_samples=4).summary["value"].isna().all()


@pytest.mark.slow
def test_a_model_of_its_own_data_is_calibrated():
    """Sequences of an rnn, forecast by itself, agree with their nominal coverage to within four
    standard errors, single values and whole paths; the simple forecasts do worse."""
    rnn = model("rnn", data=dataset(num=20, steps=30))
    result = evaluate(rnn, sample(rnn, 300, 16), 4, windows=2, num_samples=99)
    summary = result.summary.set_index(["measure", "method"])
    for level in (50, 80, 90, 95):
        for kind in ("coverage", "joint"):
            row = summary.loc[(f"{kind}_{level}", MODEL)]
            assert abs(row["value"] - level / 100) < 4 * row["std_error"]
    counts, right = result.calibration(MODEL).counts, result.pit_counts[MODEL]
    assert counts.sum() == right.sum(1)[0] == 2400
    assert (np.abs(counts - right.mean(0)) < 4 * right.std(0)).all()
    row = summary.loc[("crps", NAIVE)]
    assert row["difference"] < -4 * row["difference_se"]
    row = summary.loc[("log_score", NAIVE)]
    assert row["difference"] > 4 * row["difference_se"]


def test_an_estimated_log_score_says_so(pairs):
    result = evaluate(model("latent", data=pairs), pairs[:2], H, num_samples=4)
    assert result.kind == "smc"
    assert result.summary.set_index(["measure", "method"])["value"]["log_score", MODEL] < 0


def test_a_model_without_a_likelihood_has_no_log_score(pairs):
    one = dataset(num=3, steps=20)
    adversary = AdversaryModel(AdversaryOptions(), DataDescription.of(one))
    result = evaluate(adversary, one, H, num_samples=4)
    values = result.summary.set_index(["measure", "method"])["value"]
    assert np.isnan(values["log_score", MODEL])
    assert np.isfinite(values["crps", MODEL])
    assert "the model has no likelihood" in repr(result)
    assert "  -  " in result.table()


def test_the_season_comes_from_the_first_histories(pairs_rnn):
    t = np.arange(60)
    x = np.stack([np.sin(2 * np.pi * t / 6), np.cos(2 * np.pi * t / 6)], -1)
    data = SequenceDataset.from_list([20 + 3 * x])
    assert evaluate(pairs_rnn, data, H, num_samples=4).season == 6
    assert evaluate(pairs_rnn, data, H, windows=18, num_samples=4).season == 1  # six steps are left
    assert "6 steps" in repr(evaluate(pairs_rnn, data, H, num_samples=4))


# -- labels, covariates, fitting again ------------------------------------------------------------


@pytest.fixture(scope="module")
def shop() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "unique_id": np.repeat(["north", "south"], 40),
            "ds": np.tile(pd.date_range("2024-01-01", periods=40), 2),
            "y": rng.normal(10, 2, 80),
            "promo": rng.integers(0, 2, 80),
            "weather": rng.choice(["rain", "sun"], 80),
        }
    )


def test_labels_have_accuracy_and_log_score(shop):
    data = sl.load(shop, targets=["weather"])
    result = sl.RNN(hidden_dim=4).fit(data, max_steps=2).evaluate(data, 5, windows=2)
    assert result.measures == ("log_score", "accuracy")
    frame = result.to_frame()
    assert list(frame) == [
        "unique_id", "ds", "cutoff", "target", "y", "p(rain)", "p(sun)", "method"
    ]  # fmt: skip
    np.testing.assert_allclose(frame["p(rain)"] + frame["p(sun)"], 1)
    mine = frame[frame["method"] == MODEL]
    hits = (mine["p(rain)"] >= 0.5) == (mine["y"] == "rain")
    value = result.summary.set_index(["measure", "method"])["value"]["accuracy", MODEL]
    assert value == pytest.approx(hits.mean())
    with pytest.raises(sl.InputError, match="labels alone has no picture"):
        result.plot()


def test_labels_beside_numbers(shop):
    data = sl.load(shop, targets=["weather", "y"])
    result = sl.RNN(hidden_dim=4).fit(data, max_steps=2).evaluate(data, 5, num_samples=50)
    assert {"crps", "accuracy", "log_score"} <= set(result.measures)
    assert "crps_sum" not in result.measures
    frame = result.to_frame()
    assert frame["mean"].isna().equals(frame["target"] == "weather")
    assert frame["p(sun)"].isna().equals(frame["target"] == "y")
    assert result.windows[0].forecasts[MODEL].measures["crps"][1] == 5
    result.plot()


def test_future_covariates_are_those_of_the_window(shop):
    data = sl.load(shop, covariates=["promo"], targets=["y"], calendar=["week"])
    fitted = sl.RNN(hidden_dim=4).fit(data, max_steps=2)
    result = fitted.evaluate(data, 5, num_samples=20)
    s, w = data.sequences[0], result.windows[0]
    name = f"{s.unique_id} (from {pd.Timestamp(w.ds[0])})"
    history = replace(data, sequences=(replace(s.slice(0, 35), unique_id=name),))
    piece = replace(s.slice(35, 40), unique_id=name, x=np.full((5, 1), np.nan))
    ahead = replace(data, sequences=(piece,))
    fc = fitted.forecast(history, 5, num_samples=20, future=ahead)
    np.testing.assert_allclose(w.forecasts[MODEL].mean, fc[0].mean, rtol=1e-6)


def test_irregular_steps_with_covariates():
    ds = np.array([0, 1, 2, 5, 6, 8, 11, 12, 17, 18, 21, 22])
    frame = pd.DataFrame({"ds": ds, "y": np.arange(12.0) % 5, "promo": np.arange(12) % 2})
    data = sl.load(frame, covariates=["promo"], targets=["y"])
    fitted = sl.RNN(hidden_dim=4).fit(data, max_steps=2)
    result = fitted.evaluate(data, 3, windows=2, num_samples=4)
    assert [w.ds.tolist() for w in result.windows] == [
        data.sequences[0].ds[-6:-3].tolist(), data.sequences[0].ds[-3:].tolist()
    ]  # fmt: skip


def test_fitting_again_sees_the_steps_before_each_origin(pairs_rnn, pairs):
    seen = []

    def refit(history):
        seen.append([(s.unique_id, len(s)) for s in history])
        return pairs_rnn

    result = evaluate(pairs_rnn, pairs, H, windows=2, num_samples=50, season=2, refit=refit)
    assert seen == [[(s.unique_id, len(s) - H * k) for s in pairs] for k in (2, 1)]
    kept = evaluate(pairs_rnn, pairs, H, windows=2, num_samples=50, season=2)
    np.testing.assert_allclose(result.summary["value"], kept.summary["value"], rtol=1e-4)
    assert "before each origin" in repr(result)


def test_refit_uses_the_model_s_options(shop, caplog, tmp_path):
    data = replace(sl.load(shop, targets=["y"]), name="shop.csv")
    fitted = sl.RNN(hidden_dim=5).fit(data, max_steps=3, seed=2, run=tmp_path / "run")
    before = {k: v.clone() for k, v in fitted.module.state_dict().items()}
    with caplog.at_level(logging.WARNING, "seqlatent"):
        kept = fitted.evaluate(data, 5, num_samples=20)
        assert "the scores flatter it" in caplog.text
        caplog.clear()
        again = sl.load_model(tmp_path / "run").evaluate(data, 5, num_samples=20, refit=True)
        assert "flatter" not in caplog.text
    assert all((before[k] == v).all() for k, v in fitted.module.state_dict().items())
    one, other = (r.windows[0].forecasts[MODEL].mean for r in (kept, again))
    assert not np.allclose(one, other)
    short = sl.RNN(hidden_dim=5).fit(
        replace(data, sequences=tuple(s.slice(0, 35) for s in data)), max_steps=3, seed=2
    )
    same = short.evaluate(data, 5, num_samples=20).windows[0].forecasts[MODEL].mean
    np.testing.assert_allclose(other, same, rtol=1e-5)
