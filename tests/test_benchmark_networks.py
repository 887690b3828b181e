"""`scripts/benchmark networks`: what its rows hold, on tiny tensors and data."""

import argparse
import importlib
from pathlib import Path

import pytest

from seqlatent.errors import InputError

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    module = importlib.import_module("benchmark_networks")
    small = {
        "LONGEST": 5,
        "SHAPES": [(1, 3, 8), (2, 5, 8)],
        "LAYERS": {"gru": 1, "ssd": 1, "transformer": 1},
        "PATHS": 2,
        "HISTORY": 3,
        "SEQUENCES": 20,
        "FRESH": 5,
    }
    for name, value in small.items():
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(module, "commit", lambda: "abc1234")
    return module


def run(networks, **changes) -> list[dict]:
    options = {"tables": ["times", "nats"], "threads": 1, "seed": 0, "rounds": 1, "sets": ["hmm"]}
    fits = {"models": ["rnn:hidden_dim=4,max_steps=2"], "seeds": [3], "seconds": 5.0}
    return list(networks.run_networks(argparse.Namespace(**{**options, **fits, **changes})))


def test_rows_hold_ratios_and_nats(networks):
    *times, nats = run(networks)
    assert [r["network"] for r in times] == ["gru", "ssd", "transformer"]
    for row in times[:2]:
        assert all(row[shape] > 0 for shape in ("(1, 3, 8)", "(2, 5, 8)", "step"))
    assert times[0]["step"] == 1
    assert "(2, 5, 8)" not in times[2]  # a transformer does not hold the longest
    assert (nats["set"], nats["seed"], nats["steps"], nats["commit"]) == ("hmm", 3, 2, "abc1234")
    assert -3 < nats["log_prob"] < 0


def test_times_are_of_one_thread(networks):
    with pytest.raises(InputError, match="--threads 1"):
        run(networks, threads=2)
