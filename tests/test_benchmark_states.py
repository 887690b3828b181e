"""`scripts/benchmark states`: probes find what is there, and shares are of what can be known."""

import argparse
import importlib
from pathlib import Path

import numpy as np
import pytest

from seqlatent.errors import InputError

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("state_probes")


@pytest.fixture
def states(probes):
    return importlib.import_module("benchmark_states")


def arguments(**changes) -> argparse.Namespace:
    options = {
        "process": ["slow-trend"], "models": ["linear-gaussian"], "seconds": 60.0, "steps": 2,
        "sequences": 12, "probe_sequences": 6, "fresh": 8, "num_particles": 4, "seed": 0,
        "threads": 1, "posteriors": ["guide", "predicted", "filtering", "smoothing"],
    }  # fmt: skip
    return argparse.Namespace(**{**options, **changes})


def test_a_quadratic_probe_finds_squares_and_a_linear_one_does_not(probes):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4000, 3))
    z[:, 2] = 5.0  # a constant latent tells nothing, and is no obstacle
    s = np.stack([2 * z[:, 0] - 1, z[:, 0] * z[:, 1], rng.normal(size=4000)], 1)
    linear, quadratic = (
        probes.explained(s[2000:], probes.predict_numbers(z[:2000], s[:2000], z[2000:], degree))
        for degree in (1, 2)
    )
    np.testing.assert_allclose(linear, [1, 0, 0], atol=0.01)
    np.testing.assert_allclose(quadratic, [1, 1, 0], atol=0.02)


def test_regimes_of_logits_are_found_as_often_as_can_be(probes):
    # Two classes of equal weight, N(-1, 1) and N(1, 1): the best rule errs with probability .159.
    rng = np.random.default_rng(0)
    s = rng.integers(2, size=8_000)
    z = (2 * s - 1 + rng.normal(size=8_000))[:, None]
    predicted = probes.predict_regimes(z[:4_000], s[:4_000], z[4_000:], 1, 2)
    assert (predicted == s[4_000:]).mean() == pytest.approx(0.841, abs=4 * 0.0058)
    ring = (np.abs(z[:, 0]) > 1).astype(np.int64)
    predicted = probes.predict_regimes(z[:4_000], ring[:4_000], z[4_000:], 2, 2)
    assert (predicted == ring[4_000:]).mean() > 0.98


def test_regimes_are_renamed_one_to_one(probes):
    true = np.array([0, 0, 1, 1, 2, 2, 2])
    codes = np.array([2, 2, 0, 0, 1, 1, 3])
    renamed = probes.rename(codes, true, codes)
    np.testing.assert_array_equal(renamed, [0, 0, 1, 1, 2, 2, -1])
    np.testing.assert_array_equal(probes.rename(np.zeros(7, int), true, codes * 0), [2] * 7)
    assert probes.skill(true, true) == 1
    assert probes.skill(true, np.full(7, 2)) == 0


def test_rows_of_numbers_and_of_regimes(states, capsys):
    model = "linear-gaussian:scaling=global,latent_dim=2"
    rows = list(states.run_states(arguments(process=["slow-trend", "hmm"], models=[model])))
    assert [(r["process"], r["posterior"]) for r in rows] == [
        (process, posterior)
        for process in ("slow-trend", "hmm")
        for posterior in ("filtering", "smoothing")
    ]
    assert rows[0]["states"] == ["trend", "fast"] and rows[2]["states"] == ["regime"]
    for r in rows:
        assert (r["kind"], r["truth_kind"], r["steps"], r["own"]) == ("exact", "exact", 2, None)
        assert len(r["oracle"]) == len(r["linear"]) == len(r["quadratic"]) == len(r["states"])
        assert all(0 < value < 1 for value in r["oracle"])
    assert all(a < b for a, b in zip(rows[0]["oracle"], rows[1]["oracle"], strict=True))
    assert capsys.readouterr().out.count("slow-trend  linear-gaussian") == 4


def test_models_without_latents_have_a_row_of_nats_and_exact_ones_have_one_row(states, capsys):
    rows = list(states.run_states(arguments(models=["rnn:scaling=global", "flow:scaling=global"])))
    assert [(r["model"], r["posterior"]) for r in rows] == [
        ("rnn:scaling=global", "none"), ("flow:scaling=global", "exact")
    ]  # fmt: skip
    assert rows[0]["states"] == [] and rows[0]["kind"] == "exact"
    said = capsys.readouterr()
    assert "rnn has no latents" in said.err
    (line,) = (line.split() for line in said.out.splitlines() if " rnn:" in line)
    assert float(line[4]) == pytest.approx(rows[0]["regret"], abs=1e-4)


@pytest.mark.slow
def test_a_guide_is_held_against_what_sees_the_same_values(states, capsys):
    models = ["latent:scaling=global", "dmm:scaling=global"]
    rows = list(states.run_states(arguments(models=models, posteriors=["guide"])))
    latent, dmm = (r["oracle"] for r in rows)
    assert all(a < b for a, b in zip(latent, dmm, strict=True))  # dmm's guide sees later values


def test_what_cannot_be_measured_is_refused(states):
    with pytest.raises(InputError, match="--threads 1"):
        list(states.run_states(arguments(threads=2)))
    with pytest.raises(InputError, match="'garch' is no process with hidden states"):
        list(states.run_states(arguments(process=["garch"])))
