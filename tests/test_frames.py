"""Reading tables: what ends up where."""

import datetime
import logging

import numpy as np
import pandas as pd
import pytest

from seqlatent.data.dataset import SequenceDataset

from_frame = SequenceDataset.from_frame


def long_table(rows: int = 4) -> pd.DataFrame:
    """Two series, `b` first, over the same hours."""
    ds = pd.date_range("2024-01-01", periods=rows, freq="h")
    return pd.DataFrame(
        {
            "unique_id": ["b"] * rows + ["a"] * rows,
            "ds": [*ds, *ds],
            "y": np.arange(2.0 * rows),
            "price": np.arange(2.0 * rows) / 10,
        }
    )


def times(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="datetime64[ns]")


def test_rows_in_any_order_give_the_same_sequences_in_order_of_appearance():
    data = from_frame(long_table(), covariates=["price"])
    assert [s.unique_id for s in data] == ["b", "a"]
    assert data.targets == ("y",)
    assert data.frequency == "h"
    b = data.sequences[0]
    np.testing.assert_array_equal(b.x, [[0], [1], [2], [3]])
    np.testing.assert_array_equal(b.covariates, [[0], [0.1], [0.2], [0.3]])
    assert b.ds.dtype == np.dtype("datetime64[ns]")
    assert b.x.dtype == b.covariates.dtype == np.float64

    shuffled = from_frame(long_table().iloc[[7, 2, 0, 5, 3, 6, 1, 4]], covariates=["price"])
    assert [s.unique_id for s in shuffled] == ["a", "b"]
    for one, other in zip(shuffled, reversed(data.sequences), strict=True):
        np.testing.assert_array_equal(one.ds, other.ds)
        np.testing.assert_array_equal(one.x, other.x)
        np.testing.assert_array_equal(one.covariates, other.covariates)


def test_the_callers_frame_is_left_alone():
    frame = pd.DataFrame([[1, 2.0], [0, 3.0]], columns=[0, 1], index=[5, 3])
    before = frame.copy()
    from_frame(frame, targets=["1"], time_column="0")
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([1, 1, 2], ["1", "2"]),
        ([2.0, 2.0, 1.5], ["2", "1.5"]),
        (["007", "007", "7"], ["007", "7"]),
        ([1, "1", "x"], ["1", "x"]),
        ([pd.Timestamp("2024-01-01")] * 2 + [pd.Timestamp("2024-01-02")], None),
        (pd.Categorical(["q", "q", "p"], categories=["p", "q"]), ["q", "p"]),
    ],
)
def test_ids_become_text(ids, expected):
    data = from_frame(pd.DataFrame({"unique_id": ids, "ds": [0, 1, 0], "y": 1.0}))
    assert [s.unique_id for s in data] == (expected or ["2024-01-01", "2024-01-02"])
    assert data.lengths.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([3, 1, 2], [1, 2, 3]),
        ([3.0, 1.0, 2.0], [1, 2, 3]),
        ([20240103, 20240101, 20240102], [20240101, 20240102, 20240103]),
        (pd.array([3, 1, 2], dtype="Int64"), [1, 2, 3]),
        (["3", "1", "2"], [1, 2, 3]),
        (np.array([3, 1, 2], dtype=object), [1, 2, 3]),
    ],
)
def test_integer_steps(column, expected):
    s = from_frame(pd.DataFrame({"ds": column, "y": [3.0, 1.0, 2.0]})).sequences[0]
    assert s.ds.dtype == np.int64
    assert s.ds.tolist() == expected
    assert s.x[:, 0].tolist() == [1, 2, 3]
    assert s.unique_id == "series"


@pytest.mark.parametrize(
    "column",
    [
        ["2024-01-31", "2024-02-01", "2024-02-02"],
        ["2024/01/31", "2024/02/01", "2024/02/02"],
        ["20240131", "20240201", "20240202"],
        ["31.01.2024", "01.02.2024", "02.02.2024"],
        ["31/01/2024", "01/02/2024", "02/02/2024"],
        ["01/31/2024", "02/01/2024", "02/02/2024"],
        ["01/31/2024 00:00", "02/01/2024 00:00", "02/02/2024 00:00"],
        ["2024-01-31 00:00:00", "2024-02-01", " 2024-02-02T00:00 "],
        ["2024-01-31T00:00Z", "2024-02-01T00:00Z", "2024-02-02T00:00Z"],
        ["2024-01-31T02:00+02:00", "2024-02-01T02:00+02:00", "2024-02-02T02:00+02:00"],
        [datetime.date(2024, 1, 31), datetime.date(2024, 2, 1), datetime.date(2024, 2, 2)],
        pd.date_range("2024-01-31 02:00", periods=3, tz="Etc/GMT-2"),
        pd.date_range("2024-01-31", periods=3, unit="s"),
        pd.period_range("2024-01-31", periods=3, freq="D"),
        pd.Categorical(["2024-01-31", "2024-02-01", "2024-02-02"]),
        pd.array(pd.date_range("2024-01-31", periods=3), dtype="timestamp[ns][pyarrow]"),
    ],
)
def test_timestamps(column):
    data = from_frame(pd.DataFrame({"ds": column, "y": [1.0, 2.0, 3.0]}))
    expected = times("2024-01-31", "2024-02-01", "2024-02-02")
    np.testing.assert_array_equal(data.sequences[0].ds, expected)
    assert data.sequences[0].ds.dtype == expected.dtype
    assert data.frequency == "D"


def test_dates_in_the_index_are_the_steps():
    index = pd.date_range("2024-01-01", periods=3, freq="MS")
    data = from_frame(pd.DataFrame({"y": [1.0, 2.0, 3.0]}, index=index))
    assert data.frequency == "MS"
    np.testing.assert_array_equal(data.sequences[0].ds, index.to_numpy())


@pytest.mark.parametrize("column", ["date", "Date", "TIMESTAMP", "year", "t"])
def test_a_usual_name_is_the_time(column):
    s = from_frame(pd.DataFrame({column: [2002, 2001], "y": [1.0, 2.0]})).sequences[0]
    assert s.ds.tolist() == [2001, 2002]


def test_ds_goes_before_other_names_of_time_and_targets_are_not_taken_for_it():
    frame = pd.DataFrame({"ds": [1, 2], "t": [8.0, 9.0], "year": [2001, 2000], "v": [1.0, 2.0]})
    assert from_frame(frame).targets == ("t", "year", "v")
    data = from_frame(frame.drop(columns="ds"), targets=["t"])
    assert data.sequences[0].ds.tolist() == [2000, 2001]
    assert data.sequences[0].x[:, 0].tolist() == [9, 8]


def test_without_a_time_column_rows_count_within_their_series():
    data = from_frame(pd.DataFrame({"unique_id": ["a", "b", "a"], "y": [1.0, 2.0, 3.0]}))
    assert [s.ds.tolist() for s in data] == [[0, 1], [0]]
    assert data.sequences[0].x[:, 0].tolist() == [1, 3]


@pytest.mark.parametrize(
    "cells",
    [
        [1.5, None, -2.0],
        ["1.5", "", "-2"],
        ["1.5", " NA ", "-2e0"],
        [1.5, None, "-2"],
        pd.array([1.5, None, -2.0], dtype="Float64"),
        pd.array(["1.5", None, "-2"], dtype="string"),
        pd.array([1.5, None, -2.0], dtype="double[pyarrow]"),
        pd.Categorical([1.5, None, -2.0]),
    ],
)
def test_numbers_and_missing_values(cells):
    x = from_frame(pd.DataFrame({"y": cells})).sequences[0].x[:, 0]
    np.testing.assert_array_equal(x, [1.5, np.nan, -2.0])


@pytest.mark.parametrize("cells", [[True, False, None], pd.array([True, False, None], "boolean")])
def test_booleans_are_numbers(cells):
    data = from_frame(pd.DataFrame({"y": cells}))
    np.testing.assert_array_equal(data.sequences[0].x[:, 0], [1, 0, np.nan])
    assert data.categories == {}


def test_missing_values_from_r_are_missing_values(tmp_path):
    """R's NA is a signalling NaN: sums and differences with it warn."""
    x = np.array([1.0, 0.0, 3.0, 4.0])
    x[1:2] = np.frombuffer(np.uint64(0x7FF00000000007A2).tobytes())
    frame = pd.DataFrame({"unique_id": "a", "ds": range(4), "y": x})
    frame.to_parquet(tmp_path / "r.parquet")
    read = pd.read_parquet(tmp_path / "r.parquet")
    for data in (SequenceDataset.from_list([x]), from_frame(frame), from_frame(read)):
        values = data.sequences[0].x
        assert np.isnan(np.diff(values, axis=0)).sum() == 2


@pytest.mark.parametrize("dtype", ["object", "string", "category"])
def test_labels_become_sorted_codes(dtype):
    cells = pd.Series(["rain", "fog", None, "rain"], dtype=dtype)
    data = from_frame(pd.DataFrame({"y": cells}))
    assert data.categories == {"y": ("fog", "rain")}
    np.testing.assert_array_equal(data.sequences[0].x[:, 0], [1, 0, np.nan, 1])
    assert data.decode("y", data.sequences[0].x[:, 0]).tolist() == ["rain", "fog", None, "rain"]


def test_default_targets_are_the_columns_of_numbers(caplog):
    frame = pd.DataFrame(
        {"ds": [1, 2], "a": [1.0, 2.0], "sky": ["fog", "sun"], "b": ["3", ""], "p": [0.0, 1.0]}
    )
    with caplog.at_level(logging.WARNING, "seqlatent"):
        data = from_frame(frame, covariates=["p"])
    assert data.targets == ("a", "b")
    assert data.covariate_names == ("p",)
    assert "sky" in caplog.text
    assert from_frame(frame.drop(columns=["a", "b", "p"])).categories == {"sky": ("fog", "sun")}
    assert from_frame(frame.assign(y=0.5)).targets == ("y",)
    assert from_frame(frame, targets=["b", "sky"]).targets == ("b", "sky")


@pytest.mark.parametrize("rows", [1, 4])
def test_round_trip_through_a_frame(rows):
    frame = long_table(rows).assign(
        sky=["fog", "sun"] * rows,
        y=[np.nan if i % 4 == 2 else 1 / (i + 1) for i in range(2 * rows)],
    )
    data = from_frame(frame, targets=["y", "sky"], covariates=["price"])
    again = from_frame(data.to_frame(), targets=["y", "sky"], covariates=["price"])
    assert again.targets == data.targets
    assert again.categories == data.categories
    assert again.covariate_names == data.covariate_names
    assert again.frequency == data.frequency
    for one, other in zip(again, data, strict=True):
        assert one.unique_id == other.unique_id
        np.testing.assert_array_equal(one.ds, other.ds)
        np.testing.assert_array_equal(one.x, other.x)
        np.testing.assert_array_equal(one.covariates, other.covariates)


@pytest.mark.parametrize("dates", [["2021-03-08", "2021-03-01"], ["8.3.2021", "1.3.2021"]])
def test_a_column_of_dates_is_the_time_whatever_its_name(dates):
    frame = pd.DataFrame({"Week": [*dates, "22.3.2021" if "." in dates[0] else "2021-03-22"]})
    frame["Gasoline"] = [2.0, 1.0, 3.0]
    data = SequenceDataset.from_frame(frame)
    assert data.targets == ("Gasoline",)
    np.testing.assert_array_equal(data.sequences[0].x[:2, 0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("times", "told"),
    [
        (["2024-03-31 01:00:00+01:00", "2024-03-31 03:00:00+02:00"], True),
        (["2024-03-31T01:00:00+0100", "2024-03-31T03:00:00+0200"], True),
        (["2024-03-31 00:00:00Z", "2024-03-31 01:00:00+00:00"], False),
        (["2024-03-31", "2024-04-01"], False),
        (["2024-03-31 00:00", "2024-03-31 01:00"], False),
    ],
)
def test_it_is_told_that_times_of_a_zone_are_taken_in_utc(times: list[str], told: bool, caplog):
    with caplog.at_level(logging.INFO, "seqlatent"):
        SequenceDataset.from_frame(pd.DataFrame({"ds": times, "y": [1.0, 2.0]}))
    assert ("column 'ds' are taken in UTC" in caplog.text) == told
