"""The measure of `scripts/reproduce exchange`, against values worked out otherwise."""

import importlib
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("reproduce_exchange")


@pytest.fixture
def walk() -> np.ndarray:
    return 5 + 0.1 * np.random.default_rng(0).normal(size=(1300, 8)).cumsum(0)


def test_crps_sum_of_a_point_is_its_absolute_error(exchange, walk):
    origins = [1100, 1130]

    def last(origin: int, seed: int) -> np.ndarray:
        return np.broadcast_to(walk[origin - 1], (7, 30, 8))

    error = sum(np.abs(walk[o : o + 30].sum(1) - walk[o - 1].sum()).sum() for o in origins)
    size = sum(np.abs(walk[o : o + 30].sum(1)).sum() for o in origins)
    assert exchange.crps_sum(walk, origins, last, 0) == pytest.approx(error / size)


def test_crps_sum_weighs_quantiles_one_by_one(exchange, walk):
    paths = exchange.random_walk(walk)
    drawn = np.sort(paths(1100, 3).sum(-1), axis=0)
    loss, size = [], 0.0
    for level in np.linspace(0.05, 0.95, 19):
        total = 0.0
        for t in range(30):
            y, f = walk[1100 + t].sum(), np.quantile(drawn[:, t], level)
            total += 2 * ((f - y) * (1 - level) if y <= f else (y - f) * level)
        loss.append(total)
    size = np.abs(walk[1100:1130].sum(1)).sum()
    assert exchange.crps_sum(walk, [1100], paths, 3) == pytest.approx(np.mean(loss) / size)


def test_the_random_walk_has_the_recent_covariance_and_no_drift(exchange, walk):
    paths = exchange.random_walk(walk)(1100, 0)
    assert paths.shape == (500, 30, 8)
    steps = np.diff(np.concatenate([np.broadcast_to(walk[1099], (500, 1, 8)), paths], 1), axis=1)
    flat = steps.reshape(-1, 8)
    assert np.abs(flat.mean(0) / flat.std(0)).max() * np.sqrt(len(flat)) < 4
    assert flat.std() == pytest.approx(np.diff(walk[99:1100], axis=0).std(), rel=0.02)
    changed = walk.copy()
    changed[1100:] = 0  # nothing after the origin is looked at
    np.testing.assert_array_equal(exchange.random_walk(changed)(1100, 0), paths)
