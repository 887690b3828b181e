"""Sums of forecasts over series, and tables of paths that are written in parts."""

import dataclasses
import json
import logging

import numpy as np
import pandas as pd
import pytest
from cases import dataset, model
from command_line import check_picture, refuse
from exact import SLOPE, autoregression

import seqlatent as sl
from seqlatent.data.dataset import SequenceDataset
from seqlatent.tasks import tables
from seqlatent.tasks.forecasting import Forecast, forecast

H, S = 3, 40
SHOPS = {"0": ["a", "all"], "1": ["b", "all"], "2": ["a", "all"], "3": ["a", "all"]}


def series(num: int = 4, channels: int = 2) -> SequenceDataset:
    """Of equal lengths, so that their steps ahead are the same."""
    x = np.stack([s.x[:5] for s in dataset(channels=channels, num=num).sequences])
    return SequenceDataset.from_arrays(x)


@pytest.fixture(scope="module")
def made() -> Forecast:
    data = series()
    return forecast(model("rnn", data=data), data, H, num_samples=S)


def test_paths_of_children_sum_to_that_of_their_parent(made):
    total, groups = made.aggregate("total"), made.aggregate(SHOPS)
    assert [f.unique_id for f in groups] == ["a", "all", "b"]
    assert total.samples.shape == (1, S, H, 2)
    np.testing.assert_allclose(total["total"].samples, made.samples.sum(0), rtol=1e-12)
    np.testing.assert_array_equal(groups["b"].samples, made["1"].samples)
    parts = groups["a"].samples + groups["b"].samples
    np.testing.assert_allclose(parts, groups["all"].samples, rtol=1e-12)
    np.testing.assert_array_equal(groups["all"].samples, total["total"].samples)
    np.testing.assert_array_equal(total[0].ds, made[0].ds)
    assert total.to_frame()["unique_id"].unique().tolist() == ["total"]
    total.plot()


def test_a_sum_has_the_moments_of_independent_series():
    """Means add, and so do variances: of three AR(1), within four standard errors."""
    num, x = 20_000, np.array([[0.3, -1.0], [0.5, 0.4], [-0.2, 2.0]])
    data = SequenceDataset.from_arrays(x[..., None])
    sums = forecast(autoregression(), data, 2, num_samples=num).aggregate("total")[0].samples
    variance = 3 * 0.25 * np.array([1.0, 1 + SLOPE**2])
    mean = SLOPE ** np.array([1, 2]) * x[:, 1].sum()
    error = np.sqrt(variance / num)
    assert (np.abs(sums[..., 0].mean(0) - mean) < 4 * error).all()
    np.testing.assert_allclose(sums[..., 0].var(0), variance, rtol=4 * np.sqrt(2 / num))


def test_the_history_of_a_sum_has_values_where_all_have_one():
    data = SequenceDataset.from_frame(
        pd.DataFrame(
            {
                "unique_id": ["old"] * 4 + ["new"] * 2 + ["gap"] * 4,
                "ds": [0, 1, 2, 3, 2, 3, 0, 1, 2, 3],
                "y": [1.0, 2, 3, 4, 10, 20, 5, None, 7, 8],
            }
        )
    )
    fc = forecast(model("rnn", data=data), data, H, num_samples=S)
    (whole,) = fc.aggregate("total").data.sequences
    np.testing.assert_array_equal(whole.ds, [0, 1, 2, 3])
    np.testing.assert_array_equal(whole.x[:, 0], [np.nan, np.nan, 20, 32])
    pair = fc.aggregate({"old": "p", "gap": "p", "new": "q"})
    np.testing.assert_array_equal(pair.data.sequences[0].x[:, 0], [6, np.nan, 10, 12])
    np.testing.assert_array_equal(pair.data.sequences[1].ds, [2, 3])


def test_known_values_of_a_sum_are_those_that_all_know():
    data = series(num=2, channels=1)
    pieces = [
        dataclasses.replace(s, ds=np.arange(5, 5 + H), x=np.array([[1.0], [y], [np.nan]]),
                            covariates=np.zeros((H, 0)))
        for s, y in zip(data, (2.0, np.nan), strict=True)
    ]  # fmt: skip
    future = dataclasses.replace(data, sequences=tuple(pieces))
    fc = forecast(model("rnn", data=data), data, H, num_samples=S, future=future)
    f = fc.aggregate("total")[0]
    assert f.given is not None
    assert f.given[:, 0].tolist() == [True, False, False]
    assert (f.samples[:, 0] == 2).all()
    assert f.ess == min(g.ess for g in fc)


def test_groups_by_a_frame_and_the_notice(made, caplog):
    frame = pd.DataFrame({"unique_id": [0, 1, 2, 3, 0], "group": ["a", "b", "a", "a", "solo"]})
    with caplog.at_level(logging.INFO, "seqlatent"):
        fc = made.aggregate(frame)
    assert [f.unique_id for f in fc] == ["a", "solo", "b"]
    assert "independent given their own pasts" in caplog.text
    assert "too narrow" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.INFO, "seqlatent"):
        made.aggregate({str(i): f"own {i}" for i in range(4)})
    assert caplog.text == ""  # nothing is added up


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ({"0": "a", "1": "b"}, "no group for series '2', '3'; name one"),
        ({**SHOPS, "west": "a"}, "series 'west' of the groups has no forecast.* group 'a'"),
        ({**SHOPS, "2": []}, "no group for series '2'"),
        ("region", "groups must be 'total', a mapping.*'region'"),
        (pd.DataFrame({"unique_id": ["0"], "grop": ["a"]}), "no column 'group'; did you mean 'gr"),
        (pd.DataFrame({"unique_id": ["0"], "group": [None]}), "row 1 has an empty cell in column"),
    ],
)
def test_groups_that_do_not_fit(made, groups, words):
    with pytest.raises(sl.InputError, match=words):
        made.aggregate(groups)


def test_labels_and_other_steps_have_no_sum():
    data = dataset(num=3)
    fc = forecast(model("rnn", data=data), data, H, num_samples=S)
    words = r"group 'total': the steps ahead of series '0' are 7 to 9, those of '1' 6 to 8"
    with pytest.raises(sl.InputError, match=words):
        fc.aggregate("total")
    labels = dataset("category", num=2, steps=3)
    labels = dataclasses.replace(labels, categories={"y": ("a", "b", "c", "d")})
    fc = forecast(model("rnn", "categorical", labels), labels, H, num_samples=S)
    with pytest.raises(sl.InputError, match="'y' holds labels, which have no sum"):
        fc.aggregate("total")


# --- the command line ---------------------------------------------------------------------------


def months(place, **lengths: int) -> str:
    """A table of monthly series of different lengths."""
    parts = [
        pd.DataFrame({"unique_id": name, "ds": pd.date_range("2020-01-01", periods=n, freq="MS"),
                      "y": 20.0 + np.arange(n) % 5})
        for name, n in lengths.items()
    ]  # fmt: skip
    pd.concat(parts).to_csv(place / "months.csv", index=False)
    return "months.csv"


def test_sums_in_tables_and_pictures(run, rnn_run, place):
    """Of the same paths that the series have alone."""
    table = months(place, a=30, b=30, c=30)
    (place / "groups.csv").write_text("unique_id,group\na,all\nb,all\nc,all\na,north\nc,north\n")
    command = ["forecast", rnn_run, table, "--prediction-length", 2, "--num-samples", 9]
    run(*command, "--samples-out", "series.parquet")
    out, _ = run(*command, "--aggregate", "groups.csv", "--samples-out", "sums.parquet",
                 "--plot", "f.png", "--json")  # fmt: skip
    assert [row["unique_id"] for row in json.loads(out)] == ["all", "all", "north", "north"]
    series, sums = (pd.read_parquet(f"{name}.parquet") for name in ("series", "sums"))
    for group, members in (("all", "abc"), ("north", "ac")):
        own = series[series["unique_id"].isin(list(members))]
        added = own.groupby(["sample_id", "ds"])["y"].sum().to_numpy()
        np.testing.assert_allclose(sums.loc[sums["unique_id"] == group, "y"], added, rtol=1e-12)
    check_picture("f.png")
    _, err = run(*command, "--aggregate", "total")
    assert err.count("intervals are too narrow where series move together") == 1


def test_series_that_end_apart_are_refused_before_work(place, rnn_run, capsys):
    table = months(place, n=30, s=29)
    (place / "half.csv").write_text("unique_id,group\nn,a\n")
    (place / "bare.csv").write_text("unique_id,region\nn,a\n")
    command = ["forecast", str(rnn_run), table, "--prediction-length", "2", "--aggregate"]
    refuse([*command, "total"], "group 'total' 'n' 's' same steps", place, capsys)
    refuse([*command, "half.csv"], "no group series 's'", place, capsys)
    refuse([*command, "bare.csv"], "bare.csv no column 'group'", place, capsys)
    refuse([*command, "nowhere.csv"], "no file nowhere.csv", place, capsys)


# --- tables of paths ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["p.csv", "p.csv.gz", "p.parquet"])
@pytest.mark.parametrize("hour", [0, 6])
def test_paths_written_in_parts_are_the_whole_table(tmp_path, monkeypatch, name, hour):
    """Also where the steps of one part are dates and those of another have times."""
    days = pd.date_range("2024-01-01", periods=5)
    parts = [
        pd.DataFrame({"unique_id": f"s{i}", "ds": days + pd.Timedelta(hours=hour * (i % 2)),
                      "y": np.arange(5.0) % 3 + i, "sky": ["sun", "rain", "sun", "sun", "rain"]})
        for i in range(5)
    ]  # fmt: skip
    data = sl.load(pd.concat(parts), targets=["y", "sky"], calendar=[])
    fc = sl.RNN(hidden_dim=4).fit(data, max_steps=1).forecast(data, H, num_samples=4)
    frame = fc.samples_frame()
    monkeypatch.setattr(tables, "BATCH", 20)
    assert [len(part) for part in tables.batches(data, fc._paths())] == [24, 24, 12]
    fc.write_samples(tmp_path / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    if name == "p.parquet":
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / name), frame)
        return
    again = pd.read_csv(tmp_path / name)
    assert again["ds"].str.len().nunique() == 1
    assert again["ds"].str.len()[0] == (19 if hour else 10)
    again["ds"] = pd.to_datetime(again["ds"]).astype(frame["ds"].dtype)
    pd.testing.assert_frame_equal(again, frame, check_dtype=False, rtol=0, atol=0)
