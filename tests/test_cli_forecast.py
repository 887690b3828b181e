"""`seqlatent forecast` and `seqlatent sample` from end to end, on small real data."""

import json

import numpy as np
import pandas as pd
import pytest
from command_line import FORECAST, QUANTILES, TINY, check_picture, files

import seqlatent
from seqlatent.cli.app import run_command

pytestmark = pytest.mark.usefixtures("place")


def test_forecast_tables(run, rnn_run, place):
    out, _ = run("forecast", rnn_run, "elnino:test", "--prediction-length", 3, "--num-samples",
                 20, "--out", "f.csv", "--samples-out", "p.parquet", "--plot", "f.png")  # fmt: skip
    frame, paths = pd.read_csv("f.csv"), pd.read_parquet("p.parquet")
    assert list(frame) == FORECAST
    assert list(paths) == ["unique_id", "ds", "sample_id", "y"]
    series = frame["unique_id"].nunique()
    assert len(frame) == series * 3
    assert len(paths) == series * 3 * 20
    means = paths.groupby(["unique_id", "ds"], sort=False)["y"].mean()
    np.testing.assert_allclose(frame["mean"], np.asarray(means), rtol=1e-6)
    assert np.diff(frame[QUANTILES].to_numpy(), axis=1).min() >= 0
    check_picture("f.png")
    assert files(place) == ["f.csv", "f.png", "p.parquet"]
    assert "q0.95" in out


def test_forecast_goes_on_where_the_data_end(run):
    run("fit", "seattle-weather:train", "--targets", "temp_max", "--out", "run", *TINY)
    out, _ = run("forecast", "run", "seattle-weather:train", "--prediction-length", 2, "--json",
                 "--num-samples", 4)  # fmt: skip
    weather = seqlatent.load("seattle-weather:train", targets=["temp_max"])
    last = pd.Timestamp(weather.sequences[0].ds[-1])
    steps = [pd.Timestamp(row["ds"]).tz_localize(None) for row in json.loads(out)]
    assert steps == [last + pd.Timedelta(days=1), last + pd.Timedelta(days=2)]


def test_forecast_with_future_covariates(run, covariate_run, covariate_table):
    days = pd.date_range("2024-02-10", periods=5)
    parts = [pd.DataFrame({"unique_id": u, "ds": days, "promo": 1}) for u in ("south", "north")]
    pd.concat(parts).to_csv("future.csv", index=False)
    run("forecast", covariate_run, covariate_table, "--prediction-length", 3, "--future",
        "future.csv", "--out", "f.csv")  # fmt: skip
    frame = pd.read_csv("f.csv")
    assert frame["unique_id"].tolist() == ["north"] * 3 + ["south"] * 3
    assert frame["ds"].iloc[0] == "2024-02-10"


def test_the_steps_without_covariates_are_named(capsys, covariate_run, covariate_table):
    """Of one day that lacks in the middle, that day; of a series that lacks, all its steps."""
    days = pd.date_range("2024-02-10", periods=4)
    parts = [pd.DataFrame({"unique_id": u, "ds": days, "promo": 1}) for u in ("north", "south")]
    future = pd.concat(parts, ignore_index=True)
    command = ["forecast", covariate_run, covariate_table, "--prediction-length", 4, "--future"]
    for rows, words in (
        ([2], "'north' are missing for the step 2024-02-12 00:00:00\n"),
        ([4, 5, 6, 7], "'south' are missing for the steps 2024-02-10 00:00:00, 2024-02-11"),
    ):
        future.drop(rows).to_csv("future.csv", index=False)
        assert run_command([str(a) for a in [*command, "future.csv"]]) == 2
        assert words in capsys.readouterr().err


def test_future_covariates_matter_and_belong_to_their_steps(run, covariate_run, covariate_table):
    """Of each series' steps ahead in any order, with others around them."""

    def mean(promo):
        days = pd.date_range("2024-02-05", periods=10)
        parts = [
            pd.DataFrame({"unique_id": u, "ds": days, "promo": np.where(days.day == 10, promo, 0)})
            for u in ("north", "south")
        ]
        pd.concat(parts).sample(frac=1, random_state=0).to_csv("future.csv", index=False)
        out, _ = run("forecast", covariate_run, covariate_table, "--prediction-length", 1,
                     "--future", "future.csv", "--json", "--num-samples", 200)  # fmt: skip
        return [row["mean"] for row in json.loads(out)]

    assert mean(0) == mean(0)
    assert mean(0) != mean(50)


def test_a_scenario_of_values(run, covariate_run, covariate_table):
    """Known cells come back; the number of them and that they were used are said."""
    days = pd.date_range("2024-02-10", periods=3)
    parts = [pd.DataFrame({"unique_id": u, "ds": days, "promo": 1}) for u in ("south", "north")]
    future = pd.concat(parts, ignore_index=True)
    future.loc[1, "y"] = 7
    future.to_csv("future.csv", index=False)
    command = ["forecast", covariate_run, covariate_table, "--prediction-length", 3, "--future"]
    _, err = run(*command, "future.csv", "--samples-out", "p.csv", "--out", "f.csv", "--plot",
                 "f.png", "--num-samples", 50)  # fmt: skip
    assert "future.csv: 1 value of the steps ahead given, in 1 of 2 series" in err
    paths = pd.read_csv("p.csv").set_index(["unique_id", "ds"])["y"]
    assert (paths["south", "2024-02-11"] == 7).all()
    assert paths["south", "2024-02-12"].nunique() > 1
    assert (pd.read_csv("f.csv").iloc[4][QUANTILES] == 7).all()
    check_picture("f.png")
    future.drop(columns="y").to_csv("bare.csv", index=False)
    run(*command, "bare.csv", "--samples-out", "bare.csv.gz", "--num-samples", 50)
    alone = pd.read_csv("bare.csv.gz").set_index(["unique_id", "ds"])["y"]
    pd.testing.assert_series_equal(paths["north"], alone["north"])


def test_forecast_of_labels(run, label_run, covariate_table):
    run("forecast", label_run, covariate_table, "--prediction-length", 2, "--out", "f.csv",
        "--samples-out", "p.csv", "--plot", "f.png", "--num-samples", 10)  # fmt: skip
    frame, paths = pd.read_csv("f.csv"), pd.read_csv("p.csv")
    assert list(frame) == ["unique_id", "ds", "target", "p(rain)", "p(sun)"]
    np.testing.assert_allclose(frame["p(rain)"] + frame["p(sun)"], 1)
    assert set(paths["weather"]) <= {"rain", "sun"}
    check_picture("f.png")


def test_quiet_forecast_prints_nothing(run, rnn_run):
    out, err = run("forecast", rnn_run, "elnino:test", "--prediction-length", 1, "-q", "--out",
                   "f.csv.gz")  # fmt: skip
    assert (out, err) == ("", "")
    assert list(pd.read_csv("f.csv.gz")) == FORECAST


@pytest.mark.parametrize("name", ["x.csv", "x.parquet"])
def test_sample(name, run, rnn_run, place):
    out, _ = run("sample", rnn_run, "--num-samples", 3, "--length", 4, "--out", name, "--plot",
                 "x.png", "--start", "2030-01-01")  # fmt: skip
    frame = pd.read_csv(name) if name.endswith("csv") else pd.read_parquet(name)
    assert list(frame) == ["sample_id", "ds", "y"]
    assert [str(i) for i in frame["sample_id"]] == [str(i) for i in range(3) for _ in range(4)]
    assert str(frame["ds"][0]).startswith("2030-01-01")
    assert out == f"wrote 3 sequences of 4 steps to {name}\n"
    check_picture("x.png")
    assert files(place) == sorted([name, "x.png"])


def test_sample_of_another_seed_differs(run, rnn_run):
    for seed in (0, 0, 1):
        run("sample", rnn_run, "--num-samples", 1, "--length", 4, "--out", f"{seed}.csv",
            "--seed", seed)  # fmt: skip
    assert not pd.read_csv("0.csv").equals(pd.read_csv("1.csv"))
