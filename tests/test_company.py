"""A series is read by its own steps and the model alone, whatever other series it comes with."""

import logging

import numpy as np
import pandas as pd
import pytest
from conftest import fitted

import seqlatent as sl
from seqlatent.cli.app import run_command
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.readers import load
from seqlatent.data.regular import with_frequency
from seqlatent.data.sequence import Sequence
from seqlatent.errors import InputError

DAYS = pd.date_range("2024-01-01", periods=60)
GAPS = (7, 30)


def rows(name: str, ds, seed: int = 0) -> pd.DataFrame:
    y = np.random.default_rng(seed).normal(size=len(ds))
    return pd.DataFrame({"unique_id": name, "ds": ds, "y": y})


DATES = rows("a", DAYS.delete(GAPS), 3)
NUMBERS = rows("a", np.delete(np.arange(0, 180, 3), GAPS), 3)

# Other series of the table that would change its frequency, or whether it has one.
BESIDE_DATES = {
    "the same": rows("b", DAYS),
    "other gaps": rows("b", DAYS.delete([3, 4, 20, 40, 41])),
    "too many gaps": rows("b", DAYS[np.random.default_rng(0).random(60) < 0.5]),
    "hours": rows("b", pd.date_range("2024-01-01", periods=500, freq="h")),
    "months": rows("b", pd.date_range("2020-01-31", periods=80, freq="ME")),
    "irregular": rows("b", DAYS[:40] + pd.to_timedelta(np.arange(40) ** 2, unit="min")),
    "a single step": rows("b", DAYS[:1]),
}
BESIDE_NUMBERS = {
    "the same": rows("b", np.arange(1, 100, 3)),
    "stride 1": rows("b", np.arange(100)),
    "stride 6": rows("b", np.arange(0, 600, 6)),
    "irregular": rows("b", np.cumsum(np.arange(1, 100))),
}
# What the model was fitted to, what it is given, and beside what.
CASES = [
    *(("dates", "dates", name) for name in BESIDE_DATES),
    *(("numbers", "numbers", name) for name in BESIDE_NUMBERS),
    *(("calendar", "dates", name) for name in ("hours", "irregular")),
    *(("irregular", "dates", name) for name in ("hours", "irregular")),
    *(("irregular", "numbers", name) for name in ("stride 1", "irregular")),
    ("dates without a calendar", "numbers", "stride 1"),
    ("numbers", "dates", "hours"),
]


@pytest.fixture(scope="module")
def models():
    def fit(table, calendar="auto", **data):
        model = sl.RNN(hidden_dim=4, num_components=2)
        return model.fit(load(table, **data), calendar=calendar, max_steps=2, progress=False)

    numbers = pd.concat([rows("p", np.arange(0, 120, 3), 1), rows("q", np.arange(0, 90, 3), 2)])
    dates = pd.concat([rows("p", DAYS, 1), rows("q", DAYS[:50], 2)])
    return {
        "dates": fit(dates),
        "dates without a calendar": fit(dates, calendar="none"),
        "calendar": fit(pd.concat([rows("p", DAYS, 1), rows("q", DAYS, 2)]), calendar=["week"]),
        "numbers": fit(numbers),
        "irregular": fit(rows("p", np.cumsum(np.arange(1, 60)))),
    }


def table(kind: str, beside: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A series with gaps alone, and after others."""
    if kind == "numbers":
        return NUMBERS, pd.concat([BESIDE_NUMBERS[beside], NUMBERS])
    return DATES, pd.concat([BESIDE_DATES[beside], DATES])


@pytest.mark.parametrize(("fitted_to", "kind", "beside"), CASES)
def test_a_series_alone_and_beside_others(fitted_to, kind, beside, models):
    model = models[fitted_to]
    alone, together = (model._load(t) for t in table(kind, beside))
    (one, one_steps), (both, both_steps) = model.score(alone), model.score(together)
    mine, mine_steps = (f[f["unique_id"] == "a"].reset_index(drop=True) for f in (both, both_steps))
    pd.testing.assert_frame_equal(mine, one, rtol=1e-5)
    pd.testing.assert_frame_equal(mine_steps, one_steps, rtol=1e-4)
    assert one["num_observed"][0] == 58

    one, both = (model.forecast(t, 3, num_samples=7)["a"] for t in (alone, together))
    np.testing.assert_array_equal(one.ds, both.ds)
    np.testing.assert_allclose(one.samples, both.samples, rtol=1e-5)

    one, both = (model.impute(t, num_samples=7).to_frame() for t in (alone, together))
    mine = both[both["unique_id"] == "a"].reset_index(drop=True)
    every = DAYS if kind == "dates" else np.arange(0, 180, 3)
    assert one["ds"].tolist() == [every[i] for i in GAPS]
    pd.testing.assert_frame_equal(mine, one, rtol=1e-5)


def test_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows("p", DAYS, 1).to_csv("train.csv", index=False)
    fitted(tmp_path / "run", "train.csv")
    for name, t in zip(("alone", "both"), table("dates", "hours"), strict=True):
        t.to_csv(f"{name}.csv", index=False)
        assert run_command(["score", "run", f"{name}.csv", "--out", f"{name}-s.csv", "-q"]) == 0
        ahead = ["--prediction-length", "3", "--num-samples", "5"]
        command = ["forecast", "run", f"{name}.csv", *ahead, "--out", f"{name}-f.csv", "-q"]
        assert run_command(command) == 0
        command = ["impute", "run", f"{name}.csv", "--num-samples", "5", "--out", f"{name}-i.csv"]
        assert run_command([*command, "-q"]) == 0
    for what in "sfi":
        one, both = (pd.read_csv(f"{name}-{what}.csv") for name in ("alone", "both"))
        if what != "s":  # times of day are written where some are not midnight
            one["ds"], both["ds"] = (pd.to_datetime(f["ds"], format="ISO8601") for f in (one, both))
        both = both[both["unique_id"] == "a"].reset_index(drop=True)
        pd.testing.assert_frame_equal(one, both, rtol=1e-5)


def test_a_single_integer_step_goes_on_with_the_models_stride(models):
    one = pd.DataFrame({"ds": [12], "y": [1.0]})
    assert models["numbers"].forecast(one, 2, num_samples=2)["series"].ds.tolist() == [15, 18]
    plain = models["dates without a calendar"]
    assert plain.forecast(one, 2, num_samples=2)["series"].ds.tolist() == [13, 14]


def test_whole_numbers_have_no_calendar(models):
    assert models["dates"].calendar == ("week",)
    for task in (models["dates"].log_prob, lambda data: models["dates"].forecast(data, 2)):
        with pytest.raises(
            InputError, match=r"with the calendar \(week\), and the steps are whole"
        ):
            task(NUMBERS)


def test_validation_data_are_read_as_the_training_data(caplog):
    train = rows("p", DAYS, 1)
    both = pd.concat([rows("a", DAYS.delete(GAPS), 3), rows("b", DAYS[::7], 4)])
    results = []
    for valid in (both, pd.concat([both, BESIDE_DATES["hours"].assign(unique_id="c")])):
        model = sl.RNN(hidden_dim=4, num_components=2)
        model.fit(train, valid=load(valid)[[0, 1]], max_steps=2, progress=False)
        results.append(model.fitted["valid_nats_per_step"])
    assert results[0] == pytest.approx(results[1], rel=1e-5)


# --- the steps of one series ------------------------------------------------------------------


def same(one: Sequence, other: Sequence) -> None:
    np.testing.assert_array_equal(one.ds, other.ds)
    np.testing.assert_array_equal(one.x, other.x)
    np.testing.assert_array_equal(one.covariates, other.covariates)
    np.testing.assert_array_equal(one.recorded, other.recorded)
    assert one.context == other.context


@pytest.mark.parametrize("beside", BESIDE_DATES)
@pytest.mark.parametrize("frequency", ["D", "h", "ME", None])
@pytest.mark.parametrize("calendar", [(), ("week",)])
def test_as_if_loaded_with_the_frequency(beside, frequency, calendar):
    """Whatever was filled in for another table is left out again, and the other way round."""
    alone = load(DATES, calendar=calendar)
    together = load(pd.concat([DATES, BESIDE_DATES[beside]]), calendar=calendar)
    one, other = (with_frequency(data, frequency) for data in (alone, together))
    assert one.frequency == other.frequency == frequency
    same(one.sequences[0], other.sequences[0])
    same(alone.sequences[0], with_frequency(other, alone.frequency).sequences[0])


def test_scoring_begins_where_it_did():
    """Steps 0, 7, ...: filled in every day by a table of days, or every week with one absent."""
    ds = np.delete(np.arange(0, 210, 7), 2)
    daily = Sequence("a", ds, np.arange(29.0)[:, None], np.zeros((29, 0))).on_steps(np.arange(204))
    data = SequenceDataset((daily.slice(0, 204, 70),), ("y",), frequency=1)
    s = with_frequency(data, 7).sequences[0]
    assert s.ds.tolist() == list(range(0, 210, 7))
    assert s.context == 10 and s.ds[s.context] == 70
    assert np.flatnonzero(s.absent).tolist() == [2]
    # Of a gap, the first step after it that is there.
    data = SequenceDataset((daily.slice(0, 204, 71),), ("y",), frequency=1)
    assert with_frequency(data, 7).sequences[0].context == 11
    data = SequenceDataset((daily.slice(0, 204, 204),), ("y",), frequency=1)
    assert with_frequency(data, 7).sequences[0].context == 30


def test_pieces_know_what_was_absent():
    s = load(DATES).sequences[0]
    assert np.flatnonzero(s.absent).tolist() == list(GAPS)
    assert np.flatnonzero(s.slice(5, 20).absent).tolist() == [2]
    assert s.slice(5, 20).recorded.sum() == 14


def test_values_that_were_imputed_are_not_left_out(models):
    filled = models["dates"].impute(DATES, num_samples=3).filled()
    again = models["dates"].score(with_frequency(filled, None))[0]
    assert again["num_observed"].tolist() == [60]


def test_covariates_of_absent_steps_are_asked_for():
    table = DATES.assign(p=1.0)
    weekly = rows("b", pd.date_range("2024-01-01", periods=30, freq="7D")).assign(p=1.0)
    hours = rows("c", pd.date_range("2024-01-01", periods=30, freq="h")).assign(p=1.0)
    with pytest.raises(InputError, match="series 'a' has no row for step 2024-01-08 00:00:00; add"):
        load(table, covariates=["p"])
    data = load(pd.concat([weekly, hours]), covariates=["p"])
    assert with_frequency(data, "D").lengths.tolist() == [30, 30]
    gappy = SequenceDataset(
        (Sequence("a", np.delete(np.arange(20), 4), np.ones((19, 1)), np.ones((19, 1))),),
        ("y",),
        ("p",),
    )
    with pytest.raises(InputError, match=r"series 'a' has no row for step 4; add it, .*'p'"):
        with_frequency(gappy, 1)


def test_series_that_do_not_go_by_the_frequency_are_counted(caplog):
    parts = [rows(f"d{i}", DAYS) for i in range(5)]
    odd = [BESIDE_DATES["irregular"], rows("c", DAYS[::7])]
    with caplog.at_level(logging.WARNING, "seqlatent"):
        data = load(pd.concat([parts[0], *odd, *parts[1:]]))
    assert data.frequency == "D"
    assert caplog.messages == [
        "data: the steps of 2 of 7 series are not those of the other series (frequency D); each "
        "keeps its own (the first is 'b')"
    ]
    np.testing.assert_array_equal(data.sequences[2].ds, DAYS[::7].to_numpy())
    ahead = [data.future_steps(data.sequences[i], 1)[0] for i in (0, 2)]
    assert ahead == [np.datetime64("2024-03-01"), DAYS[::7][-1] + pd.Timedelta(days=7)]
