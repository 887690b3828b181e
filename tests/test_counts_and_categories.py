"""Families of counts and categories, against formulas and applied to series."""

import numpy as np
import pytest
import torch
from scipy.stats import nbinom

import seqlatent as sl
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.distributions.categorical import Ordinal
from seqlatent.distributions.counts import NegativeBinomial, ZeroInflatedNegativeBinomial
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
    expected = (1 - idle) * nbinom.pmf(x, r, r / (r + mean)) + idle * (x == 0)
    seen = inflated.log_prob(params.expand(20, 3), torch.from_numpy(x).float()).exp()
    np.testing.assert_allclose(seen, expected, rtol=1e-5)


def test_ordinal_is_the_difference_of_two_sigmoids():
    ordinal = Ordinal(4)
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
        model.fit(train, max_steps=150, learning_rate=0.01, seed=0)
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
        model.fit(train, max_steps=150, seed=0)
        scores.append(model.log_prob(test)["nats_per_step"].mean())
    assert scores[0] > scores[1] + 0.01
    outside = SequenceDataset.from_arrays(np.array([[0.0, 5.0, 1.0]]))
    model = sl.RNN(hidden_dim=4, emission="ordinal").fit(train, max_steps=1)
    with pytest.raises(InputError, match="holds the category 5; training had 0 to 4"):
        model.log_prob(outside)
