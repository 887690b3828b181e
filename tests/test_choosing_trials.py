"""Which chains of scaling are tried by short fits, for how long, and how far a simpler one may lag
behind."""

from dataclasses import replace

import numpy as np
import pytest
from test_choosing import rnn, walks

from seqlatent.choosing import Tried, choose_scaling
from seqlatent.choosing import scaling as choosing
from seqlatent.choosing.scaling import (
    ENOUGH_STEPS,
    SLACK_BEYOND,
    SLACK_LINEAR,
    _simplest,
    finalists,
)
from seqlatent.choosing.trials import TRIAL_STEPS
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.splits import split
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


def tried(**nats: float) -> list[Tried]:
    """Chains by linear models, from the simplest; `_` in the place of +."""
    return [Tried(name.replace("_", "+"), "linear", value, 0.0) for name, value in nats.items()]


def test_each_way_to_place_values_has_its_finalist():
    linear = {"increments": -8.86, "seasonal": -8.71, "running": -8.81, "running_increments": -8.92,
              "running_seasonal": -8.61, "log_running_seasonal": -8.56}  # fmt: skip
    assert finalists(tried(**{"global": -8.79}, **linear)) == [
        "global", "increments", "log+running+seasonal"
    ]  # fmt: skip
    # Where data do not tell chains of one way apart, the simplest of them.
    few = [
        Tried("global", "linear", -4.55, 0.16), Tried("log+global", "linear", -4.48, 0.02),
        Tried("increments", "linear", -4.45, 0.0),
    ]  # fmt: skip
    assert finalists(few)[:1] == ["global"]
    # The simplest of those about as good; other places are filled by what is close to the best.
    walk = tried(**{"global": 2.0, "increments": 5.0, "running_increments": 5.005})
    assert finalists(walk) == ["increments", "running+increments"]
    assert finalists(tried(**{"global": 5.0, "increments": 4.6, "running": 4.99})) == [
        "global", "increments", "running"
    ]  # fmt: skip
    # The simplest of all before others that are close.
    close = {"increments": 1.0, "running": 0.98, "running_increments": 0.99}
    assert finalists(tried(**{"global": 0.96}, **close)) == ["global", "increments", "running"]


@pytest.mark.slow
def test_all_short_fits_have_the_steps_that_the_first_had_time_for(monkeypatch):
    asked, real = [], choosing.short_fit

    def short(model, train, held_out, trial, enough, **common):
        asked.append(trial)
        trial = trial if asked[1:] else replace(trial, max_steps=ENOUGH_STEPS + 5)
        return real(model, train, held_out, trial, enough, **common)

    monkeypatch.setattr(choosing, "short_fit", short)
    train, held_out = split(walks(), 0.2, "series")
    limits = make(TrainingOptions, {"max_minutes": 10.0})
    found = choose_scaling(lambda chain: rnn(train, chain), train, held_out, limits)
    assert [each.max_steps for each in asked] == [TRIAL_STEPS, *[ENOUGH_STEPS + 5] * 2]
    assert asked[1].max_minutes == asked[2].max_minutes == 2 * asked[0].max_minutes
    assert found.steps == 3 * (ENOUGH_STEPS + 5)
