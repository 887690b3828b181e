"""How far a simpler chain of scaling may lag behind."""

import numpy as np
import pytest
from test_choosing import rnn

from seqlatent.choosing import Tried, choose_scaling
from seqlatent.choosing.scaling import SLACK_BEYOND, SLACK_LINEAR, _simplest
from seqlatent.data.dataset import SequenceDataset
from seqlatent.options import make
from seqlatent.training.options import TrainingOptions


def test_a_simpler_chain_may_lag_behind_a_little():
    tried = [Tried("global", "linear", -0.63, 0.01), Tried("increments", "linear", -0.58, 0.0)]
    assert _simplest(tried, SLACK_LINEAR) == "global"
    assert _simplest(tried, SLACK_BEYOND) == "increments"
    assert _simplest([Tried("global", "linear", -0.6, 0.01), tried[1]], SLACK_BEYOND) == "global"


@pytest.mark.parametrize(("rise", "chosen"), [(0.0, "global"), (9.0, "increments")])
def test_without_short_fits_values_beyond_the_training_data_decide(rise, chosen, monkeypatch):
    def nats(module, chain, fitted, scored):
        return [np.full(len(s.x), worth.get(chain, -2.0)) for s in scored]

    worth = {"global": -0.63, "increments": -0.58}
    monkeypatch.setattr("seqlatent.choosing.scaling.linear_scores", nats)
    x = np.random.default_rng(0).normal(size=(20, 30, 1))
    train, held_out = (SequenceDataset.from_arrays(v) for v in (x, 0.5 * x[:10] + rise))
    limits = make(TrainingOptions, {"max_steps": 5})
    found = choose_scaling(lambda scaling: rnn(train, scaling), train, held_out, limits)
    assert found.scaling == chosen
