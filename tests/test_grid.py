"""The time axis: frequencies, absent steps, and the steps that come next."""

import logging

import numpy as np
import pandas as pd
import pytest

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.grid import common_frequency, frequency_of, goes_by, grid_of, steps_after
from seqlatent.errors import InputError

from_frame = SequenceDataset.from_frame


def times(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="datetime64[ns]")


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


def test_covariates_cannot_be_filled_in():
    frame = pd.DataFrame({"ds": range(40), "y": 1.0, "price": 2.0}).drop(index=[7])
    with pytest.raises(InputError, match="series 'series' has no row for step 7; add it"):
        from_frame(frame, covariates=["price"])
    assert from_frame(frame).lengths.tolist() == [40]


def hours(periods: int) -> np.ndarray:
    return pd.date_range("2024-01-01", periods=periods, freq="h").as_unit("ns").to_numpy()


def days(periods: int) -> np.ndarray:
    return pd.date_range("2024-01-01", periods=periods, unit="ns").to_numpy()


def test_the_frequency_that_most_steps_go_by():
    odd = np.sort(np.random.default_rng(0).integers(0, 10**17, 40)).astype("datetime64[ns]")
    assert common_frequency([days(40), hours(30)]) == "D"
    assert common_frequency([days(30), hours(40)]) == "h"
    assert common_frequency([days(40), odd]) == "D"
    assert common_frequency([days(39), odd]) is None
    assert common_frequency([days(1), days(1)]) is None
    assert common_frequency([np.arange(0, 50, 5), np.arange(9)]) == 5


def test_a_tenth_may_be_absent():
    for count, regular in ((3, True), (4, False)):
        ds = np.delete(np.arange(30), np.arange(1, 1 + 2 * count, 2))
        assert goes_by(ds, 1) == regular
        assert goes_by(days(30)[ds], "D") == regular
        assert goes_by(pd.date_range("2024", periods=30, freq="ME").to_numpy()[ds], "ME") == regular
        assert len(grid_of(ds, 1)) == (30 if regular else len(ds))


def test_steps_and_frequency_of_different_kinds():
    assert not goes_by(days(5), 1) and not goes_by(np.arange(5), "D")
    assert frequency_of(days(5), 3) == "D" and frequency_of(np.arange(5), "D") == 1
    assert frequency_of(days(1), 3) is None and frequency_of(days(1), "ME") == "ME"
    assert steps_after(np.arange(0, 6, 2), 2, "D").tolist() == [6, 8]
