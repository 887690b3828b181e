"""`load` and its kin: every source that is read, and options that do not fit it."""

import numpy as np
import pandas as pd
import pyarrow
import pytest

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.readers import load, load_future, load_like
from seqlatent.errors import InputError


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "unique_id": ["a", "a", "b, c"],
            "ds": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-01"]),
            "y": [0.1 + 0.2, np.nan, 1e-300],
            "label": ["x", 'say "y"', "é"],
        }
    )


def test_load_options_reach_the_table(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("shop,week,sold,price\na,1,5,0.5\na,2,6,0.6\nb,1,7,0.7\n")
    data = load(path, targets=["sold"], covariates=["price"], id_column="shop", time_column="week")
    assert [s.unique_id for s in data] == ["a", "b"]
    assert data.sequences[0].ds.tolist() == [1, 2]
    assert data.sequences[0].x[:, 0].tolist() == [5, 6]
    assert data.sequences[0].covariates[:, 0].tolist() == [0.5, 0.6]


def test_load_adds_the_calendar(frame):
    data = load(frame, targets=["y"], calendar=["week"])
    assert data.covariate_names == ("calendar:week:sin", "calendar:week:cos")
    assert load(load(frame), calendar=["day"]).covariate_names[0] == "calendar:day:sin"


def test_load_arrays(tmp_path):
    x = np.random.default_rng(0).normal(size=(3, 5, 2))
    x[1, 2, 0] = np.nan
    np.save(tmp_path / "x.npy", x)
    for source in (x, list(x), tmp_path / "x.npy"):
        data = load(source, targets=["a", "b"])
        assert data.targets == ("a", "b")
        np.testing.assert_array_equal(np.stack([s.x for s in data]), x)
    assert load([np.zeros(3), np.zeros(4)]).lengths.tolist() == [3, 4]


@pytest.mark.parametrize(
    "source", [np.arange(4.0), [0, 1, 2, 3], (0, 1.0, 2, 3), pd.Series([0, 1, 2, 3])]
)
def test_load_one_sequence(source, tmp_path):
    data = load(source)
    assert (len(data), data.targets, data.frequency) == (1, ("y",), 1)
    np.testing.assert_array_equal(data.sequences[0].x[:, 0], [0, 1, 2, 3])
    assert load(source, targets=["level"]).targets == ("level",)
    if isinstance(source, np.ndarray):
        np.save(tmp_path / "x.npy", source)
        assert load(tmp_path / "x.npy").lengths.tolist() == [4]


def test_load_a_list_with_missing_numbers():
    np.testing.assert_array_equal(load([1, None, np.nan]).sequences[0].x[:, 0], [1, np.nan, np.nan])


@pytest.mark.parametrize("index", [pd.date_range, pd.period_range])
def test_load_a_series_with_dates(index):
    values = pd.Series(
        [3.0, 1.0, 2.0],
        index("2024-01", periods=3, freq="M" if index is pd.period_range else "MS"),
        name="sales",
    )
    data = load(values[::-1], calendar=["year"])
    assert (data.targets, data.frequency) == (("sales",), "MS")
    np.testing.assert_array_equal(data.sequences[0].x[:, 0], [3, 1, 2])
    assert data.sequences[0].ds[0] == np.datetime64("2024-01-01")
    assert load(values.rename("p"), targets="y").targets == ("y",)


def test_load_a_series_of_labels():
    data = load(pd.Series(["sun", "rain", None], name="sky"))
    assert data.categories == {"sky": ("rain", "sun")}


def test_load_what_pandas_can_be_made_of(frame):
    """Arrow's tables stand for polars' frames, which have the same method."""
    table = pyarrow.Table.from_pandas(frame)
    for one, other in zip(load(table, targets=["y"]), load(frame, targets=["y"]), strict=True):
        assert one.unique_id == other.unique_id
        np.testing.assert_array_equal(one.ds, other.ds)
        np.testing.assert_array_equal(one.x, other.x)
    future = load_future(table.drop_columns(["y"]).append_column("p", [[1.0, 2.0, 3.0]]), ["p"])
    assert future.sequences[0].covariates.tolist() == [[1], [2]]


# --- load_like --------------------------------------------------------------------------------


@pytest.fixture(params=["data", "description"])
def shops(request):
    """Data under names of their own, and what a model knows of them."""
    table = pd.DataFrame(
        {"shop": ["a"] * 3, "when": pd.date_range("2024", periods=3), "sold": [1.0, 2, 3], "p": 0.5}
    )
    options = {"id_column": "shop", "time_column": "when", "calendar": ["week"]}
    data = load(table, targets=["sold"], covariates=["p"], **options)
    return table, data if request.param == "data" else DataDescription.of(data)


def test_load_like_tables(shops, tmp_path):
    table, like = shops
    table.to_csv(tmp_path / "d.csv", index=False)
    for source in (
        table,
        tmp_path / "d.csv",
        str(tmp_path / "d.csv"),
        pyarrow.Table.from_pandas(table),
    ):
        data = load_like(source, like)
        assert data.targets == ("sold",)
        assert data.covariate_names == ("p", "calendar:week:sin", "calendar:week:cos")
        assert data.sequences[0].unique_id == "a"
        assert load_like(data, like) is data
    renamed = table.rename(columns={"shop": "store", "when": "day"})
    data = load_like(renamed, like, id_column="store", time_column="day")
    assert (data.id_column, data.time_column) == ("store", "day")
    with pytest.raises(InputError, match="no id column 'shop'"):
        load_like(renamed, like)


def test_load_like_sources_without_columns(shops, tmp_path):
    """The names of a table's columns are not asked of what has none."""
    _, like = shops
    dated = pd.Series([1.0, 2.0], pd.date_range("2024", periods=2), name="other")
    data = load_like(dated, like)
    assert (data.targets, data.covariate_names[0]) == (("sold",), "calendar:week:sin")
    plain = SequenceDataset.from_list([np.zeros(3)], ["sold"])
    np.save(tmp_path / "x.npy", np.zeros((2, 3)))
    for source in ([1, 2, 3], np.zeros(3), [np.zeros(2)], tmp_path / "x.npy"):
        for example in (plain, like):  # whole numbers have no calendar: a model refuses them
            data = load_like(source, example)
            assert (data.targets, data.covariate_names) == (("sold",), ())
    with pytest.raises(InputError, match="id_column does not apply to an array"):
        load_like(tmp_path / "x.npy", plain, id_column="shop")


def test_load_like_bundled_sets():
    assert load_like("nile:test", load("nile")).name == "nile:test"
    with pytest.raises(InputError, match="time_column does not apply to a bundled"):
        load_like("nile", load("nile"), time_column="year")


def test_load_returns_a_dataset_as_it_is():
    data = SequenceDataset.from_arrays(np.zeros((2, 3)))
    assert load(data) is data


def test_pickled_arrays_are_not_read(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.array([[{"a": 1}]], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"not an \.npy file of numbers"):
        load(path)


def test_a_file_goes_before_a_bundled_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(load("nile").sequences[0]) == 100
    (tmp_path / "nile").mkdir()
    with pytest.raises(InputError, match="nile is a folder"):
        load("nile")


ARRAY = np.zeros((2, 3, 1))


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("sunspot", {}, "'sunspot' is neither a file nor a bundled data set; did you mean 'sunsp"),
        ("no/such.csv", {}, "'no/such.csv' is neither a file nor a bundled data set"),
        ("sunspot:test", {}, "neither a file nor a bundled data set; did you mean 'sunspots'"),
        ("elnino:tset", {}, "elnino has no part 'tset'; did you mean 'test'"),
        ("elnino", {"split": "dev"}, "elnino has no part 'dev'"),
        ("elnino:test", {"split": "train"}, "different parts"),
        ("elnino", {"time_column": "ds"}, "time_column does not apply to a bundled"),
        ("elnino", {"targets": ["z"]}, "no target column 'z'"),
        (ARRAY, {"split": "test"}, "split 'test' is for bundled"),
        (ARRAY, {"covariates": ["z"]}, "covariates does not apply to an array"),
        (ARRAY, {"calendar": ["day"]}, "need timestamps"),
        ([ARRAY[0]], {"id_column": "z"}, "id_column does not apply to a list"),
        (SequenceDataset.from_arrays(ARRAY), {"targets": ["y"]}, "targets does not apply"),
        (7, {}, "cannot load sequences from int"),
        ([], {}, "no sequences"),
        (["a", "b"], {}, "sequence 0 does not hold numbers"),
        ([1, [2]], {}, "sequence 0 has shape"),
        (pd.Series([1.0]), {"targets": ["a", "b"]}, "one channel, and 2 targets are named"),
        (pd.Series([1.0]), {"time_column": "t"}, "time_column does not apply to a pandas Series"),
        (pd.Series({("a", 1): 1.0}), {}, r"several levels, .* reset_index\(\)"),
        (pd.Series([1.0]).to_frame("y").set_index([[1], [2]]), {}, "index has several levels"),
        (np.zeros((2, 3, 1, 1)), {}, "shape"),
        ([ARRAY[0], [[1.0], ["x"]]], {}, "sequence 1 does not hold numbers"),
        (ARRAY * 1j, {}, "sequence 0 does not hold numbers"),
        (ARRAY + np.inf, {}, "sequence 0 has an infinite value at step 0"),
        (ARRAY - 2e30, {}, "sequence 0 has values beyond 1e.30"),
    ],
)
def test_load_refuses(source, options, message):
    with pytest.raises(InputError, match=message):
        load(source, **options)


def test_split_does_not_apply_to_a_file(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("ds,y\n1,2\n")
    with pytest.raises(InputError, match="split 'test' is for bundled"):
        load(path, split="test")
