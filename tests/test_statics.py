"""Static features, categories of series and past covariates, from the table to the networks."""

import json

import known
import numpy as np
import pandas as pd
import pytest

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
