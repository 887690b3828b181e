"""Every chain of scaling, with every kind of model: a causal, invertible part of the density.

The laws of `test_laws_models.py` hold for scaling=global; here they are held to for the others.
"""

import math

import numpy as np
import pytest
import torch
from cases import dataset, example, model

from seqlatent.api import RNN, Latent, LinearGaussian
from seqlatent.data.batch import SequenceBatch, collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.sequence import Sequence
from seqlatent.data.splits import windows
from seqlatent.errors import InputError
from seqlatent.inference.protocols import ExactDensity, InvertibleLatents
from seqlatent.models.base import SequenceModel
from seqlatent.nn.memory import discounted
from seqlatent.nn.prepared import prepare
from seqlatent.nn.scaling import Scaler
from seqlatent.tasks.forecasting import forecast
from seqlatent.tasks.imputing import impute
from seqlatent.tasks.scoring import score

CHAINS = (
    "log+global",
    "running",
    "increments",
    "seasonal",
    "log+running",
    "log+running+increments",
    "log+running+seasonal",
)
NAMES = ("rnn", "linear-gaussian", "flow", "flow-latents", "latent-all")  # one of each kind
GRID = {"flow": 121, "latent": 41}  # splines have kinks; estimates cost
SEASON = 3
every_chain = pytest.mark.parametrize("chain", CHAINS)
every_model = pytest.mark.parametrize("name", NAMES)


def series(num: int = 6, steps: int = 9, channels: int = 1, seed: int = 0) -> SequenceDataset:
    """Random walks of different levels and sizes, with a season, far above zero."""
    rng = np.random.default_rng(seed)
    level = np.exp(rng.normal(3, 0.5, (num, 1, channels)))
    season = 1 + 0.2 * np.sin(2 * np.pi * np.arange(steps) / SEASON)[None, :, None]
    x = level * season * np.exp(0.1 * rng.normal(size=(num, steps, channels)).cumsum(1))
    return SequenceDataset.from_list([x[i, : steps - i % 3] for i in range(num)])


def with_gaps(data: SequenceDataset, seed: int = 1) -> SequenceDataset:
    rng = np.random.default_rng(seed)
    return SequenceDataset.from_list(
        [np.where(rng.random(s.x.shape) < 0.3, np.nan, s.x) for s in data]
    )


def scaler(chain: str, data: SequenceDataset, lags: tuple[int, ...] = (2,)) -> Scaler:
    return Scaler(DataDescription.of(data, SEASON), chain, lags=lags)


def built(name: str, chain: str, data: SequenceDataset | None = None) -> SequenceModel:
    return model(name, data=data or series(), scaling=chain, season=SEASON)


# -- the scaler alone -----------------------------------------------------------------------------


@every_chain
def test_all_steps_at_once_are_the_steps_one_by_one(chain: str):
    data = with_gaps(series(channels=2, steps=90))
    s = scaler(chain, data)
    for sequence in data:
        whole, end = s.scan(collate([sequence]))
        memory, steps = s.begin(), []
        for x in torch.from_numpy(sequence.x)[:, None, None].unbind(0):
            steps.append(s.next(memory))
            memory = s.after(memory, x)
        for a, b in zip(
            whole, map(torch.cat, zip(*steps, strict=True), [1] * len(whole)), strict=True
        ):
            torch.testing.assert_close(a.expand_as(b), b, rtol=1e-10, atol=1e-10)
        for a, b in zip(s.next(end), s.next(memory), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def cut(s: Sequence) -> list[Sequence]:
    return [s.slice(*bounds) for bounds in windows(len(s), s.context, 8, 4, offset=3)]


@every_chain
def test_a_piece_is_scaled_as_its_series_is(chain: str):
    data = with_gaps(series(num=3, steps=40))
    s = scaler(chain, data)
    for sequence in data:
        whole = [part[0] for part in s.scan(collate([sequence]))[0]]
        pieces = cut(sequence)
        for piece in (*pieces, pieces[1].slice(2, 6)):
            at = slice(np.searchsorted(sequence.ds, piece.ds[0]), None)
            for a, b in zip(s.scan(collate([piece]))[0], whole, strict=True):
                torch.testing.assert_close(a[0], b[at][: len(piece)], rtol=1e-10, atol=1e-10)
    # What is computed once for all sequences together is the same.
    pieces = [p for sequence in data for p in cut(sequence)]
    for piece, ready in zip(pieces, prepare(s, pieces), strict=True):
        for a, b in zip(s(collate([ready])), s.scan(collate([piece]))[0], strict=True):
            torch.testing.assert_close(a.expand_as(b), b, rtol=1e-10, atol=1e-10)


@every_chain
def test_scaling_sees_the_past_alone(chain: str):
    s = scaler(chain, series())
    x = torch.from_numpy(series(num=1, steps=9).sequences[0].x)[None]

    def parts(x: torch.Tensor) -> torch.Tensor:
        batch = batch_of(x)
        return torch.cat(s.scan(batch)[0], -1)[0]

    jacobian = torch.autograd.functional.jacobian(parts, x)[:, :, 0, :, 0]  # (T, parts, T)
    for t in range(9):
        assert (jacobian[t, :, t:] == 0).all()
    if s.moving:
        assert (jacobian[8, :, :8] != 0).any()


def batch_of(x: torch.Tensor) -> SequenceBatch:
    B, T, D = x.shape
    return SequenceBatch(
        x,
        torch.ones(B, T, D, dtype=torch.bool),
        torch.full((B,), T),
        torch.zeros(B, dtype=torch.int64),
        torch.zeros(B, T, 0, dtype=torch.float64),
        x[:, :0],
        torch.zeros(B, dtype=torch.int64),
    )


@every_chain
def test_its_determinant_and_inverse(chain: str):
    """By autograd: y_t depends on x_t as log_scale says; and the inverse leads back."""
    s = scaler(chain, series(channels=2))
    x = torch.from_numpy(series(num=1, channels=2, steps=9, seed=3).sequences[0].x)[None]

    def forward(x: torch.Tensor) -> torch.Tensor:
        batch = batch_of(x)
        return s.scale_values(batch.x, s.scan(batch)[0], torch.double)

    jacobian = torch.autograd.functional.jacobian(forward, x).reshape(18, 18)
    expected = -torch.linalg.slogdet(jacobian).logabsdet
    batch = batch_of(x)
    scaled = s.scan(batch)[0]
    torch.testing.assert_close(s.log_scale(batch, scaled, torch.double).sum(), expected)
    y = forward(x)
    back, end = s.inverse(y[:, 4:], s.scan(batch_of(x[:, :4]))[1])
    torch.testing.assert_close(back, x[:, 4:], rtol=1e-10, atol=1e-10)
    for a, b in zip(s.next(end), s.next(s.scan(batch)[1]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_logarithms_have_a_place_for_zeros_and_negative_values():
    data = SequenceDataset.from_arrays(np.array([[0.0, 5.0, -3.0, 800.0, 0.0, 90.0, 2.0, 1e4]]))
    s = scaler("log+global", data)
    x = torch.tensor([-1e6, -1.0, 0.0, 1e-3, 7.0, 1e9], dtype=torch.double)[:, None]
    g = s.to_scale(x)
    torch.testing.assert_close(s.from_scale(g), x)
    assert (g.diff(dim=0) > 0).all()
    slope = torch.autograd.functional.jacobian(lambda x: s.to_scale(x).sum(), x)
    torch.testing.assert_close(s.log_slope(x), slope.log())


def test_values_far_apart_are_of_like_size_once_scaled():
    """Series whose levels differ by factors of thousands, as collections' do."""
    rng = np.random.default_rng(0)
    x = np.exp(rng.normal(5, 3, (40, 1)) + 0.1 * rng.normal(size=(40, 60)).cumsum(1))
    data = SequenceDataset.from_arrays(x)
    s = scaler("log+running+increments", data)
    y = torch.cat([s.scale_values(b.x, s(b)) for b in [collate(data.sequences)]])
    own = y[:, 5:, 0].std(1)
    assert own.min() > 0.6 and own.max() < 1.6


def test_discounted_sums():
    v = torch.randn(2, 150, 3, dtype=torch.double, generator=torch.Generator().manual_seed(0))
    (found,) = discounted([v], 0.9)
    total, expected = torch.zeros(2, 3, dtype=torch.double), []
    for step in v.unbind(1):
        total = 0.9 * total + step
        expected.append(total)
    torch.testing.assert_close(found, torch.stack(expected, 1))


def test_one_outlier_does_not_spoil_the_scale():
    data = series(num=8, steps=60)
    s = scaler("running+increments", data)
    x = data.sequences[0].x.copy()
    x[20] += 1e9
    scale = s.scan(collate([Sequence("a", np.arange(len(x)), x, np.zeros((len(x), 0)))]))[0].scale
    usual = s.scan(collate([data.sequences[0]]))[0].scale
    assert float(scale[0, -1, 0] / usual[0, -1, 0]) < 3


@pytest.mark.parametrize(
    ("chain", "sentence"),
    [
        ("lag", "there is no 'lag'"),
        ("increment", "did you mean 'increments'"),
        ("increments+seasonal", "do not go together"),
        ("global+running", "do not go together"),
        ("none+log", "do not go together"),
        ("log+log", "do not go together"),
        ("seasonal", "give its length in steps"),
    ],
)
def test_chains_that_are_refused(chain: str, sentence: str):
    with pytest.raises(InputError, match=sentence):
        RNN(scaling=chain, season=1).fit(series(12), max_steps=1)


# -- models ---------------------------------------------------------------------------------------


@every_chain
@every_model
def test_mass_given_the_past(name: str, chain: str):
    m = built(name, chain)
    last = 20.0
    width = 60 if "running" in chain or "log" in chain else 30
    points = last + np.linspace(-1, 1, 2 * GRID.get(m.family, 61) + 1) * width
    if "log" in chain:
        points = last * np.exp(np.linspace(-3, 3, 2 * GRID.get(m.family, 61) + 1))
    history = np.array([18.0, 21.0, 23.0, 19.0, last])
    x = np.concatenate([np.broadcast_to(history, (len(points), 5)), points[:, None]], 1)
    steps = score(m, SequenceDataset.from_arrays(x), num_particles=16)[1]
    log_prob = steps["log_prob"].to_numpy().reshape(len(points), 6)[:, -1]
    total = np.trapezoid(np.exp(log_prob), points)
    assert total == pytest.approx(1, abs=0.02 if isinstance(m, ExactDensity) else 0.1)


@every_chain
@every_model
def test_a_forecast_is_drawn_from_the_predictive_distribution(name: str, chain: str):
    """One step ahead: the share of paths below a value against the density's integral."""
    m = built(name, chain)
    history = np.array([18.0, 21.0, 23.0, 19.0, 20.0])
    points = 20 + np.linspace(-1, 1, 2 * GRID.get(m.family, 61) + 1) * 60
    if "log" in chain:
        points = 20 * np.exp(np.linspace(-3, 3, 2 * GRID.get(m.family, 61) + 1))
    x = np.concatenate([np.broadcast_to(history, (len(points), 5)), points[:, None]], 1)
    steps = score(m, SequenceDataset.from_arrays(x), num_particles=16)[1]
    density = np.exp(steps["log_prob"].to_numpy().reshape(len(points), 6)[:, -1])
    data = SequenceDataset.from_list([history[:, None]])
    drawn = forecast(m, data, 1, num_samples=4000)[0].samples[:, 0, 0]
    area = np.concatenate([[0], np.cumsum(np.diff(points) * (density[1:] + density[:-1]) / 2)])
    for share in (0.2, 0.5, 0.8):
        at = np.interp(share * area[-1], area, points)
        found = (drawn < at).mean()
        assert abs(found - share) < 4 * math.sqrt(0.25 / 4000) + 0.03


@every_chain
@every_model
def test_chunks_equal_the_whole(name: str, chain: str, monkeypatch: pytest.MonkeyPatch):
    m, data = built(name, chain), series()
    whole = score(m, data, num_particles=3)[0]
    paths = forecast(m, data, 4, num_samples=5)
    monkeypatch.setattr("seqlatent.inference.likelihood.CHUNK", 2)
    monkeypatch.setattr("seqlatent.inference.paths.CHUNK", 2)
    if isinstance(m, ExactDensity):
        chunked = score(m, data, num_particles=3)[0]
        np.testing.assert_allclose(chunked["log_prob"], whole["log_prob"], rtol=0, atol=1e-4)
    again = forecast(m, data, 4, num_samples=5)
    for a, b in zip(again, paths, strict=True):
        np.testing.assert_allclose(a.samples, b.samples, rtol=1e-4)


@every_chain
@pytest.mark.parametrize("name", [n for n in NAMES if isinstance(example(n), InvertibleLatents)])
def test_latents_are_inverted(name: str, chain: str, precise: None):
    data = series(num=3, channels=2)
    m = built(name, chain, data)
    assert isinstance(m, InvertibleLatents)
    batch = collate([s.slice(0, 7) for s in data])
    first = batch.steps(0, 3)
    with torch.no_grad():
        _, after = m.encode(first)
        z, _ = m.encode(batch.steps(3, 7), after)
        start = after._replace(memory=m.remember(first))
        x, end = m.decode(z, batch.covariates[:, 3:], start)
    torch.testing.assert_close(x, batch.x[:, 3:], rtol=1e-4, atol=1e-4)
    for a, b in zip(m.scaler.next(end.memory), m.scaler.next(m.remember(batch)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


@every_chain
@every_model
def test_gaps_are_read_and_gradients_are_finite(name: str, chain: str):
    data = series(channels=2)
    if name != "flow-latents":  # its latents need every value
        data = with_gaps(data)
    m = built(name, chain, series(channels=2))
    m.loss(collate(data.sequences)).backward()
    assert all(torch.isfinite(p.grad).all() for p in m.parameters() if p.grad is not None)
    assert np.isfinite(score(m, data, num_particles=3)[0]["log_prob"]).all()


@pytest.mark.parametrize(
    "chain", ["increments", pytest.param("log+running+increments", marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", ["rnn", pytest.param("latent", marks=pytest.mark.slow)])
def test_a_missing_value_between_two_is_near_them(name: str, chain: str):
    """A random walk's gap, imputed: the paths on both sides meet (the exact answer is a bridge)."""
    rng = np.random.default_rng(0)
    x = 300 + (0.5 * rng.normal(size=(40, 30))).cumsum(1)
    sizes = {"hidden_dim": 8, "emission": "normal", "scaling": chain}
    m = RNN(**sizes) if name == "rnn" else Latent(latent_dim=1, **sizes)
    m.fit(SequenceDataset.from_arrays(x), max_steps=200)
    hidden = x[:1].copy()
    hidden[0, 14] = np.nan
    found = impute(m.module, SequenceDataset.from_arrays(hidden), num_samples=400)
    middle = found.series[0].samples[:, 0]
    assert abs(middle.mean() - (x[0, 13] + x[0, 15]) / 2) < 0.15
    assert 0.25 < middle.std() < 0.5  # the bridge's is 0.5 / sqrt(2) = 0.354


def test_the_smoother_does_not_scale_by_missing_values():
    m = built("linear-gaussian", "increments")
    with pytest.raises(InputError, match=r"scaling=increments.*fit one with scaling=global"):
        impute(m, with_gaps(series(steps=20)))


def test_a_random_walk_s_own_likelihood_is_reached():
    """Regret against the truth, N(x_{t-1}, 0.5^2), where a model of the level cannot go."""

    def walks(seed: int) -> SequenceDataset:
        rng = np.random.default_rng(seed)
        x = 300 + 40 * rng.normal(size=(100, 1)) + 0.5 * rng.normal(size=(100, 50)).cumsum(1)
        return SequenceDataset.from_arrays(x)

    test = walks(1)
    m = LinearGaussian(latent_dim=1, scaling="increments", context_length=1)
    m.fit(walks(0), max_steps=150)
    steps = np.diff(np.stack([s.x[:, 0] for s in test]), axis=1)
    truth = -0.5 * (steps / 0.5) ** 2 - np.log(0.5) - 0.5 * np.log(2 * np.pi)
    regret = truth.sum(1) - m.log_prob(test)["log_prob"].to_numpy()
    assert regret.mean() / 49 < 0.003 + 4 * regret.std() / 10 / 49


def test_counts_and_labels_are_never_scaled():
    for kind, emission in (("count", "poisson"), ("category", "categorical")):
        with pytest.raises(InputError, match=r"scaling=running is for real values"):
            model("rnn", emission, dataset(kind, num=12), scaling="running")
    counts = model("rnn", "poisson", dataset("count", num=12)).scaler
    assert not counts.moving and float(counts.scale) == 1.0
    assert counts.num_features > 0  # but networks see their level
    assert model("rnn", "categorical", dataset("category", num=12)).scaler.num_features == 0


@pytest.mark.parametrize("name", ["rnn", "flow", "latent", "mixture"])
def test_paths_do_not_run_away(name: str):
    """A model whose every step multiplies the value: paths stay within the limits of the scaler,
    however long they are (`test_limits.py` has those of every chain)."""
    data = series(steps=60)
    m = built(name, "log+running+increments", data)
    for part in m.parts or [m]:
        for p in part.head.parameters() if hasattr(part, "head") else part.parameters():
            p.data.add_(3.0)
    paths = forecast(m, data, 100, num_samples=20).samples
    c = (m.parts or [m])[0].scaler.offset.numpy()
    logs = [np.arcsinh(s.x / (2 * c)) for s in data]
    levels = np.stack([x.mean(0) for x in logs])[:, None, None]
    widest = max(float(np.ptp(x)) for x in logs)
    assert (np.abs(np.arcsinh(paths / (2 * c)) - levels) < 8 * widest).all()


@every_chain
def test_missing_values_have_no_determinant(chain: str):
    """In units a thousand times smaller, the density falls by log 1000 for each observed value."""
    data = with_gaps(series(channels=2, steps=9))
    batch = collate(data.sequences)
    small = SequenceDataset.from_list([1000 * s.x for s in data])
    ours, theirs = scaler(chain, data), scaler(chain, small)
    finer = collate(small.sequences)
    change = theirs.log_scale(finer, theirs(finer)) - ours.log_scale(batch, ours(batch))
    assert (~batch.observed).any()
    expected = math.log(1000) * batch.observed.sum(-1)
    if chain == "none":
        expected = 0.0 * expected
    torch.testing.assert_close(change, expected.to(change), rtol=0, atol=2e-4)
