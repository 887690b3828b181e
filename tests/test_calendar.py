"""Calendar covariates: where in its cycles a step lies."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from seqlatent.api import RNN, Flow
from seqlatent.data.calendar import (
    CYCLES,
    calendar_features,
    choose_cycles,
    cycles_of,
    usual_cycles,
    with_calendar,
    with_cycles,
)
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


def dated(freq: str, steps: int, num: int = 1, start: str = "2020-01-01") -> SequenceDataset:
    """Series of noise, all over the same steps."""
    ds = pd.date_range(start, periods=steps, freq=freq)
    rng = np.random.default_rng(0)
    frames = [pd.DataFrame({"unique_id": f"s{i}", "ds": ds, "y": rng.normal(size=steps)})
              for i in range(num)]  # fmt: skip
    return from_frame(pd.concat(frames))


@pytest.mark.parametrize(
    ("freq", "steps", "cycles"),
    [
        ("15min", 96 * 3, ("day",)),
        ("h", 24 * 3, ("day",)),
        ("h", 24 * 15, ("day", "week")),
        ("h", 24 * 731, ("day", "week", "year")),
        ("D", 10, ()),  # the week has not been seen twice
        ("D", 20, ("week",)),
        ("D", 400, ("week", "month")),
        ("D", 800, ("week", "month", "year")),
        ("W", 110, ("year",)),
        ("MS", 12, ()),
        ("MS", 36, ("year",)),
        ("QS", 12, ("year",)),
        ("YS", 30, ()),
    ],
)
def test_usual_cycles(freq, steps, cycles):
    data = dated(freq, steps)
    assert usual_cycles(data) == cycles
    assert cycles_of(with_cycles(data, cycles).covariate_names) == cycles


def test_steps_without_a_calendar_have_no_usual_cycles():
    assert usual_cycles(SequenceDataset.from_arrays(np.zeros((2, 900)))) == ()
    assert usual_cycles(dated("D", 1)) == ()
    irregular = pd.to_datetime("2020-01-01") + pd.to_timedelta(np.arange(60) ** 2, "h")
    data = from_frame(pd.DataFrame({"ds": irregular, "y": 1.0}))
    assert data.frequency is None and usual_cycles(data) == ()


def test_the_longest_series_says_which_cycles_are_usual():
    short, long = dated("D", 10), dated("D", 20)
    both = replace(long, sequences=(*short.sequences, replace(long.sequences[0], unique_id="b")))
    assert usual_cycles(both) == ("week",)


def pieces(freq: str, steps: int, starts: list[str]) -> SequenceDataset:
    """Short series, one from each start."""
    parts = [dated(freq, steps, start=start).sequences[0] for start in starts]
    named = tuple(replace(s, unique_id=str(i)) for i, s in enumerate(parts))
    return replace(dated(freq, steps), sequences=named)


@pytest.mark.parametrize(
    ("freq", "steps", "starts", "cycles"),
    [
        ("h", 24, ["2020-01-01"] * 9, ()),  # one day, seen by many
        ("h", 24, ["2020-01-01", "2020-03-05"], ("day",)),
        ("h", 12, ["2020-01-01 00:00", "2020-01-02 12:00"], ()),  # each half of the day once
        ("h", 12, ["2020-01-01 00:00", "2020-01-02 12:00"] * 2, ()),
        ("h", 13, [f"2020-01-{d:02} {h}:00" for d in (1, 2) for h in ("00", "12")], ()),
        ("h", 24, [f"2020-01-{d:02}" for d in range(1, 16)], ("day",)),  # a week tells them apart
        ("D", 31, ["2019-01-01", "2020-01-01", "2021-01-01"], ("week", "month")),  # no summer
        ("B", 15, ["2020-01-01"], ("week",)),
        ("MS", 12, ["2019-01-01", "2020-01-01"], ("year",)),
    ],
)
def test_short_series_show_a_cycle_together(freq, steps, starts, cycles):
    assert usual_cycles(pieces(freq, steps, starts)) == cycles


def test_with_cycles_adds_those_that_are_missing():
    data = with_calendar(dated("h", 48), ["day"])
    more = with_cycles(data, ["day", "week"])
    assert cycles_of(more.covariate_names) == ("day", "week")
    assert with_cycles(more, ["week", "day"]) is more


@pytest.mark.parametrize(
    ("calendar", "cycles"),
    [
        ("auto", ("week", "month")),
        ("none", ()),
        ((), ()),
        ("day, week", ("day", "week")),
        (["year"], ("year",)),
    ],
)
def test_how_cycles_are_named(calendar, cycles):
    assert tuple(choose_cycles(calendar, dated("D", 400))) == cycles


@pytest.fixture(scope="module")
def fitted():
    sizes = {"hidden_dim": 4, "emission": "normal", "scaling": "global"}
    return Flow(**sizes).fit(dated("D", 40, num=3), max_steps=2, progress=False)


def test_a_model_reads_plain_data_though_it_has_a_calendar(fitted):
    assert fitted.calendar == ("week",) and fitted.covariates == ()
    plain = dated("D", 20, num=2, start="2024-01-03")
    ready = with_cycles(plain, ["week"])
    assert plain.covariate_names == ()
    one, other = fitted.log_prob(plain), fitted.log_prob(ready)
    pd.testing.assert_frame_equal(one, other)
    monday = dated("D", 20, num=2, start="2024-01-01")  # the same values on other days
    assert (fitted.log_prob(monday)["log_prob"] != one["log_prob"]).all()
    ahead = fitted.forecast(plain, 3, num_samples=4)
    np.testing.assert_array_equal(ahead.samples, fitted.forecast(ready, 3, num_samples=4).samples)
    assert ahead[0].ds[0] == np.datetime64("2024-01-23")


def test_latents_are_decoded_with_the_calendar(fitted):
    plain = dated("D", 20, start="2024-01-03")
    latents = fitted.encode(plain)
    codes = from_frame(latents.rename(columns={"z1_mean": "z1"})[["unique_id", "ds", "z1"]])
    for given in (latents, codes):
        decoded = fitted.decode(given)
        np.testing.assert_allclose(decoded.sequences[0].x, plain.sequences[0].x, rtol=1e-3)
    with pytest.raises(InputError, match="the steps are whole numbers"):
        fitted.decode(SequenceDataset.from_arrays(np.zeros((1, 4))))


def test_a_refit_has_the_cycles_of_the_fit():
    """Neither those that longer data would add, nor any where none were wanted."""
    data = dated("D", 40, num=3)
    for calendar in ("none", ["month"]):
        model = RNN(hidden_dim=4, emission="normal", scaling="global")
        model.fit(data, calendar=calendar, max_steps=2, progress=False)
        again = model._fitted_again(with_cycles(data, model.calendar))
        assert again.description.covariate_names == model.module.description.covariate_names
