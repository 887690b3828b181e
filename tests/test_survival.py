"""Fits that survive: signals, kills, full disks, two at once, leftovers; and all state resumes."""

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import matplotlib.figure
import pytest
import torch
from cases import dataset, model
from command_line import GOOD, TINY, check_picture, files, refuse

from seqlatent.cli.app import run_command
from seqlatent.data.splits import split
from seqlatent.data.writing import UNFINISHED
from seqlatent.errors import InputError
from seqlatent.options import make
from seqlatent.training.checkpoint import load_state
from seqlatent.training.folder import run_folder
from seqlatent.training.options import TrainingOptions
from seqlatent.training.trainer import Trainer

RUN = ["config.json", "model.safetensors", "training_curve.csv"]
SMALL = ["--max-steps", "3", "--set", "hidden_dim=4"]
NOBODY = 2**22 + 1  # a process number that Linux does not give


# -- signals ---------------------------------------------------------------------------------------


@pytest.fixture
def at_first_step(place, monkeypatch):
    """Have every fit receive a signal within its first step."""
    (place / "good.csv").write_text(GOOD)
    whole = Trainer.train_step

    def send(number: int) -> None:
        def step(self, progress):
            if self.step == 0:
                signal.raise_signal(number)
            whole(self, progress)

        monkeypatch.setattr(Trainer, "train_step", step)

    return send


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_before_the_first_validation_saves_a_checkpoint(
    number, status, at_first_step, place, capsys
):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    at_first_step(number)
    command = ["fit", "good.csv", "--out", "run", *SMALL, "-q"]
    assert run_command(command) == status
    line = capsys.readouterr().err.strip()
    assert line == (
        "seqlatent: interrupted; the same command with --resume goes on from the checkpoint in run"
    )
    assert files(place / "run") == ["checkpoint-1.safetensors", "checkpoint.json"]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert run_command([*command, "--resume"]) == 0
    assert files(place / "run") == RUN


def test_a_second_signal_stops_at_once(at_first_step, place, monkeypatch, capsys):
    at_first_step(signal.SIGINT)
    once = Trainer.train_step

    def twice(self, progress):
        once(self, progress)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Trainer, "train_step", twice)
    assert run_command(["fit", "good.csv", "--out", "run", *SMALL, "-q"]) == 130
    assert capsys.readouterr().err == "seqlatent: interrupted before anything was saved\n"
    assert files(place) == ["good.csv"]


def test_signals_that_a_program_ignores_stay_ignored(at_first_step, place):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        at_first_step(signal.SIGINT)
        assert run_command(["fit", "good.csv", "--out", "run", *SMALL, "-q"]) == 0
    finally:
        signal.signal(signal.SIGINT, before)


# -- checkpoints -----------------------------------------------------------------------------------


def test_a_checkpoint_keeps_all_that_a_trainer_counts(tmp_path):
    """Whatever number, list or text a trainer comes to have: one that is not kept is found."""
    train, valid = split(dataset(num=20, steps=10), 0.2, "series")
    chosen = make(TrainingOptions, {"batch_size": 4, "eval_every": 1, "max_steps": 50})

    def new() -> Trainer:
        torch.manual_seed(0)
        return Trainer(model("rnn"), train, valid, chosen, 0, "cpu")

    def counted(trainer: Trainer) -> dict:
        plain = (int, float, str, bool, list)
        found = {k: v for k, v in vars(trainer).items() if isinstance(v, plain)}
        return {k: v for k, v in found.items() if k not in ("_clock", "seconds")}

    old, fresh = new(), new()
    with torch.random.fork_rng():
        for _ in range(3):
            old.train_step(0.0)
        old.best = 1e6  # so that nothing improves any more
        for _ in range(13):
            old.validate(1.0)
        for _ in range(2):
            old.train_step(0.0)
    assert (old.decays, old.stale, old.loss_count, len(old.curve)) == (1, 3, 2, 13)
    old.save(tmp_path, {})
    saved = load_state(tmp_path)
    assert saved is not None
    fresh.restore(*saved)
    assert counted(fresh) == counted(old)
    assert fresh.elapsed() >= saved[1]["seconds"] > 0
    for name, value in old.best_weights.items():
        assert torch.equal(value, fresh.best_weights[name])


@pytest.mark.parametrize("interval", [0.0, 1e9])
def test_checkpoints_go_by_the_clock(interval, place, monkeypatch):
    monkeypatch.setattr("seqlatent.training.fitting.CHECKPOINT_SECONDS", interval)
    saved = []
    monkeypatch.setattr(Trainer, "save", lambda self, run, facts: saved.append(self.step))
    assert run_command(["fit", "nile", "--out", "run", *TINY]) == 0
    assert saved == ([0, 1] if interval == 0 else [])


def test_a_checkpoint_that_cannot_be_written_is_a_warning(place, monkeypatch, capsys):
    monkeypatch.setattr("seqlatent.training.fitting.CHECKPOINT_SECONDS", 0.0)
    replace, full = os.replace, []

    def disk(source, target):
        if target.name.startswith("checkpoint"):
            full.append(target)
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", disk)
    assert run_command(["fit", "nile", "--out", "run", *TINY]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(full) == 2
    assert lines[0] == (
        "warning: run/checkpoint-0.safetensors cannot be written: No space left on device; "
        "training goes on without a checkpoint of step 0"
    )
    assert files(place / "run") == RUN


def test_a_checkpoint_names_no_file_outside_its_folder(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "checkpoint-1.safetensors").write_bytes(b"")
    for name in (
        "../checkpoint-1.safetensors",
        "checkpoint-/../../x.safetensors",
        "/etc/passwd",
        3,
    ):
        (tmp_path / "run" / "checkpoint.json").write_text(json.dumps({"file": name}))
        with pytest.raises(InputError, match=r"checkpoint\.json: damaged, its file is no check"):
            load_state(tmp_path / "run")


# -- the folder ------------------------------------------------------------------------------------


def test_two_fits_in_one_folder(place, capsys):
    (place / "run").mkdir()
    with run_folder(place / "run", resume=False, overwrite=False):
        refuse(["fit", "nile", "--out", "run", *TINY], "run another fit at work", place, capsys)
    assert run_command(["fit", "nile", "--out", "run", *TINY]) == 0


def test_resume_of_a_finished_run_says_so(place, run, rnn_run):
    os.symlink(rnn_run, "run")
    before = (rnn_run / "model.safetensors").stat().st_mtime_ns
    command = ("fit", "elnino:train", "--out", "run", "--resume", "--max-steps", "2")
    out, err = run(*command, "--plot", "c.png")
    assert "run: the fit is finished; there is nothing left to resume" in err
    assert "warning" not in err
    assert "held-out score" in out and out.endswith("saved to run\n")
    check_picture("c.png")
    _, err = run(*command[:-1], "7", "--seed", "3")
    assert "warning: run was fitted with seed=0, max_steps=2; --overwrite it to fit again" in err
    summary = json.loads(run(*command, "--json")[0])
    assert (summary["run"], summary["steps"]) == ("run", 2)
    assert (rnn_run / "model.safetensors").stat().st_mtime_ns == before
    assert run_command([*command, "--model", "cnn"]) == 2


def test_a_finished_run_loses_the_checkpoint_that_a_kill_left(place, run):
    run("fit", "nile", "--out", "run", *TINY)
    (place / "run" / "checkpoint.json").write_text("{}")
    run("fit", "nile", "--out", "run", *TINY, "--resume")
    assert files(place / "run") == RUN


def test_what_killed_processes_left_unfinished_is_deleted(place, run):
    left = [f".{name}.{NOBODY}.part" for name in ("model.safetensors", "checkpoint.json")]
    ours = [f".model.safetensors.{os.getppid()}.part", ".notes.part"]
    (place / "run").mkdir()
    for name in [*left, *ours]:
        (place / "run" / name).touch()
    (place / f".s.csv.{NOBODY}.part").touch()
    (place / f".t.csv.{NOBODY}.part").touch()
    assert all(UNFINISHED.fullmatch(name) for name in left)
    run("fit", "nile", "--out", "run", *TINY)
    assert files(place / "run") == sorted([*ours, *RUN])
    run("score", "run", "nile", "--out", "s.csv")
    assert files(place) == [f".t.csv.{NOBODY}.part", "run", "s.csv"]


def test_half_a_picture_is_none(place, run, rnn_run, monkeypatch):
    Path("s.png").write_bytes(b"older")

    def full_disk(self, target, **options):
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", full_disk)
    command = ["score", str(rnn_run), "elnino", "--plot", "s.png", "--quiet"]
    assert run_command(command) == 2
    assert files(place) == ["s.png"]
    assert Path("s.png").read_bytes() == b"older"


# -- kills -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_fits_that_are_killed_end_as_one_that_is_not(tmp_path):
    """SIGKILL at random moments and at the files that a fit writes, the last ones among them."""
    script = Path(__file__).with_name("killed_fits.py")
    command = [sys.executable, "-W", "ignore", str(script), str(tmp_path), "--kills", "10"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = json.loads(done.stdout)
    assert counts["same"] and counts["resumed"] > 0
    assert counts["random"] + counts["at a file"] == 10


def test_a_fit_without_a_checkpoint_starts_anew(place, run, caplog):
    with caplog.at_level(logging.INFO, "seqlatent"):
        out, err = run("fit", "nile", "--out", "run", *TINY[:-1], "--resume")
    assert "run: there is no checkpoint, so that training starts anew" in err
    assert "saved to run" in out
