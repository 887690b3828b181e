"""Forecasts given some values of the steps ahead, against exact answers and tables."""

import dataclasses
import logging

import numpy as np
import pandas as pd
import pytest
import torch
from cases import MODELS, dataset, model
from exact import (
    CHAIN,
    LOADING,
    NOISE,
    SLOPE,
    autoregression,
    autoregressive_covariance,
    last_value,
)
from exact import chain as latent_chain
from test_imputing import OTHERS, check
from test_linear_gaussian import PROCESSES, given, joint, sequences, true_model

import seqlatent as sl
from seqlatent.data.dataset import SequenceDataset
from seqlatent.inference.imputation import FEW, PARTICLES
from seqlatent.tasks.forecasting import forecast

T, H, NUM = 4, 5, 4000


def scenario(data: SequenceDataset, x: dict[str, np.ndarray]) -> SequenceDataset:
    """A future of (H, D) values of some series, NaN where they are not known."""
    by_name = {s.unique_id: s for s in data}
    pieces = [
        dataclasses.replace(
            by_name[name], ds=data.future_steps(by_name[name], len(value)), x=value,
            covariates=np.zeros((len(value), 0)),
        )
        for name, value in x.items()
    ]  # fmt: skip
    return dataclasses.replace(data, sequences=tuple(pieces), name="future")


def history_and_ahead(values: np.ndarray, known: list[int]) -> tuple[SequenceDataset, np.ndarray]:
    """T values as a data set, and the next H with those known that are named."""
    ahead = np.full((H, 1), np.nan)
    ahead[known] = values[T:, None][known]
    return SequenceDataset.from_arrays(values[None, :T, None]), ahead


@pytest.mark.parametrize("process", PROCESSES.values(), ids=list(PROCESSES))
@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_linear_gaussian_forecasts_are_the_dense_conditionals(process, missing: float):
    """With gaps in the history and partly known steps, within 1.2 times four standard errors."""
    D, num = process.num_channels, 20_000
    x = sequences(process, T, missing)[4]
    ahead = 1.5 * np.random.default_rng(2).normal(size=(H, D))
    ahead[[0, 2, 4], 0] = np.nan
    ahead[1] = np.nan
    data = SequenceDataset.from_arrays(x[None])
    fc = forecast(true_model(process), data, H, num_samples=num,
                  future=scenario(data, {"0": ahead}))  # fmt: skip
    samples, unknown = fc[0].samples.reshape(num, -1), np.isnan(ahead.ravel())
    hidden = np.full((T + H) * len(process.A), np.nan)
    whole = np.concatenate([hidden, x.ravel(), ahead.ravel()])
    mean, covariance = given(*joint(process, T + H), whole)
    mean, covariance = mean[-H * D :], covariance[-H * D :, -H * D :]
    np.testing.assert_array_equal(samples[:, ~unknown], np.tile(ahead.ravel()[~unknown], (num, 1)))
    check(samples[:, unknown], mean[unknown], covariance[np.ix_(unknown, unknown)], rough=1.2)
    assert np.isnan(fc[0].ess)


@pytest.mark.parametrize("name", ["rnn", "latent-last", "dmm"])
def test_weighted_paths_are_the_dense_conditionals(name: str):
    """Models that are linear and Gaussian by hand: steps before, between and after known ones."""
    values = 0.8 * np.random.default_rng(5).normal(size=T + H)
    values[[T + 1, T + 3]] = 1.5, -1.0
    data, ahead = history_and_ahead(values, [1, 3])
    if name == "dmm":
        m, (mean, whole) = latent_chain(smoothing=True), joint(CHAIN, T + H)
        mean, covariance = mean[T + H :], whole[T + H :, T + H :]
    else:
        m = autoregression() if name == "rnn" else last_value()
        variance = NOISE**2 + (LOADING**2 if name == "latent-last" else 0.0)
        mean, covariance = np.zeros(T + H), autoregressive_covariance(T + H, variance)
    f = forecast(m, data, H, num_samples=NUM, future=scenario(data, {"0": ahead}))[0]
    mean, covariance = given(mean, covariance, np.concatenate([values[:T], ahead[:, 0]]))
    unknown = np.isnan(ahead[:, 0])
    part = np.flatnonzero(unknown) + T
    check(f.samples[:, unknown, 0], mean[part], covariance[np.ix_(part, part)], rough=2)
    np.testing.assert_array_equal(f.samples[:, ~unknown, 0], np.tile([1.5, -1.0], (NUM, 1)))
    assert f.given is not None
    assert f.given[:, 0].tolist() == [False, True, False, True, False]
    assert FEW < f.ess <= NUM
    # What is known changes the forecast of the steps before it.
    plain = forecast(m, data, H, num_samples=NUM)[0]
    assert abs(plain.mean[0, 0] - mean[T]) > 8 * np.sqrt(covariance[T, T] / NUM)


@pytest.mark.parametrize("name", ["rnn", "flow", "flow-base"])
def test_a_later_value_bears_on_an_earlier_one(name: str):
    """By quadrature over the unknown step, in data units and with scales that move."""
    scaling = {} if "flow" in name else {"scaling": "running"}
    data = SequenceDataset.from_arrays(dataset().sequences[0].x[None, :5])
    m = model(name, **scaling)
    ahead = np.array([[np.nan], [24.0]])
    f = forecast(m, data, 2, num_samples=NUM, future=scenario(data, {"0": ahead}))[0]
    points = np.linspace(-20, 60, 4001)
    grid = np.tile(np.concatenate([data.sequences[0].x[:, 0], [0.0, 24.0]]), (len(points), 1))
    grid[:, 5] = points
    whole = SequenceDataset.from_arrays(grid[..., None])
    with torch.no_grad():
        log_prob = m.log_prob(sl.collate(whole))[0].sum(1)
    mass = torch.softmax(log_prob.double(), 0).numpy()
    edges = np.interp(np.arange(1, 10) / 10, mass.cumsum(), points)
    shares = np.diff([0, *[(f.samples[:, 0, 0] <= e).mean() for e in edges], 1])
    # Shares have standard errors of 0.3 / sqrt(ess), here with systematic resampling.
    np.testing.assert_allclose(shares, 0.1, rtol=0, atol=4 * 0.3 / np.sqrt(f.ess) + 2e-3)


def test_effective_paths_are_those_of_the_weights():
    """With one known step, importance sampling by hand: 1 / sum of squared shares."""
    values = np.zeros(T + H)
    values[T + 1] = 1.5
    data, ahead = history_and_ahead(values, [1])
    future, m = scenario(data, {"0": ahead}), autoregression()
    sizes = [
        forecast(m, data, H, num_samples=5, seed=seed, future=future)[0].ess for seed in range(3)
    ]
    x = np.random.default_rng(0).normal(0, NOISE, (100, PARTICLES))
    w = np.exp(-0.5 * ((1.5 - SLOPE * x) / NOISE) ** 2)
    copies = PARTICLES * w / w.sum(1, keepdims=True)
    # Systematic resampling rounds each number of copies up or down.
    whole, rest = np.divmod(copies, 1.0)
    squares = (1 - rest) * whole**2 + rest * (whole + 1) ** 2
    expected = PARTICLES**2 / squares.sum(1)
    assert np.mean(sizes) == pytest.approx(expected.mean(), abs=4 * expected.std() / np.sqrt(3))
    assert expected.mean() < PARTICLES / 3


def test_more_paths_are_weighed_where_few_count(caplog):
    """Values that are rare for 1024 paths, and not for 16 times as many."""
    values = np.zeros(T + H)
    values[T + 1] = 2.6
    data, ahead = history_and_ahead(values, [1])
    with caplog.at_level(logging.WARNING, "seqlatent"):
        f = forecast(autoregression(), data, H, num_samples=NUM // 4,
                     future=scenario(data, {"0": ahead}))[0]  # fmt: skip
    x = np.random.default_rng(0).normal(0, NOISE, 10**6)
    w = np.exp(-0.5 * ((2.6 - SLOPE * x) / NOISE) ** 2)
    assert PARTICLES * w.mean() ** 2 / (w**2).mean() < 0.7 * FEW  # of the first ones
    assert f.ess > FEW
    assert caplog.text == ""
    mean, covariance = given(
        np.zeros(T + H), autoregressive_covariance(T + H, NOISE**2),
        np.concatenate([values[:T], ahead[:, 0]]),
    )  # fmt: skip
    assert abs(f.mean[0, 0] - mean[T]) < 4 * np.sqrt(covariance[T, T] / f.ess)


def test_few_effective_paths_are_warned_of(caplog):
    values = np.zeros(T + H)
    values[T + 1] = 7.0  # fourteen standard deviations of the noise
    data, ahead = history_and_ahead(values, [1])
    future = scenario(data, {"0": ahead})
    with caplog.at_level(logging.WARNING, "seqlatent"):
        fc = forecast(autoregression(), data, H, num_samples=50, future=future)
    assert fc[0].ess < FEW
    (record,) = caplog.records
    for words in ("1 of 1 series", "effective paths", "in series 0", "give fewer values"):
        assert words in record.getMessage()
    assert "effective samples" in repr(fc)
    assert "1 value in 1 series" in repr(fc)


def test_values_without_probability_are_refused():
    data, ahead = history_and_ahead(np.r_[np.zeros(T), 1e25, np.zeros(H - 1)], [0])
    with pytest.raises(sl.InputError, match="series '0': the model rules the given values out"):
        forecast(autoregression(), data, H, num_samples=5, future=scenario(data, {"0": ahead}))


QUICK = ("rnn", "cnn", "transformer", "linear-gaussian", "flow", "latent-last")


@pytest.mark.parametrize(
    "name",
    [
        *QUICK,
        *(
            pytest.param(n, marks=pytest.mark.slow)
            for n in sorted(MODELS)
            if n not in (*QUICK, *OTHERS)
        ),
    ],
)
def test_every_model(name: str):
    """Known cells come back, others are finite; series without any have their plain forecast."""
    data = dataset(num=3, channels=2, steps=5)
    m = model(name, data=data)
    ahead = np.full((3, 2), np.nan)
    ahead[0, 1], ahead[2] = 21.0, (19.0, 22.0)
    fc = forecast(m, data, 3, num_samples=20, future=scenario(data, {"1": ahead}))
    plain = forecast(m, data, 3, num_samples=20)
    for i in (0, 2):
        np.testing.assert_allclose(fc[i].samples, plain[i].samples, rtol=1e-4)
        assert fc[i].given is None
    known = np.isfinite(ahead)
    np.testing.assert_array_equal(fc[1].samples[:, known], np.tile(ahead[known], (20, 1)))
    assert np.isfinite(fc[1].samples).all()
    assert len(np.unique(fc[1].samples[:, 1, 0])) > 1
    nothing = forecast(m, data, 3, num_samples=20, future=scenario(data, {"1": ahead * np.nan}))
    np.testing.assert_array_equal(nothing.samples, plain.samples)


@pytest.mark.parametrize("name", ["mixture", "flow-latents"])
def test_models_that_cannot_say_so(name: str):
    data = dataset(num=1)
    future = scenario(data, {"0": np.array([[np.nan], [20.0]])})
    words = {"mixture": "model 'mixture' cannot forecast given", "flow-latents": "condition_on=obs"}
    with pytest.raises(sl.InputError, match=words[name]):
        forecast(model(name, data=data), data, 2, num_samples=4, future=future)


def test_a_smoother_needs_scales_that_do_not_move():
    data = dataset(num=1)
    m = model("linear-gaussian", data=data, scaling="running")
    with pytest.raises(sl.InputError, match=r"scaling=running.*scaling=global"):
        forecast(m, data, 2, future=scenario(data, {"0": np.array([[np.nan], [20.0]])}))


# --- tables ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "unique_id": np.repeat(["north", "south"], 30),
            "ds": np.tile(pd.date_range("2024-01-01", periods=30), 2),
            "y": rng.poisson(3, 60),
            "sky": rng.choice(["rain", "sun"], 60),
            "promo": rng.integers(0, 2, 60),
        }
    )


@pytest.fixture(scope="module")
def plain_model(table) -> sl.RNN:
    data = sl.load(table, targets=["y", "sky"])
    return sl.RNN(hidden_dim=4).fit(data, max_steps=2)


def ahead_of(**columns) -> pd.DataFrame:
    days = columns.pop("ds", ["2024-01-31", "2024-02-03"])
    return pd.DataFrame({"unique_id": "south", "ds": pd.to_datetime(days), **columns})


def test_a_table_of_some_steps_counts_and_labels(plain_model, table):
    """Rows of some steps, in any order, with the labels of another table."""
    future = ahead_of(y=[None, 4], sky=["sun", "rain"]).iloc[::-1]
    fc = plain_model.forecast(table, 5, num_samples=30, future=future)
    south = fc["south"]
    assert fc["north"].given is None
    assert south.given.tolist() == [[False, True], *[[False, False]] * 2, [True, True], [False] * 2]
    assert (south.samples[:, 0, 1] == 1).all()  # sun
    assert (south.samples[:, 3] == [4, 0]).all()
    frame = fc.samples_frame()
    here = frame[(frame["unique_id"] == "south") & (frame["ds"] == "2024-01-31")]
    assert (here["sky"] == "sun").all()


def test_with_covariates_and_the_history_in_the_same_table(table):
    data = sl.load(table, targets=["y"], covariates=["promo"])
    fitted = sl.RNN(hidden_dim=4).fit(data, max_steps=2)
    parts = []
    for name in ("north", "south"):
        days = pd.date_range("2024-01-31", periods=3)
        parts.append(pd.DataFrame({"unique_id": name, "ds": days, "promo": 1, "y": np.nan}))
    future = pd.concat([table[["unique_id", "ds", "promo", "y"]], *parts], ignore_index=True)
    bare = fitted.forecast(table, 3, num_samples=20, future=future.drop(columns="y"))
    same = fitted.forecast(table, 3, num_samples=20, future=future)
    np.testing.assert_array_equal(bare.samples, same.samples)
    future.loc[future.index[-1], "y"] = 9
    known = fitted.forecast(table, 3, num_samples=20, future=future)
    assert (known["south"].samples[:, 2, 0] == 9).all()
    np.testing.assert_allclose(known["north"].samples, bare["north"].samples, rtol=1e-4)


def test_values_of_other_series_are_left_out_with_a_warning(plain_model, table, caplog):
    future = pd.concat([ahead_of(y=[1, 2]), ahead_of(y=[1, 2]).assign(unique_id="west")])
    with caplog.at_level(logging.WARNING, "seqlatent"):
        plain_model.forecast(table, 5, num_samples=30, future=future)
    assert [r.getMessage() for r in caplog.records if "west" in r.getMessage()] == [
        "future: left out the values of 'west', which data has no series of that name for"
    ]


@pytest.mark.parametrize(
    ("future", "words"),
    [
        (ahead_of(y=[1, None], ds=["2024-02-01", "2024-02-09"]), None),
        (
            ahead_of(y=[1, 2], ds=["2024-02-01", "2024-02-09"]),
            "'south' has a value at step 2024-02",
        ),
        (
            ahead_of(y=[1, 2], ds=["2024-01-02", "2024-01-03"]),
            "at other steps than those ahead: its",
        ),
        (ahead_of(y=[1.5, 2]), "column 'y' holds values from 1 to 7, not all of them whole"),
        (ahead_of(sky=["snow", None]), "label 'snow', which the model did not see"),
        (ahead_of(sky=[0, 1]), "column 'sky' holds numbers"),
        (ahead_of(y=["few", 1]), "'few' is not a number"),
        (
            ahead_of(y=[None, None]),
            "no value of its targets .y, sky. is there; leave the table out",
        ),
        (ahead_of(other=1.0), "no value of its targets"),
    ],
)
def test_tables_that_do_not_fit(plain_model, table, future, words):
    if words is None:
        plain_model.forecast(table, 5, num_samples=4, future=future)
        return
    with pytest.raises(sl.InputError, match=words):
        plain_model.forecast(table, 5, num_samples=4, future=future)


def test_nothing_is_left_to_forecast():
    data = dataset(num=1)
    future = scenario(data, {"0": np.ones((2, 1))})
    with pytest.raises(sl.InputError, match="nothing is left to forecast; leave cells of y empty"):
        forecast(model("rnn"), data, 2, future=future)
