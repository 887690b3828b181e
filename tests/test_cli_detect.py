"""`seqlatent detect` from end to end, on small real data."""

import json

import numpy as np
import pandas as pd
import pytest
from command_line import check_picture, files, refuse

from seqlatent.cli.app import run_command

pytestmark = pytest.mark.usefixtures("place")
CALIBRATED = ["--calibrate", "elnino:test"]


def test_tables_and_picture(run, rnn_run, place):
    out, _ = run("detect", rnn_run, "elnino:test", *CALIBRATED, "--false-alarms", 200, "--memory",
                   0, "--out", "a.csv", "--steps-out", "t.parquet", "--plot", "a.png")  # fmt: skip
    alarms, steps = pd.read_csv("a.csv"), pd.read_parquet("t.parquet")
    assert list(alarms) == ["unique_id", "start", "end", "length", "peak", "surprise", "score"]
    assert list(steps) == [
        "unique_id",
        "ds",
        "surprise",
        "smoothed",
        "score",
        "threshold",
        "excess",
        "alarm",
    ]
    assert (steps["alarm"] == (steps["excess"] > 0)).all()
    assert len(alarms) > 0
    assert alarms["length"].sum() == steps["alarm"].sum()
    assert steps["alarm"].mean() == pytest.approx(0.2, abs=1 / len(steps) + 1e-9)
    check_picture("a.png")
    assert files(place) == ["a.csv", "a.png", "t.parquet"]
    assert f"{steps['alarm'].sum()} of {len(steps)} steps" in out
    assert f"calibrated on {len(steps)} steps of elnino:test" in out
    run("score", rnn_run, "elnino:test", "--steps-out", "s.parquet")
    np.testing.assert_allclose(steps["surprise"], -pd.read_parquet("s.parquet")["log_prob"])


def test_json_holds_the_threshold_and_its_origin(run, rnn_run):
    out, err = run("detect", rnn_run, "elnino:test", "--false-alarms", 30, "--half-life", 0,
                   "--memory", 0, "--json", "--out", "a.csv")  # fmt: skip
    assert err == ""
    found = json.loads(out)
    assert found["calibrated_on"] == "the held-out data of the fit to elnino:train"
    assert found["false_alarms"] == 30
    assert found["half_life"] == 0
    assert found["memory"] == 0
    alarms = pd.read_csv("a.csv")
    assert [a["surprise"] for a in found["alarms"]] == pytest.approx(alarms["surprise"].tolist())
    assert (alarms["surprise"] > found["threshold"]).all()


def test_quiet_prints_one_line(run, rnn_run):
    out, err = run("detect", rnn_run, "elnino:test", *CALIBRATED, "--quiet")
    assert len(out.splitlines()) == 1
    assert err == ""


@pytest.mark.slow
def test_alarms_of_rolls_are_drawn(run, shared, place):
    assert run_command(["fit", "four-voices:train", "--out", "run", "--max-steps", "2", "--set",
                        "hidden_dim=4", "--quiet"]) == 0  # fmt: skip
    run("detect", "run", "four-voices:test", "--false-alarms", 5, "--plot", "a.png")
    check_picture("a.png")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--false-alarms", "0"], "false_alarms=0 above 0"),
        (["--half-life", "-1"], "half_life=-1 0 or more"),
        (["--memory", "5"], "memory=5 50 or more"),
        (["--gap", "-1"], "gap=-1 must be at least 0"),
        (["--calibrate", "missing.csv"], "missing.csv neither a file"),
        (["--out", "a.xyz"], "a.xyz"),
        (["--plot", "a.csv"], "a.csv picture"),
    ],
)
def test_refused(arguments, words, rnn_run, place, capsys):
    refuse(["detect", str(rnn_run), "elnino:test", *arguments], words, place, capsys)


def test_a_run_of_a_file_asks_for_data(covariate_run, covariate_table, place, capsys):
    words = "calibrate the threshold on --calibrate"
    refuse(["detect", str(covariate_run), str(covariate_table)], words, place, capsys)
