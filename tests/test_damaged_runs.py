"""Runs that are damaged, finished, interrupted or broken down: what is said, and what is left."""

import hashlib
import json
import shutil
import signal
from pathlib import Path

import pytest
import safetensors.torch
import torch
from command_line import GOOD, refuse

from seqlatent.cli.app import run_command


def truncate(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def change_config(run: Path, **changes) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | changes))


def reshape_weights(run: Path) -> None:
    weights = safetensors.torch.load_file(run / "model.safetensors")
    name = next(k for k, v in weights.items() if v.dim() == 2)
    weights[name] = torch.zeros(3, 3)
    safetensors.torch.save_file(weights, run / "model.safetensors")
    content = (run / "model.safetensors").read_bytes()
    change_config(run, digest=hashlib.blake2b(content, digest_size=16).hexdigest())


RUNS = {
    "config truncated": (lambda run: truncate(run / "config.json"), "config.json damaged"),
    "config a list": (lambda run: (run / "config.json").write_text("[]"), "config.json damaged"),
    "another format": (lambda run: change_config(run, format=99), "config.json format 99"),
    "no format": (lambda run: (run / "config.json").write_text("{}"), "config.json format"),
    "unknown family": (lambda run: change_config(run, family="x"), "config.json model 'x'"),
    "unknown option": (lambda run: change_config(run, options={"x": 1}), "config.json option 'x'"),
    "no description": (lambda run: change_config(run, description={}), "config.json damaged"),
    "description a list": (lambda run: change_config(run, description=[]), "config.json damaged"),
    "channels of numbers": (
        lambda run: change_config(
            run, description={"channels": [1], "categories": [], "covariate_names": []}
        ),
        "config.json damaged",
    ),
    "no weights": (lambda run: (run / "model.safetensors").unlink(), "model.safetensors no such"),
    "weights truncated": (
        lambda run: truncate(run / "model.safetensors"),
        "model.safetensors damaged fit",
    ),
    "weights of another shape": (reshape_weights, "model.safetensors does not fit config.json"),
}


@pytest.mark.parametrize("case", RUNS)
def test_damaged_run(case, place, rnn_run, capsys):
    damage, words = RUNS[case]
    shutil.copytree(rnn_run, place / "run")
    damage(place / "run")
    line = refuse(["score", "run", "elnino", "--out", "s.csv"], words, place, capsys)
    assert "run/" in line


def test_a_finished_run_is_not_lost(place, rnn_run, capsys):
    shutil.copytree(rnn_run, place / "run")
    arguments = ["fit", "elnino:train", "--out", "run"]
    refuse(arguments, "run finished model --overwrite", place, capsys)


SMALL = ("--max-steps", "3", "--set", "hidden_dim=4")


@pytest.fixture
def interrupted(place, monkeypatch) -> Path:
    """A fit of good.csv that was stopped after its first validation, in the folder `run`."""
    from seqlatent.training.trainer import Trainer

    (place / "good.csv").write_text(GOOD)
    whole = Trainer.train_step

    def stop(self, progress):
        whole(self, progress)
        if self.step == 1:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", stop)
        command = ["fit", "good.csv", "--out", "run", *SMALL, "--set", "eval_every=1", "-q"]
        assert run_command(command) == 130
    assert (place / "run" / "checkpoint.json").is_file()
    return place / "run"


RESUMED = [
    ("good.csv", "run interrupted --resume --overwrite"),
    ("good.csv --resume --seed 1", "run another seed"),
    ("good.csv --resume --model cnn", "run another model"),
    ("good.csv --resume --set cell=lstm", "run other model options"),
    ("good.csv --resume --set batch_size=7", "run other training options"),
    ("changed.csv --resume", "run other data"),
]


@pytest.mark.parametrize(("line", "words"), RESUMED, ids=[line for line, _ in RESUMED])
def test_resume_with_something_else(line, words, place, interrupted, capsys):
    (place / "changed.csv").write_text(GOOD.replace("2,-0.5", "2,-0.25"))
    command = ["fit", *line.split(), "--out", "run", *SMALL, "--set", "eval_every=1", "-q"]
    refuse(command, words, place, capsys)


def test_resume_from_a_damaged_checkpoint(place, interrupted, capsys):
    command = ["fit", "good.csv", "--out", "run", *SMALL, "--set", "eval_every=1", "-q"]
    state = interrupted / "checkpoint.json"
    content = json.loads(state.read_text())
    del content["best"]
    state.write_text(json.dumps(content))
    refuse([*command, "--resume"], "run checkpoint damaged --overwrite", place, capsys)
    truncate(state)
    refuse([*command, "--resume"], "checkpoint.json damaged", place, capsys)
    assert run_command([*command, "--overwrite"]) == 0
    assert not state.exists()


def test_training_that_breaks_down_leaves_nothing(place, capsys, monkeypatch):
    """Status 1: the input was good."""
    from seqlatent.errors import TrainingError
    from seqlatent.training.trainer import Trainer

    def fail(self, progress):
        raise TrainingError("at training step 0 the loss is not finite; lower learning_rate")

    monkeypatch.setattr(Trainer, "train_step", fail)
    capsys.readouterr()
    assert run_command(["fit", "nile", "--out", "run", "-q"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "seqlatent: at training step 0 the loss is not finite; lower learning_rate"
    ]
    assert not (place / "run").exists()
