"""The command line from end to end, on small real data."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from conftest import TINY

import seqlatent
from seqlatent.cli.app import run_command

SCORES = [
    "unique_id",
    "log_prob",
    "std_error",
    "kind",
    "num_particles",
    "num_observed",
    "nats_per_step",
    "ess",
    "gap",
]
QUANTILES = ["q0.05", "q0.1", "q0.25", "q0.5", "q0.75", "q0.9", "q0.95"]
FORECAST = ["unique_id", "ds", "target", "mean", *QUANTILES]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """An empty working folder; the package's logger is put back afterwards."""
    monkeypatch.chdir(tmp_path)
    logger = logging.getLogger("seqlatent")
    before = logger.handlers, logger.level, logger.propagate
    yield tmp_path
    logger.handlers, logger.level, logger.propagate = before


@pytest.fixture
def run(capsys):
    """Run a command that must succeed; what it printed, to stdout and to stderr."""

    def run_it(*arguments: object) -> tuple[str, str]:
        capsys.readouterr()
        status = run_command([str(a) for a in arguments])
        captured = capsys.readouterr()
        assert status == 0, captured.err
        return captured.out, captured.err

    return run_it


def check_picture(name: str) -> None:
    """A PNG of some size on which something is drawn."""
    pixels = matplotlib.image.imread(name)
    assert min(pixels.shape[:2]) > 100
    colours = (pixels[..., :3] * 255).astype(np.uint32) @ np.array([65536, 256, 1], np.uint32)
    assert len(np.unique(colours)) > 10


def saved_config() -> dict:
    return json.loads(Path("run/config.json").read_text(encoding="utf-8"))


def saved_options() -> dict:
    config = saved_config()
    return config["options"] | config["fitted"]["training"]


def files(folder) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


# -- fit --------------------------------------------------------------------------------------


def test_fit_says_what_it_does_and_writes_the_run_alone(run, place):
    out, err = run("fit", "elnino:train", "--out", "m/run", "--max-steps", 2)
    assert files(place) == ["m"]
    assert files(place / "m" / "run") == ["config.json", "history.csv", "model.safetensors"]
    assert "emission: mixture" in err
    assert "training on" in err
    assert "nats per step (exact) at step 2 of 2" in out
    assert out.endswith("saved to m/run\n")


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
    assert set(scores["kind"]) == {"iwae" if model == "latent" else "exact"}
    assert np.isfinite(scores["log_prob"]).all()
    assert np.isfinite(pd.read_csv("f.csv")["mean"]).all()
    assert np.isfinite(pd.read_csv("x.csv")["y"]).all()


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


def test_options_from_a_file_and_the_command_line(run, place):
    text = "max-steps = 7\n[model]\nhidden_dim = 5\ncell = 'lstm'\n[training]\nbatch_size = 3\n"
    (place / "o.toml").write_text(text)
    run("fit", "nile", "--out", "run", "--config", "o.toml", "--set", "hidden-dim=6",
        "--set", "num_components=2", "--max-steps", 2, "--emission", "student-t")  # fmt: skip
    options = saved_options()
    assert (options["hidden_dim"], options["cell"], options["batch_size"]) == (6, "lstm", 3)
    assert (options["max_steps"], options["emission"]) == (2, "student-t")


def test_minutes_are_the_budget_where_steps_are_not_given(run):
    run("fit", "nile", "--out", "run", "--max-minutes", "0.001", "--set", "hidden_dim=4", "-q")
    history = pd.read_csv("run/history.csv")
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
        if self.step == 2:
            raise KeyboardInterrupt
        whole(self, progress)

    run(*command, "whole")
    with monkeypatch.context() as patch:
        patch.setattr("seqlatent.training.trainer.CHECKPOINT_SECONDS", 0.0)
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
    names = ["config.json", "history.csv", "model.safetensors"]
    assert files(place / "cut") == files(place / "whole") == names
    weights = [(place / name / "model.safetensors").read_bytes() for name in ("whole", "cut")]
    assert weights[0] == weights[1]


# -- score ------------------------------------------------------------------------------------


def test_score_tables(run, rnn_run, place):
    out, _ = run("score", rnn_run, "elnino:test", "--out", "s.csv", "--steps-out", "t.parquet",
                 "--plot", "s.png")  # fmt: skip
    scores, steps = pd.read_csv("s.csv"), pd.read_parquet("t.parquet")
    assert list(scores) == SCORES
    assert list(steps) == ["unique_id", "ds", "log_prob"]
    assert set(scores["kind"]) == {"exact"}
    assert not scores[["std_error", "num_particles"]].to_numpy().any()
    assert set(scores["num_observed"]) == {12}
    sums = pd.DataFrame(steps.groupby("unique_id", sort=False)["log_prob"].sum())
    assert [str(u) for u in scores["unique_id"]] == list(sums.index)
    np.testing.assert_allclose(scores["log_prob"], np.asarray(sums)[:, 0])
    np.testing.assert_allclose(scores["nats_per_step"], scores["log_prob"] / 12)
    check_picture("s.png")
    assert files(place) == ["s.csv", "s.png", "t.parquet"]
    total = scores["log_prob"].sum()
    assert f"{len(scores)} sequences, {len(steps)} steps: {total:.3f} nats in all" in out
    assert "(exact)" in out
    assert "most unusual" in out


def test_estimated_score_says_so(run, latent_run):
    out, _ = run("score", latent_run, "elnino:test", "--num-particles", 5, "--out", "s.csv")
    scores = pd.read_csv("s.csv")
    assert list(scores) == SCORES
    assert set(scores["kind"]) == {"iwae"}
    assert set(scores["num_particles"]) == {5}
    assert min(scores["std_error"]) > 0
    assert "iwae, 5 particles, standard error" in out
    share = scores["ess"] / 5
    assert f"effective sample size {share.mean():.1%} of the particles on average" in out
    assert f"{share.min():.1%} at the least" in out
    gap = scores["gap"].sum() / scores["num_observed"].sum()
    assert f"raise the bound by {gap:.4f} nats per step" in out


@pytest.mark.parametrize(("estimator", "kind"), [("joint", "iwae"), ("smc", "smc")])
def test_estimator_by_name(estimator, kind, run, latent_run):
    out, _ = run("score", latent_run, "elnino:test", "--estimator", estimator, "--num-particles",
                 8, "--out", "s.csv")  # fmt: skip
    scores = pd.read_csv("s.csv")
    assert set(scores["kind"]) == {kind}
    assert f"({kind}, 8 particles, standard error" in out
    other, _ = run("score", latent_run, "elnino:test", "--num-particles", 8, "--json")
    assert [row["log_prob"] for row in json.loads(other)] != scores["log_prob"].tolist()


def test_particles_are_raised_to_a_target_error(run, latent_run):
    few, _ = run("score", latent_run, "elnino:test", "--num-particles", 4, "--json")
    reached = max(row["std_error"] / row["num_observed"] for row in json.loads(few)) / 3
    out, err = run("score", latent_run, "elnino:test", "--num-particles", 4, "--target-error",
                   reached, "--out", "s.csv")  # fmt: skip
    scores = pd.read_csv("s.csv")
    assert (scores["std_error"] / scores["num_observed"]).max() <= reached
    assert scores["num_particles"].max() > 4
    assert f"to {scores['num_particles'].max()} particles" in out
    assert "did not reach" not in err


def test_a_target_error_that_is_not_reached_is_said(run, latent_run, monkeypatch):
    monkeypatch.setattr("seqlatent.tasks.scoring.MAX_PARTICLES", 8)
    _, err = run("score", latent_run, "elnino:test", "--num-particles", 4, "--target-error", 1e-9)
    assert "did not reach the target error of 1e-09 nats per step with 8 particles" in err


@pytest.mark.parametrize("option", ["--quiet", "--json"])
def test_warnings_are_shown_without_other_messages(option, run, latent_run, monkeypatch):
    monkeypatch.setattr("seqlatent.tasks.scoring.MAX_PARTICLES", 8)
    command = ("score", latent_run, "elnino:test", "--num-particles", 4, "--target-error", 1e-9)
    _, err = run(*command, option)
    assert len(err.splitlines()) == 1
    assert err.startswith("warning: ")
    assert err.count("warning") == 1
    monkeypatch.setenv("RANK", "1")
    assert run(*command, option)[1] == ""


def test_only_rank_zero_logs_and_prints(run, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    out, err = run("fit", "nile", "--out", "run", *TINY[:-1], "--json")
    assert (out, err) == ("", "")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--estimator", "best"), "'best' is not one of auto, per-step, joint, smc"),
        (("--target-error", "0"), "target_error=0 must be above 0"),
    ],
)
def test_estimates_that_cannot_be_made(options, reason, latent_run, capsys):
    assert run_command(["score", str(latent_run), "elnino:test", *options]) == 2
    assert reason in capsys.readouterr().err


def test_an_exact_score_has_no_estimator(rnn_run, capsys):
    assert run_command(["score", str(rnn_run), "elnino:test", "--estimator", "smc"]) == 2
    assert "computes its likelihood exactly" in capsys.readouterr().err


def test_seed_of_the_estimate(run, latent_run):
    def estimate(seed):
        out, _ = run("score", latent_run, "elnino:test", "--json", "--seed", seed)
        return [row["log_prob"] for row in json.loads(out)]

    assert estimate(0) == estimate(0)
    assert estimate(0) != estimate(1)


def test_score_json(run, rnn_run):
    out, err = run("score", rnn_run, "elnino:test", "--json", "--out", "s.csv")
    rows = json.loads(out)
    assert err == ""
    assert list(rows[0]) == SCORES
    table = pd.read_csv("s.csv")
    np.testing.assert_allclose([r["log_prob"] for r in rows], table["log_prob"], rtol=1e-12)


def test_quiet_score_prints_one_line(run, rnn_run):
    out, err = run("score", rnn_run, "elnino:test", "--quiet")
    assert len(out.splitlines()) == 1
    assert err == ""


def test_one_long_series_is_drawn_over_time(run):
    run("fit", "sunspots:train", "--out", "run", *TINY)
    out, _ = run("score", "run", "sunspots:test", "--plot", "s.png", "--out", "s.csv")
    check_picture("s.png")
    assert out.startswith("1 sequence, ")
    held_out = int(pd.read_csv("s.csv")["num_observed"].to_numpy()[0])
    assert 0 < held_out < 309  # what comes before the test part is its context


# -- forecast ---------------------------------------------------------------------------------


def test_forecast_tables(run, rnn_run, place):
    out, _ = run("forecast", rnn_run, "elnino:test", "--prediction-length", 3, "--num-samples",
                 20, "--out", "f.csv", "--samples-out", "p.parquet", "--plot", "f.png")  # fmt: skip
    frame, paths = pd.read_csv("f.csv"), pd.read_parquet("p.parquet")
    assert list(frame) == FORECAST
    assert list(paths) == ["unique_id", "ds", "sample_id", "y"]
    series = frame["unique_id"].nunique()
    assert len(frame) == series * 3
    assert len(paths) == series * 3 * 20
    means = paths.groupby(["unique_id", "ds"], sort=False)["y"].mean()
    np.testing.assert_allclose(frame["mean"], np.asarray(means), rtol=1e-6)
    assert np.diff(frame[QUANTILES].to_numpy(), axis=1).min() >= 0
    check_picture("f.png")
    assert files(place) == ["f.csv", "f.png", "p.parquet"]
    assert "q0.95" in out


def test_forecast_goes_on_where_the_data_end(run):
    run("fit", "seattle-weather:train", "--targets", "temp_max", "--out", "run", *TINY)
    out, _ = run("forecast", "run", "seattle-weather:train", "--prediction-length", 2, "--json",
                 "--num-samples", 4)  # fmt: skip
    weather = seqlatent.load("seattle-weather:train", targets=["temp_max"])
    last = pd.Timestamp(weather.sequences[0].ds[-1])
    steps = [pd.Timestamp(row["ds"]).tz_localize(None) for row in json.loads(out)]
    assert steps == [last + pd.Timedelta(days=1), last + pd.Timedelta(days=2)]


def test_forecast_with_future_covariates(run, covariate_run, covariate_table):
    days = pd.date_range("2024-02-10", periods=5)
    parts = [pd.DataFrame({"unique_id": u, "ds": days, "promo": 1}) for u in ("south", "north")]
    pd.concat(parts).to_csv("future.csv", index=False)
    run("forecast", covariate_run, covariate_table, "--prediction-length", 3, "--future",
        "future.csv", "--out", "f.csv")  # fmt: skip
    frame = pd.read_csv("f.csv")
    assert frame["unique_id"].tolist() == ["north"] * 3 + ["south"] * 3
    assert frame["ds"].iloc[0] == "2024-02-10"


def test_future_covariates_matter_and_belong_to_their_steps(run, covariate_run, covariate_table):
    """Of each series' steps ahead in any order, with others around them."""

    def mean(promo):
        days = pd.date_range("2024-02-05", periods=10)
        parts = [
            pd.DataFrame({"unique_id": u, "ds": days, "promo": np.where(days.day == 10, promo, 0)})
            for u in ("north", "south")
        ]
        pd.concat(parts).sample(frac=1, random_state=0).to_csv("future.csv", index=False)
        out, _ = run("forecast", covariate_run, covariate_table, "--prediction-length", 1,
                     "--future", "future.csv", "--json", "--num-samples", 200)  # fmt: skip
        return [row["mean"] for row in json.loads(out)]

    assert mean(0) == mean(0)
    assert mean(0) != mean(50)


def test_forecast_of_labels(run, label_run, covariate_table):
    run("forecast", label_run, covariate_table, "--prediction-length", 2, "--out", "f.csv",
        "--samples-out", "p.csv", "--plot", "f.png", "--num-samples", 10)  # fmt: skip
    frame, paths = pd.read_csv("f.csv"), pd.read_csv("p.csv")
    assert list(frame) == ["unique_id", "ds", "target", "p(rain)", "p(sun)"]
    np.testing.assert_allclose(frame["p(rain)"] + frame["p(sun)"], 1)
    assert set(paths["weather"]) <= {"rain", "sun"}
    check_picture("f.png")


def test_quiet_forecast_prints_nothing(run, rnn_run):
    out, err = run("forecast", rnn_run, "elnino:test", "--prediction-length", 1, "-q", "--out",
                   "f.csv.gz")  # fmt: skip
    assert (out, err) == ("", "")
    assert list(pd.read_csv("f.csv.gz")) == FORECAST


# -- sample and encode ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.csv", "x.parquet"])
def test_sample(name, run, rnn_run, place):
    out, _ = run("sample", rnn_run, "--num-samples", 3, "--length", 4, "--out", name, "--plot",
                 "x.png", "--start", "2030-01-01")  # fmt: skip
    frame = pd.read_csv(name) if name.endswith("csv") else pd.read_parquet(name)
    assert list(frame) == ["sample_id", "ds", "y"]
    assert [str(i) for i in frame["sample_id"]] == [str(i) for i in range(3) for _ in range(4)]
    assert str(frame["ds"][0]).startswith("2030-01-01")
    assert out == f"wrote 3 sequences of 4 steps to {name}\n"
    check_picture("x.png")
    assert files(place) == sorted([name, "x.png"])


def test_sample_of_another_seed_differs(run, rnn_run):
    for seed in (0, 0, 1):
        run("sample", rnn_run, "--num-samples", 1, "--length", 4, "--out", f"{seed}.csv",
            "--seed", seed)  # fmt: skip
    assert not pd.read_csv("0.csv").equals(pd.read_csv("1.csv"))


def test_encode(run, latent_run):
    out, _ = run("encode", latent_run, "elnino:test", "--out", "z.csv", "--plot", "z.png",
                 "--num-samples", 4)  # fmt: skip
    frame = pd.read_csv("z.csv")
    assert list(frame) == ["unique_id", "ds", "z1_mean", "z1_scale", "z2_mean", "z2_scale"]
    series = frame["unique_id"].nunique()
    assert len(frame) == series * 12
    assert frame[["z1_scale", "z2_scale"]].to_numpy().min() > 0
    assert out == f"wrote latents of {series} sequences to z.csv\n"
    check_picture("z.png")


@pytest.mark.parametrize("posterior", ["filtering", "smoothing"])
def test_encode_by_the_posterior(posterior, run, latent_run):
    command = ("encode", latent_run, "elnino:test", "--num-samples", 4)
    run(*command, "--out", "z.csv", "--posterior", posterior, "--samples-out", "s.parquet")
    run(*command, "--out", "q.csv")
    frame, guide = pd.read_csv("z.csv"), pd.read_csv("q.csv")
    draws = pd.read_parquet("s.parquet")
    assert list(frame) == list(guide)
    assert list(draws) == ["unique_id", "ds", "sample_id", "z1", "z2"]
    assert len(draws) == 4 * len(frame)
    assert set(draws["sample_id"]) == {0, 1, 2, 3}
    assert not np.allclose(frame["z1_mean"], guide["z1_mean"])


def test_encode_by_an_exact_code(run):
    run("fit", "elnino:train", "--model", "flow", "--out", "run", *TINY)
    run("encode", "run", "elnino:test", "--out", "z.csv", "--plot", "z.png")
    frame = pd.read_csv("z.csv")
    assert (frame["z1_scale"] == 0).all()
    assert frame["z1_mean"].std() > 0.1
    check_picture("z.png")
    run("encode", "run", "elnino:test", "--out", "z.parquet", "--plot-map", "map.png")
    check_picture("map.png")
    truth = seqlatent.load("elnino:test").to_frame()
    for codes in ("z.csv", "z.parquet"):
        out, _ = run("decode", "run", codes, "--out", "x.csv")
        assert out.startswith("wrote ") and out.endswith(" to x.csv\n")
        decoded = pd.read_csv("x.csv", parse_dates=["ds"])
        assert list(decoded) == list(truth)
        assert (decoded["ds"] == truth["ds"]).all()
        np.testing.assert_allclose(decoded["y"], truth["y"], rtol=1e-5)


def test_decode_says_what_it_cannot(run, capsys, latent_run):
    def refused(*arguments: object) -> str:
        capsys.readouterr()
        assert run_command([str(a) for a in arguments]) == 2
        return capsys.readouterr().err

    run("encode", latent_run, "elnino:test", "--out", "z.csv", "--num-samples", 2)
    assert "no exact code" in refused("decode", latent_run, "z.csv", "--out", "x.csv")
    assert "no map from values" in refused(
        "encode", latent_run, "elnino:test", "--out", "y.csv", "--plot-map", "m.png"
    )
    run("fit", "elnino:train", "--model", "flow", "--out", "run", *TINY)
    codes = pd.read_csv("z.csv")
    codes.loc[3, "z1_mean"] = np.nan
    codes.to_csv("gap.csv", index=False)
    assert "lacks the code 'z1_mean'" in refused("decode", "run", "gap.csv", "--out", "x.csv")
    codes.drop(columns="z1_mean").to_csv("none.csv", index=False)
    assert "z1_mean" in refused("decode", "run", "none.csv", "--out", "x.csv")


# -- impute -----------------------------------------------------------------------------------


@pytest.fixture
def gappy(place) -> Path:
    """The months of elnino's test part, with gaps in three years."""
    frame = seqlatent.load("elnino:test").to_frame()
    frame.loc[[3, 4, 5, 17, 30], "y"] = np.nan
    frame.to_csv(place / "gappy.csv", index=False)
    return place / "gappy.csv"


def test_impute(run, rnn_run, gappy):
    out, err = run("impute", rnn_run, gappy, "--out", "i.csv", "--filled-out", "f.csv",
                   "--samples-out", "s.csv", "--plot", "i.png", "--num-samples", 20)  # fmt: skip
    frame, filled, draws = (pd.read_csv(f"{name}.csv") for name in "ifs")
    given = pd.read_csv(gappy)
    assert list(frame) == FORECAST
    assert len(frame) == 5
    assert len(draws) == 5 * 20
    assert filled["y"].notna().all()
    known = given["y"].notna()
    np.testing.assert_array_equal(filled["y"][known], given["y"][known])
    np.testing.assert_allclose(filled["y"][~known], frame["mean"])
    assert out.startswith("imputed 5 values in 3 of ")
    assert "had none" not in err  # paths have no gaps that the model would have to read
    check_picture("i.png")
    quiet, _ = run("impute", rnn_run, gappy, "--json", "--num-samples", 20)
    assert [row["mean"] for row in json.loads(quiet)] == pytest.approx(frame["mean"].tolist())


def test_impute_needs_gaps(rnn_run, capsys):
    assert run_command(["impute", str(rnn_run), "elnino:test"]) == 2
    assert "no value is missing" in capsys.readouterr().err


# -- inspect ----------------------------------------------------------------------------------


def test_inspect(run, latent_run, place):
    out, _ = run("inspect", latent_run, "elnino:test", "--num-particles", 8, "--plot", "p.png")
    for words in ("latents active", "KL(q || prior)", "ELBO", "KL(p(z|x) || q(z|x))", "iwae of 8"):
        assert words in out
    check_picture("p.png")
    assert files(place) == ["p.png"]
    printed, _ = run("inspect", latent_run, "elnino:test", "--num-particles", 8, "--json")
    found = json.loads(printed)
    assert [z["name"] for z in found["latents"]] == ["z1", "z2"]
    assert found["gap"] == pytest.approx(found["log_prob"] - found["elbo"])
    assert f"{found['total_kl']:.4f}" in out


def test_a_model_without_latents_is_not_inspected(rnn_run, capsys):
    assert run_command(["inspect", str(rnn_run), "elnino:test"]) == 2
    assert "model 'rnn' has no latents" in capsys.readouterr().err


# -- what there is ----------------------------------------------------------------------------


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
