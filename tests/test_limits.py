"""How far sampled paths may go: what limits cost where the model is right, and that they hold where
it is wrong."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from cases import model

from seqlatent.api import CLASSES
from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.models.base import SequenceModel
from seqlatent.nn.limits import widening
from seqlatent.nn.scaling import Scaler
from seqlatent.tasks.forecasting import forecast

SEEN, AHEAD = 100, 100
CHAINS = ("running", "increments", "seasonal", "running+increments", "log+running+increments")

Values = Callable[[np.random.Generator, int], np.ndarray]


def stationary(rng: np.random.Generator, num: int) -> np.ndarray:
    x = rng.normal(size=(num, SEEN + AHEAD))
    for t in range(1, x.shape[1]):
        x[:, t] += 0.8 * x[:, t - 1]
    return x


def walk(rng: np.random.Generator, num: int) -> np.ndarray:
    return rng.normal(size=(num, SEEN + AHEAD)).cumsum(1)


def heavy_walk(rng: np.random.Generator, num: int) -> np.ndarray:
    return rng.standard_t(3, (num, SEEN + AHEAD)).cumsum(1)


def trend(rng: np.random.Generator, num: int) -> np.ndarray:
    return 50 + np.arange(SEEN + AHEAD) + rng.normal(size=(num, SEEN + AHEAD))


def growth(rng: np.random.Generator, num: int) -> np.ndarray:
    return np.exp(trend(rng, num) / 20)


def share_beyond(chain: str, values: Values, num: int, times: int) -> float:
    """The share of what truly came that the limits would have cut from right forecasts."""
    rng, beyond, count = np.random.default_rng(0), 0, 0
    for _ in range(times):
        x = values(rng, num)
        seen = SequenceDataset.from_arrays(x[:, :SEEN])
        scaler = Scaler(DataDescription.of(seen, 1), chain)
        memory = scaler.scan(collate(seen.sequences))[1]
        for step in torch.from_numpy(x[:, SEEN:, None, None]).unbind(1):
            g = scaler.to_scale(step)
            beyond += int((scaler.limits.keep(g, memory) != g).sum())
            memory, count = scaler.after(memory, step), count + num
    return beyond / count


@pytest.mark.parametrize("values", [stationary, walk, trend, growth])
def test_what_limits_cost_many_series(values: Values):
    chain = "log+running+increments" if values is growth else "running+increments"
    assert share_beyond(chain, values, 20, 5) == 0  # of 10,000 values


@pytest.mark.parametrize(
    "values", [walk, *(pytest.param(v, marks=pytest.mark.slow) for v in (stationary, trend))]
)
def test_what_limits_cost_a_single_series(values: Values):
    assert share_beyond("increments", values, 1, 100) <= 1e-4  # of 10,000 values


def test_what_limits_cost_heavy_tails():
    assert share_beyond("increments", heavy_walk, 1, 100) < 4e-3


# -- paths ----------------------------------------------------------------------------------------


def histories(chain: str, outlier: str) -> tuple[SequenceDataset, SequenceDataset]:
    """Stationary series of different levels, their exponentials for chains of logarithms; and the
    same series with an outlier of 50 standard deviations."""
    rng = np.random.default_rng(0)
    x = 3 + rng.normal(size=(12, 1)) + 0.05 * stationary(rng, 12)[:, :SEEN]
    far = x.copy()
    if outlier != "none":
        far[:, SEEN // 2 if outlier == "middle" else -1] += 50 * x.std(1).mean()
    if chain.startswith("log"):
        x, far = np.exp(x), np.exp(far)
    return SequenceDataset.from_arrays(x), SequenceDataset.from_arrays(far)


def distances(m: SequenceModel, data: SequenceDataset, far: SequenceDataset) -> np.ndarray:
    """Of paths from the series' mean, in standard deviations of the training series, on the scale
    of the chain."""

    def to_scale(x: np.ndarray) -> np.ndarray:
        return m.scaler.to_scale(torch.from_numpy(x)).numpy()

    levels = np.stack([to_scale(s.x).mean(0) for s in data])[:, None, None]
    sd = np.mean([to_scale(s.x).std() for s in data])
    paths = forecast(m, far, AHEAD, num_samples=20).samples
    return np.abs(to_scale(paths) - levels) / sd


@pytest.mark.parametrize(
    ("chain", "outlier"),
    # Everything about one chain, the others with one outlier, or they are `slow`.
    [
        pytest.param(
            chain, outlier, marks=[pytest.mark.slow] * (chain != CHAINS[-1] and outlier != "middle")
        )
        for chain in CHAINS
        for outlier in ("none", "middle", "last")
    ],
)
def test_no_path_runs_away_however_wrong_the_model(chain: str, outlier: str):
    """Every step of this model goes three scales up. The room is some 14 standard deviations within
    a series, the root of 2 more by the end of the paths, and up to twice that with `running`."""
    data, far = histories(chain, outlier)
    m = model("rnn", data=data, scaling=chain, season=4)
    for p in m.head.parameters():
        p.data.add_(3.0)
    found = distances(m, data, far)
    assert found.max() < (40 if "running" in chain else 23)
    assert np.median(found[:, :, -1]) > 15  # it is the limit that holds them


@pytest.mark.parametrize(
    "chain", ["running", "increments", pytest.param("log+running", marks=pytest.mark.slow)]
)
def test_paths_of_a_fitted_model_are_as_wide_as_the_data(chain: str):
    data, far = histories(chain, "middle")
    m = CLASSES["rnn"](hidden_dim=8, scaling=chain).fit(data, max_steps=50, eval_every=50).module
    for given in (data, far):
        found = distances(m, data, given)
        assert np.quantile(found, 0.99) < 6 and found.max() < 13


def test_a_series_far_from_the_training_data_has_its_own_room():
    data, _ = histories("log", "none")
    m = model("rnn", data=data, scaling="log+running+increments")
    far = SequenceDataset.from_list([1e6 * s.x for s in data])
    last = np.stack([s.x[-1] for s in far])
    ratio = forecast(m, far, 1, num_samples=50).samples[:, :, 0] / last[:, None]  # (N, S, D)
    assert 0.7 < np.median(ratio) < 1.4


def test_limits_do_not_move_with_the_path():
    """A path that stays at its upper limit is at the same place after more steps, but for the age
    that the limit grows with."""
    data, _ = histories("increments", "none")
    scaler = Scaler(DataDescription.of(data, 1), "increments")
    memory = begun = scaler.scan(collate(data.sequences))[1]
    for _ in range(49):
        memory = scaler.inverse(torch.full((12, 1, 1), 1e9), memory, bounded=True)[1]
    x, memory = scaler.inverse(torch.full((12, 1, 1), 1e9), memory, bounded=True)
    top = begun.centre + begun.room * np.sqrt((SEEN + 49) / SEEN)
    torch.testing.assert_close(x, top)
    torch.testing.assert_close(memory.centre, begun.centre)


# -- paths from nothing ---------------------------------------------------------------------------


def test_new_series_with_heavy_tails_stay_in_the_widened_range():
    """After 50 series of 20 steps of a Student-t of 3 degrees of freedom, fewer than one new one in
    1,000 leaves: ten times what is meant, as the range itself is a matter of chance."""
    rng, left, num, times = np.random.default_rng(0), 0, 50, 100
    for _ in range(times):
        seen = rng.standard_t(3, (num, 20, 1))
        scaler = Scaler(DataDescription.of(SequenceDataset.from_arrays(seen), 1), "global")
        memory = scaler.begin(100)
        new = torch.from_numpy(rng.standard_t(3, (100, 20)).astype(np.float64))
        farthest = new.gather(1, new.abs().argmax(1, keepdim=True))[..., None]
        left += int((scaler.limits.keep(farthest, memory) != farthest).sum())
    assert left < 1e-3 * 100 * times


@pytest.mark.parametrize("chain", ["global", "log+running+increments"])
def test_the_more_series_the_closer_new_ones_keep_to_their_range(chain: str):
    x = np.exp(np.random.default_rng(0).normal(size=(4000, 5, 1)))
    data = SequenceDataset.from_arrays(x)
    scaler = Scaler(DataDescription.of(data, 1), chain)
    y, _ = scaler.inverse(torch.full((1, 1, 1), 1e9), scaler.begin(), bounded=True)
    high, low = x.max(), x.min()
    top = (high + low) / 2 + widening(4000) * (high - low) / 2
    assert float(y) == pytest.approx(top, rel=1e-6)
    assert 1.3 < widening(4000) < 1.4 and widening(20_000) == 1.0


# -- paths from a few values ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "read"),
    # Of every kind after one value; later a walk alone, and the others are `slow`.
    [
        pytest.param(v, read, marks=[pytest.mark.slow] * (read > 1 and v is not walk))
        for v in (stationary, walk, heavy_walk, trend, growth)
        for read in (1, 10, 50)
    ],
)
def test_what_limits_cost_young_series(values: Values, read: int):
    """New series like 20 of training, continued to the same length: of 10,000 or more values, no
    more are cut than of long histories."""
    chain = "log+running+increments" if values is growth else "increments"
    rng, beyond, count = np.random.default_rng(0), 0, 0
    for _ in range(10):
        x, new = (values(rng, 20)[:, :SEEN] for _ in range(2))
        scaler = Scaler(DataDescription.of(SequenceDataset.from_arrays(x), 1), chain)
        memory = scaler.scan(collate(SequenceDataset.from_arrays(new[:, :read]).sequences))[1]
        for step in torch.from_numpy(new[:, read:, None, None]).unbind(1):
            g = scaler.to_scale(step)
            beyond += int((scaler.limits.keep(g, memory) != g).sum())
            memory, count = scaler.after(memory, step), count + 20
    assert beyond / count <= 1e-4


def heavy_levels(num: int = 1000, length: int = 20) -> np.ndarray:
    """(N, T) positive values that change by factors with heavy tails, as traded volumes do."""
    rng = np.random.default_rng(0)
    g, changes = rng.normal(size=(num, length)), 0.5 * rng.standard_t(5, (num, length))
    for t in range(1, length):
        g[:, t] = 0.7 * g[:, t - 1] + changes[:, t]
    return np.exp(g)


def test_paths_from_one_value_keep_near_what_training_knows():
    """On a logarithmic scale the room alone let a path go to 377 times all values."""
    x = heavy_levels()
    fit = CLASSES["rnn"](hidden_dim=8, scaling="log+running+increments", emission="mixture")
    m = fit.fit(SequenceDataset.from_arrays(x), max_steps=30, eval_every=30).module
    paths = forecast(m, SequenceDataset.from_arrays(x[:200, :1]), 19, num_samples=20).samples
    factor, ranges = widening(len(x)), x.max(1) - x.min(1)
    widened = (x.max() + x.min()) / 2 + factor * (x.max() - x.min()) / 2
    most = max(widened, x[:200, 0].max() + factor * ranges.max())
    assert paths.max() < 1.5 * most  # one step of 20 on the way to the series' own room
    assert (paths > x.max()).mean() < 0.01


def test_a_series_goes_over_to_its_own_past():
    """After one value the upper end is near what training knows, later nearer the room alone, and
    there, bit for bit, with as many steps as training series had."""
    x = heavy_levels()
    scaler = Scaler(DataDescription.of(SequenceDataset.from_arrays(x), 1), "log+increments")
    limits, tops = scaler.limits, []
    for read in (1, 10, 20):
        memory = scaler.scan(collate(SequenceDataset.from_arrays(x[:, :read]).sequences))[1]
        tops.append((memory.centre + memory.room).mean())
    assert tops[0] < tops[1] - 0.5 < tops[2] - 1.0
    assert torch.equal(memory.room, limits.reach.expand_as(memory.room))
    assert torch.equal(memory.centre, memory.level / memory.weight)


def test_a_young_series_beyond_the_training_data_moves_by_its_own_size():
    x = heavy_levels()
    scaler = Scaler(DataDescription.of(SequenceDataset.from_arrays(x), 1), "log+increments")
    far = torch.full((1, 1, 1), 3 * x.max(), dtype=torch.float64)
    memory = scaler.limits.begin(scaler.after(scaler.begin(), far))
    top, _ = scaler.inverse(torch.full((1, 1, 1), 1e9), memory, bounded=True)
    widest = widening(len(x)) * (x.max(1) - x.min(1)).max() / x.max()
    assert 1 + widest <= float(top / far) < 2 * (1 + widest)


# -- values that stop at one ----------------------------------------------------------------------


def rain(num: int = 20, length: int = 50) -> np.ndarray:
    """(N, T, 2): amounts of rain, half of them 0, and shares of light, many of them 100 %."""
    rng = np.random.default_rng(0)
    amount = np.maximum(0.0, rng.normal(size=(num, length))) * 3.7
    light = np.minimum(100.0, 90 + 10 * rng.normal(size=(num, length)))
    return np.stack([amount, light], -1)


@pytest.mark.parametrize("chain", ["global", "running+increments", "log+running+increments"])
def test_paths_stop_where_the_data_stop(chain: str):
    x = rain()
    data = SequenceDataset.from_arrays(x)
    m = model("rnn", data=data, scaling=chain, emission="normal")
    for h in (data, SequenceDataset.from_arrays(x[:2, :1])):
        paths = forecast(m, h, 5, num_samples=50).samples
        assert paths[..., 0].min() == 0 and (paths[..., 0] == 0).mean() > 0.1
        assert paths[..., 1].max() == pytest.approx(100, rel=1e-12)
        assert paths[..., 0].max() > 1 and paths[..., 1].min() < 90


@pytest.mark.parametrize("chain", ["running+increments", "log+running+increments"])
def test_paths_go_on_where_the_level_of_a_series_is_beyond_the_end(chain: str):
    """A series that has always been at the end stops there; one that is beyond does not."""
    x = rain()
    m = model("rnn", data=SequenceDataset.from_arrays(x), scaling=chain, emission="normal")
    at_end = np.full((1, 50, 2), [0.0, 100.0])
    beyond = at_end + np.random.default_rng(0).normal(size=(1, 50, 2)) + [0.0, 30.0]
    for history, stops in ((at_end, True), (beyond, False)):
        paths = forecast(m, SequenceDataset.from_arrays(history), 5, num_samples=50).samples
        assert bool(paths[..., 1].max() < 100 + 1e-9) == stops


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        (rain()[..., 0], True, False),
        (rain()[..., 1], False, True),
        (np.round(stationary(np.random.default_rng(0), 20), 1), False, False),  # on a grid
        (np.round(stationary(np.random.default_rng(0), 20)), False, False),
        (stationary(np.random.default_rng(0), 20), False, False),
        (np.tile([0.0, 1.0, 1.0, 1.0], (5, 10)), False, False),  # labels
        (np.where(np.arange(100) < 9, 0.0, np.arange(100))[None], False, False),  # too few
        (np.where(np.arange(100) < 11, 0.0, np.arange(100))[None], True, False),
    ],
)
def test_where_data_stop(values: np.ndarray, low: bool, high: bool):
    (found,) = DataDescription.of(SequenceDataset.from_arrays(values), 1).channels
    assert (found.stops_low, found.stops_high) == (low, high)


def test_some_of_the_data_stop_but_others_go_beyond(monkeypatch: pytest.MonkeyPatch):
    """Of large data sets, some series are looked at, and ranges are those of all."""
    monkeypatch.setattr("seqlatent.data.description.MOST_STEPS", 500)
    values = rain()[..., :1]
    for lowest, stops in ((0.0, True), (-3.0, False)):
        for i in range(len(values)):  # whichever are looked at, one that is not goes beyond
            changed = values.copy()
            changed[i, 0] = lowest
            (found,) = DataDescription.of(SequenceDataset.from_arrays(changed), 1).channels
            assert found.minimum == lowest and found.stops_low == stops
