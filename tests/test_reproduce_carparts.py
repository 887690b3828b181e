"""`scripts/reproduce carparts`: the laws that stand beside the models, and the months scored."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import nbinom, poisson

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


@pytest.fixture
def carparts(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("reproduce_carparts")


@pytest.fixture
def sales() -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.negative_binomial(0.7, 0.4, (20, 40)).astype(float)
    x[0], x[1, :3], x[2, 30] = 0, np.nan, np.nan
    return x


def test_laws_of_each_series_are_the_greatest_likelihood_s(carparts, sales):
    found = carparts.per_series(sales)
    for i, row in enumerate(sales):
        past, future = row[:28][np.isfinite(row[:28])], row[28:]
        mean = (past.sum() + 0.5) / len(past)
        np.testing.assert_allclose(found["poisson"][i], poisson(mean).logpmf(future), atol=1e-6)

        def law(size: float, mean: float = mean):
            return nbinom(size, size / (size + mean))

        best = minimize_scalar(
            lambda s, past=past, distribution=law: -law(np.exp(s)).logpmf(past).sum(),
            bounds=np.log([1e-2, 1e4]), method="bounded",
        ).x  # fmt: skip
        expected = law(np.exp(best)).logpmf(future)
        np.testing.assert_allclose(found["negative binomial"][i], expected, rtol=0.02)  # a grid
    assert np.isnan(found["poisson"][2, 2])
    assert np.isnan(found["poisson"]).sum() == 1


def test_the_table(carparts, sales, tmp_path, monkeypatch, capsys):
    np.savez(tmp_path / "sales.npz", values=sales)
    out = tmp_path / "figures.json"
    arguments = ["--data", tmp_path / "sales.npz", "--models", "rnn:hidden_dim=4,max_steps=3",
                 "--out", out]  # fmt: skip
    monkeypatch.setattr("sys.argv", ["carparts", *map(str, arguments)])
    assert carparts.main() == 0
    assert "negative binomial" in capsys.readouterr().out
    (row,) = json.loads(out.read_text())["carparts"]
    own = np.nanmean(carparts.per_series(sales)["poisson"])
    assert row["above poisson"] == pytest.approx(row["log_prob"] - own)
    assert row["kind"] == "exact"


@pytest.mark.parametrize(
    ("values", "word"),
    [
        (None, "no such file"),
        (np.zeros((3, 12)), "more than 12"),
        (np.full((3, 20), 0.5), "counts"),
    ],
)
def test_what_is_no_table_of_counts_is_refused(
    carparts, tmp_path, monkeypatch, capsys, values, word
):
    path = tmp_path / "sales.npz"
    if values is not None:
        np.savez(path, values=values)
    monkeypatch.setattr("sys.argv", ["carparts", "--data", str(path)])
    assert carparts.main() == 2
    assert word in capsys.readouterr().err
