"""`scripts/reproduce anomaly`: NAB's score row by row, areas by pairs, and a small benchmark."""

import importlib
import json
import math
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
WINDOWS = [(30, 39), (60, 64), (66, 80)]


@pytest.fixture
def anomaly(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.delitem(sys.modules, "reproduce_anomaly", raising=False)
    return importlib.import_module("reproduce_anomaly")


def slowly(
    num_rows: int, windows: list[tuple[int, int]], alarm: np.ndarray, costs: tuple[float, float]
) -> float:
    """The raw score of a profile, by its definition."""
    false_alarm, missed = costs
    total, caught = 0.0, {}
    for row in range(int(0.15 * num_rows), num_rows):
        if not alarm[row]:
            continue
        inside = [w for w in windows if w[0] <= row <= w[1]]
        before = [w for w in windows if w[1] < row]
        if inside:
            first, last = inside[0]
            place = -(last - row + 1) / (last - first + 1)
            worth = (2 / (1 + math.exp(5 * place)) - 1) / (2 / (1 + math.exp(-5)) - 1)
            caught[inside[0]] = max(caught.get(inside[0], -missed), worth)
        elif before:
            first, last = before[-1]
            place = min((row - last) / (last - first), 3)
            total += false_alarm * (2 / (1 + math.exp(5 * place)) - 1)
        else:
            total -= false_alarm
    return total + sum(caught.get(w, -missed) for w in windows)


@pytest.mark.parametrize("profile", [(0.11, 1.0), (0.22, 1.0), (0.11, 2.0)])
def test_nab_score_is_its_definition(profile, anomaly):
    measures = sys.modules["anomaly_measures"]
    assert profile in {tuple(p) for p in measures.PROFILES.values()}
    profile = measures.Profile(*profile)
    rng = np.random.default_rng(0)
    files = [(anomaly.labels(120, WINDOWS), rng.integers(0, 9, 120) / 8) for _ in range(3)]
    files[1][1][[31, 90]] = np.nan  # no alarm

    def by_rows(threshold: float) -> float:
        raw = sum(slowly(120, WINDOWS, score >= threshold, profile) for _, score in files)
        silent = 9 * profile.missed
        return 100 * (raw + silent) / (9 + silent)

    thresholds = np.arange(-1, 9) / 8
    scores = [by_rows(t) for t in thresholds]
    for t, expected in zip(thresholds, scores, strict=True):
        assert anomaly.nab_score(files, t, profile) == pytest.approx(expected, abs=1e-9)
    assert anomaly.nab_score(files, None, profile) == pytest.approx(max(scores))


def test_nab_score_of_the_perfect_and_the_silent(anomaly):
    known = anomaly.labels(120, WINDOWS)
    perfect = np.zeros(120)
    perfect[[first for first, _ in WINDOWS]] = 1
    assert anomaly.nab_score([(known, perfect)], 0.5) == pytest.approx(100)
    assert anomaly.nab_score([(known, np.zeros(120))], 0.5) == 0
    assert anomaly.nab_score([(known, np.ones(120))], 0.5) < 0.5 * 100
    perfect[: int(0.15 * 120)] = 1  # the probationary rows are not scored
    assert anomaly.nab_score([(known, perfect)], 0.5) == pytest.approx(100)


def test_areas_are_those_of_pairs(anomaly):
    rng = np.random.default_rng(1)
    score, label = rng.integers(0, 20, 200).astype(float), rng.random(200) < 0.2
    above = score[label][:, None] - score[~label]
    roc, pr = sys.modules["anomaly_measures"].areas(label, score)
    assert roc == pytest.approx((above > 0).mean() + 0.5 * (above == 0).mean())
    precision = [label[score >= s].mean() for s in score[label]]
    assert pr == pytest.approx(np.mean(precision))


def test_probation_is_at_most_750_rows(anomaly):
    assert anomaly.probation(4033) == 604
    assert anomaly.probation(20_000) == 750


def test_simple_detectors_see_no_later_row(anomaly):
    rng = np.random.default_rng(2)
    table = pd.DataFrame(
        {"ds": pd.date_range("2024-01-01", periods=400, freq="h"), "y": rng.normal(size=400)}
    )
    later = table.assign(y=table["y"].where(table.index < 300, 99.0))
    for score in (anomaly.windowed_gaussian, anomaly.seasonal_naive):
        before, after = score(table), score(later)
        np.testing.assert_array_equal(before[:300], after[:300])
        assert after[300] > 10 * np.nanmean(before)


def test_windowed_gaussian_is_its_definition(anomaly, monkeypatch):
    """Two hundred rows, with a window of 50 that moves by 20: mean and deviation of the rows
    before, then of the window."""
    simple = sys.modules["anomaly_simple"]
    monkeypatch.setattr(simple, "WINDOW", 50)
    monkeypatch.setattr(simple, "SLIDE", 20)
    x = 5 + np.random.default_rng(3).normal(size=200)
    found = simple.windowed_gaussian(pd.DataFrame({"y": x}))
    for t in (1, 5, 49, 50, 69, 70, 71, 150, 199):
        last = t if t <= 50 else 50 + (t - 50) // 20 * 20
        window = x[max(0, last - 50) : last]
        z = abs(x[t] - window.mean()) / (window.std() or 1e-6)
        assert found[t] == pytest.approx(min(-norm.logsf(z), simple.CERTAIN), rel=1e-6)


def test_relative_entropy_sounds_once_for_a_new_kind(anomaly):
    x = np.tile([0.0, 1, 2, 3, 4], 80)
    x[200:] = np.tile([0.0, 4], 100)
    alarm = sys.modules["anomaly_simple"].relative_entropy(pd.DataFrame({"y": x}))
    assert not alarm[:200].any()
    assert 1 <= alarm[200:252].sum() <= 5
    assert not alarm[252:].any()


def test_a_peak_is_the_highest_of_the_last_rows(anomaly, monkeypatch):
    monkeypatch.setattr(anomaly, "APART", 3)
    found = anomaly.highest_of_the_last(np.array([1.0, np.nan, 2, 2, 1, 0, 1, 3]))
    expected = [1, -np.inf, 2, -np.inf, -np.inf, -np.inf, -np.inf, 3]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_the_table(anomaly, tmp_path, monkeypatch, capsys):
    """A stream of 1,500 hours with a shift in its window; another with a time that is there twice,
    and one without labels. A second run reads the surprises that the first one kept."""
    rng = np.random.default_rng(3)
    ds = pd.Series(pd.date_range("2024-01-01", periods=1500, freq="h"))
    y = np.sin(np.arange(1500) * np.pi / 12) + 0.1 * rng.normal(size=1500)
    y[1200:1220] += 3
    twice = ds.mask(ds.index == 1400, ds[1399])
    windows = {f"real/{name}.csv": [[str(ds[1195]), str(ds[1240])]] for name in ("one", "twice")}
    with zipfile.ZipFile(tmp_path / "nab.zip", "w") as archive:
        for name, times in (("one", ds), ("twice", twice), ("none", ds)):
            table = pd.DataFrame({"timestamp": times, "value": y})
            archive.writestr(f"data/real/{name}.csv", table.to_csv(index=False))
        labels = json.dumps({**windows, "real/none.csv": []})
        archive.writestr("labels/combined_windows.json", labels)
    heart = pd.DataFrame({"data": y, "label": (np.arange(1500) // 20 == 60).astype(int)})
    heart.to_csv(tmp_path / "heart.csv", index=False)
    out = tmp_path / "figures.json"
    arguments = ["--data", tmp_path, "--models", "rnn:hidden_dim=4,scaling=global,max_steps=5",
                 "--keep", tmp_path / "kept", "--heart", tmp_path / "heart.csv", "--out",
                 out]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["anomaly", *map(str, arguments)])
    assert anomaly.main() == 0
    captured = capsys.readouterr()
    assert "3 files, 2 windows" in captured.err
    assert "published: Numenta HTM" in captured.out
    assert "mitdb" in captured.out
    rows = json.loads(out.read_text())["anomaly"]
    names = ("real/none", "real/one", "real/twice")
    assert [row["file"] for row in rows] == [name for name in names for _ in range(7)]
    naive = [row for row in rows if row["method"] == "seasonal naive"][1:]
    assert min(row["ROC"] for row in naive) > 0.7
    assert min(row["NAB"] for row in naive) > 80
    assert len(list((tmp_path / "kept").iterdir())) == 4
    assert anomaly.main() == 0
    assert capsys.readouterr().out == captured.out


@pytest.mark.parametrize("files", [[], ["--files", "real/none"]])
def test_refused(files, anomaly, tmp_path, monkeypatch, capsys):
    if files:
        (tmp_path / "labels").mkdir()
        (tmp_path / "labels/combined_windows.json").write_text('{"real/one.csv": [["a", "b"]]}')
    monkeypatch.setattr("sys.argv", ["anomaly", "--data", str(tmp_path), *files])
    assert anomaly.main() == 2
    words = "no file of the benchmark" if files else "neither nab.zip nor"
    assert words in capsys.readouterr().err
