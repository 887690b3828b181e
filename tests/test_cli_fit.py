"""`seqlatent fit` from end to end, on small real data."""

import json
import signal

import numpy as np
import pandas as pd
import pytest
from command_line import TINY, check_picture, files, saved_config, saved_options

from seqlatent.cli.app import run_command

pytestmark = pytest.mark.usefixtures("place")


def test_fit_says_what_it_does_and_writes_the_run_alone(run, place):
    out, err = run("fit", "elnino:train", "--out", "m/run", "--max-steps", 2)
    assert files(place) == ["m"]
    assert files(place / "m" / "run") == ["config.json", "model.safetensors", "training_curve.csv"]
    assert "emission: mixture" in err
    assert "training on" in err
    assert "nats per step (exact) at step 2 of 2" in out
    assert out.endswith("saved to m/run\n")


def test_quiet_fit_says_nothing(run):
    out, err = run("fit", "nile", "--out", "run", *TINY)  # TINY has --quiet
    assert (out, err) == ("", "")


def test_fit_json_and_curve(run):
    options = [word for word in TINY if word != "--quiet"]
    out, err = run("fit", "nile", "--out", "run", *options, "--json", "--plot", "c.png")
    summary = json.loads(out)
    assert (summary["run"], summary["family"], summary["steps"]) == ("run", "rnn", 2)
    assert summary["valid_kind"] == "exact"
    assert np.isfinite(summary["valid_nats_per_step"])
    assert "training on" not in err
    check_picture("c.png")
    saved = saved_config()
    assert saved["fitted"]["valid_nats_per_step"] == summary["valid_nats_per_step"]


def test_a_prediction_length_says_what_is_held_out(run):
    options = ("--max-steps", 2, "--prediction-length", 6)
    out, err = run("fit", "elnino:train", "--out", "run", *options)
    assert "their last windows of 6 steps" in err
    assert "nats per step (exact) of the last windows of 6 steps at step 2 of 2" in out
    assert saved_options()["prediction_length"] == 6
    run("evaluate", "run", "elnino", "--prediction-length", 3, "--num-samples", 4, "--refit")


def test_options_from_a_file_and_the_command_line(run, place):
    text = "max-steps = 7\n[model]\nhidden_dim = 5\ncell = 'lstm'\n[training]\nbatch_size = 3\n"
    (place / "o.toml").write_text(text)
    run("fit", "nile", "--out", "run", "--config", "o.toml", "--set", "hidden-dim=6",
        "--max-steps", 2, "--emission", "student-t")  # fmt: skip
    options = saved_options()
    assert (options["hidden_dim"], options["cell"], options["batch_size"]) == (6, "lstm", 3)
    assert (options["max_steps"], options["emission"]) == (2, "student-t")


def test_minutes_are_the_budget_where_steps_are_not_given(run):
    run("fit", "nile", "--out", "run", "--max-minutes", "0.001", "--set", "hidden_dim=4", "-q")
    history = pd.read_csv("run/training_curve.csv")
    assert 0 < history["seconds"].iloc[-1] < 10
    assert saved_options()["max_steps"] is None


def test_targets_covariates_and_calendar(run, covariate_table):
    run("fit", covariate_table, "--out", "run", "--targets", "y", "--covariates", "promo",
        "--calendar", "week,month", *TINY)  # fmt: skip
    description = saved_config()["description"]
    assert [c["name"] for c in description["channels"]] == ["y"]
    waves = [f"calendar:{cycle}:{wave}" for cycle in ("week", "month") for wave in ("sin", "cos")]
    assert description["covariate_names"] == ["promo", *waves]


def test_several_targets_of_a_bundled_set(run):
    run("fit", "seattle-weather:test", "--out", "run", "--targets", "temp_min,temp_max", *TINY)
    run("forecast", "run", "seattle-weather:test", "--prediction-length", 2, "--out", "f.csv",
        "--num-samples", 4)  # fmt: skip
    assert pd.read_csv("f.csv")["target"].tolist() == ["temp_min"] * 2 + ["temp_max"] * 2


def test_other_names_of_columns(run, place):
    rows = [f"{shop};{day:02d}.01.2024;{day % 5}.5" for shop in "ab" for day in range(1, 29)]
    (place / "export.csv").write_text("Filiale;Datum;Umsatz\n" + "\n".join(rows))
    columns = ("--id-column", "Filiale", "--time-column", "Datum")
    run("fit", "export.csv", "--out", "run", *columns, *TINY)
    run("score", "run", "export.csv", "--out", "s.csv", "--steps-out", "t.csv", *columns)
    assert pd.read_csv("s.csv")["unique_id"].tolist() == ["a", "b"]
    assert pd.read_csv("t.csv")["ds"].iloc[0] == "2024-01-01"


def test_held_out_data_from_a_file(run, place):
    frame = pd.DataFrame({"ds": range(60), "y": np.sin(np.arange(60))})
    frame[:40].to_csv("train.csv", index=False)
    frame[40:].to_csv("valid.csv", index=False)
    out, _ = run("fit", "train.csv", "--valid", "valid.csv", "--out", "run", "--json",
                 "--max-steps", 2)  # fmt: skip
    run("score", "run", "valid.csv", "--out", "s.csv")
    assert json.loads(out)["valid_nats_per_step"] == pytest.approx(
        pd.read_csv("s.csv")["nats_per_step"][0]
    )


def test_share_held_out(run):
    out, _ = run("fit", "elnino:train", "--valid", "0.5", "--out", "run", "--json",
                 "--max-steps", 1)  # fmt: skip
    counts = json.loads(out)["num_sequences"]
    assert abs(counts["train"] - counts["valid"]) <= 1


def test_overwrite_replaces_a_run(run):
    run("fit", "nile", "--out", "run", *TINY)
    run("fit", "nile", "--out", "run", *TINY, "--overwrite", "--model", "cnn")
    assert saved_config()["family"] == "cnn"


def test_resume_ends_as_an_uninterrupted_fit_does(run, place, monkeypatch, capsys):
    from seqlatent.training.trainer import Trainer

    command = ["fit", "nile", "--set", "hidden_dim=4", "--set", "eval_every=1", "-q",
               "--max-steps", "4", "--out"]  # fmt: skip
    whole = Trainer.train_step

    def stop(self, progress):
        whole(self, progress)
        if self.step == 2:
            signal.raise_signal(signal.SIGINT)

    run(*command, "whole")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", stop)
        assert run_command([*command, "cut"]) == 130
    assert "--resume" in capsys.readouterr().err
    steps = []
    with monkeypatch.context() as patch:
        patch.setattr(
            Trainer, "train_step", lambda self, p: (steps.append(self.step), whole(self, p))
        )
        run(*command, "cut", "--resume")
    assert steps == [2, 3]
    names = ["config.json", "model.safetensors", "training_curve.csv"]
    assert files(place / "cut") == files(place / "whole") == names
    weights = [(place / name / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]


def test_only_rank_zero_logs_and_prints(run, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    out, err = run("fit", "nile", "--out", "run", *TINY[:-1], "--json")
    assert (out, err) == ("", "")
