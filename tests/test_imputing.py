"""Imputed values against exact answers, and tests that run for every model."""

import dataclasses

import numpy as np
import pytest
import torch
from cases import MODELS, dataset, first_quick, model
from exact import (
    CHAIN,
    LOADING,
    NOISE,
    autoregression,
    autoregressive_covariance,
    chain,
    last_value,
)
from test_linear_gaussian import PROCESSES, given, joint, sequences, true_model

from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.errors import InputError
from seqlatent.inference.imputation import by_particles
from seqlatent.tasks.imputing import impute

STEPS, NUM = 9, 4000
# The others refuse data with such gaps before any work (test_laws_models.py), or fill none.
OTHERS = (
    "flow-latents",
    "flow-learned",
    "flow-coupling",
    "diffusion",
    "diffusion-cnn",
    "diffusion-blocks",
    "mixture",
    "mixture-moving",
)
NAMES = sorted(n for n in MODELS if n not in OTHERS)


def with_gaps() -> np.ndarray:
    """(T,) values; the first, three in the middle and the last are missing."""
    x = 0.8 * np.random.default_rng(5).normal(size=STEPS)
    x[[0, 3, 4, 5, STEPS - 1]] = np.nan
    return x


def samples_of(m, x: np.ndarray, num: int = NUM) -> np.ndarray:
    batch = collate(SequenceDataset.from_arrays(x.reshape(1, len(x), -1)).sequences)
    return by_particles(m, batch, num, SequenceNoise(["a"], 0), lag=1000).numpy()


def check(samples: np.ndarray, mean: np.ndarray, covariance: np.ndarray, rough: float) -> None:
    """(S, n) samples against their mean and covariance, within `rough` times four standard errors
    of independent samples."""
    scale = np.sqrt(np.diag(covariance))
    allowed = rough * 4 / np.sqrt(len(samples))
    assert np.all(np.abs(samples.mean(0) - mean) < allowed * scale)
    limit = 1.5 * allowed * np.outer(scale, scale)
    assert np.all(np.abs(np.cov(samples.T) - covariance) < limit)


@pytest.mark.parametrize("name", ["rnn", "latent-last", "dmm"])
def test_particles_sample_missing_values_given_all_others(name: str):
    """Means, scales and covariances within a gap and across gaps, by the dense Gaussian."""
    x = with_gaps()
    if name == "dmm":
        m, (mean, whole) = chain(smoothing=True), joint(CHAIN, STEPS)
        mean, covariance = mean[STEPS:], whole[STEPS:, STEPS:]
    else:
        m = autoregression() if name == "rnn" else last_value()
        variance = NOISE**2 + (LOADING**2 if name == "latent-last" else 0.0)
        mean, covariance = np.zeros(STEPS), autoregressive_covariance(STEPS, variance)
    samples = samples_of(m, x)[..., 0]
    missing = np.isnan(x)
    np.testing.assert_array_equal(samples[:, ~missing], np.tile(x[~missing], (NUM, 1)))
    mean, covariance = given(mean, covariance, x)
    check(samples[:, missing], mean[missing], covariance[np.ix_(missing, missing)], rough=2)
    prior = np.sqrt(np.diag(covariance)[missing])
    assert np.abs(mean[missing][1:-1]).max() > 0.2 * prior.max()  # later values have an effect


@pytest.mark.parametrize("process", PROCESSES.values(), ids=list(PROCESSES))
def test_the_linear_gaussian_answer_is_exact(process):
    """Also for partially observed steps."""
    steps, num = 5, 20_000
    x = sequences(process, steps, 0.4)[3:5]
    m = true_model(process)
    batch = collate(SequenceDataset.from_arrays(x).sequences)
    with torch.no_grad():
        samples = m.sample_missing(batch, num, SequenceNoise(["a"], 0)).numpy()
    for i in range(2):
        whole = np.concatenate([np.full(steps * len(process.A), np.nan), x[i].ravel()])
        mean, covariance = (
            part[..., -x[i].size :] for part in given(*joint(process, steps), whole)
        )
        covariance, missing = covariance[-x[i].size :], np.isnan(x[i].ravel())
        own = samples[:, i].reshape(num, -1)
        np.testing.assert_allclose(own[:, ~missing], np.tile(x[i].ravel()[~missing], (num, 1)))
        assert missing.any()
        check(own[:, missing], mean[missing], covariance[np.ix_(missing, missing)], rough=1.2)


@pytest.mark.parametrize("name", ["rnn", "flow", "flow-base"])
@pytest.mark.parametrize(("step", "missing"), [(0, 0), (0, 1), (2, 0), (2, 1)])
def test_a_missing_channel_is_sampled_given_the_others(name: str, step: int, missing: int):
    """For channels modelled one after another, by quadrature, given earlier steps too."""
    m = model(name, data=dataset(channels=2))
    with torch.no_grad():  # so that scales also depend on the channel before
        # With this flow's base, too few paths would count for their shares to be compared.
        m.head.before.mul_(1 if name == "flow-base" else 4)
    x = np.array([[18.0, 23.0], [21.0, 17.0], [19.0, 22.0]])[: 1 if step == 0 else 3]
    points = np.linspace(-40, 80, 4001)
    grid = np.tile(x, (len(points), 1, 1))
    grid[:, step, missing] = points
    with torch.no_grad():
        log_prob = m.log_prob(collate(SequenceDataset.from_arrays(grid).sequences))[0].sum(1)
    mass = torch.softmax(log_prob.double(), 0).numpy()
    x[step, missing] = np.nan
    samples = samples_of(m, x)[:, step, missing]
    mean = (mass * points).sum()
    scale = np.sqrt((mass * (points - mean) ** 2).sum())
    assert abs(samples.mean() - mean) < 8 * scale / np.sqrt(NUM)
    edges = np.interp(np.arange(1, 10) / 10, mass.cumsum(), points)
    shares = np.diff([0, *[(samples <= e).mean() for e in edges], 1])
    np.testing.assert_allclose(shares, 0.1, rtol=0, atol=8 * np.sqrt(0.09 / NUM))


def test_samples_are_taken_before_their_paths_degenerate():
    x = 0.6 * np.random.default_rng(5).normal(size=(1, 250, 1))
    x[0, 3] = x[0, -1] = np.nan
    data, m = SequenceDataset.from_arrays(x), chain(smoothing=False)
    results = [impute(m, data, num_samples=200, lag=lag) for lag in (8, 10_000)]
    distinct = [len(np.unique(result.series[0].samples[:, 0])) for result in results]
    assert distinct[0] > 100
    assert distinct[1] < 20


@pytest.mark.parametrize("name", first_quick(NAMES))
def test_every_model_imputes(name: str):
    data = dataset(num=3, channels=2, steps=8)
    for s in data.sequences[1:]:
        s.x[2:4] = np.nan
        s.x[5, 1] = s.x[0, 0] = np.nan
    m = model(name, data=data)
    a, b, c = (impute(m, data, num_samples=20, seed=seed) for seed in (0, 0, 1))
    assert [f.place for f in a] == [1, 2]
    assert a.series[0].steps.tolist() == [0, 2, 3, 5]
    assert a.series[0].missing.sum() == 6
    for f, again, other in zip(a, b, c, strict=True):
        x = data.sequences[f.place].x[f.steps]
        assert f.samples.shape == (20, 4, 2)
        assert np.isfinite(f.samples).all()
        there = ~np.isnan(x)
        np.testing.assert_array_equal(f.samples[:, there], np.tile(x[there], (20, 1)))
        np.testing.assert_array_equal(f.samples, again.samples)
        assert not np.array_equal(f.samples, other.samples)
    later = dataset(num=1, channels=2, steps=8)  # steps before the gap are read at once
    later.sequences[0].x[3:5] = np.nan
    assert np.isfinite(impute(m, later, num_samples=20).series[0].samples).all()
    alone = impute(m, data[[2]], num_samples=20)
    np.testing.assert_allclose(alone.series[0].samples, a.series[1].samples, rtol=1e-4)
    filled = a.filled()
    assert not any(np.isnan(s.x).any() for s in filled)
    frame = a.to_frame()
    assert len(frame) == a.num_missing == 12
    row = frame.iloc[0]
    assert (row["unique_id"], row["ds"], row["target"]) == ("1", 0, "y1")
    assert row["mean"] == filled.sequences[1].x[0, 0]
    assert len(a.samples_frame()) == 20 * 8


@pytest.mark.parametrize("emission", ["categorical", "negative-binomial", "bernoulli"])
def test_discrete_values_are_filled_with_values_that_occur(emission: str):
    kind = {"categorical": "category", "bernoulli": "binary"}.get(emission, "count")
    data = dataset(kind, num=2, steps=8)
    for s in data:
        s.x[3] = np.nan
    names = ("a", "b", "c", "d")
    if emission == "categorical":
        data = dataclasses.replace(data, categories={"y": names})
    result = impute(model("rnn", emission, data), data, num_samples=50)
    value = result.filled().sequences[0].x[3, 0]
    assert value in set(result.series[0].samples.ravel())
    shares = [f"p({n})" for n in names]
    if emission == "categorical":
        frame = result.to_frame()
        assert list(frame)[3:] == shares
        np.testing.assert_allclose(frame[shares].sum(axis=1), 1)


def test_data_and_options_that_cannot_be_imputed_are_refused():
    data = dataset(num=2)
    with pytest.raises(InputError, match="no value is missing"):
        impute(model("rnn"), data)
    data.sequences[0].x[1] = np.nan
    with pytest.raises(InputError, match="no latent to condition on: use condition_on=observ"):
        impute(model("flow-latents"), data)
    with pytest.raises(InputError, match="lag=0 must be at least 1"):
        impute(model("rnn"), data, lag=0)
