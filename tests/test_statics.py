"""Static features, categories of series and past covariates, from the table to the score."""

import dataclasses
import json
from pathlib import Path

import known
import numpy as np
import pandas as pd
import pytest
from command_line import TINY, refuse

import seqlatent as sl
from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.readers import load, load_like
from seqlatent.data.sequence import Sequence
from seqlatent.data.splits import split
from seqlatent.errors import InputError
from seqlatent.nn.covariates import CovariateScaler

GOOD = {
    "unique_id": ["b", "b", "a", "a"],
    "ds": [2, 1, 1, 2],
    "y": [1.0, 2.0, 3.0, 4.0],
    "kind": ["x", "x", "01", "01"],
    "size": [5, 5, 7, 7],
    "visits": [0.2, None, 0.3, 0.4],
}
ROLES = {"static": ["kind", "size"], "past_covariates": ["visits"]}


def from_frame(**changes) -> SequenceDataset:
    return SequenceDataset.from_frame(pd.DataFrame({**GOOD, **changes}), **ROLES)


def lagged(s: Sequence) -> np.ndarray:
    """(T + 1,) the past covariate of the step before."""
    assert s.lagged is not None
    return s.lagged[:, 0]


# -- from a table ---------------------------------------------------------------------------------


def test_columns_are_read_by_their_roles():
    data = from_frame()
    assert (data.targets, data.covariate_names) == (("y",), ())
    assert (data.static_names, data.past_names) == (("kind", "size"), ("visits",))
    assert data.static_labels == {"kind": ("01", "x")}
    b, a = data
    np.testing.assert_array_equal(b.static, [2, 5])
    np.testing.assert_array_equal(a.static, [1, 7])
    # The value of a step is known from the next one on.
    np.testing.assert_array_equal(lagged(b), [np.nan, np.nan, 0.2])
    np.testing.assert_array_equal(lagged(a), [np.nan, 0.3, 0.4])
    np.testing.assert_array_equal(collate(data).covariates[1], [[1, 7, np.nan], [1, 7, 0.3]])


def test_the_series_itself_is_a_category():
    frame = pd.DataFrame(GOOD).rename(columns={"unique_id": "shop"})
    for name in ("shop", "unique_id"):
        data = load(frame, id_column="shop", targets=["y"], static=[name])
        assert data.static_labels == {"unique_id": ("a", "b")}
        assert [s.static_values.tolist() for s in data] == [[2], [1]]
    alone = load(pd.Series([1.0, 2.0]).to_frame("y"), static=["unique_id"])
    assert alone.static_labels == {"unique_id": ("series",)}
    many = load(pd.DataFrame({"unique_id": np.repeat(range(20), 9), "y": 1.0}))
    ours = load(many.to_frame(), targets=["y"], static="unique_id")
    assert len(split(many, 0.1)[0]) == 18  # whole series are held out, but not if they have vectors
    assert len(split(ours, 0.1)[0]) == 20


def test_a_table_of_the_data_gives_them_again():
    data = known.dataset(3, 5)
    again = load_like(data.to_frame(), data)
    for one, other in zip(data, again, strict=True):
        np.testing.assert_array_equal(one.known, other.known)
        np.testing.assert_array_equal(one.lagged, other.lagged)
    assert again.static_labels == data.static_labels


def test_gaps_are_filled_and_their_past_covariates_missing():
    ds = np.setdiff1d(np.arange(20), [5, 6])
    frame = pd.DataFrame({"ds": ds, "y": 1.0, "size": 2, "visits": ds / 2})
    s = load(frame, static=["size"], past_covariates=["visits"]).sequences[0]
    before = np.where(np.isin(np.arange(20), ds), np.arange(20) / 2, np.nan)
    np.testing.assert_array_equal(lagged(s), [np.nan, *before])
    np.testing.assert_array_equal(s.known[:, 0], 2)


def test_categoricals_and_numbers(tmp_path):
    frame = pd.DataFrame(GOOD).assign(size=pd.Categorical([5, 5, 7, 7]), kind=["1", "1", "2", "2"])
    data = load(frame, targets=["y"], static=["size", "kind"])
    assert data.static_labels == {"size": ("5", "7")}
    np.testing.assert_array_equal(data.sequences[0].static, [1, 1])
    pd.DataFrame(GOOD).iloc[2:].to_csv(tmp_path / "a.csv", index=False)
    alone = load(tmp_path / "a.csv", targets=["y"], static="kind")
    assert alone.static_labels == {"kind": ("01",)}  # as beside another label


REFUSED = {
    "varies": ({"kind": ["x", "z", "y", "y"]}, "'b', column 'kind', row 2: 'z' differs from 'x' "),
    "varies in number": ({"size": [5, 5, 7, 8]}, "'a', column 'size', row 4: '8' differs from '7'"),
    "no category": (
        {"kind": ["x", None, "y", "y"]},
        "'b', column 'kind', row 2 is empty; a stat",
    ),
    "no size": ({"size": [5, 5, None, 7]}, "series 'a', column 'size', row 3 is empty"),
    "endless size": ({"size": [5, 5, np.inf, 7]}, "column 'size', row 3 is infinite"),
    "time": ({"size": pd.date_range("2024", periods=4)}, "covariate 'size' holds datetime64"),
    "past text": ({"visits": ["1", "", "no", "2"]}, "column 'visits', row 3: 'no' is not a number"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_columns(name: str):
    changes, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        from_frame(**changes)


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ({"static": ["knd"]}, "no static feature column 'knd'; did you mean 'kind'"),
        ({"past_covariates": ["visit"]}, "no past covariate column 'visit'"),
        ({"static": ["size", "size"]}, "static feature column 'size' is named twice"),
        ({"static": ["y"], "targets": ["y"]}, "'y' cannot be both static feature and target"),
        (
            {"past_covariates": ["size"], "covariates": ["size"]},
            "both past covariate and cov",
        ),
        ({"static": ["size"], "past_covariates": ["size"]}, "both static feature and past cov"),
    ],
)
def test_refused_roles(roles: dict, message: str):
    with pytest.raises(InputError, match=message):
        load(pd.DataFrame(GOOD), **roles)


def test_arrays_have_none():
    with pytest.raises(InputError, match="static does not apply to an array"):
        load(np.zeros((2, 3)), static=["kind"])


# -- to the networks ------------------------------------------------------------------------------


def test_features_of_a_network():
    """Numbers less their mean over their scale, flags, and the vectors of categories."""
    data = from_frame()
    description = DataDescription.of(data)
    scaler = CovariateScaler(description)
    assert scaler.out_dim == 1 + 1 + 1 + 1  # size, visits, its flag, a vector of one number
    u = scaler(collate(data).covariates).detach().numpy()
    np.testing.assert_allclose(u[..., 0], [[-1, -1], [1, 1]])
    loc, scale = np.mean([0.2, 0.3, 0.4]), np.std([0.2, 0.3, 0.4])
    np.testing.assert_allclose(u[..., 1], [[0, 0], [0, (0.3 - loc) / scale]], atol=1e-6)
    np.testing.assert_array_equal(u[..., 2], [[1, 1], [1, 0]])
    (embedding,) = scaler.parameters()
    vectors = embedding[:, 0].detach().numpy()
    np.testing.assert_array_equal(u[..., 3], [[vectors[2]] * 2, [vectors[1]] * 2])
    assert vectors[0] == 0


def test_descriptions_from_before_there_were_any():
    content = DataDescription.of(from_frame()).to_json()
    for name in list(content):
        if name.startswith(("static_", "past_")):
            del content[name]
    old = DataDescription.from_json(json.loads(json.dumps(content)))
    assert (old.static_names, old.past_names, dict(old.static_labels)) == ((), (), {})


# -- what they are worth --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted() -> sl.RNN:
    model = sl.RNN(hidden_dim=8, emission="normal", scaling="global")
    return model.fit(known.dataset(300, 6), max_steps=200, learning_rate=0.03, progress=False)


def test_they_explain_all_but_the_noise(fitted):
    """The regret in nats per step; without any of them it is about 0.95, without one 0.3 to 0.7."""
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
    one, other = (fitted.evaluate(t, 3, num_samples=20).to_frame() for t in (table, changed))
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


def test_categories_of_the_training_data_alone_have_vectors():
    data = known.dataset(30, 6)
    west = [i for i, s in enumerate(data) if s.static_values[0] == 3]
    rest = [i for i in range(30) if i not in west]
    model = sl.RNN(hidden_dim=4, emission="normal", scaling="global")
    model.fit(data[rest], valid=data[west], max_steps=2, progress=False)
    assert model.module.description.static_labels == {"region": ("north", "south")}
    model.fit(data[west], valid=data[rest], max_steps=2, progress=False)
    assert model.module.description.static_labels == {"region": ("west",)}


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
    refuse(words, "without covariates of the data (--future)", Path(), capsys)
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
