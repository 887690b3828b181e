"""Pictures from frames and arrays."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cases import dataset

from seqlatent import plots


def reconstructed(target: str) -> pd.DataFrame:
    """A number and a label of one series, the named one first."""
    steps = {"unique_id": "shop", "ds": np.arange(3)}
    number = pd.DataFrame(
        steps | {"target": "sales", "y": [1.0, np.nan, 3.0], "mean": 2.0, "q0.05": 1, "q0.95": 3}
    )
    label = pd.DataFrame(
        steps | {"target": "sky", "y": ["sun", None, "rain"], "p(sun)": 0.7, "p(rain)": [0, 0.1, 1]}
    )
    parts = [number, label] if target == "sales" else [label, number]
    return pd.concat([part.astype({"y": object}) for part in parts], ignore_index=True)


def inspection(frame: pd.DataFrame, latents: int = 2, path: Path | None = None):
    rng = np.random.default_rng(0)
    q, p = rng.normal(size=(2, 50, latents))
    kl = np.arange(latents) / 10
    each = pd.DataFrame({"kl": kl, "share": kl, "predictable": 0.5, "used": kl > 0})
    moved = pd.DataFrame({"value": np.arange(3.0), "mean": np.arange(3.0)})
    return plots.plot_inspection(
        each,
        pd.DataFrame(
            {"horizon": [0, 1, 16], "loss": [0.3, 0.2, 0.1], "std_error": [0.1, 0.1, np.nan]}
        ),
        kl_over_time=rng.random((5, latents)),
        total_kl=0.4,
        trajectory=rng.normal(size=(5, latents)),
        traversal=pd.concat(
            [moved.assign(latent=k, target="sales", scale=1) for k in range(latents)]
        ),
        posterior_samples=q,
        prior_samples=p,
        reconstructed=frame,
        most_felt=np.arange(latents)[::-1],
        path=path,
    )


def test_matplotlib_is_imported_when_something_is_drawn():
    code = (
        "import sys, pandas as pd, seqlatent.plots, seqlatent.tasks.inspection\n"
        "print('matplotlib' in sys.modules)\n"
        "latents = {'unique_id': 'a', 'ds': [0, 1], 'z1_mean': 0.0, 'z1_scale': 1.0}\n"
        "seqlatent.plots.plot_latents(pd.DataFrame(latents))\n"
        "print('matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["False", "True"], done.stderr


def test_a_reconstruction_of_numbers_is_their_mean_beside_the_values(tmp_path):
    figure = inspection(reconstructed("sales"), path=tmp_path / "p.png")
    assert (tmp_path / "p.png").stat().st_size > 0
    ax = figure.axes[-1]
    lines = {line.get_label(): np.asarray(line.get_ydata(), float) for line in ax.lines}
    np.testing.assert_array_equal(lines["E[x | history, z]"], [2, 2, 2])
    np.testing.assert_array_equal(lines["x"], [1, np.nan, 3])
    assert ax.get_title("left") == "shop: sales, reconstructed from samples of the guide"


def test_a_reconstruction_of_labels_is_the_probability_of_the_observed_ones():
    """Although the frame has columns of means, of the number beside them."""
    ax = inspection(reconstructed("sky")).axes[-1]
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [0.7, np.nan, 1])
    assert len(ax.lines) == 1


@pytest.mark.parametrize(("latents", "hidden"), [(1, 0), (2, 0), (11, 7)])
def test_the_latents_that_are_felt_most_are_shown(latents: int, hidden: int):
    figure = inspection(reconstructed("sales"), latents)
    titles = [ax.get_title("left").split(":")[0] for ax in figure.axes if ax.get_visible()]
    shown = [title for title in titles if title.startswith("z")]
    names = [f"z{k}" for k in range(latents, hidden, -1)]
    assert shown == names + names  # moved, and against the prior
    assert (figure.get_supxlabel() != "") == (hidden > 0)


def test_losses_are_drawn_over_the_steps_ahead():
    titled = {ax.get_title("left")[:4]: ax for ax in inspection(reconstructed("sales")).axes}
    ax = titled["loss"]
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [0.3, 0.2, 0.1])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "1", "16"]
    heights = [bar.get_height() for bar in titled["shar"].patches]
    assert heights == [0, 0.1, 0.5, 0.5]


def test_fans_in_gaps_meet_the_values_around_them():
    data = dataset(num=2, steps=9)
    x = data.sequences[0].x
    x[[0, 4, 5, 8]] = np.nan
    steps = np.array([0, 4, 5, 8])
    samples = np.random.default_rng(0).normal(size=(10, 4, 1))
    figure = plots.plot_imputed(data, [(0, steps, np.ones((4, 1), bool), samples)])
    medians = [line for line in figure.axes[0].lines if line.get_linewidth() == 1.4]
    places = [np.asarray(line.get_xdata()).tolist() for line in medians]
    assert places == [[0, 1], [3, 4, 5, 6], [7, 8]]
    middle = np.median(samples[..., 0], axis=0)
    expected = [[middle[0], x[1, 0]], [x[3, 0], *middle[1:3], x[6, 0]], [x[7, 0], middle[3]]]
    for line, values in zip(medians, expected, strict=True):
        np.testing.assert_allclose(line.get_ydata(), values)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["90 %", "50 %", "median", "samples"]


@pytest.mark.parametrize(("channels", "rolls"), [(8, False), (9, True)])
def test_many_channels_are_rolls(channels: int, rolls: bool):
    data = dataset(channels=channels, num=2, steps=6)
    paths = [(s.unique_id, np.arange(10, 12), np.zeros((3, 2, channels))) for s in data]
    for figure in (plots.plot_samples(data), plots.plot_forecast(data, paths)):
        assert any(len(ax.images) for ax in figure.axes) == rolls


def test_dots_do_not_hide_an_unusual_sequence():
    """Where nearly every step is surprising, only the most surprising ones are dotted."""
    data = dataset(num=3, steps=300)
    lengths = np.array([len(s) for s in data])
    steps = pd.DataFrame({"unique_id": np.repeat([s.unique_id for s in data], lengths)})
    steps["ds"] = np.concatenate([s.ds for s in data])
    surprising = steps["unique_id"] == data.sequences[0].unique_id
    steps["log_prob"] = np.where(surprising, -2.0 - steps["ds"] / 100, 0.0)
    scores = pd.DataFrame({"unique_id": [s.unique_id for s in data], "kind": "exact"})
    scores["nats_per_step"] = [-3.5, 0.0, 0.0]
    figure = plots.plot_scores(data, scores, steps)
    dots = np.asarray(figure.axes[0].collections[0].get_offsets())
    assert len(dots) == 20 and dots[:, 0].min() > 270
    assert "at most 20 steps" in figure.get_supxlabel()
