"""The command line as a whole: every model through every command, what is listed, help."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from command_line import TINY

import seqlatent

pytestmark = pytest.mark.usefixtures("place")


@pytest.mark.parametrize(
    "model", ["rnn", "transformer", "cnn", "latent", "flow", "linear-gaussian"]
)
def test_every_model_fits_scores_forecasts_and_samples(model, run):
    size = TINY
    if model == "linear-gaussian":
        size = ["--max-steps", "2", "--set", "latent_dim=3", "--quiet"]
    run("fit", "elnino:train", "--model", model, "--out", "run", *size)
    run("score", "run", "elnino:test", "--num-particles", 4, "--out", "s.csv")
    run("forecast", "run", "elnino:test", "--prediction-length", 2, "--out", "f.csv",
        "--num-samples", 5)  # fmt: skip
    run("sample", "run", "--num-samples", 3, "--length", 4, "--out", "x.csv")
    scores = pd.read_csv("s.csv")
    assert set(scores["kind"]) == {"smc" if model == "latent" else "exact"}
    assert np.isfinite(scores["log_prob"]).all()
    assert np.isfinite(pd.read_csv("f.csv")["mean"]).all()
    assert np.isfinite(pd.read_csv("x.csv")["y"]).all()


def test_datasets(run):
    out, _ = run("datasets")
    assert "sunspots" in out
    listed, _ = run("datasets", "--json")
    cards = json.loads(listed)
    assert all(card["name"] in out and card["licence"] for card in cards)
    card, _ = run("datasets", "elnino")
    assert "licence" in card
    assert "61 of 12 steps" in card


def test_models(run):
    out, _ = run("models")
    assert {line.split(" ")[0] for line in out.splitlines()} >= {"rnn", "cnn", "latent"}
    assert "parameters\n" in run("models", "linear-gaussian")[0]  # and no receptive field
    options, _ = run("models", "cnn")
    assert "receptive field" in options
    for line in ("  hidden_dim = 64", "  num_layers = 5", "  residual = true"):
        assert line in options
    assert "relu, leaky-relu" in options


def test_help_and_version(run):
    assert run("--version")[0] == f"{seqlatent.__version__}\n"
    assert run()[0] == run("--help")[0]
    assert "--prediction-length" in run("forecast", "-h")[0]


def python(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_as_a_program():
    done = python("-m", "seqlatent", "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Usage: ")
    assert done.stderr == ""
    failed = python("-m", "seqlatent", "datasets", "nowhere")
    assert failed.returncode == 2
    assert failed.stderr.startswith("seqlatent: no data set 'nowhere'")


def test_nothing_heavy_is_imported_before_it_is_needed():
    code = (
        "import sys, seqlatent, seqlatent.cli.app\n"
        "seqlatent.cli.app.run_command(['--help'])\n"
        "print(sorted({'torch', 'pandas', 'numpy', 'matplotlib'} & set(sys.modules)))"
    )
    done = python("-c", code)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
