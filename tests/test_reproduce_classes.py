"""`scripts/reproduce classes`: classes by the likelihood of a model of each."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"
SLOW, FAST = 0.9, -0.5


@pytest.fixture
def classes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("reproduce_classes")


def part(num: int, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """(T, 1) autoregressions of lengths 40 to 60, of unit variance, two thirds of them slow."""
    rng = np.random.default_rng(seed)
    labels = np.array(["slow", "slow", "fast"] * (num // 3))
    found = []
    for label in labels:
        phi, x = SLOW if label == "slow" else FAST, rng.normal(size=int(rng.integers(40, 61)))
        for t in range(1, len(x)):
            x[t] = phi * x[t - 1] + np.sqrt(1 - phi**2) * x[t]
        found.append(x[:, None])
    return found, labels


def best(x: np.ndarray) -> str:
    """The class by the processes themselves."""

    def log_prob(phi: float, prior: float) -> float:
        e, v = x[1:, 0] - phi * x[:-1, 0], 1 - phi**2
        return float(np.log(prior) - 0.5 * (e**2 / v + np.log(v)).sum())

    return "slow" if log_prob(SLOW, 2 / 3) > log_prob(FAST, 1 / 3) else "fast"


@pytest.mark.slow
def test_classes_are_those_of_the_processes(classes):
    """60 sequences whose marginal law is the same: the best rule errs on none to one, a model of
    each class on at most two more; the nearest sequence is not much better than chance."""
    train, (values, labels) = part(60, 0), part(60, 1)
    found = classes.classify(
        train, values, "linear-gaussian:latent_dim=1,scaling=global,max_steps=40", 0, 20
    )
    right = int((found == labels).sum())
    assert right >= sum(best(x) == label for x, label in zip(values, labels, strict=True)) - 2
    assert right > 55
    assert classes.accuracy(classes.nearest(train, values), labels) < 0.9


def test_the_prior_decides_where_the_values_do_not(classes):
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(30, 1)) for _ in range(10)]
    same = (values * 2, np.repeat(["rare", "usual"], 10))
    more = (values * 4, np.repeat(["rare", "usual"], [10, 30]))
    entry = "linear-gaussian:latent_dim=1,scaling=global,max_steps=3"
    assert (classes.classify(more, values, entry, 0, 20) == "usual").mean() > 0.9
    assert len(classes.classify(same, values, entry, 0, 20)) == 10


def test_nearest_is_itself(classes):
    values, labels = part(12, 2)
    np.testing.assert_array_equal(classes.nearest((values, labels), values), labels)


def test_the_table(classes, tmp_path, monkeypatch, capsys):
    arrays = {}
    for name, (values, labels) in (("train", part(12, 0)), ("test", part(6, 1))):
        arrays[f"{name}_values"] = np.concatenate(values)
        arrays[f"{name}_lengths"] = [len(x) for x in values]
        arrays[f"{name}_labels"] = labels
    np.savez(tmp_path / "two.npz", **arrays)
    arguments = ["--data", tmp_path, "--sets", "two", "--models",
                 "linear-gaussian:scaling=global,max_steps=3", "--out",
                 tmp_path / "f.json"]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["classes", *map(str, arguments)])
    assert classes.main() == 0
    assert "1-NN" in capsys.readouterr().out
    rows = json.loads((tmp_path / "f.json").read_text())["classes"]
    assert [row["method"] for row in rows] == ["1-NN", arguments[5]]


def test_refused(classes, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["classes", "--data", str(tmp_path)])
    assert classes.main() == 2
    assert "japanesevowels.npz" in capsys.readouterr().err
