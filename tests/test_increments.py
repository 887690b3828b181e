"""scaling=increments: every model, told what the value before was, has a density of x all the same.

The first value of a series is context; the laws of `test_laws_models.py` are held to here given it.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import dataset, model

from seqlatent.api import RNN, LinearGaussian
from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.splits import windows, with_context
from seqlatent.errors import InputError
from seqlatent.inference.protocols import ExactDensity, InvertibleLatents
from seqlatent.models.base import SequenceModel
from seqlatent.tasks.forecasting import forecast, sample
from seqlatent.tasks.scoring import score

NAMES = ["rnn", "linear-gaussian", "flow", "flow-latents", "latent"]  # one of each kind
OPTIONS = {"scaling": "increments", "context_length": 1}
GRID = {"flow": 121, "latent": 41}  # splines have kinks; estimates cost
every_model = pytest.mark.parametrize("name", NAMES)


def walks(num: int = 6, steps: int = 9, channels: int = 1, seed: int = 0) -> SequenceDataset:
    """Random walks far from zero, in steps of about 0.5."""
    rng = np.random.default_rng(seed)
    x = 300 + 40 * rng.normal(size=(num, 1, channels))
    return SequenceDataset.from_arrays(x + 0.5 * rng.normal(size=(num, steps, channels)).cumsum(1))


def built(name: str, data: SequenceDataset | None = None) -> SequenceModel:
    return model(name, data=data or walks(), **OPTIONS)


def test_the_scale_is_that_of_increments():
    data = walks(num=200)
    channel = DataDescription.of(data).channels[0]
    assert channel.increment == pytest.approx(0.5, rel=0.05)
    assert channel.scale > 30
    constant = SequenceDataset.from_list([np.full(5, 7.0)])
    assert DataDescription.of(constant).channels[0].increment == 1.0
    law = built("rnn", data).value_distribution
    assert float(law.floor) == pytest.approx(1e-4)  # of a usual increment, not of the level


@every_model
def test_a_score_does_not_know_the_level(name: str):
    data = walks()
    m = built(name, data)
    moved = SequenceDataset.from_list([s.x + 1e5 for s in data])
    a, b = (score(m, d, num_particles=3)[0] for d in (data, moved))
    np.testing.assert_allclose(a["log_prob"], b["log_prob"], rtol=0, atol=1e-4)
    assert (a["num_observed"] == 8).all()


@every_model
def test_mass_given_the_first_value(name: str):
    m = built(name)
    points = 300 + 0.5 * np.linspace(-12, 12, GRID.get(m.family, 61))
    pairs = np.stack(np.meshgrid(points, points, indexing="ij"), -1).reshape(-1, 2)
    x = np.concatenate([np.full((len(pairs), 1), 300.0), pairs], 1)
    frame, _ = score(m, SequenceDataset.from_arrays(x), num_particles=16)
    density = np.exp(frame["log_prob"].to_numpy()).reshape(len(points), -1)
    total = np.trapezoid(np.trapezoid(density, points), points)
    error = density * frame["std_error"].to_numpy().reshape(density.shape)
    cell = (points[1] - points[0]) ** 2
    assert total == pytest.approx(1, abs=0.01 + 4 * cell * np.sqrt((error**2).sum()))


@every_model
def test_a_forecast_goes_on_from_the_last_value(name: str, monkeypatch: pytest.MonkeyPatch):
    """The mean of two steps ahead, by quadrature of the density."""
    m, history = built(name), walks(num=1, steps=6)
    x = history.sequences[0].x
    points = x[-1, 0] + 0.5 * np.linspace(-12, 12, GRID.get(m.family, 61))
    pairs = np.stack(np.meshgrid(points, points, indexing="ij"), -1).reshape(-1, 2, 1)
    whole = np.concatenate([np.broadcast_to(x, (len(pairs), *x.shape)), pairs], 1)
    steps = score(m, SequenceDataset.from_arrays(whole), num_particles=16)[1]
    log_prob = steps["log_prob"].to_numpy().reshape(len(pairs), -1)[:, -2:].sum(1)
    density = np.exp(log_prob).reshape(len(points), -1)
    bounded = np.tanh((points - x[-1, 0]) / 0.5)
    paths = forecast(m, history, 2, num_samples=4000)[0].samples[..., 0]
    for d, marginal in enumerate((density.sum(1), density.sum(0))):
        mean = (marginal * bounded).sum() / marginal.sum()
        seen = np.tanh((paths[:, d] - x[-1, 0]) / 0.5)
        assert abs(seen.mean() - mean) < 4 * seen.std() / np.sqrt(4000) + 0.02
    monkeypatch.setattr("seqlatent.inference.paths.CHUNK", 2)
    again = forecast(m, history, 2, num_samples=4000)[0].samples[..., 0]
    np.testing.assert_allclose(again, paths, rtol=1e-5)


@every_model
def test_chunks_equal_the_whole(name: str, monkeypatch: pytest.MonkeyPatch):
    m, data = built(name), walks()
    whole = score(m, data, num_particles=3)[0]
    monkeypatch.setattr("seqlatent.inference.likelihood.CHUNK", 2)
    if isinstance(m, ExactDensity):
        chunked = score(m, data, num_particles=3)[0]
        np.testing.assert_allclose(chunked["log_prob"], whole["log_prob"], rtol=0, atol=1e-4)
    batch = collate(with_context(data, 1).sequences)
    y = [m.begin(batch).scaling.forward(batch.steps(t, t + 1)) for t in range(9)]
    torch.testing.assert_close(torch.cat(y, 1), m.begin(batch).scaling.forward(batch))


def test_a_window_knows_the_value_before_it():
    data = with_context(walks(num=1, steps=40), 1)
    (s,) = data.sequences
    m = built("rnn", data)
    pieces = list(windows(s, 8, 4))
    whole = m.begin(collate([s])).scaling.forward(collate([s]))[0]
    seen = torch.cat([m.begin(collate([p])).scaling.forward(collate([p]))[0] for p in pieces[1:]])
    places = [t for i in range(1, len(pieces)) for t in range(8 * i - 3, min(40, 8 * i + 9))]
    torch.testing.assert_close(seen, whole[places])
    inner = pieces[2].slice(2, 6, 1)
    assert inner.before is not None and inner.before[0] == pieces[2].x[1, 0]


def test_a_value_follows_the_last_one_that_was_observed():
    x = np.array([[5.0, 1.0], [np.nan, 2.0], [8.0, np.nan], [9.0, 7.0]])
    data = with_context(SequenceDataset.from_list([x]), 1)
    batch = collate(data.sequences)
    expected = [[np.nan, np.nan], [5, 1], [5, 2], [8, 2], [9, 7]]
    np.testing.assert_array_equal(batch.carried[0].numpy(), expected)
    m = built("rnn", walks(channels=2))
    scaling = m.begin(batch).scaling
    y = torch.where(batch.observed, scaling.forward(batch) * scaling.scale, 0.0)[0]
    np.testing.assert_allclose(y.numpy(), [[0, 0], [0, 1], [3, 0], [1, 5]], rtol=1e-6)
    # Before its first value a channel has none; the training data's mean then stands for it.
    late = SequenceDataset.from_list([np.array([[5.0, np.nan], [6.0, np.nan], [8.0, 1.0]])])
    assert np.isfinite(score(m, late)[0]["log_prob"]).all()


@pytest.mark.parametrize("name", [n for n in NAMES if isinstance(model(n), InvertibleLatents)])
def test_codes_of_increments_are_inverted(name: str):
    data = with_context(walks(num=3, channels=2), 1)
    m = built(name, data)
    assert isinstance(m, InvertibleLatents)
    batch = collate(data.sequences)
    with torch.no_grad():
        first, after = m.encode(batch.steps(0, 1))
        z, _ = m.encode(batch.steps(1, 9), after)
        x, end = m.decode(z, batch.covariates[:, 1:], after.at(batch.x[:, :1]))
    torch.testing.assert_close(x, batch.x[:, 1:], rtol=0, atol=1e-4)
    torch.testing.assert_close(end.scaling.last, x[:, -1:])
    assert torch.isfinite(first).all()


@every_model
def test_padding_is_not_gone_on_from(name: str):
    m, data = built(name), walks(num=2)
    short = data.sequences[0].slice(0, 5)
    pair = replace(data, sequences=(short, data.sequences[1]))
    together = collate(with_context(pair, 1).sequences)
    assert float(together.carried[0, -1, 0]) == short.x[-1, 0]
    m.loss(together).backward()
    assert all(torch.isfinite(p.grad).all() for p in m.parameters() if p.grad is not None)


def test_it_wants_a_first_value_and_real_ones():
    with pytest.raises(InputError, match="set context_length to at least 1"):
        RNN(scaling="increments").fit(walks(num=12), max_steps=1)
    with pytest.raises(InputError, match=r"scaling=increments.*use forecast"):
        sample(built("rnn"), 1, 3)
    with pytest.raises(InputError, match=r"increments is for real values.*negative-binomial"):
        RNN(scaling="increments", context_length=1).fit(dataset("count", num=12), max_steps=1)


def test_fit_suggests_it_where_values_wander(caplog: pytest.LogCaptureFixture):
    caplog.set_level("INFO", "seqlatent")
    for data, told in ((walks(12, 40), True), (dataset("real", num=12), False)):
        caplog.clear()
        RNN(hidden_dim=2).fit(data, max_steps=1)
        assert ("scaling=increments" in caplog.text) == told
    caplog.clear()
    RNN(hidden_dim=2, **OPTIONS).fit(walks(12, 40), max_steps=1)
    assert "may do better" not in caplog.text


def test_a_random_walk_s_own_likelihood_is_reached():
    """Regret against the truth, N(x_{t-1}, 0.5^2), where a model of the level cannot go."""
    train, test = walks(100, 50), walks(100, 50, seed=1)
    m = LinearGaussian(latent_dim=1, **OPTIONS).fit(train, max_steps=150)
    steps = np.diff(np.stack([s.x[:, 0] for s in test]), axis=1)
    truth = -0.5 * (steps / 0.5) ** 2 - np.log(0.5) - 0.5 * np.log(2 * np.pi)
    regret = truth.sum(1) - m.log_prob(test)["log_prob"].to_numpy()
    assert regret.mean() / 49 < 0.003 + 4 * regret.std() / 10 / 49
