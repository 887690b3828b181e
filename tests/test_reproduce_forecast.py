"""`scripts/reproduce forecast`: windows, measures and the seasonal naive in closed form; the sets
as they are read; the table, whose rows are not measured twice."""

import csv
import importlib
import json
import sys
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from seqlatent.errors import InputError

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


@pytest.fixture
def forecast(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("reproduce_forecast")


@pytest.fixture
def sets(forecast):
    return importlib.import_module("forecast_sets")


@pytest.fixture
def measures(forecast):
    return importlib.import_module("forecast_measures")


@pytest.fixture
def tiny(sets):
    """Two series of unlike length; two windows of three steps."""
    series = (np.arange(12.0), np.array([5.0, 1, 4, 2, 6, 3, 7, 1, 8, 2]))
    return sets.ForecastSet("tiny", sets.GIFT, 3, 2, 2, 2, "D", "tiny", series, None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """All files of the sets, with few series."""
    rng = np.random.default_rng(0)
    collections, multivariate = tmp_path / "collections", tmp_path / "multivariate"
    collections.mkdir()
    multivariate.mkdir()
    for name, horizon in (("m3", 18), ("tourism", 24)):
        periods = np.array(["YEARLY", "MONTHLY", "QUARTERLY", "MONTHLY"])
        horizons = [6, horizon, 8, horizon]
        np.savez(
            collections / f"{name}.npz",
            period=periods,
            frequency=np.array([1.0, 12, 4, 12]),
            start=np.array([1, 1980 + 4 / 12, 1990.75, 1]),
            train_values=rng.normal(50, 5, 170),
            train_lengths=np.array([20, 60, 30, 60]),
            test_values=rng.normal(50, 5, sum(horizons)),
            test_lengths=np.array(horizons),
        )
    np.savez(
        collections / "m4_hourly.npz",
        train_values=rng.normal(50, 5, 250),
        train_lengths=np.array([100, 150]),
        test=rng.normal(50, 5, (2, 48)),
    )
    counts = rng.poisson(1, (3, 51)).astype(np.float32)
    counts[0, :20] = np.nan
    np.savez(collections / "carparts.npz", values=counts)
    cash = rng.normal(20, 5, (3, 200))
    cash[0, 5] = cash[1, -2] = np.nan
    np.savez(collections / "nn5_daily.npz", values=cash)
    hours = pd.date_range("2016-07-01", periods=1500, freq="h", name="date")
    frame = pd.DataFrame(rng.normal(size=(1500, 7)), index=hours)
    frame.to_csv(multivariate / "ETTh1.csv.gz")
    walk = 5 + 0.1 * rng.normal(size=(200, 8)).cumsum(0)
    pd.DataFrame(walk).to_csv(multivariate / "exchange_rate.txt.gz", header=False, index=False)
    return tmp_path


def run(forecast, monkeypatch, *arguments) -> int:
    monkeypatch.setattr("sys.argv", ["forecast", *map(str, arguments)])
    monkeypatch.setattr(forecast, "commit", lambda: "abc1234")
    return forecast.main()


@pytest.mark.parametrize(
    ("shortest", "horizon", "windows"),
    [(51, 12, 1), (130, 10, 2), (100, 10, 1), (101, 10, 2), (17420, 48, 20), (5, 10, 1)],
)
def test_a_tenth_of_the_shortest_series_is_forecast(sets, shortest, horizon, windows):
    assert sets.gift_windows(shortest, horizon) == windows


def test_windows_follow_one_another_up_to_the_end(tiny):
    cut = [tiny.cut(window) for window in range(2)]
    for i, x in enumerate(tiny.series):
        np.testing.assert_array_equal(np.concatenate([cut[0][0][i], cut[0][1][i], cut[1][1][i]]), x)
        np.testing.assert_array_equal(cut[1][0][i], np.concatenate([cut[0][0][i], cut[0][1][i]]))


def test_what_is_selected_by_sees_no_test_value(tiny):
    before = tiny.before_test()
    assert [len(x) for x in before.series] == [6, 4]
    for x, whole in zip(before.series, tiny.series, strict=True):
        np.testing.assert_array_equal(x, whole[:-6])
    with pytest.raises(InputError, match=r"tiny: a series has 0 steps .* more than a season of 2"):
        before.cut(0)  # of four steps, six are its windows'


def test_wql_of_a_point_is_its_absolute_error(measures, tiny):
    values = measures.values_of(tiny)
    point = np.repeat(values[:, :, None] + np.array([1.0, -2, 0]), 9, axis=2)
    wql = measures.weighted_quantile_loss(values, point, measures.LEVELS)
    assert wql == pytest.approx(4 * 3 / values.sum())


def test_wql_weighs_quantiles_one_by_one_and_leaves_out_gaps(measures):
    rng = np.random.default_rng(0)
    values, quantiles = rng.normal(size=(2, 1, 4)), np.sort(rng.normal(size=(2, 1, 9, 4)), 2)
    values[0, 0, 2] = np.nan
    loss = size = 0.0
    for n in range(2):
        for t in range(4):
            y = values[n, 0, t]
            if np.isnan(y):
                continue
            size += abs(y)
            for k in range(9):
                q, f = (k + 1) / 10, quantiles[n, 0, k, t]
                loss += 2 * abs((y - f) * ((y <= f) - q)) / 9
    found = measures.weighted_quantile_loss(values, quantiles, measures.LEVELS)
    assert found == pytest.approx(loss / size)


def test_mase_is_relative_to_the_changes_over_a_season(measures, tiny):
    values = measures.values_of(tiny)
    median = values + 1
    # The first series changes by 2 over a season; the second, of 4 steps and then of 7:
    second = [np.mean([1, 1]), np.mean([1, 1, 2, 1, 1])]
    assert measures.mase(tiny, values, median) == pytest.approx(
        np.mean([1 / 2, 1 / 2, 1 / second[0], 1 / second[1]])
    )


def test_series_that_never_change_have_no_mase(measures, sets):
    series = (np.ones(10), np.arange(10.0))
    still = sets.ForecastSet("still", sets.SINGLE, 2, 1, 1, 1, "D", "still", series, None)
    values = measures.values_of(still)
    assert measures.mase(still, values, values - 3) == pytest.approx(3)


def test_coverage_counts_the_recorded_values_within(measures, sets):
    series = (np.array([0.0, 1, 0, 1, 0, 9, np.nan, -9]),)
    data = sets.ForecastSet("x", sets.SINGLE, 4, 1, 1, 1, "D", "x", series, None)
    quantiles = np.broadcast_to(measures.ASKED[:, None] * 10 - 5, (1, 1, len(measures.ASKED), 4))
    row = measures.measures(data, quantiles)  # central intervals of width 5, 8 and 9.5 around 0
    assert [row[f"coverage_{c}"] for c in (50, 80, 95)] == pytest.approx([1 / 3] * 3)
    assert row["finished"] == 1
    unfinished = np.where(np.arange(4) == 2, np.nan, quantiles)
    row = measures.measures(data, unfinished)
    assert row["wql"] is None and row["coverage_95"] is None and row["finished"] == 0


def test_the_seasonal_naive_is_normal_around_the_last_season(sets, tiny):
    levels = np.array([0.1, 0.5, 0.975])
    found = sets.seasonal_naive(tiny, 2, levels)
    assert found.shape == (2, 2, 3, 3)
    sigma = 2 * np.sqrt([1, 1, 2])  # the first series changes by 2 over a season
    for window, last in enumerate([[4, 5, 4], [7, 8, 7]]):
        expected = norm.ppf(levels)[:, None] * sigma + np.array(last)
        np.testing.assert_allclose(found[0, window], expected)


def test_a_gap_has_the_value_before_it(sets):
    series = (np.array([1.0, 2, 3, np.nan, 9, 9]), np.array([np.nan] * 4 + [9, 9]))
    data = sets.ForecastSet("gaps", sets.SINGLE, 2, 1, 1, 1, "D", "gaps", series, None)
    np.testing.assert_array_equal(sets.published_naive(data)[:, 0, 0], [[3, 3], [0, 0]])
    baselines = importlib.import_module("forecast_baselines")
    np.testing.assert_array_equal(baselines.filled(series[0]), [1, 2, 3, 3, 9, 9])
    np.testing.assert_array_equal(baselines.filled(series[1]), [0, 0, 0, 0, 9, 9])


def test_the_published_naive_is_a_point_in_one_protocol(sets, tiny):
    interval = sets.published_naive(tiny)
    np.testing.assert_array_equal(interval[:, :, 4], interval[:, :, [0, 8]].mean(2))
    assert (interval[:, :, 0] < interval[:, :, 8]).all()
    point = sets.published_naive(sets.replace(tiny, protocol=sets.SINGLE))
    np.testing.assert_array_equal(point, np.repeat(interval[:, :, 4:5], 9, axis=2))


@pytest.mark.parametrize(
    ("name", "count", "shape", "start"),
    [
        ("exchange_rate", 8, (30, 1, 5), None),
        ("etth1", 7, (48, 4, 24), datetime(2016, 7, 1)),
        ("m4_hourly", 2, (48, 1, 24), None),
        ("car_parts", 3, (12, 1, 12), datetime(1998, 1, 1)),
        ("tourism_monthly", 2, (24, 1, 12), datetime(1980, 5, 1)),
        ("tourism_quarterly", 1, (8, 1, 4), datetime(1990, 10, 1)),
        ("nn5_daily", 3, (56, 1, 7), datetime(1996, 3, 18)),
        ("m3_monthly", 2, (18, 1, 12), datetime(1980, 5, 1)),
        ("m3_quarterly", 1, (8, 1, 4), datetime(1990, 10, 1)),
        ("m3_yearly", 1, (6, 1, 1), datetime(1900, 1, 1)),  # an unknown year
    ],
)
def test_every_set_is_read(forecast, sets, folder, name, count, shape, start):
    data = sets.read(name, folder)
    assert len(data.series) == count
    assert (data.horizon, data.windows, data.season) == shape
    assert (data.starts[0] if data.starts else None) == start
    past = forecast.histories(data, 0, ["year"])
    lengths = [len(x) - data.horizon * data.windows for x in data.series]
    assert [len(s) for s in past] == lengths
    if start is not None:
        after = past.future_steps(past.sequences[0], 1)
        offset = pd.tseries.frequencies.to_offset(data.frequency)
        assert after[0] == pd.Timestamp(start) + lengths[0] * offset
        assert past.covariate_names == ("calendar:year:sin", "calendar:year:cos")


def test_what_others_are_told_and_keep(forecast, sets, folder, monkeypatch):
    data = sets.replace(sets.read("car_parts", folder), windows=2)
    calls = []

    def run_it(command, what, log):
        with np.load(command[2]) as job:
            calls.append({name: job[name] for name in job.files})
        shape = len(calls[-1]["lengths"]), len(forecast.ASKED), 12
        quantiles = np.arange(np.prod(shape)).reshape(shape)
        np.savez(command[3], quantiles=quantiles, seconds=3.0, steps=0, fallbacks=1)

    monkeypatch.setattr(forecast, "run", run_it)
    monkeypatch.setattr(forecast, "environment", lambda envs, name: Path(name))
    quantiles, facts = forecast.baseline(data, "ets", 1, 0, folder / "envs")
    assert facts == {"seconds": 3.0, "steps": 0, "fallbacks": 1}
    (job,) = calls
    assert job["lengths"].tolist() == [27] * 3 + [39] * 3
    assert job["train"].tolist() == [True] * 3 + [False] * 3
    assert job["starts"].tolist() == ["1998-01-01T00:00:00"] * 6
    np.testing.assert_array_equal(job["values"][-39:], data.series[2][:39])
    assert quantiles.shape == (3, 2, len(forecast.ASKED), 12)
    assert quantiles[2, 1, 0, 0] == 5 * len(forecast.ASKED) * 12  # the last history
    again, _ = forecast.baseline(data, "ets", 1, 0, folder / "envs")
    np.testing.assert_array_equal(again, quantiles)
    assert len(calls) == 1
    forecast.baseline(data, "ets", 2, 0, folder / "envs")  # more minutes are another job
    assert len(calls) == 2


def test_quantiles_come_from_central_intervals(forecast):
    baselines = importlib.import_module("forecast_baselines")

    def of(y, h, level):
        sides = {f"{side}-{c}": np.full(h, s * c) for c in level for side, s in SIDES.items()}
        return {"mean": np.zeros(h), **sides}

    rows = baselines.one(SimpleNamespace(forecast=of), np.ones(5), 2, forecast.ASKED)
    np.testing.assert_allclose(rows[:, 0], (forecast.ASKED - 0.5) * 200, atol=1e-9)
    assert baselines.one(SimpleNamespace(), np.ones(5), 2, forecast.ASKED) is None  # it fails


SIDES = {"lo": -1, "hi": 1}


def test_the_table(forecast, sets, folder, monkeypatch, capsys):
    data = sets.read("tourism_quarterly", folder)
    measures = importlib.import_module("forecast_measures")
    naive = measures.weighted_quantile_loss(
        measures.values_of(data), sets.published_naive(data), sets.LEVELS
    )
    (folder / "published").mkdir()
    with (folder / "published" / "single_window_wql.csv").open("w", newline="") as file:
        names = ["key", "seasonal_naive", *sets.STATISTICAL.values(), "oracle", "other"]
        row = ["monash_tourism_quarterly", naive, 0.5, 0.4, 0.3, 0.1, 0.2]
        csv.writer(file).writerows([names, row])
    out = folder / "figures.json"
    arguments = ["--data", folder, "--sets", "tourism_quarterly", "--methods", "ours",
                 "seasonal-naive", "--models", "rnn:hidden_dim=4,max_steps=3", "--seeds", 0, 1,
                 "--out", out]  # fmt: skip
    assert run(forecast, monkeypatch, *arguments) == 0
    printed = capsys.readouterr().out
    assert "| ours `rnn:hidden_dim=4,max_steps=3` | 1 |" in printed
    assert "| *published:* best zero-shot (oracle) | | 0.1000 |" in printed
    assert ": the same." in printed
    rows = json.loads(out.read_text())["forecast"]
    assert [(r["method"], r["seed"]) for r in rows] == [
        ("ours", 0), ("ours", 1), ("seasonal-naive", 0)
    ]  # fmt: skip
    expected = measures.measures(data, sets.seasonal_naive(data, 4, measures.ASKED))
    assert rows[2]["wql"] == pytest.approx(expected["wql"])
    assert rows[0]["steps"] == 3 and rows[0]["commit"] == "abc1234"

    assert run(forecast, monkeypatch, *arguments) == 0
    assert capsys.readouterr().out == printed
    assert json.loads(out.read_text())["forecast"] == rows  # nothing is measured twice

    assert run(forecast, monkeypatch, *arguments, "--select") == 0
    assert "published" not in capsys.readouterr().out
    assert len(json.loads(out.read_text())["forecast"]) == 6


def test_figures_of_other_data_are_told(forecast, sets, tiny, folder, capsys):
    (folder / "published").mkdir()
    with (folder / "published" / "gift_eval_short.csv").open("w", newline="") as file:
        names = ["k", "ds", "snaive", "stat", "deepar", "dl", "dlm", "zs", "zsm"]
        rows = [[k, "tiny", 50, 25, 25, 25, "net", 10, "big"] for k in ("CRPS", "MASE")]
        csv.writer(file).writerows([names, *rows])
    forecast.report_published(tiny, folder / "published", {"wql": 1.0, "mase": 1.0})
    printed = capsys.readouterr().out
    assert "NOT the same data" in printed
    assert "best trained (net) | | 25.0000 | 0.500 | 25.000 | 0.500 |" in printed


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--sets", "nn5_daily", "--data", "nowhere"], "nn5_daily: nowhere does not hold it"),
        (["--data", "nowhere", "--models", "rnn:hidden=4"], "unknown option 'hidden'"),
    ],
)
def test_what_cannot_be_measured_is_refused(forecast, monkeypatch, capsys, arguments, word):
    assert run(forecast, monkeypatch, *arguments) == 2
    assert word in capsys.readouterr().err


def test_a_method_that_fails_names_its_messages(forecast, tmp_path):
    log = tmp_path / "it.log"
    command = [sys.executable, "-c", "raise SystemExit('no such thing')"]
    with pytest.raises(InputError, match=r"x: AutoETS failed with status 1; .*it\.log says why"):
        forecast.run(command, "x: AutoETS", log)
    assert "no such thing" in log.read_text()
