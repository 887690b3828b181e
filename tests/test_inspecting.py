"""The results of an inspection of latents, against closed forms."""

import math

import numpy as np
import pytest
from cases import EMISSIONS, MODELS, dataset, example, model
from exact import LOADING, NOISE, SLOPE, UNIT, last_value, linear_guide

from seqlatent.errors import InputError
from seqlatent.models.latent.model import LatentModel
from seqlatent.tasks.inspecting import inspect, reconstruct

LATENT = sorted(n for n in MODELS if isinstance(example(n), LatentModel))
# One of each family, and of the options that an inspection depends on; the others are `slow`.
QUICK = ("latent", "latent-mixture", "latent-smoothing", "latent-all", "vrnn-bent", "srnn", "dmm")
TOTAL = LOADING**2 + NOISE**2
POSTERIOR = NOISE / math.sqrt(TOTAL)  # its standard deviation, whatever the values


def residuals() -> np.ndarray:
    """x_t - SLOPE x_{t-1} of all sequences and steps; x_0 is 0."""
    x = np.stack([s.x[:, 0] for s in UNIT])
    return x - SLOPE * np.concatenate([np.zeros((len(x), 1)), x[:, :-1]], 1)


def kl(loc, scale, other_loc, other_scale):
    """KL(N(loc, scale^2) || N(other_loc, other_scale^2))."""
    square = (scale**2 + (loc - other_loc) ** 2) / other_scale**2
    return np.log(other_scale / scale) + (square - 1) / 2


def test_latents_that_nothing_uses():
    m = last_value()
    m.from_latents.weight.data.zero_()
    linear_guide(m, 0, 0, 0, 1)
    found = inspect(m, UNIT)
    assert found.total_kl == pytest.approx(0, abs=1e-6)
    assert found.losses.joint.tolist() == [0.0] * 4  # both paths share their random numbers
    assert found.used.tolist() == [False]
    # The guide's own weights are constant; those of the wide particles beside it are not.
    assert found.gap_error is not None and found.reverse_gap_error is not None
    assert abs(found.gap) < 4 * found.gap_error < 0.02
    assert abs(found.reverse_gap) < 4 * found.reverse_gap_error < 0.02
    assert "the latents are not used" in found.warning and "fit an rnn" in found.warning
    assert "the latents are not used: the emission alone" in found.to_text()


def test_a_guide_that_is_the_posterior():
    """Both directions of the KL are 0, and KL(q || prior) is that of the posterior."""
    m = last_value()
    linear_guide(m, LOADING / TOTAL, -SLOPE * LOADING / TOTAL, 0, POSTERIOR)
    found = inspect(m, UNIT, num_particles=64)
    means = LOADING * residuals() / TOTAL
    # The guide's own weights are constant; those of the wide particles beside it are not.
    assert found.gap_error is not None and found.reverse_gap_error is not None
    assert abs(found.gap) < 4 * found.gap_error < 0.02
    assert abs(found.reverse_gap) < 4 * found.reverse_gap_error < 0.02
    assert found.total_kl == pytest.approx(kl(means, POSTERIOR, 0, 1).mean(), abs=1e-4)
    assert found.kl.sum() == pytest.approx(found.total_kl)
    np.testing.assert_allclose(found.kl_over_time[:, 0], kl(means, POSTERIOR, 0, 1).mean(0),
                               rtol=0, atol=1e-4)  # fmt: skip
    assert found.variance[0] == pytest.approx(means.var(ddof=1), rel=1e-3)
    assert found.used.tolist() == [True]
    assert found.roles == ["innovation"]
    assert found.losses.horizons == (0, 1, 2, 4)
    assert (found.losses.joint[1:] == 0).all()  # the prior does not see them
    assert found.predictable.tolist() == [0.0]
    assert found.warning == ""


def test_both_directions_of_the_kl_of_a_guide_that_is_wrong():
    loc, scale = 0.3, 0.9
    m = last_value()
    linear_guide(m, 0, 0, loc, scale)
    found = inspect(m, UNIT, num_particles=4000)
    on_data = kl(loc, scale, LOADING * residuals() / TOTAL, POSTERIOR).mean()
    assert found.gap_error is not None
    assert abs(found.gap - on_data) < 4 * found.gap_error + 1e-3
    assert found.gap_error < 0.1 * on_data
    # On sequences sampled from the model the residual is N(0, TOTAL).
    square = POSTERIOR**2 + LOADING**2 / TOTAL + loc**2
    own = math.log(scale / POSTERIOR) + square / (2 * scale**2) - 0.5
    assert found.reverse_gap is not None and found.reverse_gap_error is not None
    assert abs(found.reverse_gap - own) < 4 * found.reverse_gap_error + 1e-3
    assert found.reverse_gap_error < 0.3 * own
    assert abs(on_data - own) > 4 * found.gap_error  # they are not the same number
    assert found.total_kl == pytest.approx(kl(loc, scale, 0, 1), abs=1e-5)


def test_variance_is_that_of_the_mean_over_the_data():
    m = last_value()
    linear_guide(m, 0.2, 0, 0, 0.7)
    found = inspect(m, UNIT, num_particles=4)
    x = np.concatenate([s.x for s in UNIT])
    assert found.variance[0] == pytest.approx(0.2**2 * x.var(ddof=1), rel=1e-3)


@pytest.mark.parametrize("posterior", ["guide", "smoothing"])
def test_reconstruction(posterior: str):
    """E[x_t | history, z_t] at samples of the posterior: SLOPE x_{t-1} + LOADING E[z_t | x]."""
    m = last_value()
    linear_guide(m, LOADING / TOTAL, -SLOPE * LOADING / TOTAL, 0, POSTERIOR)
    frame = reconstruct(m, UNIT, num_samples=400, posterior=posterior)
    expected = np.stack([s.x[:, 0] for s in UNIT]) - residuals() * (1 - LOADING**2 / TOTAL)
    error = math.sqrt(NOISE**2 + (LOADING * POSTERIOR) ** 2) / math.sqrt(400)
    np.testing.assert_allclose(frame["mean"], expected.ravel(), rtol=0, atol=5 * error)
    np.testing.assert_array_equal(frame["y"], np.concatenate([s.x[:, 0] for s in UNIT]))
    if posterior == "guide":
        rmse, scale = inspect(m, UNIT, num_particles=4).reconstruction["y"]
        true = np.sqrt(np.mean((residuals() * (1 - LOADING**2 / TOTAL)) ** 2))
        assert rmse == pytest.approx(true, abs=0.05)
        assert scale == pytest.approx(np.concatenate([s.x for s in UNIT]).std())


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in QUICK)) for n in LATENT]
)
def test_every_latent_model_is_inspected(name: str):
    data = dataset(num=3, channels=2)
    data.sequences[1].x[2] = np.nan
    m = model(name, data=data)
    found = inspect(m, data, num_particles=8)
    again = inspect(m, data, num_particles=8)
    assert found.to_dict() == again.to_dict()
    assert found.exact_kl == (
        m.options.prior != "mixture" and m.options.guide_distribution == "normal"
    )
    numbers = (found.total_kl, found.elbo, found.gap, found.reverse_gap)
    assert np.isfinite(numbers).all()
    # Eight particles seldom tell an error of all sequences.
    assert found.gap_error is None or found.gap_error > 0
    assert (found.gap_error is None) == ("(unknown)" in found.to_text())
    assert (np.isfinite(found.kl).all() and (found.kl >= 0).all()) or not found.exact_kl
    assert found.kl_over_time.shape == (7, 2)
    assert found.posterior_samples.shape == found.prior_samples.shape
    assert np.isfinite(found.posterior_samples).all()
    assert set(found.reconstruction) == {"y1", "y2"}
    assert found.losses.each.shape == (2, len(found.losses.horizons))
    if m.factorises:
        assert (found.losses.each[:, 1:] == 0).all() and (found.losses.joint[1:] == 0).all()
    assert len(found.traversal) == 2 * 2 * 9
    assert np.isfinite(found.traversal["mean"]).all()


@pytest.mark.parametrize("emission", ["categorical", "bernoulli", "poisson"])
def test_values_that_are_not_real(emission: str):
    data = dataset(EMISSIONS[emission], num=3)
    found = inspect(model("latent", emission, data), data, num_particles=4)
    assert np.isfinite([found.total_kl, found.gap, found.reverse_gap]).all()


def test_both_directions_where_values_are_scaled_by_their_past():
    data = dataset(num=3, steps=9)
    m = model("latent", data=data, scaling="running+increments")
    found = inspect(m, data, num_particles=8)
    assert np.isfinite([found.gap, found.reverse_gap]).all()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("rnn", "'rnn' has no latents; inspect is for latent, vrnn, srnn and dmm"),
        ("flow", "'flow' has exact latents"),
        ("linear-gaussian", "computes the posterior of its latents exactly"),
    ],
)
def test_models_without_a_guide_are_refused(name: str, reason: str):
    with pytest.raises(InputError, match=reason):
        inspect(model(name), dataset(num=2))


def test_reconstruction_needs_whole_trajectories():
    with pytest.raises(InputError, match="whole trajectories"):
        reconstruct(model("latent"), dataset(num=2), posterior="filtering")
