"""`scripts/benchmark regret-table`: rows that are there are not measured again."""

import argparse
import importlib
import json
import time
from pathlib import Path

import pytest

from seqlatent.errors import InputError
from seqlatent.training import clock

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


@pytest.fixture
def regret(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    module = importlib.import_module("benchmark_regret")
    monkeypatch.setattr(module, "FRESH", 5)
    monkeypatch.setattr(module, "SEQUENCES", 20)
    monkeypatch.setattr(module, "commit", lambda: "abc1234")
    monkeypatch.setattr(
        module, "MODELS", [("ar2", "linear-gaussian", 1), ("ar2", "rnn:hidden_dim=4", 1)]
    )
    return module


def run(regret, out: Path, **changes) -> list[dict]:
    """The rows of a run, added to the file as scripts/benchmark.py does it."""
    options = {"tables": ["models"], "seed": 0, "threads": 1, "max_steps": 2, "out": out}
    rows = []
    for row in regret.run_regret_table(argparse.Namespace(**{**options, **changes})):
        importlib.import_module("benchmark_tools").add_row(out, "regret-table", row)
        rows.append(row)
    return rows


def test_rows_that_are_there_are_not_measured_again(regret, tmp_path, monkeypatch, capsys):
    out = tmp_path / "benchmark.json"
    assert [r["model"] for r in run(regret, out)] == ["linear-gaussian", "rnn:hidden_dim=4"]
    assert run(regret, out) == []
    printed = capsys.readouterr().out
    assert printed.count("| ar2 | `rnn:hidden_dim=4` |") == 2  # the table is whole both times

    content = json.loads(out.read_text())
    content["regret-table"] = content["regret-table"][:1]  # as after an interruption
    out.write_text(json.dumps(content))
    assert [r["model"] for r in run(regret, out)] == ["rnn:hidden_dim=4"]

    assert len(run(regret, out, seed=1)) == 2
    assert len(run(regret, out, max_steps=3)) == 2
    monkeypatch.setattr(regret, "commit", lambda: "def5678")
    assert len(run(regret, out)) == 2


def test_a_row_says_where_it_comes_from(regret, tmp_path):
    row = run(regret, tmp_path / "benchmark.json")[0]
    assert (row["commit"], row["seed"], row["budget"]) == ("abc1234", 0, "2 steps")
    assert (row["kind"], row["steps"]) == ("exact", 2)
    assert row["std_error"] > 0
    assert row["regret"] == pytest.approx(row["truth"] - row["log_prob"])


def test_fits_count_processor_time(regret):
    with regret.processor_time():
        start = clock.seconds()
        time.sleep(0.2)  # idle: on the wall 0.2 s
        assert clock.seconds() - start < 0.1
    start = clock.seconds()
    time.sleep(0.2)
    assert clock.seconds() - start > 0.1


def test_more_than_one_thread_is_refused(regret, tmp_path):
    with pytest.raises(InputError, match="--threads 1"):
        run(regret, tmp_path / "benchmark.json", threads=2)


def test_every_row_of_the_maps_has_its_cell(regret):
    rows = [
        {"process": p, "model": entry, "regret": seed / 10, "std_error": 0.01}
        for p, entry, seed, _ in regret.table_rows("maps", 0, None)
    ]
    lines = regret.maps_markdown(rows)
    assert len(rows) == 36
    assert len(lines) == 2 + 4
    assert all(
        line.count("0.1000 (0.0000 to 0.2000; s.e. up to 0.0100)") == 3 for line in lines[2:]
    )
