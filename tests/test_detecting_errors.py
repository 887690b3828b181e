"""Anomalies by the errors of an autoencoder's reconstruction."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from command_line import check_picture

import seqlatent as sl
from seqlatent.api import Model
from seqlatent.data.dataset import SequenceDataset
from seqlatent.errors import InputError
from seqlatent.tasks.detecting import detect

STEPS = ["unique_id", "ds", "error", "smoothed", "score", "threshold", "excess", "alarm"]
ALARMS = ["unique_id", "start", "end", "length", "peak", "error", "score"]


def waves(num: int, steps: int, seed: int) -> np.ndarray:
    """(num, steps, 2) a wave and its double, in other units, with noise of a tenth."""
    rng = np.random.default_rng(seed)
    at = np.arange(steps) + rng.uniform(0, 12, (num, 1))
    wave = np.sin(2 * np.pi * at / 12)
    x = np.stack([wave, 2 * wave], -1) + 0.1 * rng.normal(size=(num, steps, 2))
    return x * [1.0, 500.0]


@pytest.fixture(scope="module")
def fitted() -> Model:
    return sl.Autoencoder(window=8, latent_dim=2, hidden_dim=16, scaling="global").fit(
        list(waves(10, 100, 0)), valid=list(waves(10, 300, 1)), max_steps=60, seed=0, progress=False
    )


def test_an_error_is_the_root_mean_square_in_standard_deviations(fitted: Model):
    x = waves(2, 60, 2)
    x[0, 5, 1] = x[0, 9] = np.nan
    data = SequenceDataset.from_list(list(x))
    found = fitted.detect(data)
    assert list(found.steps) == STEPS
    errors = fitted.reconstruct(data).pivot(
        index=["unique_id", "ds"], columns="target", values="error"
    )
    scale = {c.name: c.scale for c in fitted.module.description.channels}
    wanted = np.sqrt((errors / pd.Series(scale)).pow(2).mean(axis=1)).to_numpy()
    np.testing.assert_allclose(found.steps["error"], wanted, rtol=1e-9)
    assert found.steps["error"].isna().sum() == 1


def test_alarms_come_at_the_rate_that_was_asked_for(fitted: Model):
    """Of 20,000 steps without anomalies: neighbours' errors are not independent, hence the room."""
    steps = fitted.detect(list(waves(50, 400, 3)), false_alarms=20, half_life=0).steps
    assert 1000 * steps["alarm"].mean() == pytest.approx(20, rel=0.4)


def test_a_broken_step_is_found(fitted: Model):
    x = waves(1, 200, 4)
    x[0, 120, 1] += 2000.0
    found = fitted.detect(list(x))
    assert list(found.alarms) == ALARMS
    worst = found.alarms.loc[found.alarms["error"].idxmax()]
    assert worst["peak"] == 120
    assert worst["error"] > 1
    assert "nats of rarity" in found.to_text()
    assert "standard deviations" in fitted.detect(list(x), memory=0).to_text()
    assert found.to_json()["measure"] == "error"


def test_without_alarms_the_table_has_the_same_columns(fitted: Model):
    found = fitted.detect(list(waves(1, 60, 5)), false_alarms=1e-6, memory=0)
    assert found.alarms.empty
    assert list(found.alarms) == ALARMS


def test_a_context_is_not_judged(fitted: Model):
    data = SequenceDataset.from_list(list(waves(1, 60, 6)))
    after = (dataclasses.replace(data.sequences[0], context=10),)
    part = fitted.detect(dataclasses.replace(data, sequences=after)).steps
    assert part["error"].isna().tolist() == [True] * 10 + [False] * 50


def test_a_threshold_of_surprise_is_refused(fitted: Model):
    data = SequenceDataset.from_list(list(waves(2, 60, 7)))
    errors = fitted.calibration(data, 1.0, 2.0, 0)
    rnn = sl.RNN(hidden_dim=4).fit(data, max_steps=1, progress=False)
    with pytest.raises(InputError, match="calibrated on the error of steps, and model 'rnn' tells"):
        detect(rnn.module, data, errors)


def test_at_the_command_line(run, place):
    for name, data in (("a", waves(8, 100, 0)), ("b", waves(2, 100, 1))):
        SequenceDataset.from_list(list(data)).to_frame().to_csv(f"{name}.csv", index=False)
    run("fit", "a.csv", "--model", "autoencoder", "--max-steps", 5, "--out", "r",
        "--set", "scaling=global")  # fmt: skip
    out, _ = run("detect", "r", "b.csv", "--calibrate", "a.csv", "--false-alarms", 100, "--out",
                 "alarms.csv", "--steps-out", "steps.csv", "--plot", "p.png")  # fmt: skip
    assert "nats of rarity at first, for 100 false alarms per thousand steps" in out
    assert list(pd.read_csv("alarms.csv")) == ALARMS
    assert list(pd.read_csv("steps.csv")) == STEPS
    check_picture("p.png")
    out, _ = run("detect", "r", "b.csv", "--calibrate", "a.csv", "--json")
    assert json.loads(out)["measure"] == "error"
