"""Marginals of the channels seen, where others are missing, against quadrature and enumeration."""

import itertools
import logging

import numpy as np
import pandas as pd
import pytest
import torch
from cases import dataset, emissions, model, stir

from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.distributions.subset import SubsetHead
from seqlatent.errors import InputError
from seqlatent.models.base import SequenceModel
from seqlatent.tasks.scoring import score

DRAWN = (
    "rnn",
    "cnn",
    "transformer",
    "flow",
    "flow-base",
    "switching",
    "mixture",
    "mixture-moving",
)
STEP = 3  # at which the first of two channels is missing, after an earlier gap
VALUES = np.array([[18.0, 23.0], [21.0, np.nan], [np.nan, 17.0], [np.nan, 22.0], [19.0, 20.5]])
POINTS = np.linspace(-40.0, 80.0, 2401)


def made(name: str) -> SequenceModel:
    """A model of two channels, the second of which depends on the first."""
    emission = "normal" if "normal" in emissions(name) else ""
    m = model(name, emission, dataset(channels=2))
    with torch.no_grad():
        for part in m.modules():
            if hasattr(part, "before") and isinstance(part.before, torch.nn.Parameter):
                # Of a regime that fits badly, few draws have all the weight sooner.
                part.before.mul_(1.5 if name == "switching" else 3)
    return m


def many(x: np.ndarray, number: int) -> SequenceDataset:
    """The same series under `number` names, each with draws of its own."""
    return SequenceDataset.from_arrays(np.tile(x, (number, 1, 1)))


def by_quadrature(m: SequenceModel, x: np.ndarray, step: int) -> float:
    """log p(x_t2 | x_{<t}), by the trapezoid rule over x_t1."""
    grid = np.tile(x[: step + 1], (len(POINTS), 1, 1))
    grid[:, step, 0] = POINTS
    with torch.no_grad():
        log_density = m.log_prob(collate(SequenceDataset.from_arrays(grid).sequences))[0][:, step]
    return float(np.log(np.trapezoid(log_density.double().exp().numpy(), POINTS)))


@pytest.mark.parametrize("name", DRAWN)
def test_a_step_observed_in_part_has_the_marginal_by_quadrature(name: str):
    m = made(name)
    if name.startswith("mixture"):
        assert len(m.parts) == 3
    data = many(VALUES, 1)
    scores, steps = score(m, data, marginal_draws=2000)
    plain_scores, plain = score(m, data)
    truths = [by_quadrature(m, VALUES, step) for step in (2, STEP)]
    row = scores.iloc[0]
    assert (row["kind"], row["num_particles"]) == ("sampled", 2000)
    assert list(steps["sampled"]) == [False, False, True, True, False]
    assert list(plain["partial"]) == [False, False, True, True, False]
    assert not steps["partial"].any()
    assert 0 < row["std_error"] < 0.06
    found = steps["log_prob"].to_numpy()
    off = found[[2, STEP]].sum() - sum(truths)
    assert abs(off) < 4 * row["std_error"] + 1e-4
    np.testing.assert_array_equal(found[[0, 1, 4]], plain["log_prob"].to_numpy()[[0, 1, 4]])
    # What was scored before is another number, or nothing would have been tested.
    assert abs(plain["log_prob"][2] + plain["log_prob"][STEP] - sum(truths)) > 0.02
    assert plain_scores["kind"][0] == "exact"


@pytest.fixture(scope="module")
def rnn() -> SequenceModel:
    return made("rnn")


@pytest.fixture(scope="module")
def truth(rnn: SequenceModel) -> float:
    """The score of `VALUES`: exact where all was seen, by quadrature elsewhere."""
    exact = score(rnn, many(VALUES, 1))[1]["log_prob"].to_numpy()[[0, 1, 4]].sum()
    return exact + sum(by_quadrature(rnn, VALUES, step) for step in (2, STEP))


@pytest.mark.parametrize("draws", [2, 16])
def test_the_exponential_is_unbiased(rnn: SequenceModel, truth: float, draws: int):
    found = score(rnn, many(VALUES, 2000), marginal_draws=draws)[0]["log_prob"].to_numpy()
    ratio = np.exp(found - truth)
    error = ratio.std() / np.sqrt(len(ratio))
    assert error < 0.02
    assert abs(ratio.mean() - 1) < 4 * error
    assert found.mean() < truth - 2 * found.std() / np.sqrt(len(found))  # as Jensen says


@pytest.mark.parametrize("draws", [64, pytest.param(512, marks=pytest.mark.slow)])
def test_intervals_hold_the_truth(rnn: SequenceModel, truth: float, draws: int):
    number = 1000
    found = score(rnn, many(VALUES, number), marginal_draws=draws)[0]
    told = ~found["std_error"].isna().to_numpy()
    assert told.mean() > 0.9
    inside = ((found["lower"] <= truth) & (truth <= found["upper"])).to_numpy()[told]
    assert abs(inside.mean() - 0.95) < 4 * np.sqrt(0.05 * 0.95 / told.sum())
    spread = found["log_prob"].std()
    np.testing.assert_allclose(found["std_error"].mean(), spread, rtol=0.15)


@pytest.mark.parametrize(
    ("name", "emission", "options"),
    [
        ("rnn", "normal", {"channels": "independent"}),
        ("rnn", "covariance-mixture", {}),
        ("switching", "normal", {"channels": "independent"}),
        ("linear-gaussian", "", {}),
        ("latent", "normal", {"channels": "independent"}),
    ],
)
def test_marginals_that_need_no_draws_stay_as_they_are(name: str, emission: str, options: dict):
    m, data = model(name, emission, dataset(channels=2), **options), many(VALUES, 2)
    scores, steps = score(m, data, marginal_draws=8)
    plain_scores, plain = score(m, data)
    pd.testing.assert_frame_equal(scores, plain_scores)
    assert not steps.pop("sampled").any()
    pd.testing.assert_frame_equal(steps, plain)
    assert not steps["partial"].any()


def test_the_last_channels_need_no_draws(rnn: SequenceModel):
    """Nothing that was seen comes after them: the density is the marginal one."""
    x = VALUES[:2]
    scores, steps = score(rnn, many(x, 1), marginal_draws=8)
    assert (scores["kind"][0], scores["std_error"][0]) == ("exact", 0)
    assert not steps["sampled"].any()
    assert not score(rnn, many(x, 1))[1]["partial"].any()
    grid = np.tile(x, (len(POINTS), 1, 1))
    grid[:, 1, 1] = POINTS
    with torch.no_grad():
        log_density = rnn.log_prob(collate(SequenceDataset.from_arrays(grid).sequences))[0][:, 1]
    marginal = np.log(np.trapezoid(log_density.double().exp().numpy(), POINTS))
    assert steps["log_prob"][1] == pytest.approx(marginal, abs=1e-4)


@pytest.mark.parametrize("name", ["rnn", "switching", "flow-base", "mixture-moving"])
def test_draws_depend_on_nothing_but_the_series(name: str, monkeypatch: pytest.MonkeyPatch):
    m, data = made(name), dataset(channels=2, num=5, steps=9)
    rng = np.random.default_rng(3)
    for s in data:
        s.x[rng.random(s.x.shape) < 0.3] = np.nan
    together = score(m, data, marginal_draws=8)[0]
    alone = [score(m, data[[i]], marginal_draws=8)[0]["log_prob"][0] for i in range(5)]
    np.testing.assert_allclose(together["log_prob"], alone, rtol=0, atol=1e-4)
    monkeypatch.setattr("seqlatent.inference.likelihood.CHUNK", 4)
    monkeypatch.setattr("seqlatent.inference.marginals.MAX_DRAWN", 100)
    parts = score(m, data, marginal_draws=8)[0]
    np.testing.assert_allclose(together["log_prob"], parts["log_prob"], rtol=0, atol=1e-4)
    other = score(m, data, marginal_draws=8, seed=1)[0]
    assert (other["log_prob"] != together["log_prob"]).any()


@pytest.mark.parametrize("emission", ["categorical", "negative-binomial", "mixed"])
def test_marginals_of_whole_numbers_are_sums(emission: str):
    """And of a column of whole numbers beside one of real ones."""
    kind = "category" if emission == "categorical" else "count"
    data = dataset(kind, channels=2, num=30)
    if emission == "mixed":
        for s in data:
            s.x[:, 1] = s.x[:, 1] / 3 + 0.1 * np.sin(np.arange(len(s)))
    m = model("rnn", emission, data)
    x = data.sequences[0].x[:4].copy()
    grid = np.tile(x, (200 if kind == "count" else 4, 1, 1))
    grid[:, 3, 0] = np.arange(len(grid))
    with torch.no_grad():
        log_mass = m.log_prob(collate(SequenceDataset.from_arrays(grid).sequences))[0][:, 3]
    x[3, 0] = np.nan
    scores, steps = score(m, many(x, 1), marginal_draws=4000)
    off = steps["log_prob"].to_numpy()[3] - float(log_mass.double().logsumexp(0))
    assert abs(off) < 4 * scores["std_error"][0] + 1e-4


def test_a_set_of_channels_has_the_marginal_by_enumeration():
    torch.manual_seed(0)
    head = SubsetHead(4, 5, 8).eval()
    stir(head, 0.5)
    h, sets = torch.randn(1, 4), torch.tensor(list(itertools.product([0.0, 1.0], repeat=5)))
    observed = torch.tensor([False, True, False, True, False])
    x = torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0])
    number = 20_000
    with torch.no_grad():
        log_mass = head(h.expand(32, -1)).log_prob(sets).double()
        filled, log_weight = head(h.expand(number, -1)).fill(x, observed, SequenceNoise(["a"], 0))
        np.testing.assert_array_equal(filled[:, observed].unique(dim=0)[0], x[observed])
        agrees = (sets[:, observed] == x[observed]).all(1)
        truth = float(log_mass[agrees].exp().sum())
        weight = log_weight.double().exp()
        assert abs(float(weight.mean()) - truth) < 4 * float(weight.std()) / np.sqrt(number)
        # The samples have the weights of p(missing | observed).
        for place, values in enumerate(sets[agrees]):
            share = weight * (filled == values).all(1)
            error = float(share.std()) / np.sqrt(number)
            exact = float(log_mass[agrees][place].exp())
            assert abs(float(share.mean()) - exact) < 4 * error + 1e-6
        hidden = head(h, observed[None]).log_prob(x[None])
    assert abs(float(hidden) - np.log(truth)) > 0.02
    assert head.conditions(observed[None]).all()
    assert not head.conditions(torch.tensor([[True, True, False, False, False]])).any()


def test_few_draws_are_warned_of(rnn: SequenceModel, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, "seqlatent"):
        scores = score(rnn, many(VALUES, 3), marginal_draws=2)[0]
    assert scores["std_error"].isna().all()
    assert np.isinf(scores["upper"]).all()
    assert "because few draws have all the weight" in caplog.text
    assert "use more marginal_draws" in caplog.text


def test_what_cannot_be_drawn_is_refused(rnn: SequenceModel):
    with pytest.raises(InputError, match="marginal_draws=1 must be at least 2"):
        score(rnn, many(VALUES, 1), marginal_draws=1)
    with pytest.raises(InputError, match="model 'vrnn' cannot draw missing channels"):
        score(model("vrnn", data=dataset(channels=2)), many(VALUES, 1), marginal_draws=8)
