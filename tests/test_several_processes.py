"""A fit by several processes is that of one process, but for rounding."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from fits_of_processes import FAMILIES, KILLED, OPTIONS, SINGLE, fit

PROGRAM = Path(__file__).with_name("fits_of_processes.py")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
# Nats per step. Training magnifies rounding: from 1e-15 after a few steps to up to 1e-8 after 200,
# where batches that were weighed by process, with noise of their own, made 1e-4 to 0.3. These are
# fewer steps, for time's sake.
ROUNDING, GROWN, MANY = 1e-9, 1e-4, 60
QUICK = ("rnn-dropout", "srnn-single", "diffusion", "gan")


@pytest.fixture
def double() -> Iterator[None]:
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(usual)


def launched(*command: object, number: int = 2) -> subprocess.CompletedProcess[str]:
    """A program run by several processes of one thread each."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    launcher = [*TORCHRUN, "--standalone", f"--nproc_per_node={number}"]
    words = [*launcher, *map(str, command)]
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=400)


def together(out: Path, steps: int, cases: Sequence[str], number: int = 2) -> dict[str, list]:
    """The scores of cases that several processes fit together."""
    done = launched(PROGRAM, out, steps, *cases, number=number)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text())


def require_equal(
    out: Path, steps: int, cases: Sequence[str], number: int = 2, error: float = ROUNDING
) -> None:
    found = together(out, steps, cases, number)
    for case in cases:
        np.testing.assert_allclose(found[case], fit(case, steps), 0, error, err_msg=case)


@pytest.mark.slow
def test_two_processes_are_one(tmp_path, double):
    require_equal(tmp_path / "scores.json", 4, QUICK)


@pytest.mark.slow
def test_two_processes_are_one_after_many_steps(tmp_path, double):
    require_equal(tmp_path / "scores.json", MANY, list(FAMILIES), error=GROWN)


@pytest.mark.slow
def test_dropout_augmentation_and_windows_are_of_the_whole_batch(tmp_path, double):
    require_equal(tmp_path / "scores.json", 8, list(OPTIONS))


@pytest.mark.slow
def test_a_process_without_sequences_changes_nothing(tmp_path, double):
    require_equal(tmp_path / "scores.json", 4, list(SINGLE))


@pytest.mark.slow
def test_three_processes_are_one(tmp_path, double):
    require_equal(tmp_path / "scores.json", 8, ["rnn", "vrnn", "diffusion", "gan"], 3)


@pytest.mark.slow
def test_choices_are_made_alike(tmp_path, double):
    require_equal(tmp_path / "scores.json", 1010, ["chosen", "members"], error=GROWN)


@pytest.mark.slow
def test_a_killed_fit_is_resumed_by_fewer(tmp_path, double):
    run = tmp_path / "run"
    done = launched(PROGRAM, "--killed", run, "latent", 20)
    assert done.returncode != 0
    state = json.loads((run / "checkpoint.json").read_text())
    # The other process may be killed while it writes the last checkpoint.
    assert KILLED - 1 <= state["step"] <= KILLED and not (run / "config.json").exists()
    resumed = fit("latent", 20, run=run, resume=True)
    np.testing.assert_allclose(resumed, fit("latent", 20), 0, ROUNDING)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_the_command_line_by_two_processes(tmp_path, launcher):
    """With a budget of time, which no two processes measure alike, and members and models chosen by
    it: all stop at the same step, and one of them writes and speaks."""
    option = "--nproc_per_node=2" if launcher is TORCHRUN else "--num_processes=2"
    command = "-m seqlatent fit seattle-temps:train --device cpu --model auto --max-minutes 0.3"
    words = [*launcher, option, *command.split(), "--out", str(tmp_path / "run")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=400)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("saved to") == 1
    assert (tmp_path / "run" / "config.json").is_file()
    assert not (tmp_path / "run" / "checkpoint.json").exists()
