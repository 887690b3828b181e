"""Tables that are refused, and in which words."""

import numpy as np
import pandas as pd
import pytest

from seqlatent.data.dataset import SequenceDataset
from seqlatent.errors import InputError

from_frame = SequenceDataset.from_frame


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
    "bad cell": (
        {"y": ["1", "2", "3 kg"]},
        {},
        "series 'b', .*row 3: '3 kg' is not a num",
    ),
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


def test_two_columns_of_dates_need_a_choice():
    frame = pd.DataFrame({"sold": ["2021-03-08"], "paid": ["2021-03-09"], "y": [1.0]})
    with pytest.raises(InputError, match="sold, paid could be the time"):
        SequenceDataset.from_frame(frame)


@pytest.mark.parametrize(
    ("cells", "shown"), [(["3,5", "1.004,25"], "3,5"), (["950", "1,200"], "1,200")]
)
def test_numbers_with_commas_are_not_labels(cells: list[str], shown: str):
    """A comma between thousands is no decimal one: no message may make 1.2 of 1,200."""
    frame = pd.DataFrame({"ds": [1, 2], "y": cells})
    message = rf"'{shown}' has a comma; write .* decimal point, and thousands without a separator"
    with pytest.raises(InputError, match=message):
        SequenceDataset.from_frame(frame)
