"""Reading tables: what ends up where, and what is refused in which words."""

import datetime
import logging

import numpy as np
import pandas as pd
import pytest

from seqlatent.data.calendar import CYCLES, calendar_features, with_calendar
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.grid import steps_after
from seqlatent.errors import InputError

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


# --- gaps and frequencies ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "frequency",
    ["h", "30min", "D", "7D", "B", "W-SAT", "MS", "ME", "QS-OCT", "QE-DEC", "YS-JAN", "250ms"],
)
def test_frequency_and_the_steps_that_follow(frequency):
    ds = pd.date_range("2023-12-30", periods=45, freq=frequency)
    frame = pd.DataFrame({"ds": ds[:40], "y": 1.0})
    data = from_frame(frame)
    np.testing.assert_array_equal(data.future_steps(data.sequences[0], 5), ds[40:].to_numpy())
    assert data.future_steps(data.sequences[0], 0).shape == (0,)


@pytest.mark.parametrize("frequency", ["h", "D", "7D", "B", "MS", "ME", "QE", "90s"])
@pytest.mark.parametrize("absent", [[5], [1, 20], [37, 38]])
def test_absent_steps_are_filled_in_as_missing(frequency, absent, caplog):
    ds = pd.date_range("2024-01-31", periods=40, freq=frequency)
    frame = pd.DataFrame({"ds": ds, "y": np.arange(40.0)}).drop(index=absent)
    with caplog.at_level(logging.WARNING, "seqlatent"):
        data = from_frame(frame, name="power.csv")
    s = data.sequences[0]
    np.testing.assert_array_equal(s.ds, ds.to_numpy())
    assert np.flatnonzero(np.isnan(s.x[:, 0])).tolist() == absent
    assert np.nansum(s.x) == sum(range(40)) - sum(absent)
    assert caplog.messages == [
        f"power.csv: filled in {len(absent)} absent steps as missing values, in 1 of 1 series"
    ]
    np.testing.assert_array_equal(
        data.future_steps(s, 3), pd.date_range(ds[-1], periods=4, freq=frequency)[1:].to_numpy()
    )


def test_absent_integer_steps_are_filled_in():
    ds = np.arange(1900, 2000, 2)
    frame = pd.DataFrame({"ds": ds, "y": 1.0}).drop(index=[7])
    data = from_frame(frame)
    assert data.sequences[0].ds.tolist() == ds.tolist()
    assert data.frequency == 2
    assert np.flatnonzero(data.sequences[0].absent).tolist() == [7]
    assert data.future_steps(data.sequences[0], 2).tolist() == [2000, 2002]


@pytest.mark.parametrize("ds", [[0, 1, 2, 5, 6, 30], [0, 2, 4, 5, 8], [0, 1, 10**15]])
def test_irregular_integers_stay_as_they_are(ds, caplog):
    with caplog.at_level(logging.WARNING, "seqlatent"):
        data = from_frame(pd.DataFrame({"ds": ds, "y": 1.0}))
    assert data.sequences[0].ds.tolist() == ds
    assert "irregular" in caplog.text


def test_irregular_timestamps_stay_as_they_are(caplog):
    ds = times("2024-01-01", "2024-01-01T00:00:00.000001", "2024-01-05", "2024-01-08T13:30")
    with caplog.at_level(logging.WARNING, "seqlatent"):
        data = from_frame(pd.DataFrame({"ds": ds, "y": 1.0}))
    np.testing.assert_array_equal(data.sequences[0].ds, ds)
    assert data.frequency is None
    assert len(caplog.messages) == 1 and "irregular" in caplog.text


def test_one_frequency_for_all_series():
    # Alone, the second would look like business days, and the third is too short to tell.
    parts = [("2024-01-01", 30), ("2024-01-05", 4), ("2024-01-06", 1)]
    frame = pd.concat(
        pd.DataFrame({"unique_id": str(i), "ds": pd.date_range(start, periods=n), "y": 1.0})
        for i, (start, n) in enumerate(parts)
    )
    data = from_frame(frame)
    assert data.frequency == "D"
    assert data.lengths.tolist() == [30, 4, 1]


def test_weeks_that_begin_on_different_days_share_seven_days():
    frame = pd.concat(
        pd.DataFrame({"unique_id": start, "ds": pd.date_range(start, periods=5, freq="7D"), "y": 1})
        for start in ("2024-01-01", "2024-01-03")
    )
    assert from_frame(frame).frequency == "7D"


@pytest.mark.parametrize(
    ("ds", "frequency", "expected"),
    [
        (np.array([4]), None, [5, 6]),
        (np.array([1, 4, 7, 9]), None, [12, 15]),
        (times("2024-02-28"), None, times("2024-02-29", "2024-03-01")),
        (times("2024-01-01", "2024-01-02", "2024-01-04", "2024-01-05"), None, None),
        (times("2024-01-31"), "ME", times("2024-02-29", "2024-03-31")),
        (times("2024-03-08"), "B", times("2024-03-11", "2024-03-12")),
        (times("2024-03-09"), "B", times("2024-03-11", "2024-03-12")),
    ],
)
def test_steps_after(ds, frequency, expected):
    after = steps_after(ds, 2, frequency)
    expected = times("2024-01-06", "2024-01-07") if expected is None else np.asarray(expected)
    np.testing.assert_array_equal(after, expected)
    assert after.dtype == ds.dtype


def test_steps_after_the_last_year_of_timestamps():
    with pytest.raises(InputError, match="2261"):
        steps_after(times("2261-01-01"), 10, "YS")


# --- what is refused --------------------------------------------------------------------------

GOOD = {"unique_id": ["a", "a", "b"], "ds": [1, 2, 1], "y": [1.0, 2.0, 3.0], "p": [1.0, 2.0, 3.0]}

REFUSED = {
    "missing id": ({"unique_id": ["a", None, "b"]}, {}, "row 2 has no series name"),
    "list as id": ({"unique_id": [["a"], ["a"], ["b"]]}, {}, "'unique_id' holds lists"),
    "blank id": ({"unique_id": ["a", "b", "  "]}, {}, "row 3 has no series name"),
    "no id column": ({}, {"id_column": "uniqe_id"}, "no id column 'uniqe_id'.*'unique_id'"),
    "no time column": ({}, {"time_column": "dss"}, "no time column 'dss'.*'ds'"),
    "no target": ({}, {"targets": ["pp"]}, "no target column 'pp'.*'p'"),
    "no covariate": ({}, {"covariates": ["pp"]}, "no covariate column 'pp'.*'p'"),
    "no targets": ({}, {"targets": []}, "no target column"),
    "target twice": ({}, {"targets": ["y", "y"]}, "target column 'y' is named twice"),
    "two roles": ({}, {"targets": ["p"], "covariates": ["p"]}, "'p' cannot be both covariate and"),
    "id as target": ({}, {"targets": ["unique_id"]}, "'unique_id' cannot be both id and target"),
    "time as target": ({}, {"targets": ["ds"], "time_column": "ds"}, "both time and target"),
    "missing time": ({"ds": [1, None, 1]}, {}, "series 'a', column 'ds', row 2 is empty"),
    "fraction of a step": ({"ds": [1, 1.5, 1]}, {}, "row 2: '1.5' is not a time"),
    "infinite step": ({"ds": [1, np.inf, 1]}, {}, "row 2: 'inf' is not a time"),
    "word as time": ({"ds": ["2024-01-01", "soon", "2024-01-02"]}, {}, "row 2: 'soon' is not"),
    "now": ({"ds": ["2024-01-01", "now", "2024-01-02"]}, {}, "row 2: 'now' is not a time"),
    "mostly numbers": ({"ds": ["1", "2", "x"]}, {}, "row 3: 'x' is not a time"),
    "no such day": ({"ds": ["2024-02-30"] * 3}, {}, "row 1: '2024-02-30' is not a time"),
    "day or month": ({"ds": ["01/02/2024", "02/02/2024", "01/02/2024"]}, {}, "told apart"),
    "far away": (
        {"ds": ["1066-10-14", "1066-10-15", "1066-10-14"]},
        {},
        "1066-10-14.*use whole numbers",
    ),
    "boolean time": ({"ds": [True, False, True]}, {}, "'ds' holds bool"),
    "duration": ({"ds": pd.to_timedelta([1, 2, 1], unit="h")}, {}, "'ds' holds timedelta"),
    "same step": ({"ds": [2, 2, 1]}, {}, "series 'a' has step 2 in rows 1 and 2"),
    "same time": ({"ds": ["2024-01-01"] * 3}, {}, "step 2024-01-01 00:00:00 in rows 1 and 2"),
    "bad cell": ({"y": ["1", "2", "3,5"]}, {}, "series 'b', column 'y', row 3: '3,5' is not a num"),
    "endless integer": (
        {"y": np.array([1.0, 10**400, 3], dtype=object)},
        {},
        r"row 2: '10{36}\.\.\.' is not a number",
    ),
    "cell of two lines": ({"y": ["1", "a\nb", "3"]}, {}, "row 2: 'a b' is not a number"),
    "bad object": ({"y": [1.0, [2.0], 3.0]}, {}, r"row 2: '\[2.0\]' is not a number"),
    "timestamp": ({"y": [1.0, pd.Timestamp("2024"), 3.0]}, {}, "row 2: '2024.*' is not a number"),
    "infinite": ({"y": [1.0, np.inf, 3.0]}, {}, "series 'a', column 'y', row 2 is infinite"),
    "infinite text": ({"y": ["1", "-inf", "3"]}, {}, "column 'y', row 2 is infinite"),
    "only infinite": ({"y": ["inf", "inf", "inf"]}, {}, "column 'y', row 1 is infinite"),
    "large": ({"y": [1.0, 2.0, -2e30]}, {}, "series 'b', column 'y', row 3 is -2e.30, too large"),
    "complex": ({"y": [1j, 2.0, 3.0]}, {}, "'y' holds complex128"),
    "times as target": ({"y": pd.date_range("2024", periods=3)}, {}, "'y' holds datetime64"),
    "objects": ({"y": [{}, {}, {}]}, {}, "'y' holds object"),
    "empty column": ({"y": [None] * 3}, {}, "column 'y' has no observed value"),
    "empty text": ({"y": ["", "NA", ""]}, {}, "column 'y' has no observed value"),
    "empty series": ({"y": [1.0, 2.0, None]}, {}, "series 'b' has no observed value"),
    "covariate gap": (
        {"p": [1.0, None, 2.0]},
        {"covariates": ["p"]},
        "series 'a', column 'p', row 2 is empty",
    ),
    "covariate text": ({"p": ["x", "y", "z"]}, {"covariates": ["p"]}, "row 1: 'x' is not a num"),
    "covariate type": ({"p": [1j, 2j, 1]}, {"covariates": ["p"]}, "covariate 'p' holds complex"),
    "covariate infinite": (
        {"p": [1.0, np.inf, 2.0]},
        {"covariates": ["p"]},
        "column 'p', row 2 is infinite",
    ),
}


@pytest.mark.parametrize(("columns", "options", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_in_one_clear_sentence(columns, options, message):
    with pytest.raises(InputError, match=message) as caught:
        from_frame(pd.DataFrame({**GOOD, **columns}), name="sales.csv", **options)
    assert "sales.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_table_that_the_refused_ones_spoil_is_good():
    assert len(from_frame(pd.DataFrame(GOOD), covariates=["p"])) == 2


def test_no_rows():
    with pytest.raises(InputError, match=r"sales\.csv has a header but no rows"):
        from_frame(pd.DataFrame({"ds": [], "y": []}), name="sales.csv")


def test_two_columns_of_one_name():
    with pytest.raises(InputError, match="two columns are named 'y'"):
        from_frame(pd.DataFrame([[1, 2]], columns=["y", "y"]))


def test_several_columns_could_be_the_time():
    frame = pd.DataFrame({"year": [1, 1], "month": [1, 2], "y": [1.0, 2.0]})
    with pytest.raises(InputError, match=r"year, month could be the time.*--time-column"):
        from_frame(frame)


def test_repeated_steps_without_ids_hint_at_the_id_column():
    frame = pd.DataFrame({"shop": ["a", "b"], "ds": [1, 1], "y": [1.0, 2.0]})
    with pytest.raises(InputError, match=r"rows 1 and 2.*--id-column"):
        from_frame(frame)
    assert len(from_frame(frame, id_column="shop")) == 2


def test_rows_are_numbered_as_given_not_as_sorted():
    frame = pd.DataFrame({"ds": [5, 4, 3, 4], "y": ["1", "2", "3", "4"]})
    with pytest.raises(InputError, match="step 4 in rows 2 and 4"):
        from_frame(frame)
    frame = pd.DataFrame({"ds": [5, 4, 3, 2], "y": ["1", "2", "?", "4"]}, index=[9, 9, 9, 9])
    with pytest.raises(InputError, match="row 3: '\\?'"):
        from_frame(frame)


@pytest.mark.parametrize("count", [1000, 1001])
def test_at_most_a_thousand_labels(count):
    frame = pd.DataFrame({"y": [f"label {i}" for i in range(count)]})
    if count == 1000:
        assert len(from_frame(frame).categories["y"]) == 1000
    else:
        with pytest.raises(InputError, match="1001 different labels"):
            from_frame(frame)


def test_covariates_cannot_be_filled_in():
    frame = long_table(40).drop(index=[47])
    with pytest.raises(InputError, match="series 'a' has no row for step 2024-01-01 07:00:00"):
        from_frame(frame, covariates=["price"])
    assert from_frame(frame).lengths.tolist() == [40, 40]


# --- calendar ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cycle", "moment", "phase"),
    [
        ("hour", "2024-05-06T10:15", 1 / 4),
        ("day", "2024-05-06T18:00", 3 / 4),
        ("week", "2024-05-06", 0),
        ("week", "2024-05-12T12:00", 6.5 / 7),
        ("month", "2024-02-15T12:00", 14.5 / 29),
        ("year", "2023-12-31T00:00", 364 / 365),
        ("year", "2024-12-31T00:00", 365 / 366),
    ],
)
def test_phase_of_a_cycle(cycle, moment, phase):
    names = [f"calendar:{cycle}:sin", f"calendar:{cycle}:cos"]
    features = calendar_features(times(moment), names)
    angle = 2 * np.pi * phase
    np.testing.assert_allclose(features, [[np.sin(angle), np.cos(angle)]], atol=1e-9)


def test_with_calendar_adds_what_future_steps_can_have_too():
    data = with_calendar(from_frame(long_table(), covariates=["price"]), tuple(CYCLES))
    assert data.covariate_names[:3] == ("price", "calendar:hour:sin", "calendar:hour:cos")
    assert data.sequences[1].covariates.shape == (4, 11)
    np.testing.assert_array_equal(data.sequences[1].covariates[:, 0], [0.4, 0.5, 0.6, 0.7])
    future = data.future_steps(data.sequences[0], 3)
    features = calendar_features(future, data.covariate_names[1:])
    longer = with_calendar(from_frame(long_table(7)), tuple(CYCLES)).sequences[0]
    np.testing.assert_array_equal(features, longer.covariates[4:])
    assert with_calendar(data, ()) is data


@pytest.mark.parametrize(
    ("cycles", "message"),
    [(["dya"], "no calendar cycle 'dya'; did you mean 'day'"), (["day", "day"], "twice")],
)
def test_calendar_refuses(cycles, message):
    with pytest.raises(InputError, match=message):
        with_calendar(from_frame(long_table()), cycles)


def test_calendar_needs_timestamps():
    with pytest.raises(InputError, match="need timestamps"):
        with_calendar(from_frame(pd.DataFrame(GOOD)), ["day"])
    with pytest.raises(InputError, match="need timestamps"):
        calendar_features(np.arange(3), ["calendar:day:sin"])
    with pytest.raises(InputError, match="'price' is not a calendar covariate"):
        calendar_features(times("2024-01-01"), ["price"])


@pytest.mark.parametrize("dates", [["2021-03-08", "2021-03-01"], ["8.3.2021", "1.3.2021"]])
def test_a_column_of_dates_is_the_time_whatever_its_name(dates):
    frame = pd.DataFrame({"Week": [*dates, "22.3.2021" if "." in dates[0] else "2021-03-22"]})
    frame["Gasoline"] = [2.0, 1.0, 3.0]
    data = SequenceDataset.from_frame(frame)
    assert data.targets == ("Gasoline",)
    np.testing.assert_array_equal(data.sequences[0].x[:2, 0], [1.0, 2.0])


def test_two_columns_of_dates_need_a_choice():
    frame = pd.DataFrame({"sold": ["2021-03-08"], "paid": ["2021-03-09"], "y": [1.0]})
    with pytest.raises(InputError, match="sold, paid could be the time"):
        SequenceDataset.from_frame(frame)


def test_decimal_commas_are_not_labels():
    frame = pd.DataFrame({"ds": [1, 2], "y": ["3,5", "1.004,25"]})
    with pytest.raises(
        InputError, match=r"'3,5'.* has a decimal comma; write numbers with a point"
    ):
        SequenceDataset.from_frame(frame)
