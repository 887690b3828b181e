"""`seqlatent score` from end to end, on small real data."""

import json

import numpy as np
import pandas as pd
import pytest
from command_line import SCORES, TINY, check_picture, files

from seqlatent.cli.app import run_command

pytestmark = pytest.mark.usefixtures("place")


def test_score_tables(run, rnn_run, place):
    out, _ = run("score", rnn_run, "elnino:test", "--out", "s.csv", "--steps-out", "t.parquet",
                 "--plot", "s.png")  # fmt: skip
    scores, steps = pd.read_csv("s.csv"), pd.read_parquet("t.parquet")
    assert list(scores) == SCORES
    named = ["unique_id", "ds", "log_prob", "sees_later", "partial", "tail_probability"]
    assert list(steps) == named
    assert not steps[["sees_later", "partial"]].to_numpy().any()
    assert set(scores["kind"]) == {"exact"}
    assert not scores[["std_error", "num_particles"]].to_numpy().any()
    np.testing.assert_allclose(scores["lower"], scores["log_prob"])
    np.testing.assert_allclose(scores["upper"], scores["log_prob"])
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


def test_marginals_of_steps_observed_in_part(run):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"unique_id": np.repeat(list("abcdefghij"), 20), "ds": [*range(20)] * 10})
    table["y1"], table["y2"] = rng.normal(size=(2, 200))
    table.loc[[3, 7, 25], "y1"] = np.nan
    table.loc[[50], "y2"] = np.nan  # nothing comes after it
    table.to_csv("d.csv", index=False)
    run("fit", "d.csv", "--targets", "y1,y2", "--out", "run", *TINY)
    run("score", "run", "d.csv", "--steps-out", "plain.csv")
    out, _ = run("score", "run", "d.csv", "--marginal-draws", 16, "--out", "s.csv",
                 "--steps-out", "t.csv")  # fmt: skip
    plain, steps, scores = (pd.read_csv(name) for name in ("plain.csv", "t.csv", "s.csv"))
    assert list(np.flatnonzero(plain["partial"])) == list(np.flatnonzero(steps["sampled"]))
    assert list(np.flatnonzero(steps["sampled"])) == [3, 7, 25]
    assert not steps["partial"].any()
    changed = plain["log_prob"] != steps["log_prob"]
    assert list(np.flatnonzero(changed)) == [3, 7, 25]
    assert list(scores["kind"]) == ["sampled"] * 2 + ["exact"] * 8
    assert list(scores["num_particles"]) == [16] * 2 + [0] * 8
    assert (scores["std_error"] > 0).tolist() == [True] * 2 + [False] * 8
    assert "(sampled for 2 of 10, the rest exact, 16 draws of missing channels, standard" in out
    assert "of the draws on average" in out


def test_estimated_score_says_so(run, latent_run):
    out, _ = run("score", latent_run, "elnino:test", "--num-particles", 32, "--out", "s.csv")
    scores = pd.read_csv("s.csv")
    assert list(scores) == SCORES
    assert set(scores["kind"]) == {"smc"}
    assert set(scores["num_particles"]) == {32}
    assert min(scores["std_error"]) > 0
    assert (scores["lower"] < scores["log_prob"]).all()
    assert (scores["upper"] > scores["log_prob"]).all()
    assert "smc, 32 particles, standard error" in out
    share = scores["ess"] / 32
    assert f"effective sample size {share.mean():.1%} of the particles on average" in out
    assert f"{share.min():.1%} at the least" in out
    gap = scores["gap"].sum() / scores["num_observed"].sum()
    assert f"raise the bound by {gap:.4f} nats per step" in out


@pytest.mark.parametrize(("estimator", "kind"), [("joint", "iwae"), ("smc", "smc")])
def test_estimator_by_name(estimator, kind, run, independent_run):
    out, _ = run("score", independent_run, "elnino:test", "--estimator", estimator,
                 "--num-particles", 64, "--out", "s.csv")  # fmt: skip
    scores = pd.read_csv("s.csv")
    assert set(scores["kind"]) == {kind}
    assert f"({kind}, 64 particles, standard error" in out
    other, _ = run("score", independent_run, "elnino:test", "--json")
    assert [row["log_prob"] for row in json.loads(other)] != scores["log_prob"].tolist()


def test_particles_are_raised_to_a_target_error(run, latent_run):
    few, _ = run("score", latent_run, "elnino:test", "--num-particles", 32, "--json")
    reached = max(row["std_error"] / row["num_observed"] for row in json.loads(few)) / 3
    out, err = run("score", latent_run, "elnino:test", "--num-particles", 32, "--target-error",
                   reached, "--out", "s.csv")  # fmt: skip
    scores = pd.read_csv("s.csv")
    assert (scores["std_error"] / scores["num_observed"]).max() <= reached
    assert scores["num_particles"].max() > 32
    assert f"to {scores['num_particles'].max()} particles" in out
    assert "did not reach" not in err


def test_a_target_error_that_is_not_reached_is_said(run, latent_run, monkeypatch):
    monkeypatch.setattr("seqlatent.tasks.scoring.MAX_PARTICLES", 8)
    _, err = run("score", latent_run, "elnino:test", "--num-particles", 4, "--target-error", 1e-9)
    assert "did not reach the target error of 1e-09 nats per step with 8 particles" in err


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


def test_an_error_that_cannot_be_told_is_warned_of(run, latent_run):
    """One particle has no error and needs no warning; with two the weights tell nothing."""
    out, err = run("score", latent_run, "elnino:test", "--num-particles", 2, "--out", "s.csv")
    scores = pd.read_csv("s.csv")
    untold = scores["std_error"].isna()
    assert untold.any()
    assert np.isinf(scores["upper"][untold]).all()
    np.testing.assert_allclose(scores["lower"][untold], (scores["log_prob"] - np.log(20))[untold])
    assert f"the error of {untold.sum()} of 12 estimates cannot be told" in err
    assert f"error unknown for {untold.sum()} of 12)" in out
    _, err = run("score", latent_run, "elnino:test", "--num-particles", 1)
    assert err == ""
