"""Commands that look behind the values, from end to end: encode, decode, impute, inspect."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import FORECAST, TINY, check_picture, files

import seqlatent
from seqlatent.cli.app import run_command

pytestmark = pytest.mark.usefixtures("place")


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
    for latents in ("z.csv", "z.parquet"):
        out, _ = run("decode", "run", latents, "--out", "x.csv")
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
    assert "no exact latents" in refused("decode", latent_run, "z.csv", "--out", "x.csv")
    assert "no map from values" in refused(
        "encode", latent_run, "elnino:test", "--out", "y.csv", "--plot-map", "m.png"
    )
    run("fit", "elnino:train", "--model", "flow", "--out", "run", *TINY)
    latents = pd.read_csv("z.csv")
    latents.loc[3, "z1_mean"] = np.nan
    latents.to_csv("gap.csv", index=False)
    assert "the latent 'z1_mean' is missing" in refused(
        "decode", "run", "gap.csv", "--out", "x.csv"
    )
    latents.drop(columns="z1_mean").to_csv("none.csv", index=False)
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
    words = ("loss of nats per step", "KL(q || prior)", "ELBO", "KL(p(z|x) || q(z|x))", "smc of 8")
    for part in words:
        assert part in out
    check_picture("p.png")
    assert files(place) == ["p.png"]
    printed, _ = run("inspect", latent_run, "elnino:test", "--num-particles", 8, "--json")
    found = json.loads(printed)
    assert [z["name"] for z in found["latents"]] == ["z1", "z2"]
    assert found["headline"] in out
    assert len(found["loss"]) == len(found["horizons"]) == len(found["latents"][0]["loss"])
    assert found["gap"] == pytest.approx(found["log_prob"] - found["elbo"])
    assert f"{found['total_kl']:.4f}" in out


def test_a_model_without_latents_is_not_inspected(rnn_run, capsys):
    assert run_command(["inspect", str(rnn_run), "elnino:test"]) == 2
    assert "model 'rnn' has no latents" in capsys.readouterr().err
