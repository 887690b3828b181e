"""Models that race under one budget."""

import json

import numpy as np
import pytest
from command_line import run_command

import seqlatent as sl
from seqlatent.errors import InputError
from seqlatent.processes import PROCESSES
from seqlatent.several.auto import Raced, told

SMALL = (
    ("rnn", {"hidden_dim": 8}),
    ("linear-gaussian", {"latent_dim": 2}),
    ("flow", {"hidden_dim": 4}),
)


@pytest.mark.slow
def test_the_best_of_the_first_rounds_is_fitted_for_longest():
    data = PROCESSES["linear-gaussian"]().sample(40, 30, 0)
    model = sl.Auto(SMALL).fit(data, max_steps=300, seed=1)
    race = model.fitted["race"]
    first = [r for r in race if r["round"] == 1]
    second = [r for r in race if r["round"] == 2]
    assert [r["model"].split(":")[0] for r in first] == ["rnn", "linear-gaussian", "flow"]
    assert {r["model"] for r in second} == {
        r["model"] for r in sorted(first, key=lambda r: -r["nats_per_step"])[:2]
    }
    best = max(second, key=lambda r: r["nats_per_step"])
    assert best["model"].startswith(model.family)
    assert model.module.family in (model.family, "mixture")
    assert best["std_error"] == 0 and all(r["std_error"] > 0 for r in second if r is not best)
    assert model.result is not None
    assert model.result.steps + sum(r["steps"] for r in race) <= 300
    assert model.result.steps > max(r["steps"] for r in race)


def test_entries_that_do_not_suit_the_data_are_left_out():
    counts = sl.SequenceDataset.from_arrays(np.random.default_rng(0).poisson(3.0, (12, 20)))
    model = sl.Auto(SMALL).fit(counts, max_steps=20)
    assert {r["model"].split(":")[0] for r in model.fitted["race"]} == {"rnn"}
    with pytest.raises(InputError, match="flow"):
        sl.Auto(SMALL[2:]).fit(counts, max_steps=5)


@pytest.mark.slow
def test_an_entry_may_have_the_density_of_a_solver():
    """One of blocks of steps is raced too, and not mixed with others of its kind."""
    data = PROCESSES["linear-gaussian"]().sample(20, 10, 0)
    entries = [("rnn", {"hidden_dim": 4}), ("diffusion", {"hidden_dim": 4, "block": 2})]
    model = sl.Auto(entries).fit(data, max_steps=40)
    assert {r["model"].split(":")[0] for r in model.fitted["race"]} == {"rnn", "diffusion"}
    alone = sl.Auto(entries[1:]).fit(data, max_steps=40)
    assert alone.module.family == "diffusion"
    assert set(alone.log_prob(data)["kind"]) == {"ode"}


def test_options_are_those_of_every_entry():
    assert all(own["season"] == 4 for _, own in sl.Auto(season=4).entries)
    assert {family for family, _ in sl.Auto(cell="lstm").entries} == {"rnn"}
    with pytest.raises(InputError, match="no model of the race has all of the options colour"):
        sl.Auto(colour="red")


def test_a_close_race_is_said_to_be():
    row = {"round": 2, "steps": 1, "seconds": 1.0}
    raced = [
        Raced(model="rnn", nats_per_step=-1.00, std_error=0.0, **row),
        Raced(model="flow", nats_per_step=-1.01, std_error=0.02, **row),
    ]
    assert "the difference from flow is within its standard error" in told(raced)
    clear = [raced[0], Raced(model="flow", nats_per_step=-1.1, std_error=0.02, **row)]
    assert told(clear) == "model: rnn, -1.000 held-out nats per step (flow -1.100)"


def test_at_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_command(["fit", "nile", "--model", "auto", "--out", "run", "--max-steps", "40"]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert len(config["fitted"]["race"]) >= 6
    assert "held-out nats per step" in capsys.readouterr().err
    assert run_command(["forecast", "run", "nile", "--prediction-length", "3"]) == 0
    command = ["fit", "nile", "--model", "auto", "--out", "run", "--resume"]
    assert run_command(command) == 2
    assert "--model auto fits several" in capsys.readouterr().err
