"""The picture of an evaluation: what lies where."""

from dataclasses import replace

import numpy as np
import pytest
from cases import dataset

from seqlatent import plots
from seqlatent.plots.evaluation import Calibration, Fan

LONG = "Australian Capital Territory / Furniture, floor coverings and textile goods retailing"


def evaluation(held: float = 0.5, horizon: int = 4):
    """Of two series; intervals hold few truths, or nearly all of them."""
    data = dataset(num=2, steps=20)
    series = [replace(s, unique_id=f"{LONG} {i}") for i, s in enumerate(data)]
    data = replace(data, sequences=series)
    quantiles = np.repeat(np.linspace(-1, 1, 7)[:, None], horizon, 1)
    fans = [Fan(s.unique_id, len(s) - horizon, s.ds[-horizon:], quantiles) for s in series]
    counts = np.full(20, 10)
    counts[9:11] = 10 + 1000 * held
    calibration = Calibration(counts, np.full((5, 20), 10), {0.5: held, 0.95: held})
    crps = {"model": np.ones(horizon), "seasonal-naive": np.ones(horizon)}
    return plots.plot_evaluation(
        data, fans, {"model": calibration, "seasonal-naive": calibration}, crps
    )


def panel(figure, title: str):
    return next(ax for ax in figure.axes if ax.get_title("left").startswith(title))


@pytest.mark.parametrize("held", [0.0, 1.0])
def test_the_legend_of_the_coverage_lies_above_all_shares(held: float):
    figure = evaluation(held)
    figure.draw_without_rendering()
    ax = panel(figure, "Coverage")
    box = ax.get_legend().get_window_extent().transformed(ax.transData.inverted())
    assert box.y0 > 102 and box.x0 > -1 and box.x1 < 105
    assert max(ax.get_yticks()) == 100


def test_long_names_do_not_run_into_the_next_panel():
    figure = evaluation()
    figure.draw_without_rendering()
    first, second = (ax for ax in figure.axes if "last window" in ax.get_title("left"))
    titles = [ax._left_title.get_window_extent() for ax in (first, second)]
    assert titles[0].x1 < titles[1].x0
    assert titles[1].x1 <= figure.bbox.x1
    assert first.get_title("left").startswith("Australian Cap")  # both ends of a name are kept
    assert "retailing 0:" in first.get_title("left")


def test_steps_ahead_are_whole():
    figure = evaluation(horizon=4)
    figure.draw_without_rendering()
    ticks = panel(figure, "CRPS").get_xticks()
    np.testing.assert_array_equal(ticks, np.round(ticks))
