"""The choice of a model's own options: what is compared, what is chosen, and what is kept of it."""

import json
import logging

import numpy as np
import pytest

import seqlatent as sl
from seqlatent.choosing import alternatives
from seqlatent.choosing.alternatives import (
    ENOUGH_STEPS,
    Chosen,
    TriedValue,
    choose_alternatives,
)
from seqlatent.choosing.settling import Plan
from seqlatent.choosing.trials import SHARE
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.splits import split
from seqlatent.errors import InputError
from seqlatent.models.base import Alternatives
from seqlatent.models.switching import NUMBERS, SwitchingModel, SwitchingOptions
from seqlatent.options import make, parse_assignments
from seqlatent.processes import PROCESSES, HiddenMarkov, Process
from seqlatent.training.options import TrainingOptions

HISTORIES = ("none", "last", "all")


def levels(K: int, num: int = 60) -> SequenceDataset:
    """Noise around K levels that last ten steps on average."""
    loc, scale = np.arange(K) * 3.0, np.full(K, 0.7)
    transition = np.full((K, K), 0.1 / max(1, K - 1))
    np.fill_diagonal(transition, 0.9 if K > 1 else 1.0)
    return HiddenMarkov(loc=loc, scale=scale, transition=transition).sample(num, 60, seed=K)


def chosen(data: SequenceDataset, max_steps: int, **given) -> Chosen:
    train, held_out = split(data, 0.2, "series", 0)
    options, _ = SwitchingModel.complete(
        make(SwitchingOptions, {"scaling": "global", **given}), DataDescription.of(data)
    )
    plan = Plan("switching", options, DataDescription.of(train))
    return choose_alternatives(
        lambda values: plan.build(0, "global", values),
        SwitchingModel.alternatives(options),
        train,
        held_out,
        make(TrainingOptions, {"max_steps": max_steps}),
    )


def test_short_fits_of_an_option_have_equal_steps(monkeypatch):
    """As many as the first had time for, and time enough to take them."""
    asked, parts = [], (np.zeros(3), np.ones(3))

    def short(model, train, held_out, trial, enough, **common):
        asked.append(trial)
        return min(ENOUGH_STEPS + 5, trial.max_steps), parts

    monkeypatch.setattr(alternatives, "short_fit", short)
    train, held_out = split(levels(2), 0.2, "series", 0)
    limits = make(TrainingOptions, {"max_minutes": 10.0})
    options = {"a": Alternatives((1, 2, 3), 1), "b": Alternatives(("x", "y"), "x")}
    found = choose_alternatives(lambda values: None, options, train, held_out, limits)
    assert [t.max_steps for t in asked] == [300, *[ENOUGH_STEPS + 5] * 2, 300, ENOUGH_STEPS + 5]
    assert asked[1].max_minutes == asked[2].max_minutes == 2 * asked[0].max_minutes
    assert asked[3] == asked[0]
    assert found.steps == 5 * (ENOUGH_STEPS + 5)


def budget(num: int) -> int:
    """The fewest steps that allow so many short fits."""
    return int(np.ceil(ENOUGH_STEPS * num / SHARE))


# -- what is chosen -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("K", [1, 2, 3])
def test_the_number_of_regimes_is_found(K: int):
    found = chosen(levels(K), budget(len(NUMBERS)), num_states="auto", history="none")
    assert found.values == {"num_states": K}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("process", "histories"),
    [("hmm", {"none", "last"}), ("switching-ar", {"last"}), ("ar2", {"all"})],
)
def test_regimes_see_the_least_of_the_past_that_they_need(process: str, histories: set[str]):
    kind: type[Process] = PROCESSES[process]
    found = chosen(kind().sample(100, 100, seed=0), budget(3), history="auto")
    assert found.values["history"] in histories


def test_without_short_fits_the_usual_values_are_taken():
    found = chosen(levels(2), budget(3) - 1, history="auto")
    assert found.values == {"history": "last"} and found.tried == () and found.steps == 0
    assert found.to_texts() == ["history=last: the budget is too small for short fits of others"]


# -- what it costs, and what is known of it afterwards --------------------------------------------


@pytest.fixture
def brief(monkeypatch) -> dict:
    """Options of training of which short fits take 3 times 4 steps, from starts as short."""
    for name in ("ROUNDS", "FIRST", "ITERATIONS"):
        monkeypatch.setattr(f"seqlatent.models.regime_starts.{name}", 2)
    monkeypatch.setattr("seqlatent.choosing.alternatives.ENOUGH_STEPS", 4)
    return {"max_steps": 40, "eval_every": 4, "progress": False, "seed": 0}


def test_what_was_chosen_is_kept_with_the_model(brief, tmp_path, caplog):
    m, data = sl.Switching(scaling="global", num_states=2), levels(2, 12)
    with caplog.at_level(logging.INFO, "seqlatent"):
        m.fit(data, run=tmp_path / "run", **brief)
    kept = m.fitted["tried_options"]
    assert [t["value"] for t in kept["tried"]] == list(HISTORIES)
    assert kept["steps"] == 12 and m.fitted["steps"] == 28
    assert kept["values"] == {"history": m.module.options.history}
    assert f"history={m.module.options.history}: " in caplog.text
    assert m.options.history == "auto"
    again = sl.load_model(tmp_path / "run")
    assert again.options.history == m.module.options.history
    assert json.loads(json.dumps(kept)) == again.fitted["tried_options"]
    assert m.log_prob(data).equals(again.log_prob(data))


def test_a_value_that_was_given_is_not_chosen(brief):
    m = sl.Switching(scaling="global", num_states=2, history="none").fit(levels(2, 12), **brief)
    assert "tried_options" not in m.fitted and m.fitted["steps"] == 40


def test_options_without_effect_on_the_chosen_value_are_dropped():
    given = {"history": "auto", "hidden_dim": 8, "lags": "2", "emission": "normal"}
    options = make(SwitchingOptions, given)
    assert SwitchingModel.settled(options, {"history": "all"}).hidden_dim == 8
    last = SwitchingModel.settled(options)
    assert (last.history, last.hidden_dim, last.lags) == ("last", 64, "2")
    none = SwitchingModel.settled(options, {"history": "none"})
    assert (none.hidden_dim, none.lags) == (64, "auto")


def test_a_choice_is_written_and_read_again():
    tried = (TriedValue("num_states", 2, -1.0, 0.0), TriedValue("num_states", 3, -1.1, 0.1))
    found = Chosen({"num_states": 2}, tried, 30, 2.5)
    assert Chosen.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_the_words_say_when_a_simpler_value_was_taken():
    tried = (TriedValue("history", "none", -1.01, 0.02), TriedValue("history", "all", -1.0, 0.0))
    assert Chosen({"history": "none"}, tried).to_texts() == [
        "history=none: -1.010 held-out nats per step by short fits (all -1.000); it is the "
        "simplest of those about as good as all"
    ]


# -- numbers or a word ----------------------------------------------------------------------------


def test_a_number_or_auto():
    for words, value in ((["num_states=auto"], "auto"), (["num_states=4"], 4)):
        given = parse_assignments(words, [SwitchingOptions])
        assert make(SwitchingOptions, given).num_states == value
    for wrong in ("many", 2.5, True):
        with pytest.raises(InputError, match="num_states must be a whole number or auto"):
            make(SwitchingOptions, {"num_states": wrong})
    with pytest.raises(InputError, match="at most 100"):
        make(SwitchingOptions, {"num_states": 101})


def test_usual_values_are_among_those_compared():
    options = make(SwitchingOptions, {"num_states": "auto"})
    for each in SwitchingModel.alternatives(options).values():
        assert isinstance(each, Alternatives) and each.usual in each.values
