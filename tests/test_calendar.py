"""Calendar covariates: where in its cycles a step lies."""

import numpy as np
import pandas as pd
import pytest

from seqlatent.data.calendar import CYCLES, calendar_features, with_calendar
from seqlatent.data.dataset import SequenceDataset
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
        with_calendar(from_frame(pd.DataFrame({"ds": [1, 2], "y": 1.0})), ["day"])
    with pytest.raises(InputError, match="need timestamps"):
        calendar_features(np.arange(3), ["calendar:day:sin"])
    with pytest.raises(InputError, match="'price' is not a calendar covariate"):
        calendar_features(times("2024-01-01"), ["price"])
