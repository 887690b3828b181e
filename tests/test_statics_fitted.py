"""Models that were fitted with static features, categories of series and past covariates."""

import dataclasses
import json
from pathlib import Path

import known
import numpy as np
import pandas as pd
import pytest
from command_line import TINY, refuse

import seqlatent as sl
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.readers import load, load_future
from seqlatent.errors import InputError
from seqlatent.tasks.forecasting import known_ahead


@pytest.fixture(scope="module")
def fitted() -> sl.RNN:
    model = sl.RNN(hidden_dim=8, emission="normal", scaling="global")
    return model.fit(
        known.dataset(300, 6), max_steps=200, learning_rate=0.03, eval_every=50, progress=False
    )


def test_they_explain_all_but_the_noise(fitted):
    """The regret in nats per step. Without any of them it is about 0.95, with the static features
    alone 0.7, with the past covariate alone 0.4."""
    table = known.table(300, 6, seed=1)
    scores = fitted.log_prob(table).set_index("unique_id")["log_prob"]
    truth = table.groupby("unique_id")["truth"].sum()
    regret = (truth - scores) / 6
    assert -3 * regret.std() / np.sqrt(300) < regret.mean() < 0.06


def test_forecasts_know_what_they_do_not_know(fitted):
    """x_{T+1} has variance 1; later steps have 1 + 4, as their past covariates are not known."""
    spread = fitted.forecast(known.table(200, 6, seed=2), 3, num_samples=200).samples.std(1)
    first, *later = np.sqrt((spread[..., 0] ** 2).mean(0))
    assert first == pytest.approx(1, abs=0.15)
    np.testing.assert_allclose(later, np.sqrt(5), atol=0.35)


def test_a_score_does_not_see_the_past_covariates_of_its_step_and_later_ones(fitted):
    table = known.table(1, 6, seed=3)
    changed = table.assign(visits=np.where(table["ds"] >= 3, -5.0, table["visits"]))
    _, one = fitted.score(table)
    _, other = fitted.score(changed)
    same = one["log_prob"].to_numpy() == other["log_prob"].to_numpy()
    np.testing.assert_array_equal(same, [True] * 4 + [False] * 2)


def test_a_log_score_is_that_of_a_forecast(fitted):
    """log p(future | past) has no past covariates of the future."""
    table = known.table(2, 8, seed=4)
    changed = table.assign(visits=np.where(table["ds"] >= 5, 3.0, table["visits"]))
    one, other = (fitted.evaluate(t, 3, num_samples=20).window_scores for t in (table, changed))
    assert np.isfinite(one["log_score"][one["method"] == "model"]).all()
    pd.testing.assert_frame_equal(one, other)


def test_a_new_category_is_unknown_and_said_to_be(fitted, caplog):
    table = known.table(3, 6, seed=5)
    new = table.assign(region=np.where(table["unique_id"] == "s1", "east", table["region"]))
    caplog.clear()
    scores = fitted.log_prob(new)
    assert "did not have the 'region' of 1 of 3 series" in caplog.text
    assert np.isfinite(scores["log_prob"]).all()
    same = scores["log_prob"].to_numpy() == fitted.log_prob(table)["log_prob"].to_numpy()
    np.testing.assert_array_equal(same, [True, False, True])
    embedding = fitted.module.covariate_scaler.embeddings[0].weight.detach().numpy()
    assert (embedding[0] != 0).all()  # training has moved it from where it began
    caplog.clear()
    fitted.log_prob(table)
    assert caplog.text == ""


def test_categories_of_the_training_data_alone_have_vectors(caplog):
    caplog.set_level("INFO", "seqlatent")
    data = known.dataset(30, 6)
    west = [i for i, s in enumerate(data) if s.static_values[0] == 3]
    rest = [i for i in range(30) if i not in west]
    model = sl.RNN(hidden_dim=4, emission="normal", scaling="global")
    model.fit(data[rest], valid=data[west], max_steps=2, progress=False)
    assert model.module.description.static_labels == {"region": ("north", "south")}
    assert f"the 'region' of {len(west)} of {len(west)} sequences for validation" in caplog.text
    model.fit(data[west], valid=data[rest], max_steps=2, progress=False)
    assert model.module.description.static_labels == {"region": ("west",)}


def test_with_known_covariates_and_a_calendar():
    """All kinds together: what is asked of a future are the covariates known in advance alone."""
    table = known.table(4, 30, seed=6)
    table["ds"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(table["ds"], unit="D")
    table["promo"] = np.arange(len(table)) % 3
    data = load(table, targets=["y"], covariates=["promo"], calendar=["week"], **known.ROLES)
    cut = dataclasses.replace(data, sequences=tuple(s.slice(0, 28) for s in data))
    model = sl.RNN(hidden_dim=4, emission="normal", scaling="global")
    model.fit(cut, max_steps=2, progress=False)
    future = table[["unique_id", "ds", "promo"]]
    s = forecast_input(cut, load_future(future, model.covariates))
    expected = data.sequences[0].as_of(28).known[28:]
    np.testing.assert_array_equal(s, expected)
    assert model.forecast(cut, 2, num_samples=3, future=future).samples.shape == (4, 3, 2, 1)
    with pytest.raises(InputError, match="no covariate column 'promo'"):
        model.forecast(cut, 2, future=future.drop(columns="promo"))
    with pytest.raises(InputError, match="covariate 'promo': give its values"):
        model.forecast(cut, 2)


def forecast_input(data: SequenceDataset, future: SequenceDataset) -> np.ndarray:
    """(2, C + S + P) what a forecast of the first series is given."""
    s = data.sequences[0]
    return known_ahead(data, s, data.future_steps(s, 2), future)


@pytest.mark.parametrize("column", ["region", "size", "visits"])
def test_data_without_a_column_of_training_are_refused(fitted, column: str):
    table = known.table(2, 6, seed=0)
    with pytest.raises(InputError, match=f"no .* column '{column}'"):
        fitted.log_prob(table.drop(columns=column))
    roles = {role: [c for c in names if c != column] for role, names in known.ROLES.items()}
    with pytest.raises(InputError, match=f"fitted with the .* {column}"):
        fitted.forecast(load(table, targets=["y"], **roles), 2)


def test_numbers_in_place_of_labels_and_labels_in_place_of_numbers(fitted, caplog):
    table = known.table(2, 6, seed=0)
    fitted.log_prob(table.assign(region=4))  # a label like any other, which is not known
    assert "'region' of 2 of 2 series" in caplog.text
    with pytest.raises(InputError, match="column 'size' holds labels such as 'big'"):
        fitted.log_prob(table.assign(size="big"))


def test_a_sample_without_a_history_has_no_static_features(fitted):
    with pytest.raises(InputError, match="static feature 'region', which a sample"):
        fitted.sample(2, 3)


# -- the command line -----------------------------------------------------------------------------


@pytest.mark.usefixtures("place")
def test_from_a_file_to_a_forecast(run, capsys):
    known.table(12, 6, seed=0).to_csv("train.csv", index=False)
    test = known.table(3, 6, seed=1)
    test.to_csv("test.csv", index=False)
    roles = ("--targets", "y", "--static", "region,size,unique_id", "--past-covariates", "visits")
    run("fit", "train.csv", "--out", "run", *roles, *TINY)
    description = json.loads(Path("run/config.json").read_text())["description"]
    assert description["static_names"] == ["region", "size", "unique_id"]
    assert description["static_labels"]["region"] == ["north", "south", "west"]
    assert description["past_names"] == ["visits"]
    out, _ = run("forecast", "run", "test.csv", "--prediction-length", 2, "--json", "-q")
    assert len(json.loads(out)) == 6
    new = test.assign(unique_id="new-" + test["unique_id"])
    new.to_csv("new.csv", index=False)
    _, err = run("score", "run", "new.csv")
    assert "did not have the 'unique_id' of 3 of 3 series" in err
    test.drop(columns="visits").to_csv("less.csv", index=False)
    for command in (["score"], ["forecast", "--prediction-length", "2"]):
        words = [command[0], "run", "less.csv", *command[1:]]
        refuse(words, "less.csv past covariate column 'visits'", Path(), capsys)
    words = ["forecast", "run", "test.csv", "--prediction-length", "2", "--future", "test.csv"]
    refuse(words, "test.csv 's0' other steps than those ahead", Path(), capsys)
    refuse(["fit", "train.csv", "--out", "other", "--static", "visits"], "differs 'visits' row",
           Path(), capsys)  # fmt: skip


@pytest.mark.parametrize("family", ["RNN", "Flow", "Latent", "LinearGaussian"])
def test_families_choose_a_scaling_and_fit(family: str):
    data = known.dataset(12, 12)
    if family == "LinearGaussian":
        sequences = tuple(dataclasses.replace(s, lagged=None) for s in data)
        data = dataclasses.replace(data, sequences=sequences, past_names=())
    model = getattr(sl, family)().fit(data, max_steps=4, progress=False)
    assert np.isfinite(model.log_prob(data, num_particles=2)["log_prob"]).all()
    assert model.forecast(data, 2, num_samples=3).samples.shape == (12, 3, 2, 1)
