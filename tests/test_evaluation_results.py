"""What an evaluation holds: tables, averages with their errors, text, and a picture."""

from dataclasses import replace

import numpy as np
import pytest
from cases import H, model

from seqlatent.data.dataset import SequenceDataset
from seqlatent.tasks.evaluating import evaluate
from seqlatent.tasks.evaluation import METHODS, MODEL, WALK, estimate

# -- tables -------------------------------------------------------------------------------------


def test_the_frame_of_forecasts(evaluation, pairs):
    frame = evaluation.to_frame()
    quantiles = [f"q{q:g}" for q in (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)]
    assert list(frame) == [
        "unique_id", "ds", "cutoff", "target", "y", "mean", *quantiles, "method"
    ]  # fmt: skip
    assert len(frame) == 15 * 3 * 2 * H
    mine = frame[(frame["method"] == MODEL) & (frame["target"] == "y2")]
    truth = pairs.to_frame().merge(mine, on=["unique_id", "ds"])
    np.testing.assert_array_equal(truth["y2"], truth["y"])
    assert (frame["ds"] > frame["cutoff"]).all()
    w = evaluation.windows[0].forecasts[MODEL]
    np.testing.assert_array_equal(mine["q0.25"][:H], w.quantiles[2, :, 1])


def test_scores_are_means_over_windows(evaluation):
    scores, each = evaluation.scores, evaluation.window_scores
    assert len(scores) == 5 * 3
    assert (scores["num_windows"] == 3).all()
    for name in ("crps", "energy", "coverage_80", "log_score"):
        wanted = each.groupby(["unique_id", "method"], sort=False)[name]
        np.testing.assert_allclose(scores[name], wanted.mean())
        np.testing.assert_allclose(scores[f"{name}_se"], wanted.std() / np.sqrt(3))
    overall = evaluation.summary.set_index(["measure", "method"])["value"]
    for method in METHODS:
        mine = each[each["method"] == method]
        assert overall["smape", method] == pytest.approx(mine["smape"].mean())
    sizes = sum(np.abs(w.truth).sum() for w in evaluation.windows)
    losses = [w.forecasts[MODEL].measures["wql"][0] for w in evaluation.windows]
    assert overall["wql", MODEL] == pytest.approx(sum(losses) / sizes)


def test_growth_is_the_crps_of_the_last_step_over_the_first(evaluation, pairs_rnn, pairs):
    overall = evaluation.summary.set_index(["measure", "method"])["value"]
    for method in METHODS:
        crps = np.stack([w.forecasts[method].crps for w in evaluation.windows])
        wanted = crps[:, -1].sum() / crps[:, 0].sum()
        assert overall["crps_growth", method] == pytest.approx(wanted)
    assert "crps_growth" not in evaluate(pairs_rnn, pairs, 1, num_samples=4).measures
    gap = pairs.sequences[0]
    gap.x[-1, 0], before = np.nan, gap.x[-1, 0]
    try:  # the channel is left out at the first step too
        one = evaluate(pairs_rnn, pairs[0], H, num_samples=4)
    finally:
        gap.x[-1, 0] = before
    f = one.windows[0].forecasts[MODEL]
    assert f.measures["crps_growth"] == pytest.approx((f.crps[-1, 1], f.crps[0, 1]))


def test_the_error_of_a_random_walk_grows_as_the_root_of_the_steps():
    """The CRPS of a Gaussian walk's forecast is proportional to sqrt(h)."""
    walk = np.random.default_rng(0).normal(size=(60, 40)).cumsum(1)
    data = SequenceDataset.from_arrays(walk)
    m = model("linear-gaussian", data=data, scaling="increments", context_length=1)
    found = evaluate(m, data, 9, num_samples=60, windows=2)
    row = found.summary.set_index(["measure", "method"]).loc[("crps_growth", WALK)]
    assert abs(row["value"] - 3) < 4 * row["std_error"] < 1.2


def test_errors_are_over_series_where_there_are_several(evaluation, pairs_rnn, pairs):
    assert evaluation.clusters == "series"
    each = evaluation.window_scores
    means = each[each["method"] == MODEL].groupby("unique_id")["crps"].mean()
    row = evaluation.summary.set_index(["measure", "method"]).loc[("crps", MODEL)]
    assert row["std_error"] == pytest.approx(means.std() / np.sqrt(5))
    one = evaluate(pairs_rnn, pairs[0], H, windows=3, num_samples=50, season=2)
    assert one.clusters == "origins"
    row = one.summary.set_index(["measure", "method"]).loc[("crps", MODEL)]
    mine = one.window_scores.query("method == @MODEL")["crps"]
    assert row["std_error"] == pytest.approx(mine.std() / np.sqrt(3))


def test_error_of_a_ratio_is_what_repetition_gives():
    """Groups of four dependent windows; the error over groups agrees with the spread of 2000
    repetitions, that which takes windows for independent is too small."""
    rng = np.random.default_rng(0)
    values, grouped, naive = [], [], []
    for _ in range(2000):
        den = rng.uniform(1, 3, 120)
        num = den * (2 + np.repeat(rng.normal(size=30), 4) + 0.3 * rng.normal(size=120))
        ratios = np.stack([num, den], 1)
        value, error = estimate(ratios, np.repeat(np.arange(30), 4))
        values.append(value)
        grouped.append(error)
        naive.append(estimate(ratios, np.arange(120))[1])
    assert np.mean(grouped) == pytest.approx(np.std(values), rel=0.06)
    assert np.mean(naive) < 0.6 * np.std(values)


def test_differences_are_paired():
    rng = np.random.default_rng(1)
    common = rng.normal(size=50) * 10
    a, b = (np.stack([common + 0.1 * rng.normal(size=50), np.ones(50)], 1) for _ in range(2))
    value, error = estimate(a, np.arange(50), b)
    assert value == pytest.approx((a - b)[:, 0].mean())
    assert error == pytest.approx((a - b)[:, 0].std(ddof=1) / np.sqrt(50))
    assert np.isnan(estimate(a[:1], np.arange(1))[1])
    assert np.isnan(estimate(a * np.nan, np.arange(50))[0])


def test_text(evaluation):
    text = repr(evaluation)
    assert text.startswith("Evaluation of forecasts of data\n")
    assert "15 of 3 steps, after" in text
    assert "season       2 steps" in text
    lines = evaluation.table().splitlines()
    assert lines[0].split()[:4] == ["measure", *METHODS]
    assert [line.split()[0] for line in lines[1:]] == list(evaluation.measures)
    assert "±" in lines[1]


# -- the picture ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("num", "rows"), [(1, 1), (2, 1), (3, 2), (5, 2)])
def test_the_picture(num, rows, pairs_rnn, pairs, tmp_path):
    result = evaluate(pairs_rnn, pairs[:num], H, windows=2, num_samples=20)
    figure = result.plot(str(tmp_path / "e.png"))
    assert (tmp_path / "e.png").stat().st_size > 10_000
    panels = [ax for ax in figure.axes if ax.get_visible()]
    assert len(panels) == min(num, 4) + 3
    for ax in panels:
        assert ax.get_title("left")
        assert ax.get_ylabel()
        assert ax.get_xlabel()
    coverage = panels[-2]
    assert coverage.get_xlabel() == "nominal level of the interval, %"
    lines = {line.get_label(): np.asarray(line.get_ydata(), float) for line in coverage.lines}
    pits = np.concatenate([w.forecasts[MODEL].pit.ravel() for w in result.windows])
    held = [100 * (np.abs(2 * pits - 1) <= level).mean() for level in np.arange(1, 10) / 10]
    np.testing.assert_allclose(lines["model: single values"], held)
    assert (figure.get_supxlabel() != "") == (num > 4)


def test_it_says_where_the_naive_forecast_has_no_density(pairs_rnn, pairs, evaluation):
    """Else its score and the difference would seem to be of the same windows as the model's."""
    assert "windows: where" not in repr(evaluation)
    first, *others = pairs
    constant = replace(first, x=np.ones_like(first.x))
    data = replace(pairs, sequences=(constant, *others))
    result = evaluate(pairs_rnn, data, H, num_samples=4, season=2)
    assert "exact; seasonal-naive and the difference are over 4 of 5 windows" in repr(result)
