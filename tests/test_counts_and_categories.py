"""Families of counts and categories, against formulas and applied to series."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import nbinom

import seqlatent as sl
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.distributions import counts
from seqlatent.distributions.categorical import Categorical, Ordinal
from seqlatent.distributions.choice import choose_emission
from seqlatent.distributions.counts import (
    NegativeBinomial,
    Poisson,
    ZeroInflatedNegativeBinomial,
)
from seqlatent.distributions.noise import TorchNoise
from seqlatent.distributions.tails import RARE
from seqlatent.errors import InputError


def intermittent(num: int, steps: int, seed: int) -> np.ndarray:
    """Intermittent demand: none in three months of four, else a few pieces."""
    rng = np.random.default_rng(seed)
    level = rng.gamma(2, 2, (num, 1))
    return (rng.random((num, steps)) < 0.25) * (1 + rng.poisson(level, (num, steps)))


def test_zero_inflated_is_scipy_s_negative_binomial_with_more_zeros():
    channels = DataDescription.of(SequenceDataset.from_arrays(intermittent(9, 9, 0))).channels
    inflated, plain = ZeroInflatedNegativeBinomial(channels), NegativeBinomial(channels)
    params = torch.tensor([0.7, -1.0, 0.4])
    mean, r = (float(v) for v in plain._parts(params))
    x = np.arange(20)
    idle = 1 / (1 + np.exp(-0.4))
    usual = (1 - idle) * nbinom.pmf(x, r, r / (r + mean)) + idle * (x == 0)
    level = float(plain.level)
    expected = (1 - RARE) * usual + RARE * level / ((x + level) * (x + level + 1))
    seen = inflated.log_prob(params.expand(20, 3), torch.from_numpy(x).float()).exp()
    np.testing.assert_allclose(seen, expected, rtol=1e-5)


@pytest.mark.parametrize("level", [0.02, 3.0, 1000.0])
@pytest.mark.parametrize("kind", [Poisson, NegativeBinomial, ZeroInflatedNegativeBinomial])
def test_a_wild_count_costs_tens_of_nats(kind, level: float):
    """50 (500) times the mean, against the mean; where the family alone takes hundreds of nats."""
    data = SequenceDataset.from_arrays(np.random.default_rng(0).poisson(level, (20, 50)))
    family = kind(DataDescription.of(data).channels)
    params = family.initial()
    if len(params) > 1:
        params[1] = 10.0  # as good as Poisson
    mean = max(level, 0.1)
    x = torch.tensor([1.0, 50.0, 500.0]).mul(mean).round()
    usual, wild, wilder = family.log_prob(params.expand(3, -1), x).tolist()
    assert usual - wild < 25 and usual - wilder < 40
    if level == 3:
        assert usual - float(family.usual_log_prob(params, x[1])) > 300
        every = torch.arange(100_000.0)  # beyond, m / (100,000 + m) of the rare part is left
        mass = family.log_prob(params.expand(len(every), -1), every).double().exp().sum()
        assert float(mass) == pytest.approx(1 - RARE * level / (1e5 + level), abs=1e-7)


def test_rare_counts_are_drawn_as_often_as_they_should_be(monkeypatch):
    """Within four standard errors: of a million draws 50 are rare; of rare ones alone a share
    m / (x + m) is x or more."""
    data = SequenceDataset.from_arrays(np.random.default_rng(0).poisson(30.0, (20, 50)))
    family = Poisson(DataDescription.of(data).channels)
    level = float(family.level)
    params = family.initial().expand(1_000_000, -1)
    torch.manual_seed(0)
    x = family.sample(params, TorchNoise())
    assert abs(int((x >= 3 * level).sum()) - 50 / 4) < 4 * (50 / 4) ** 0.5
    monkeypatch.setattr(counts, "RARE", 1.0)
    x = family.sample(params[:100_000], TorchNoise())
    assert torch.isfinite(x).all() and (x == x.floor()).all()
    for least in (1, 10, 100, 3000):
        share = level / (least + level)
        error = (share * (1 - share) / 1e5) ** 0.5
        assert abs(float((x >= least).double().mean()) - share) < 4 * error


def test_ordinal_is_the_difference_of_two_sigmoids():
    ordinal = Ordinal([4])
    params = torch.tensor([0.3, 0.2])
    cuts = torch.tensor([0.0, 1.001, 2.002])
    cuts = cuts - cuts[-1] / 2
    scale = 0.05 + torch.nn.functional.softplus(params[1])
    below = torch.sigmoid((cuts - params[0]) / scale)
    expected = torch.cat([below, torch.ones(1)]) - torch.cat([torch.zeros(1), below])
    seen = ordinal.log_prob(params.expand(4, 2), torch.arange(4.0)).exp()
    torch.testing.assert_close(seen, expected)
    # Far from the cuts, masses are tiny but positive, and in order.
    far = ordinal.log_prob(torch.tensor([[50.0, 0.0]] * 4), torch.arange(4.0))
    assert torch.isfinite(far).all() and (far.diff() > 0).all()


def test_zero_inflated_fits_intermittent_demand_better_than_a_negative_binomial():
    train, test = (SequenceDataset.from_arrays(intermittent(60, 24, s)) for s in (0, 1))
    scores = {}
    for emission in ("poisson", "negative-binomial", "zero-inflated"):
        model = sl.RNN(hidden_dim=8, emission=emission)
        model.fit(train, max_steps=80, learning_rate=0.02, seed=0)
        scores[emission] = model.log_prob(test)["nats_per_step"].mean()
    assert scores["poisson"] + 0.3 < scores["negative-binomial"] < scores["zero-inflated"] - 0.01


def test_ratings_are_ordered_and_learnt_from_little():
    """Ratings close to the previous one: with little data, the ordered family does better behind a
    plain recurrent network. (With hidden layers both gain, and are about even.)"""

    def ratings(num: int, seed: int) -> SequenceDataset:
        rng = np.random.default_rng(seed)
        mood = rng.normal(size=(num, 20)).cumsum(1) * 0.5
        codes = np.digitize(mood + 0.5 * rng.normal(size=mood.shape), [-1.5, -0.5, 0.5, 1.5])
        return SequenceDataset.from_arrays(codes)

    train, test = ratings(12, 0), ratings(200, 1)
    scores = []
    for emission in ("ordinal", "categorical"):
        plain = {"hidden_input": False, "hidden_head": False}
        model = sl.RNN(hidden_dim=8, emission=emission, **plain)
        model.fit(train, max_steps=100, seed=0)
        scores.append(model.log_prob(test)["nats_per_step"].mean())
    assert scores[0] > scores[1] + 0.01
    outside = SequenceDataset.from_arrays(np.array([[0.0, 5.0, 1.0]]))
    model = sl.RNN(hidden_dim=4, emission="ordinal").fit(train, max_steps=1)
    with pytest.raises(InputError, match="holds the category 5; training had 0 to 4"):
        model.log_prob(outside)


# -- small truths ----------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", ["independent", "autoregressive"])
@pytest.mark.parametrize("emission", ["categorical", "ordinal"])
def test_channels_have_their_own_categories(emission, channels):
    """The masses of the 3 x 5 steps that there can be sum to one, and no other is sampled."""
    rng = np.random.default_rng(0)
    codes = np.stack([rng.integers(0, 3, (20, 6)), rng.integers(0, 5, (20, 6))], -1)
    model = sl.RNN(hidden_dim=4, emission=emission, channels=channels)
    model.fit(SequenceDataset.from_arrays(codes), max_steps=2)
    pairs = np.array([[[a, b]] for a in range(3) for b in range(5)], dtype=float)
    scores = model.log_prob(SequenceDataset.from_arrays(pairs))["log_prob"]
    assert np.exp(scores).sum() == pytest.approx(1, abs=1e-5)
    drawn = np.concatenate([s.x for s in model.sample(500, 2, seed=0)])
    assert drawn.max(0).tolist() == [2, 4]
    swapped = SequenceDataset.from_arrays(pairs[..., ::-1], ["a", "b"])
    with pytest.raises(InputError, match=r"column 'a' holds the category 3; training had 0 to 2"):
        model.module.value_distribution.check(swapped)


def test_no_category_without_mass_is_sampled_by_rounding():
    family = Categorical([3, 5])
    last = SimpleNamespace(uniform=lambda shape, like: torch.ones(shape))
    assert family.sample(torch.zeros(2, 5), last).tolist() == [2, 4]
    assert family.channel(0).sample(torch.zeros(5), last) == 2


def described(values, **columns) -> DataDescription:
    return DataDescription.of(sl.load(pd.DataFrame({"y": values, **columns})))


def test_one_value_does_not_show_that_it_counts():
    assert choose_emission(described([4.0] * 30))[0] == "mixture"
    assert choose_emission(described([4.0, 5.0] * 15))[0] == "negative-binomial"
    # Beside counts it is taken for one of them.
    frame = pd.DataFrame({"a": [4.0] * 30, "b": [0, 3, 5] * 10})
    assert choose_emission(DataDescription.of(sl.load(frame)))[0] == "negative-binomial"
    model = sl.RNN(hidden_dim=4).fit(pd.DataFrame({"y": [4.0] * 30}), max_steps=60)
    paths = model.forecast(pd.DataFrame({"y": [4.0] * 30}), 3, num_samples=50)[0].samples
    assert np.median(paths) == pytest.approx(4.0, abs=0.5)


def test_texts_that_hardly_repeat_are_no_categories():
    notes = [f"note {i // 2 if i > 24 else i}" for i in range(30)]
    with pytest.raises(InputError, match=r"column 'y' holds texts that hardly repeat, 2\d differ"):
        choose_emission(described(notes))
    both = pd.DataFrame({"y": np.arange(30) % 3, "remark": notes})
    with pytest.raises(InputError, match="column 'remark'"):
        sl.RNN().fit(sl.load(both, targets=["y", "remark"]), max_steps=1)
    assert choose_emission(described(["a", "b", "c"] * 10))[0] == "categorical"
    assert choose_emission(described([f"{i}x" for i in range(10)]))[0] == "categorical"
