"""Tables of a folder of data: the same whatever the shards and however many processes make them."""

import json
import logging
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from folders import N, T, job, read, write

from seqlatent.cli.app import run_command
from seqlatent.data.folders import ParquetFolder, Shard
from seqlatent.errors import InputError
from seqlatent.shards import Job, running, work
from seqlatent.shards.jobs import TASKS
from seqlatent.shards.worker import Worker, part_of

OPTIONS = {
    "score": ["--num-particles", "8"],
    "forecast": ["--prediction-length", "3", "--num-samples", "7"],
    "impute": ["--num-samples", "6"],
    "encode": ["--num-samples", "5"],
    "detect": [],
}
OUTS = {"scores": "--out", "forecast": "--out", "imputed": "--out", "latents": "--out",
        "alarms": "--out", "steps": "--steps-out", "samples": "--samples-out",
        "filled": "--filled-out"}  # fmt: skip


@pytest.mark.parametrize("task", list(TASKS))
def test_tables_are_those_of_the_whole(task, series_folder, tmp_path, capsys):
    model = series_folder / ("latent" if task == "encode" else "rnn")
    command = [task, str(model), *OPTIONS[task]]
    if task == "detect":
        command += ["--calibrate", str(series_folder / "d.parquet"), "--false-alarms", "50"]
    tables = TASKS[task].tables
    whole = [x for t in tables for x in (OUTS[t], str(tmp_path / f"{t}.parquet"))]
    parts = [x for t in tables for x in (OUTS[t], str(tmp_path / t))]
    assert run_command([*command, str(series_folder / "d.parquet"), *whole, "--quiet"]) == 0
    assert run_command([*command, str(series_folder / "d"), *parts, "--quiet"]) == 0
    assert f"{N} series" in capsys.readouterr().out
    for t in tables:
        expected, found = pd.read_parquet(tmp_path / f"{t}.parquet"), read(tmp_path / t)
        assert len(list((tmp_path / t).glob("part-*"))) == 1
        pd.testing.assert_frame_equal(found, expected, rtol=1e-5, atol=1e-6)
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / t), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("model", ["rnn", pytest.param("latent", marks=pytest.mark.slow)])
def test_shards_do_not_matter(model, series_folder, tmp_path):
    one = work(job(series_folder, tmp_path / "one", model, num_particles=8))
    many = work(job(series_folder, tmp_path / "many", model, num_particles=8), rows=T)
    assert len(list((tmp_path / "many").glob("part-*"))) > 5
    assert one["series"] == many["series"] == N
    assert many["nats"] == pytest.approx(one["nats"], rel=1e-6)
    expected, found = read(tmp_path / "one"), read(tmp_path / "many")
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow  # new processes, which import everything
@pytest.mark.parametrize("model", ["rnn", "latent"])
def test_workers_do_not_matter(model, series_folder, tmp_path):
    one = work(job(series_folder, tmp_path / "one", model, num_particles=8), rows=T)
    two = work(job(series_folder, tmp_path / "two", model, num_particles=8), rows=T, workers=2)
    assert one["series"] == two["series"] == N
    pd.testing.assert_frame_equal(read(tmp_path / "two"), read(tmp_path / "one"))


def test_finished_shards_are_not_made_again(series_folder, tmp_path, caplog):
    facts = work(job(series_folder, tmp_path / "s"), rows=T)
    parts = sorted((tmp_path / "s").glob("part-*"))
    before = {p: p.stat().st_mtime_ns for p in parts}
    parts[2].unlink()
    parts[4].write_bytes(b"cut short")
    with caplog.at_level(logging.INFO, "seqlatent"):
        again = work(job(series_folder, tmp_path / "s"), rows=T)
    assert f"{len(parts) - 2} of {len(parts)} shards had been finished before" in caplog.text
    assert again == pytest.approx(facts)
    now = {p: p.stat().st_mtime_ns for p in sorted((tmp_path / "s").glob("part-*"))}
    assert [p for p in parts if now[p] != before[p]] == [parts[2], parts[4]]
    work(job(series_folder, tmp_path / "s"), rows=T, overwrite=True)
    assert all(p.stat().st_mtime_ns != now[p] for p in parts)


def test_a_folder_holds_the_tables_of_one_job(series_folder, tmp_path):
    work(job(series_folder, tmp_path / "s"), rows=T)
    with pytest.raises(InputError, match=r"holds tables of other options.*--overwrite"):
        work(job(series_folder, tmp_path / "s", num_particles=7), rows=T)
    with pytest.raises(InputError, match=r"holds tables of another model"):
        work(job(series_folder, tmp_path / "s", model="latent"), rows=T)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kept.parquet").write_bytes(b"a table of the user's own")
    with pytest.raises(InputError, match="holds tables of another task"):
        work(job(series_folder, tmp_path / "mine"), rows=T)
    work(job(series_folder, tmp_path / "mine"), rows=T, overwrite=True)
    assert (tmp_path / "mine" / "kept.parquet").exists()  # what it did not write stays
    work(job(series_folder, tmp_path / "s", num_particles=7), overwrite=True)
    assert len(list((tmp_path / "s").glob("part-*"))) == 1  # no part of the other job is left


def test_a_shard_is_whole_or_not_there(series_folder, tmp_path, monkeypatch):
    made = []

    def failing(self, data, *args, **kwargs):
        made.append(len(data))
        if len(made) == 4:
            raise InputError("series s11 is bad")
        return good(self, data, *args, **kwargs)

    from seqlatent.fitted_model import Fitted

    good = Fitted.score
    monkeypatch.setattr(Fitted, "score", failing)
    with pytest.raises(InputError, match="s11"):
        work(job(series_folder, tmp_path / "s"), rows=T)
    assert len(list((tmp_path / "s").glob("part-*"))) == 3
    assert not list((tmp_path / "s").glob(".*part"))
    monkeypatch.setattr(Fitted, "score", good)
    assert work(job(series_folder, tmp_path / "s"), rows=T)["series"] == N


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing(series_folder, tmp_path, caplog):
    killed = []

    def kill() -> None:
        while not list((tmp_path / "s").glob("part-*")):
            time.sleep(0.01)
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
        for child in map(int, children):
            if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(child, signal.SIGKILL)
                killed.append(child)
                return

    thread = threading.Thread(target=kill)
    thread.start()
    facts = work(job(series_folder, tmp_path / "s", tail_draws=2000), rows=T, workers=2)
    thread.join()
    assert killed
    assert "a worker died" in caplog.text
    assert facts["series"] == N
    assert list(read(tmp_path / "s")["unique_id"]) == [f"s{i:02d}" for i in range(N)]


def die(shard: Shard) -> None:
    os._exit(1)


@pytest.mark.slow
def test_workers_that_die_again_and_again_end_it(series_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "_do", die)
    with pytest.raises(InputError, match="workers died 3 times"):
        work(job(series_folder, tmp_path / "s"), rows=T, workers=2)


@pytest.mark.slow
def test_what_is_wrong_is_said_by_the_worker_that_finds_it(series_folder, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    broken = Job(
        "score", str(tmp_path / "run"), str(series_folder / "d"), {"scores": str(tmp_path / "s")}
    )
    with pytest.raises(InputError, match="run"):
        work(broken, rows=T, workers=2)


def test_notices_are_told_once(series_folder, tmp_path, caplog):
    table = pd.read_parquet(series_folder / "d.parquet")
    table.loc[[5 * T + 20, 15 * T + 20], "y"] = 1e7
    write(table, tmp_path / "d", [12 * T], group=3 * T)
    own = Job(
        "score", str(series_folder / "rnn"), str(tmp_path / "d"), {"scores": str(tmp_path / "s")}
    )
    work(own, rows=T)
    told = [r.getMessage() for r in caplog.records if "far outside" in r.getMessage()]
    assert len(told) == 1
    assert "series s05" in told[0]
    assert "and 1 more of this kind" in told[0]


def test_series_without_any_value_are_left_out(series_folder, tmp_path):
    table = pd.read_parquet(series_folder / "d.parquet")
    table.loc[: 12 * T - 1, "y"] = np.nan  # of all shards but the last few
    write(table, tmp_path / "d", [], group=3 * T)
    own = Job(
        "score", str(series_folder / "rnn"), str(tmp_path / "d"), {"scores": str(tmp_path / "s")}
    )
    assert work(own, rows=T)["series"] == 12
    scores = pd.read_parquet(tmp_path / "s")
    assert list(scores["unique_id"]) == [f"s{i}" for i in range(12, 24)]
    assert work(own, rows=T)["series"] == 12


def test_blocks_are_small_where_samples_are_many(series_folder):
    many = Job("forecast", "", "", {"forecast": ""}, {"prediction_length": 24, "num_samples": 500})
    assert many.most_series * 24 * 500 <= 2**22
    assert Job("score", "", "", {"scores": ""}).most_series > 10_000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["d.parquet", "--workers", "2"], "are for tables that go to a folder"),
        (["d", "--out", "x", "--steps-out", "y.csv"], "is a folder and"),
        (["d", "--out", "x", "--steps-out", "x"], "have the same folder"),
        (["d", "--out", "x", "--plot", "p.png"], "--plot needs all of the data"),
        (["d", "--out", "x", "--engine", "spark"], "'spark' is not one of processes, ray"),
        (["d", "--out", "x", "--workers", "0"], "must be at least 1"),
        (["d", "--out", "d.parquet/x"], "cannot be"),
    ],
)
def test_refused_in_one_sentence(arguments, words, series_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(series_folder)
    before = sorted(os.listdir(series_folder))
    assert run_command(["score", "rnn", *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert sorted(os.listdir(series_folder)) == before


def test_a_summary_as_json(series_folder, tmp_path, capsys):
    command = [
        "score",
        str(series_folder / "rnn"),
        str(series_folder / "d"),
        "--out",
        str(tmp_path / "s"),
    ]
    assert run_command([*command, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["series"] == N
    assert facts["nats"] == pytest.approx(read(tmp_path / "s")["log_prob"].sum())
    manifest = json.loads((tmp_path / "s" / running.MANIFEST).read_text())
    assert manifest["task"] == "score"


def test_partition_and_the_words_for_it(series_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mixed = pd.read_parquet(series_folder / "d.parquet").sample(frac=1, random_state=1)
    mixed.to_parquet("mixed.parquet")
    assert run_command(["score", str(series_folder / "rnn"), "mixed.parquet", "--out", "s"]) == 2
    assert "seqlatent partition mixed.parquet --out FOLDER" in capsys.readouterr().err
    assert run_command(["partition", "mixed.parquet", "--out", "sorted", "--rows", "300"]) == 0
    assert "to sorted" in capsys.readouterr().out
    assert (
        run_command(["score", str(series_folder / "rnn"), "sorted", "--out", "s", "--quiet"]) == 0
    )
    assert len(ParquetFolder("sorted", "unique_id").files) > 1
    found = read(Path("s")).set_index("unique_id")["log_prob"].sort_index()
    one = Worker(job(series_folder, tmp_path / "t"))
    (tmp_path / "t").mkdir()
    one(ParquetFolder(series_folder / "d", "unique_id").shards()[0])
    expected = pd.read_parquet(part_of(str(tmp_path / "t"), 0)).set_index("unique_id")["log_prob"]
    np.testing.assert_allclose(found, expected.sort_index(), rtol=1e-5)
