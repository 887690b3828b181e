"""Pictures of many channels."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from seqlatent.data.dataset import SequenceDataset
from seqlatent.reporting import new_figure
from seqlatent.roll_plots import draw_roll, limits_of, plot_forecast_rolls, plot_sample_rolls
from seqlatent.score_plots import plot_scores

KEYS = [f"k{d}" for d in range(12)]


def rolls(num: int, steps: int = 20) -> SequenceDataset:
    """Keys 2 to 9 come and go; the others are never touched."""
    rng = np.random.default_rng(0)
    x = np.zeros((num, steps, 12))
    x[..., 2:10] = rng.random((num, steps, 8)) < 0.4
    return SequenceDataset.from_arrays(x, KEYS)


def test_a_roll_shows_the_values():
    data = rolls(3)
    x = 10.0 + 4.0 * data.sequences[0].x  # shades are relative to the limits
    x[5, 3] = np.nan
    ax = new_figure(1, 1, 4.0, 3.0)[1][0, 0]
    draw_roll(ax, x, data.sequences[0].ds, KEYS, 10.0 + 4.0 * limits_of(data))
    shown = np.ma.asarray(ax.images[0].get_array())
    assert shown.shape == (8, 20)  # keys that nobody touches are left out
    np.testing.assert_array_equal(shown.mask, np.isnan(x[:, 2:10]).T)
    np.testing.assert_allclose(shown.filled(np.nan), (x[:, 2:10].T - 10.0) / 4.0)
    assert [t.get_text() for t in ax.get_yticklabels()] == KEYS[2:10]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0", "4", "8", "12", "16"]


def test_dates_are_short():
    ds = np.arange("2024-03-01", "2024-03-07", dtype="datetime64[D]").astype("datetime64[ns]")
    ax = new_figure(1, 1, 4.0, 3.0)[1][0, 0]
    draw_roll(ax, np.zeros((6, 2)), ds + np.timedelta64(12, "h"), ["a", "b"], np.zeros((2, 2)))
    assert ax.get_xticklabels()[0].get_text() == "2024-03-01 12:00"
    draw_roll(ax, np.zeros((6, 2)), ds, ["a", "b"], np.zeros((2, 2)))
    assert ax.get_xticklabels()[5].get_text() == "2024-03-06"


def test_limits_do_not_see_what_is_missing():
    x = np.array([[[1.0, np.nan], [3.0, np.nan]], [[np.nan, np.nan], [2.0, np.nan]]])
    np.testing.assert_array_equal(limits_of(SequenceDataset.from_arrays(x)), [[1, 0], [3, 0]])


def test_forecasts_have_their_mean_and_a_path(tmp_path: Path):
    data = rolls(2)
    draws = np.random.default_rng(1).random((2, 30, 5, 12)).round()
    paths = [(s.unique_id, np.arange(20, 25), d) for s, d in zip(data, draws, strict=True)]
    figure = plot_forecast_rolls(data, paths, tmp_path / "f.png")
    assert (tmp_path / "f.png").stat().st_size > 0
    for i, s in enumerate(data):
        for panel, ahead in ((0, draws[i].mean(0)), (1, draws[i, 0])):
            shown = np.ma.asarray(figure.axes[2 * i + panel].images[0].get_array())
            np.testing.assert_allclose(shown.filled(np.nan), np.concatenate([s.x, ahead]).T)


@pytest.mark.parametrize("num", [1, 5])
def test_samples_and_scores_are_drawn_as_rolls(num: int, tmp_path: Path):
    data = rolls(num)
    assert len(plot_sample_rolls(data, tmp_path / "s.svg").axes[0].images) == 1
    rows = [(s.unique_id, t, -1.0 - (t == 7)) for s in data for t in s.ds]
    steps = pd.DataFrame(rows, columns=["unique_id", "ds", "log_prob"])
    names = [s.unique_id for s in data]
    scores = pd.DataFrame({"unique_id": names, "nats_per_step": -1.05, "kind": "exact"})
    marks = pd.DataFrame({"start": [3], "end": [5]})
    figure = plot_scores(data, scores, steps, tmp_path / "p.png", marks=marks)
    assert sum(len(ax.images) for ax in figure.axes) == num
