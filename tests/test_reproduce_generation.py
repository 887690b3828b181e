"""`scripts/reproduce generation`: windows, references and a small table."""

import importlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
CHEAP = ["wasserstein", "nearest"]
MODEL = "rnn:scaling=global,max_steps=2"


@pytest.fixture
def generation(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("reproduce_generation")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    walks = pd.DataFrame(rng.normal(size=(450, 2)).cumsum(0), columns=["a", "b"])
    walks.to_csv(tmp_path / "stock_data.csv", index=False)
    days = pd.date_range("2024-01-01", periods=450).astype(str)
    walks.assign(date=days).to_csv(tmp_path / "ETTh1.csv.gz", index=False)
    return tmp_path


def test_windows_are_those_of_the_scaled_series(folder, generation):
    table = pd.read_csv(folder / "stock_data.csv").to_numpy()
    values = (table - table.min(0)) / np.ptp(table, axis=0)
    windows = generation.read(folder, "Stocks", held_out=False)
    assert windows.train.shape == (427, 24, 2)
    np.testing.assert_allclose(windows.train[5], values[5:29])
    np.testing.assert_array_equal(windows.real, windows.train)
    # the date is no channel
    np.testing.assert_allclose(generation.read(folder, "ETTh", False).train, windows.train)


def test_held_out_windows_share_no_row_with_the_training(folder, generation):
    windows = generation.read(folder, "Stocks", held_out=True)
    assert len(windows.train) == 405 - 23
    assert not np.isin(windows.real[..., 0], windows.train[..., 0]).any()


def test_sines_are_their_definition(generation):
    windows = generation.sines(2000, 2, seed=0)
    assert windows.shape == (2000, 24, 2)
    angle = np.arcsin(2 * windows[:, :2] - 1)  # f t + p is below pi / 2 in the first steps
    phase, frequency = angle[:, 0], angle[:, 1] - angle[:, 0]
    for found in (phase, frequency):
        assert (found.min(), found.max()) == pytest.approx((0, 0.1), abs=1e-3)
        assert found.mean() == pytest.approx(0.05, abs=4 * 0.1 / np.sqrt(12 * found.size))
    np.testing.assert_allclose(np.sin(phase + 23 * frequency), 2 * windows[:, 23] - 1)


def test_wild_draws_are_told(generation):
    train = np.random.default_rng(1).random((50, 24, 2))
    windows = generation.Windows(train, train, held_out=False)
    drawn = train.copy()
    drawn[3, 4, 1] = -12.0
    found = generation.measured(windows, drawn, "rnn", [], 0, None)
    assert found == {"largest": 12.0, "beyond": pytest.approx(100 / drawn.size)}


def run(generation, monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["reproduce_generation.py", *map(str, arguments)])
    return generation.main()


@pytest.mark.parametrize("options", [[], ["--held-out"]])
def test_the_table(options, folder, generation, monkeypatch, capsys):
    monkeypatch.setattr(generation, "commit", lambda: "abc")
    common = ["--data", folder, "--sets", "Stocks", "--measures", *CHEAP, "--repeats", 2]
    common += ["--models", MODEL, "--out", folder / "out.json"]
    common += ["--keep", folder / "kept", *options]
    assert run(generation, monkeypatch, *common) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line]
    assert lines[0] == ["set", "drawn", "by", *CHEAP, "largest", "beyond"]
    assert [line[1] for line in lines[1:]] == [
        "half",
        "bootstrap",
        "copula",
        MODEL,
    ]
    rows = json.loads((folder / "out.json").read_text())["generation"]
    assert [len(row["values"]) for row in rows] == [2, 2, 2, 2]
    assert rows[1]["values"][0]["nearest"] == 0
    assert rows[1]["values"][0]["beyond"] == 0
    assert rows[3]["values"][0] != rows[3]["values"][1]
    kept = [np.load(path) for path in sorted((folder / "kept").iterdir())]
    assert [len(drawn) for drawn in kept] == [382 if options else 427] * 2
    monkeypatch.setattr(generation, "fitted", None)  # the windows that are kept are enough
    assert run(generation, monkeypatch, *common) == 0
    again = json.loads((folder / "out.json").read_text())["generation"][7]
    assert again["values"] == rows[3]["values"]


def test_published_figures_stand_beside(folder, generation, monkeypatch, capsys):
    monkeypatch.setattr(generation, "commit", lambda: "abc")
    monkeypatch.setattr(generation, "ALL", ("discriminative",))
    monkeypatch.setitem(generation.MEASURES, "discriminative", generation.MEASURES["wasserstein"])
    arguments = ["--data", folder, "--sets", "Stocks", "--models", "--measures", "discriminative"]
    assert run(generation, monkeypatch, *arguments, "--out", folder / "out.json") == 0
    text = capsys.readouterr().out
    assert "published: TimeGAN" in text
    assert text.partition("published: TimeGAN")[2].split()[0] == "0.102"
    assert "original data" not in text  # it has no such figure


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--sets", "Stock"], "unknown 'Stock' (--sets); did you mean 'Stocks'?"),
        (["--measures", "fid"], "unknown 'fid' (--measures)"),
        (["--repeats", "0"], "--repeats 0: give 1 or more"),
        (["--sets", "Energy"], "energy_data.csv.gz: no such file (--data)"),
    ],
)
def test_bad_input_is_refused(arguments, sentence, folder, generation, monkeypatch, capsys):
    assert run(generation, monkeypatch, "--data", folder, *arguments) == 2
    assert sentence in capsys.readouterr().err
