"""Latents given the values, against exact answers of linear-Gaussian latent models."""

import itertools
import logging

import numpy as np
import pytest
import torch
from cases import dataset, model
from exact import CHAIN, LOADING, NOISE, SLOPE, STEP, chain, last_value
from test_linear_gaussian import PROCESSES, basis, given, joint, sequences, true_model

from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.errors import InputError
from seqlatent.inference.posterior import weighted_posterior
from seqlatent.models.latent.predicting import predicted
from seqlatent.tasks.encoding import infer_latents

STEPS = 6


def values(steps: int = STEPS) -> SequenceDataset:
    x = 0.6 * np.random.default_rng(3).normal(size=(1, steps, 1))
    x[0, 2] = np.nan
    return SequenceDataset.from_arrays(x)


def check(p, mean: np.ndarray, scale: np.ndarray, what: str) -> None:
    """Means and scales within five standard errors, and means of the samples."""
    error = scale / np.sqrt(p.ess.numpy())
    assert np.all(np.abs(p.mean[:, 0].numpy() - mean) < 5 * error), what
    assert np.all(np.abs(p.scale[:, 0].numpy() - scale) < 5 * error), what
    # Systematic resampling adds less noise than independent samples would.
    own = error + scale / np.sqrt(len(p.samples))
    assert np.all(np.abs(p.samples[..., 0].mean(0).numpy() - mean) < 5 * own), what


def test_the_emission_set_by_hand_is_linear():
    m, batch = last_value(), collate(values().sequences)
    r = m.reading(batch)
    z = torch.full((1, STEPS, 1), 2.0)
    before = torch.cat([torch.zeros(1, 1, 1), batch.x[:, :-1].float()], 1)
    normal = torch.distributions.Normal(SLOPE * before + 2 * LOADING, NOISE)
    expected = torch.where(batch.observed, normal.log_prob(batch.x.float()), 0.0)[..., 0]
    torch.testing.assert_close(
        m._emission(r.emission, z, None, batch.observed).log_prob(r.y), expected,
        rtol=0, atol=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize("smoothing", [False, True])
def test_where_the_posterior_factorises(smoothing: bool):
    """N(LOADING r / (LOADING^2 + NOISE^2), NOISE^2 / (LOADING^2 + NOISE^2)) with the residual
    r = x_t - SLOPE x_{t-1}; the prior where the value is missing."""
    data = values()
    p = weighted_posterior(
        last_value(), collate(data.sequences), "a", num_samples=2000, smoothing=smoothing, seed=0
    )
    x = data.sequences[0].x[:, 0]
    before = np.nan_to_num(np.concatenate([[0.0], x[:-1]]))  # a missing value is read as 0
    total = LOADING**2 + NOISE**2
    mean = np.where(np.isnan(x), 0.0, LOADING * (x - SLOPE * before) / total)
    scale = np.where(np.isnan(x), 1.0, NOISE / np.sqrt(total))
    check(p, mean, scale, "factorised")
    assert p.ess.min() > 100


@pytest.mark.parametrize("smoothing", [False, True])
@pytest.mark.parametrize("guide_smooths", [False, True])
def test_a_chain_of_latents_is_the_kalman_filter_and_smoother(smoothing, guide_smooths):
    data = values()
    m = chain(smoothing=guide_smooths)
    p = weighted_posterior(
        m, collate(data.sequences), "a", num_samples=4000, smoothing=smoothing, seed=0
    )
    mean, covariance = joint(CHAIN, STEPS)
    x = data.sequences[0].x[:, 0]
    means, scales = np.zeros(STEPS), np.zeros(STEPS)
    for t in range(STEPS):
        known = np.concatenate([np.full(STEPS, np.nan), x])
        if not smoothing:
            known[STEPS + t + 1 :] = np.nan
        posterior = given(mean, covariance, known)
        means[t], scales[t] = posterior[0][t], np.sqrt(posterior[1][t, t])
    check(p, means, scales, f"smoothing={smoothing}, guide {guide_smooths}")
    assert p.ess.min() > 100
    if smoothing:  # whole trajectories: neighbouring steps have the right covariances
        whole = given(mean, covariance, np.concatenate([np.full(STEPS, np.nan), x]))[1]
        seen = np.cov(p.samples[..., 0].numpy().T)
        allowed = 3 / float(p.ess.min()) ** 0.5
        np.testing.assert_allclose(seen, whole[:STEPS, :STEPS], rtol=0, atol=allowed)


@pytest.mark.parametrize("process", PROCESSES.values(), ids=list(PROCESSES))
def test_smoothed_samples_have_the_dense_conditional_moments(process):
    steps, num = 5, 20_000
    x, Z = sequences(process, steps, 0.4)[:2], len(process.A)
    m = true_model(process)
    with torch.no_grad():
        batch = collate(SequenceDataset.from_arrays(x).sequences)
        z = m.sample_smoothed(batch, num, SequenceNoise(["a"], 0))
        mean, covariance = m.smoother(batch)
    assert z.shape == (num, 2, steps, Z)
    error = covariance.diagonal(dim1=-2, dim2=-1).sqrt() / num**0.5
    assert ((z.mean(0) - mean).abs() < 5 * error).all()
    # Across steps: the model's basis is linear in the process's, and so are these sums.
    T = np.kron(np.eye(steps), basis(process))
    for i in range(2):
        known = np.concatenate([np.full(steps * Z, np.nan), x[i].ravel()])
        whole = given(*joint(process, steps), known)[1][: steps * Z, : steps * Z]
        expected = T @ whole @ T.T
        seen = np.cov(z[:, i].reshape(num, -1).numpy().T)
        size = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
        np.testing.assert_array_less(np.abs(seen - expected), 5 * 1.5 * size / np.sqrt(num))


@pytest.mark.parametrize(
    ("name", "posterior"),
    [
        *itertools.product(
            ["latent", "latent-last", "vrnn", "dmm", "linear-gaussian"], ["filtering", "smoothing"]
        ),
        *itertools.product(["latent", "vrnn", "dmm"], ["predicted"]),
    ],
)
def test_latents_have_their_shapes_and_seeds(name: str, posterior: str):
    m, data = model(name), dataset(num=2, steps=5)
    a, b, c = (
        infer_latents(m, data, num_samples=3, seed=seed, posterior=posterior) for seed in (0, 0, 1)
    )
    size = m.latent_dim
    for s, latents in zip(data, a.series, strict=True):
        assert latents.samples.shape == (3, len(s), size)
        assert latents.mean.shape == latents.scale.shape == (len(s), size)
        assert (latents.scale > 0).all()
    np.testing.assert_array_equal(a.series[1].samples, b.series[1].samples)
    assert not np.array_equal(a.series[1].samples, c.series[1].samples)
    alone = infer_latents(m, data[[1]], num_samples=3, seed=0, posterior=posterior)
    np.testing.assert_allclose(alone.series[0].samples, a.series[1].samples, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "posterior", "reason"),
    [
        ("latent", "backwards", "'backwards' is not one of auto, guide, predicted, filtering"),
        ("flow", "smoothing", "the latents of model 'flow' are exact"),
        ("linear-gaussian", "guide", "has no guide"),
        ("linear-gaussian", "predicted", "has no guide"),
        ("latent-last", "predicted", "independent of each other"),
        ("rnn", "auto", "'rnn' has no latents"),
    ],
)
def test_distributions_that_a_model_does_not_have_are_refused(
    name: str, posterior: str, reason: str
):
    with pytest.raises(InputError, match=reason):
        infer_latents(model(name), dataset(num=2), posterior=posterior)


def test_the_next_latents_of_a_chain():
    m, batch = chain(), collate(values().sequences)
    z = torch.randn(4, 1, STEPS, 1)
    p = predicted(m, batch, z)
    torch.testing.assert_close(p.loc, SLOPE * z, rtol=0, atol=1e-5)
    torch.testing.assert_close(p.scale, torch.full_like(z, STEP), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["latent", "vrnn", "dmm", "latent-recurrent"])
def test_the_next_latents_are_those_that_forecasts_sample(name: str, monkeypatch):
    """In chunks as at once, at every step, also after the last."""
    m, data = model(name), dataset(num=1, steps=6)
    s = data.sequences[0]
    batch = collate([s])
    z = torch.randn(3, 1, len(s), m.latent_dim, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("seqlatent.models.latent.predicting.CHUNK", 4)
    p = predicted(m, batch, z)
    for t in (2, len(s) - 1):
        before = collate([s.slice(0, t + 1)])
        r = m.reading(before)
        prior = m.prior(z[:, :, : t + 1], r.prior)[2]
        context = m.prior_context(
            r.after._replace(memory=m.remember(before)), batch.covariates[:, t : t + 1]
        )
        alone, _, _ = m.prior(z[:, :, :1] * 0, context, prior)
        torch.testing.assert_close(p.loc[:, :, t], alone.loc[:, :, 0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(p.scale[:, :, t], alone.scale[:, :, 0], rtol=1e-4, atol=1e-5)


def test_the_state_after_a_step_is_told_by_default_where_latents_carry_it():
    for name, usual in (("latent", "predicted"), ("latent-smoothing", "guide"), ("vrnn", "guide")):
        m, data = model(name), dataset(num=2, steps=5)
        found = infer_latents(m, data, num_samples=3)
        same = infer_latents(m, data, num_samples=3, posterior=usual)
        np.testing.assert_array_equal(found.series[0].samples, same.series[0].samples)


def test_what_is_predicted_after_a_step_depends_on_its_value_and_on_none_after_it():
    m, x = model("latent"), dataset(num=1, steps=6).sequences[0].x
    changed = x.copy()
    changed[3] += 2.0
    a, b = (
        infer_latents(m, SequenceDataset.from_list([v]), num_samples=4).series[0].mean
        for v in (x, changed)
    )
    np.testing.assert_allclose(a[:3], b[:3], rtol=0, atol=1e-6)
    assert np.abs(a[3] - b[3]).max() > 1e-3


def test_there_is_a_warning_of_degenerate_trajectories(caplog: pytest.LogCaptureFixture):
    m, data = chain(smoothing=False), values(400)
    with caplog.at_level(logging.WARNING, "seqlatent"):
        infer_latents(m, data, num_samples=10, posterior="filtering")
        assert "effective samples" not in caplog.text
        infer_latents(m, data, num_samples=10, posterior="smoothing")
    assert "effective samples" in caplog.text
