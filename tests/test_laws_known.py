"""Laws of static features and past covariates that hold for every model."""

import dataclasses

import known
import numpy as np
import pytest
import torch
from cases import MODELS, first_quick, model
from test_laws_models import COMPUTED, _given_latents, log_prob
from torch.autograd.functional import jacobian

from seqlatent.data.batch import collate
from seqlatent.errors import InputError
from seqlatent.tasks.forecasting import forecast, known_ahead
from seqlatent.tasks.scoring import score
from seqlatent.training.augmentation import end_past_covariates, forget_categories
from seqlatent.training.checkpoint import load_model, save_model

STATIC_ONLY = ["linear-gaussian", "mixture"]  # of one noise, and a mixture with such a member
NAMES = sorted(MODELS)
WITH_PAST = [name for name in NAMES if name not in STATIC_ONLY]
REGIONS = ("north", "south", "west")
REGION, SIZE, VISITS = range(3)  # places of the columns in a batch


def case(name: str, num: int = 6, steps: int = 7):
    """A model of `MODELS` with random parameters, and data of the process."""
    data = known.dataset(num, steps)
    if name in STATIC_ONLY:
        sequences = tuple(dataclasses.replace(s, lagged=None) for s in data)
        data = dataclasses.replace(data, sequences=sequences, past_names=())
    return model(name, data=data), data


@pytest.mark.parametrize("name", WITH_PAST)
def test_past_covariates_are_causal(name: str):
    """log p(x_t) depends on c_{t-1} and not on c_s for any s >= t; on static features at all t."""
    m, data = case(name, steps=5)
    batch = collate(data[:1])

    def steps(covariates: torch.Tensor) -> torch.Tensor:
        changed = dataclasses.replace(batch, covariates=covariates)
        if name not in COMPUTED and m.options.smoothing:  # its guide sees the future
            return _given_latents(m, changed)
        return log_prob(m, changed)[0]

    size = jacobian(steps, batch.covariates)[:, 0].abs()  # (t, s, columns): row s holds c_{s-1}
    assert (size[..., VISITS].triu(1) == 0).all()
    block = getattr(m.options, "block", 1)  # all of it is given what comes before its first step
    assert (size[..., VISITS].diagonal()[block::block] > 0).all()
    assert (size[..., SIZE].diagonal()[::block] > 0).all()
    assert torch.isfinite(size).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_category_matters_from_the_first_step_on(name: str):
    m, data = case(name)
    if name.startswith("mixture"):
        embeddings = [part.covariate_scaler.embeddings[0] for part in m.parts]
    else:
        embeddings = [m.covariate_scaler.embeddings[0]]
    log_prob(m, collate(data))[:, 0].sum().backward()
    codes = {int(s.static_values[REGION]) for s in data}
    for embedding in embeddings:
        assert {i for i, row in enumerate(embedding.weight.grad) if (row != 0).any()} == codes


@pytest.mark.parametrize("name", first_quick(NAMES))
def test_chunks_equal_the_whole(name: str, monkeypatch: pytest.MonkeyPatch):
    m, data = case(name, num=3)
    whole = score(m, data, num_particles=3)[1]
    monkeypatch.setattr("seqlatent.inference.likelihood.CHUNK", 3)
    chunked = score(m, data, num_particles=3)[1]
    np.testing.assert_allclose(chunked["log_prob"], whole["log_prob"], rtol=0, atol=2e-5)


def test_what_is_known_ahead_is_what_the_next_step_has():
    """A cut, whole or of a piece, leaves the next step what it has in the whole series."""
    data = known.dataset(2, 9)
    for s, start in zip(data, (0, 2), strict=True):
        history = s.slice(start, 6)
        ahead = known_ahead(data, history, np.array([6, 7, 8]), None)
        np.testing.assert_array_equal(ahead[0], s.known[6])
        np.testing.assert_array_equal(ahead[1:, :VISITS], s.known[7:, :VISITS])
        assert np.isnan(ahead[1:, VISITS]).all()
        np.testing.assert_array_equal(ahead, s.as_of(6).known[6:])
        np.testing.assert_array_equal(history.known, s.known[start:6])
        assert np.isnan(s.known[0, VISITS]) and not np.isnan(s.known[1:]).any()


@pytest.mark.parametrize("name", ["rnn", "flow", "flow-latents", "mixture-moving"])
def test_forecast_of_one_step_is_the_predictive_distribution(name: str):
    """Its distribution function at the samples is uniform: mean 1/2, within 4 standard errors.

    p(x_t | x_{<t}) is integrated on a grid of values of the last step.
    """
    m, data = case(name, num=2)
    size, grid = 4000, np.linspace(-60, 60, 6001)
    cut = dataclasses.replace(data, sequences=tuple(s.slice(0, 6) for s in data))
    samples = forecast(m, cut, 1, num_samples=size).samples[:, :, 0, 0]
    for s, drawn in zip(data, samples, strict=True):
        batch = collate([s]).expand(len(grid))
        x = batch.x.clone()
        x[:, 6, 0] = torch.from_numpy(grid)
        with torch.no_grad():
            density = m.log_prob(dataclasses.replace(batch, x=x))[0][:, 6].double().exp().numpy()
        cdf = np.r_[0, np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(grid))]
        assert cdf[-1] == pytest.approx(1, abs=2e-3)
        u = np.interp(drawn, grid, cdf)
        assert abs(u.mean() - 0.5) < 4 * np.sqrt(1 / 12 / size)
        assert abs((u**2).mean() - 1 / 3) < 4 * np.sqrt((1 / 5 - 1 / 9) / size)


@pytest.mark.parametrize("name", first_quick(WITH_PAST))
def test_paths_go_on_without_later_past_covariates(name: str):
    m, data = case(name)
    x = forecast(m, data, 3, num_samples=4).samples
    assert x.shape == (6, 4, 3, 1) and np.isfinite(x).all()


@pytest.mark.parametrize("name", first_quick(NAMES))
def test_a_saved_model_knows_its_categories(name: str, tmp_path):
    m, data = case(name)
    save_model(m, tmp_path / "run")
    loaded, _ = load_model(tmp_path / "run")
    assert loaded.description == m.description
    assert loaded.description.static_labels == data.static_labels == {"region": REGIONS}
    np.testing.assert_array_equal(
        score(m, data, num_particles=2)[0]["log_prob"],
        score(loaded, data, num_particles=2)[0]["log_prob"],
    )


def test_linear_gaussian_refuses_past_covariates():
    with pytest.raises(InputError, match="'linear-gaussian' has the same noise"):
        model("linear-gaussian", data=known.dataset())


# -- how training hides ---------------------------------------------------------------------------


def test_past_covariates_end_at_any_step_of_half_of_the_sequences():
    m, data = case("rnn", num=1)
    batch = collate(data).expand(8000)
    torch.manual_seed(0)
    hidden = end_past_covariates(batch, m).covariates
    torch.testing.assert_close(hidden[..., :VISITS], batch.covariates[..., :VISITS])
    there = ~hidden[..., VISITS].isnan()
    num = there.sum(1)  # of 6, as the first step has none
    assert (there[:, 1:].int().diff(dim=1) <= 0).all()  # they do not come back
    shares = torch.bincount(num, minlength=7) / len(num)
    # A last step of 0, ..., 6 with probability 1/7 each, in half of the sequences.
    expected = torch.tensor([1 / 14] * 6 + [1 / 14 + 1 / 2])
    error = (expected * (1 - expected) / len(num)).sqrt()
    assert ((shares - expected).abs() < 4 * error).all()


def test_categories_are_forgotten_at_random():
    m, data = case("rnn", num=1)
    batch = collate(data).expand(8000)
    torch.manual_seed(0)
    changed = forget_categories(batch, m).covariates
    codes = changed[..., REGION]
    assert (codes == codes[:, :1]).all()  # for a whole sequence
    share = (codes[:, 0] == 0).double().mean()
    assert abs(share - 0.05) < 4 * np.sqrt(0.05 * 0.95 / 8000)
    torch.testing.assert_close(changed[..., SIZE], batch.covariates[..., SIZE])
