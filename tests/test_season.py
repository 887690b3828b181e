"""Seasons: the calendar's by the frequency of timestamps, and those found in values without."""

import numpy as np
import pandas as pd
import pytest

import seqlatent as sl
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.season import season_of, seasons_of


def stamped(frequency: str, steps: int) -> SequenceDataset:
    ds = pd.date_range("2019-01-01", periods=steps, freq=frequency)
    frame = pd.DataFrame({"ds": ds, "y": np.random.default_rng(0).normal(size=steps)})
    return sl.load(frame)


@pytest.mark.parametrize(
    ("frequency", "steps", "seasons"),
    [
        ("h", 400, (24, 168)),
        ("h", 100, (24,)),
        ("h", 30, ()),
        ("2h", 400, (12, 84)),
        ("30min", 1000, (48, 336)),
        ("15min", 200, (96,)),
        ("D", 1000, (7,)),
        ("B", 100, (5,)),
        ("W-SAT", 200, (52,)),
        ("W-SUN", 60, ()),
        ("MS", 48, (12,)),
        ("ME", 48, (12,)),
        ("QS", 20, (4,)),
        ("QE", 20, (4,)),
        ("YS", 50, ()),
    ],
)
def test_seasons_of_the_calendar(frequency, steps, seasons):
    assert seasons_of(stamped(frequency, steps)) == seasons


def test_half_of_the_series_must_hold_two_seasons():
    hours = stamped("h", 100).sequences[0]
    data = stamped("h", 100)
    both = [hours, hours.slice(0, 30), hours.slice(0, 40)]
    assert seasons_of(SequenceDataset(tuple(both), data.targets, frequency="h")) == ()
    both = [hours, hours.slice(0, 60), hours.slice(0, 40)]
    assert seasons_of(SequenceDataset(tuple(both), data.targets, frequency="h")) == (24,)


@pytest.mark.parametrize(
    ("name", "seasons"), [("nyc-taxi", (48, 336)), ("co2", (52,)), ("macrodata", (4,))]
)
def test_seasons_of_bundled_data(name, seasons):
    assert seasons_of(sl.load(name)) == seasons


def test_taxis_without_stamps_have_the_same_seasons():
    """A half hour's day and week are found in the values alone."""
    x = sl.load("nyc-taxi").sequences[0].x
    assert seasons_of(SequenceDataset.from_list([x])) == (48, 336)


def test_months_of_carbon_dioxide_without_stamps():
    co2 = sl.load("co2").to_frame().set_index("ds")["y"].resample("MS").mean()
    assert seasons_of(SequenceDataset.from_list([co2.to_numpy()])) == (12,)


def repeated(pattern: np.ndarray, steps: int, noise: float, seed: int, num: int = 1):
    rng = np.random.default_rng(seed)
    y = np.resize(pattern, steps)
    return [y + noise * rng.normal(size=steps) + 0.02 * np.arange(steps) for _ in range(num)]


@pytest.mark.parametrize(("m", "steps"), [(24, 480), (12, 96), (4, 60)])
@pytest.mark.parametrize("num", [1, 10])
def test_seasons_are_found_in_values(m, steps, num):
    t = np.arange(m)
    pattern = np.sin(2 * np.pi * t / m) + 0.5 * np.cos(4 * np.pi * t / m)
    for seed in range(5):
        x = repeated(pattern, steps, 0.4, seed, num)
        assert seasons_of(SequenceDataset.from_list(x)) == (m,)
        assert season_of(SequenceDataset.from_list(x)) == m


def test_a_pure_wave_is_a_season():
    wave = np.sin(2 * np.pi * np.arange(240) / 24)
    assert seasons_of(SequenceDataset.from_list([wave])) == (24,)


def test_missing_values_are_left_out():
    t = np.arange(24)
    (x,) = repeated(np.sin(2 * np.pi * t / 24) + (t == 8), 480, 0.3, 0)
    x[np.random.default_rng(1).random(480) < 0.2] = np.nan
    assert seasons_of(SequenceDataset.from_list([x])) == (24,)


def autoregression(rng: np.random.Generator, steps: int, radius: float, period: float):
    a, b = 2 * radius * np.cos(2 * np.pi / period), -(radius**2)
    x = np.zeros(steps + 200)
    for t in range(2, len(x)):
        x[t] = a * x[t - 1] + b * x[t - 2] + rng.normal()
    return x[200:]


PROCESSES = {
    "noise": lambda rng, steps: rng.normal(size=steps),
    "walk": lambda rng, steps: rng.normal(size=steps).cumsum(),
    "wave of 10": lambda rng, steps: autoregression(rng, steps, 0.9, 10),
    "wave of 24": lambda rng, steps: autoregression(rng, steps, 0.95, 24),
    "wave of 5": lambda rng, steps: autoregression(rng, steps, 0.8, 5),
}


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize(("steps", "num"), [(60, 1), (200, 1), (1000, 1), (100, 10)])
def test_none_where_there_is_none(process, steps, num):
    """At a level of 1 % two or more false seasons in 20 data sets have a chance of 2 %."""
    rng = np.random.default_rng([steps, num])
    false = 0
    for _ in range(20):
        x = [PROCESSES[process](rng, steps) for _ in range(num)]
        false += seasons_of(SequenceDataset.from_list(x)) != ()
    assert false <= 1


@pytest.mark.parametrize(
    "x", [np.zeros(50), np.full(50, np.nan), np.arange(50.0), np.ones(3), np.arange(8) % 2.0]
)
def test_no_season_in_next_to_nothing(x):
    data = SequenceDataset.from_list([x])
    assert seasons_of(data) == ()
    assert season_of(data) == 1
