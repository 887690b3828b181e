"""Grids of all series of a table together are those of each series on its own."""

import numpy as np
import pandas as pd
import pytest

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.grid import common_frequency, frequencies_of, going_by, longer_grids

FREQUENCIES = ["h", "90s", "D", "7D", "36h", "B", "2B", "W-SAT", "WOM-2MON", "MS", "ME", "2MS"]
FREQUENCIES += ["BMS", "QS", "QE", "QS-NOV", "YS", "YE", "YE-MAR", "2YS", "bh"]


def plain_grid(steps: np.ndarray, frequency: str | int) -> np.ndarray:
    """By its definition: a range of the series' own, from its first step to its last."""
    if isinstance(frequency, int):
        return np.arange(steps[0], steps[-1] + 1, frequency)
    return pd.date_range(steps[0], steps[-1], freq=frequency).as_unit("ns").to_numpy()


def plain_goes_by(steps: np.ndarray, frequency: str | int) -> bool:
    if len(steps) == 1:
        return True
    if isinstance(frequency, str):  # a grid that would be far too long is not made
        begin = pd.date_range(steps[0], periods=2 * len(steps) + 1, freq=frequency)
        if begin[-1] < pd.Timestamp(steps[-1]):
            return False
    grid = plain_grid(steps, frequency)
    return bool(np.isin(steps, grid).all()) and len(grid) - len(steps) <= 0.1 * len(grid)


def one_series(rng: np.random.Generator, frequency: str | int) -> np.ndarray:
    """Between 1 and 40 steps with some left out, from a day near the end of a month on, at one of
    a few times of day; of one in ten some step is off the grid."""
    length = int(rng.integers(1, 41))
    if isinstance(frequency, int):
        steps = rng.integers(-50, 50) + frequency * np.arange(length)
    else:
        day = pd.Timestamp("2019-12-25") + pd.Timedelta(days=int(rng.integers(0, 800)))
        start = day + pd.Timedelta(hours=int(rng.choice([0, 0, 9, 17])))
        steps = pd.date_range(start, periods=length, freq=frequency).as_unit("ns").to_numpy()
    kept = rng.random(length) >= rng.choice([0.0, 0.0, 0.05, 0.3])
    kept[rng.integers(length)] = True
    steps = steps[kept]
    if rng.random() < 0.1:
        steps[-1] += 1
    return steps


def one_table(seed: int) -> list[np.ndarray]:
    """One frequency for most series, others for the rest; integers in one table of four."""
    rng = np.random.default_rng(seed)
    known = [1, 2, 7] if seed % 4 == 0 else FREQUENCIES
    usual = known[int(rng.integers(len(known)))]
    other = known[int(rng.integers(len(known)))]
    mixed = rng.choice([0.0, 0.2, 0.6])
    return [
        one_series(rng, other if rng.random() < mixed else usual)
        for _ in range(int(rng.integers(1, 30)))
    ]


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=[pytest.mark.slow] * (seed >= 6)) for seed in range(12)]
)
def test_a_table_is_its_series_one_by_one(seed):
    series = one_table(seed)
    steps, lengths = np.concatenate(series), np.array([len(s) for s in series])
    for frequency in [1, 2, 7] if seed % 4 == 0 else FREQUENCIES:
        going = going_by(steps, lengths, frequency)
        assert going.tolist() == [plain_goes_by(s, frequency) for s in series], frequency

        own = frequencies_of(steps, lengths, frequency)
        grids = longer_grids(steps, lengths, own)
        for i, s in enumerate(series):
            assert own[i] == (frequency if going[i] else common_frequency([s]))
            plain = s if own[i] is None or len(s) == 1 else plain_grid(s, own[i])
            np.testing.assert_array_equal(grids.get(i, s), plain)
            assert (i in grids) == (len(plain) > len(s))


@pytest.mark.parametrize("seed", range(12))
def test_rows_in_any_order_are_the_series(seed):
    rng, series = np.random.default_rng(seed), one_table(seed)
    values = [rng.normal(size=len(s)) for s in series]
    ids = np.repeat([f"s{i}" for i in range(len(series))], [len(s) for s in series])
    table = {"unique_id": ids, "ds": np.concatenate(series), "y": np.concatenate(values)}
    frame = pd.DataFrame(table)
    shuffled = frame.iloc[rng.permutation(len(frame))]
    for data in (SequenceDataset.from_frame(frame), SequenceDataset.from_frame(shuffled)):
        in_order = [series[int(s.unique_id[1:])] for s in data]  # of first rows
        assert data.frequency == common_frequency(in_order)
        assert len(data) == len(series)
        for s in data:
            i = int(s.unique_id[1:])
            np.testing.assert_array_equal(s.ds[s.recorded], series[i])
            np.testing.assert_array_equal(s.x[s.recorded, 0], values[i])
            assert np.isnan(s.x[~s.recorded]).all()
            own = common_frequency([series[i]])
            own = data.frequency if plain_follows(series[i], data.frequency) else own
            if own is not None and len(s) > 1:
                np.testing.assert_array_equal(s.ds, plain_grid(series[i], own))


def plain_follows(steps: np.ndarray, frequency: str | int | None) -> bool:
    return frequency is not None and plain_goes_by(steps, frequency)
