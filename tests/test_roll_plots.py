"""Pictures of many channels."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from seqlatent.data.dataset import SequenceDataset
from seqlatent.plots.figure import new_figure
from seqlatent.plots.rolls import (
    channel_limits,
    draw_roll,
    mean_or_most_frequent,
    plot_forecast_rolls,
    plot_sample_rolls,
)
from seqlatent.plots.scores import plot_scores

KEYS = [f"k{d}" for d in range(12)]


def rolls(num: int, steps: int = 20, start: str | None = None) -> SequenceDataset:
    """Keys 2 to 9 come and go; the others are never touched. Steps are days, or 0, 1, ..."""
    rng = np.random.default_rng(0)
    x = np.zeros((num, steps, 12))
    x[..., 2:10] = rng.random((num, steps, 8)) < 0.4
    data = SequenceDataset.from_arrays(x, KEYS)
    if start is None:
        return data
    ds = np.datetime64(start, "ns") + np.arange(steps) * np.timedelta64(1, "D")
    return replace(data, sequences=tuple(replace(s, ds=ds) for s in data), frequency="D")


def test_a_roll_shows_the_values():
    data = rolls(3)
    x = 10.0 + 4.0 * data.sequences[0].x  # shades are relative to the limits
    x[5, 3] = np.nan
    ax = new_figure(1, 1, 4.0, 3.0)[1][0, 0]
    draw_roll(ax, x, data.sequences[0].ds, KEYS, 10.0 + 4.0 * channel_limits(data))
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
    assert ax.get_xticklabels()[2].get_text() == "2024-03-05"


def test_limits_do_not_see_what_is_missing():
    x = np.array([[[1.0, np.nan], [3.0, np.nan]], [[np.nan, np.nan], [2.0, np.nan]]])
    np.testing.assert_array_equal(channel_limits(SequenceDataset.from_arrays(x)), [[1, 0], [3, 0]])


def test_forecasts_have_their_mean_and_a_path(tmp_path: Path):
    data = rolls(2)
    draws = np.random.default_rng(1).random((2, 30, 5, 12)).round()
    draws[:, 0, :, 11] = 0.0  # in the mean alone
    draws[:, 0, 0, 0] = -1.0  # below all of the history
    paths = [(s.unique_id, np.arange(20, 25), d) for s, d in zip(data, draws, strict=True)]
    figure = plot_forecast_rolls(data, paths, tmp_path / "f.png")
    assert (tmp_path / "f.png").stat().st_size > 0
    for i, s in enumerate(data):
        for panel, ahead in ((0, draws[i].mean(0)), (1, draws[i, 0])):
            ax = figure.axes[2 * i + panel]
            shown = np.ma.asarray(ax.images[0].get_array())
            expected = np.concatenate([s.x, ahead])
            expected[:, 0] = (expected[:, 0] + 1.0) / 2.0
            expected[:, 11] /= draws[:, :, :, 11].mean(1).max()
            np.testing.assert_allclose(shown.filled(np.nan), expected.T)
            assert np.asarray(ax.lines[0].get_xdata())[0] == 19.5


def test_the_middle_of_labels_is_one_of_them():
    samples = np.array([0.0, 2.0, 2.0, 1.0, 2.0])[:, None, None] * np.ones((5, 3, 2))
    np.testing.assert_allclose(mean_or_most_frequent(samples, [1]), [[1.4, 2.0]] * 3)


@pytest.mark.parametrize("num", [1, 5])
def test_samples_and_scores_are_drawn_as_rolls(num: int, tmp_path: Path):
    data = rolls(num, start="2024-03-01")
    assert len(plot_sample_rolls(data, tmp_path / "s.svg").axes[0].images) == 1
    rows = [(s.unique_id, t, -1.0 - (i == 7)) for s in data for i, t in enumerate(s.ds)]
    steps = pd.DataFrame(rows, columns=["unique_id", "ds", "log_prob"])
    names = [s.unique_id for s in data]
    scores = pd.DataFrame({"unique_id": names, "nats_per_step": -1.05, "kind": "exact"})
    marks = pd.DataFrame(
        {"start": pd.to_datetime(["2024-03-08", "2024-03-16"])}
        | {"end": pd.to_datetime(["2024-03-08", "2024-05-01"])}
    )
    figure = plot_scores(data, scores, steps, tmp_path / "p.png", marks=marks)
    assert sum(len(ax.images) for ax in figure.axes) == num
    if num == 1:  # over time: the surprise below, and the marked steps shaded from edge to edge
        top, bottom = figure.axes
        np.testing.assert_array_equal(bottom.lines[0].get_xdata(), np.arange(20))
        for ax in (top, bottom):
            spans = [p.get_extents().transformed(ax.transData.inverted()) for p in ax.patches]
            np.testing.assert_allclose([(p.x0, p.x1) for p in spans], [(6.5, 7.5), (14.5, 19.5)])
        assert top.get_xlim() == bottom.get_xlim()
        assert top.get_legend() is not None
