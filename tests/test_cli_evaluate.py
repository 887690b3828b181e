"""`seqlatent evaluate` from end to end, on small real data."""

import json

import numpy as np
import pandas as pd
import pytest
from command_line import QUANTILES, check_picture, files, refuse

import seqlatent

pytestmark = pytest.mark.usefixtures("place")

SMALL = ["--prediction-length", 3, "--num-samples", 20]


def test_evaluation_tables(run, rnn_run, place):
    out, err = run("evaluate", rnn_run, "elnino:test", *SMALL, "--windows", 2, "--out", "s.csv",
                   "--frame-out", "f.parquet", "--plot", "e.png")  # fmt: skip
    scores, frame = pd.read_csv("s.csv"), pd.read_parquet("f.parquet")
    years = seqlatent.load("elnino:test")
    assert len(scores) == 3 * len(years)
    assert list(scores)[:5] == ["unique_id", "method", "num_windows", "crps", "crps_se"]
    assert set(scores["method"]) == {"model", "seasonal-naive", "random-walk"}
    assert list(frame) == [
        "unique_id", "ds", "cutoff", "target", "y", "mean", *QUANTILES, "method"
    ]  # fmt: skip
    assert len(frame) == len(years) * 2 * 3 * 3
    last = frame[frame["method"] == "model"].groupby("unique_id").tail(6)
    np.testing.assert_array_equal(last["y"], np.concatenate([s.x[-6:, 0] for s in years]))
    check_picture("e.png")
    assert files(place) == ["e.png", "f.parquet", "s.csv"]
    assert out.startswith("Evaluation of forecasts of elnino:test\n")
    assert "model less seasonal-naive" in out
    assert "coverage_90" in out
    assert err == ""


def test_the_same_as_in_python(run, rnn_run):
    out, _ = run("evaluate", rnn_run, "elnino:test", *SMALL, "--seed", 3, "--season", 2, "--json")
    model = seqlatent.load_model(rnn_run)
    summary = model.evaluate("elnino:test", 3, num_samples=20, seed=3, season=2).summary
    rows = json.loads(out)
    assert [row["measure"] for row in rows] == summary["measure"].tolist()
    np.testing.assert_allclose(
        [np.nan if row["value"] is None else row["value"] for row in rows], summary["value"]
    )


def test_quiet_prints_the_table_alone(run, rnn_run):
    out, err = run("evaluate", rnn_run, "elnino:test", *SMALL, "-q")
    assert out.startswith("measure ")
    assert err == ""


def test_refit(run, rnn_run):
    out, err = run("evaluate", rnn_run, "elnino:test", *SMALL, "--windows", 2, "--refit")
    assert "before each origin" in out
    assert err.count("fitting again") == 2


def test_data_of_the_fit_are_warned_of(run, rnn_run):
    _, err = run("evaluate", rnn_run, "elnino:train", *SMALL)
    assert "warning: the model was fitted to elnino:train" in err


def test_covariates_come_with_the_data(run, covariate_run, covariate_table):
    out, _ = run("evaluate", covariate_run, covariate_table, *SMALL, "--windows", 3)
    assert "6 of 3 steps, after 2024-01-31 00:00:00 to 2024-02-06 00:00:00" in out
    assert "season       7 steps" in out


def test_labels(run, label_run, covariate_table, place, capsys):
    out, _ = run("evaluate", label_run, covariate_table, *SMALL, "--frame-out", "f.csv")
    assert "accuracy" in out
    assert "crps" not in out
    assert "p(rain)" in pd.read_csv("f.csv")
    words = ["evaluate", str(label_run), str(covariate_table), *map(str, SMALL)]
    refuse([*words, "--plot", "e.png"], "shop.csv labels picture --plot", place, capsys)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--prediction-length", "12"], "elnino:test too short 12 steps"),
        (["--prediction-length", "3", "--windows", "0"], "windows=0"),
        (["--prediction-length", "3", "--out", "a.csv", "--frame-out", "a.csv"], "a.csv same"),
        (["--prediction-length", "3", "--plot", "a.txt"], "a.txt .png"),
        ([], "--prediction-length"),
    ],
)
def test_what_cannot_be_done(words, message, rnn_run, place, capsys):
    refuse(["evaluate", str(rnn_run), "elnino:test", *words], message, place, capsys)
