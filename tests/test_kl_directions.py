"""`scripts/make_kl_directions.py`: one direction covers two peaks, the other seeks one."""

import importlib
import math
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("make_kl_directions")


def test_the_divergence_of_normals_is_the_closed_form(script):
    grid = np.linspace(-6, 6, 241)
    first, second = np.meshgrid(grid, grid, indexing="ij")

    def normal(mean: float, scale: float) -> np.ndarray:
        square = ((first - mean) / scale) ** 2 + (second / scale) ** 2
        return np.exp(-square / 2) / (2 * math.pi * scale**2)

    exact = 2 * (math.log(1.0 / 0.6) + (0.6**2 - 1) / 2) + 0.5**2 / 2
    assert script.divergence(normal(0.5, 0.6), normal(0.0, 1.0), grid) == pytest.approx(exact)


@pytest.mark.slow
def test_one_direction_covers_and_the_other_seeks(script, tmp_path):
    found = script.both_directions(seed=0, steps=400)
    cell = (found.grid[1] - found.grid[0]) ** 2
    above = found.grid[:, None] + found.grid[None] > 0  # the half plane of the peak at (2, 2)
    share = {name: (q * above).sum() * cell for name, q in found.q.items()}
    assert (found.p * above).sum() * cell == pytest.approx(0.5, abs=0.05)
    assert share["KL(p || q)"] == pytest.approx(0.5, abs=0.1)
    assert min(share["KL(q || p)"], 1 - share["KL(q || p)"]) < 0.01
    covering, seeking = found.kl["KL(p || q)"], found.kl["KL(q || p)"]
    assert covering[0] < seeking[0] and seeking[1] < covering[1]
    # One of two equal peaks, told exactly, is log 2 away; p here is a fit, which adds a little.
    assert seeking[1] == pytest.approx(math.log(2), abs=0.1)
    script.draw(found, tmp_path / "kl.png")
    assert (tmp_path / "kl.png").stat().st_size > 10_000
