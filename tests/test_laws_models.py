"""Laws that hold for every model, whatever its kind of likelihood.

For models whose density is estimated, the laws are tested on log-weights with fixed noise, or on
estimates with their standard errors.
"""

import dataclasses

import numpy as np
import pytest
import torch
from cases import (
    EMISSIONS,
    MODELS,
    UNSCORED,
    dataset,
    emissions,
    example,
    first_quick,
    model,
    without_gradient,
)
from drawing import history_may_be_cut, saved_and_loaded, seeds_decide
from torch.autograd.functional import jacobian

from seqlatent.api import CLASSES
from seqlatent.data.batch import SequenceBatch, collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.sequence import Sequence
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.errors import InputError
from seqlatent.inference.bounds import joint_importance, per_step_importance
from seqlatent.inference.estimating import estimate
from seqlatent.inference.paths import sample_paths
from seqlatent.inference.protocols import Density, ModelState
from seqlatent.models.base import SequenceModel
from seqlatent.models.registry import MODELS as REGISTRY
from seqlatent.options import make
from seqlatent.tasks.forecasting import forecast
from seqlatent.tasks.scoring import score
from seqlatent.training.fitting import fit
from seqlatent.training.options import TrainingOptions

NAMES = sorted(MODELS)
FIRST = {case.values[0] for case in first_quick(NAMES) if not case.marks}  # of each family
# Of laws that hold for a variant if they do for the first of its family; basic ones are tested of
# all models: causality, padding, gradients, files and seeds.
ONE_OF_EACH = first_quick(NAMES)
REFUSE_MISSING = ["flow-latents", "flow-learned"]  # they condition on latents
REFUSE_PARTLY_MISSING = [
    "flow-coupling",
    "diffusion",
    "diffusion-cnn",
    "diffusion-blocks",
]  # all channels of a step are needed, or none
COMPUTED = [n for n in NAMES if isinstance(example(n), Density)]
# The other cases differ from one of these only in their training or their guide.
DENSITIES = [
    n for n in NAMES if n not in ("latent-elbo", "vrnn-fivo", "vrnn-ancestral", "latent-ancestral")
]


def log_prob(
    m: SequenceModel, batch: SequenceBatch, state: ModelState | None = None, particles: int = 3
) -> torch.Tensor:
    """(B, T) computed log-probabilities, or estimates with fixed noise."""
    if isinstance(m, Density):
        return m.log_prob(batch, state)[0]
    fold = per_step_importance if m.factorises else joint_importance
    return fold(_weights(m, batch, particles)).log_prob


def _weights(m, batch: SequenceBatch, particles: int) -> torch.Tensor:
    """(K, B, T) log-weights with fixed noise, the same for a batch padded to any length."""
    steps = batch.x.shape[1]
    generator = torch.Generator().manual_seed(0)
    noise = [torch.randn(particles, 1, 1, m.latent_dim, generator=generator) for _ in range(steps)]
    eps = torch.cat(noise, 2).expand(-1, len(batch.x), -1, -1)
    reading = m.reading(batch)
    sample, _ = m.propose(reading, eps, branched=m.factorises)
    return torch.where(reading.inside, sample.log_weight, 0.0)


def one(x: np.ndarray, context: int = 0) -> SequenceBatch:
    x = np.asarray(x, dtype=float)
    return collate([Sequence("a", np.arange(len(x)), x, np.zeros((len(x), 0)), context)])


def test_every_registered_model_is_tested_and_has_a_class():
    tested = {family for family, _ in (*MODELS.values(), *UNSCORED.values())}
    assert tested == set(REGISTRY) == set(CLASSES)


@pytest.mark.parametrize("name", NAMES)
def test_causal(name: str):
    """log p(x_t | x_{<t}) depends on x_t and an earlier value, and not on x_{>t}."""
    m, batch = model(name), one(dataset(num=1, steps=6).sequences[0].x)

    def steps(x: torch.Tensor) -> torch.Tensor:
        changed = dataclasses.replace(batch, x=x)
        if name not in COMPUTED and m.options.smoothing:  # its guide sees the future
            return _given_latents(m, changed)
        return log_prob(m, changed)[0]

    size = jacobian(steps, batch.x)[:, 0, :, 0].abs()  # (t, s)
    assert (size.triu(1) == 0).all()
    assert (size.diagonal() > 0).all()
    if name not in COMPUTED and m.options.smoothing and m.options.history == "none":
        return  # earlier values enter through the posterior of the latents only
    assert (size.diagonal(-1) > 0).all()


def _given_latents(m, batch: SequenceBatch) -> torch.Tensor:
    """(T,) log p(x_t, z_t | x_{<t}, z_{<t}) at latents that do not depend on x."""
    r = m.reading(batch)
    z = torch.randn(*r.y.shape[:2], m.latent_dim, generator=torch.Generator().manual_seed(0))
    prior, past, _ = m.prior(z, r.prior)
    emission = m._emission(r.emission, z, past, r.observed)
    log_prob = emission.log_prob(r.y) + prior.log_prob(z)
    return log_prob[0]


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        pytest.param(n, cut, marks=[pytest.mark.slow] * (n not in FIRST))
        for n in NAMES
        for cut in (1, 3, 6)
    ],
)
def test_chunks_equal_the_whole(
    name: str, cut: int, monkeypatch: pytest.MonkeyPatch, precise: None
):
    m, data = model(name), dataset(num=3, steps=9)
    whole, whole_steps = score(m, data, num_particles=16)
    for module in ("likelihood", "estimating"):
        monkeypatch.setattr(f"seqlatent.inference.{module}.CHUNK", cut)
    chunked, chunked_steps = score(m, data, num_particles=16)
    np.testing.assert_allclose(
        chunked_steps["log_prob"], whole_steps["log_prob"], rtol=0, atol=2e-5
    )
    np.testing.assert_allclose(chunked["log_prob"], whole["log_prob"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_a_score_does_not_depend_on_the_other_sequences(name: str, precise: None):
    """Alone, padded beside longer sequences, and in any order."""
    m, data = model(name), dataset(num=7, steps=9)

    def scores(places: list[int]) -> dict[str, float]:
        frame = score(m, data[places], num_particles=16)[0]
        assert list(frame["unique_id"]) == [str(i) for i in places]
        return dict(zip(frame["unique_id"], frame["log_prob"], strict=True))

    alone = {name: value for i in range(7) for name, value in scores([i]).items()}
    for order in ([0, 1, 2, 3, 4, 5, 6], [4, 2, 6, 0, 5, 1, 3]):
        assert scores(order) == pytest.approx(alone, abs=2e-5)


@pytest.mark.parametrize("name", NAMES)
def test_padding_changes_neither_loss_nor_gradient(name: str):
    m = model(name)
    x = dataset(num=1, steps=5).sequences[0].x
    short, batch = one(x), one(x)
    padded = SequenceBatch(
        torch.cat([batch.x, torch.full((1, 4, 1), 123.0, dtype=torch.float64)], 1),
        torch.cat([batch.observed, torch.zeros(1, 4, 1, dtype=torch.bool)], 1),
        batch.lengths,
        batch.context,
        torch.zeros(1, 9, 0, dtype=torch.float64),
        batch.past,
        batch.past_lengths,
    )
    gradients = []
    for b in (short, padded):
        m.zero_grad()
        value = log_prob(m, b, particles=1)[:, :5] if name in COMPUTED else _fixed_weights(m, b)
        (-value.sum()).backward()
        gradients.append([p.grad.clone() for p in m.parameters() if p.grad is not None])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    if name in COMPUTED:
        losses = []
        for b in (short, padded):
            torch.manual_seed(0)  # of a loss that has noise
            losses.append(m.loss(b).item())
        assert losses[0] == pytest.approx(losses[1], abs=1e-5)


def _fixed_weights(m, batch: SequenceBatch) -> torch.Tensor:
    weights = _weights(m, batch, 1)
    assert (weights[..., 5:] == 0).all()
    return weights[0, :, :5]


@pytest.mark.parametrize(
    ("name", "emission"),
    # A case that has an emission of its own is built with no other. With all of them: the first
    # case of each family; its variants with one, or they are `slow`.
    [
        pytest.param(n, e, marks=[pytest.mark.slow] * (n not in FIRST and i > 0))
        for n in NAMES
        for i, e in enumerate(
            e for e in sorted(emissions(n)) if MODELS[n][1].get("emission", e) == e
        )
    ],
)
def test_gradient_to_every_parameter(name: str, emission: str):
    data = dataset(EMISSIONS[emission], channels=2, num=20, steps=9)
    m = model(name, emission, data).train()
    torch.manual_seed(0)
    m.loss(collate(data.sequences)).backward()
    assert without_gradient(m) == []


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_is_the_same_model(name: str, tmp_path):
    m, data = model(name), dataset(num=3)
    again = saved_and_loaded(m, data, tmp_path / "run", 3)
    np.testing.assert_array_equal(score(again, data)[0]["log_prob"], score(m, data)[0]["log_prob"])


@pytest.mark.parametrize("name", NAMES)
def test_seeds(name: str):
    m, data = model(name), dataset(num=2)
    seeds_decide(m, data, 3)
    if name not in COMPUTED:
        scores = [score(m, data, num_particles=4, seed=s)[0]["log_prob"][0] for s in (0, 0, 1)]
        assert scores[0] == scores[1] != scores[2]


def predictive(m: SequenceModel, x: np.ndarray, points: np.ndarray, particles: int) -> np.ndarray:
    """Density of the step after x at each point, in data units."""
    sequences = [
        Sequence(
            str(i), np.arange(len(x) + 1), np.concatenate([x, [[v]]]), np.zeros((len(x) + 1, 0))
        )
        for i, v in enumerate(points)
    ]
    with torch.no_grad():
        batch = collate(sequences)
        if isinstance(m, Density):
            log_prob = m.log_prob(batch)[0]
        else:  # every point has its own noise, which averages out over the points
            chosen = "per-step" if m.factorises else "smc"
            names = [s.unique_id for s in sequences]
            log_prob = estimate(
                m, batch, names, num_particles=particles, estimator=chosen, seed=0, num_filters=1
            ).log_prob
        return log_prob[:, -1].exp().double().numpy()


@pytest.mark.parametrize("name", first_quick(DENSITIES))
def test_one_step_forecast_is_the_predictive_distribution(name: str):
    """The share of samples in each tenth of the predictive distribution, by quadrature."""
    m, data = model(name), dataset(num=1, steps=6)
    points = 20 + 3 * np.linspace(-15, 15, 721 if name in COMPUTED else 361)
    density = predictive(m, data.sequences[0].x, points, 1 if name in COMPUTED else 512)
    mass = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(points))])
    # Of an estimate the mass varies by 0.007 from seed to seed.
    assert mass[-1] == pytest.approx(1, abs=0.01 if name in COMPUTED else 0.02)
    num = 20_000
    samples = forecast(m, data, 1, num_samples=num)[0].samples[:, 0, 0]
    edges = np.interp(np.arange(1, 10) / 10 * mass[-1], mass, points)
    shares = np.diff([0, *[(samples <= e).mean() for e in edges], 1])
    # four standard errors of a share of one tenth, and the estimate's own noise
    allowed = 4 * np.sqrt(0.09 / num) + (0 if name in COMPUTED else 0.01)
    np.testing.assert_allclose(shares, 0.1, rtol=0, atol=allowed)


def two_step_density(m: SequenceModel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, the density of (x_1, x_2) on their grid, and its standard error, in data units."""
    # Splines have kinks, which need a finer grid than noisy estimates do.
    points = 20 + 3 * np.linspace(-9, 9, 145 if m.family == "flow" else 91)
    grid = np.stack(np.meshgrid(points, points, indexing="ij"), -1).reshape(-1, 2, 1)
    data = SequenceDataset.from_list(list(grid))
    # Two steps need no resampling: whole trajectories are as good as filters, and faster.
    dependent = not isinstance(m, Density) and not m.factorises
    frame, _ = score(m, data, num_particles=64, estimator="joint" if dependent else "auto")
    density = np.exp(frame["log_prob"].to_numpy()).reshape(len(points), -1)
    # Where no error can be told, mostly far out, nothing is allowed for it.
    error = np.nan_to_num(frame["std_error"].to_numpy()).reshape(density.shape)
    return points, density, density * error


@pytest.mark.parametrize("name", first_quick(DENSITIES))
def test_two_step_density_integrates_to_one_and_is_that_of_samples(name: str):
    """In data units, and the first two steps of samples without a history have its moments."""
    m = model(name)
    points, density, error = two_step_density(m)
    # Estimates are unbiased point by point, with errors that average out over the grid.
    noise = 4 * (points[1] - points[0]) ** 2 * np.sqrt((error**2).sum())
    total = np.trapezoid(np.trapezoid(density, points), points)
    assert total == pytest.approx(1, abs=0.01 + noise)
    first, second = np.tanh((points - 20) / 3)[:, None], np.tanh((points - 20) / 3)[None]
    num = 20_000
    paths = sample_paths(m, m.begin(None), np.zeros((1, 2, 0)), num, SequenceNoise(["a"], 0))[0]
    a, b = np.tanh((paths[:, 0, 0] - 20) / 3), np.tanh((paths[:, 1, 0] - 20) / 3)
    for value, seen in ((first + 0 * second, a), (second + 0 * first, b), (first * second, a * b)):
        mean = np.trapezoid(np.trapezoid(density * value, points), points)
        assert abs(seen.mean() - mean) < 4 * seen.std() / np.sqrt(num) + noise + 0.003


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        pytest.param(n, channels, marks=[pytest.mark.slow] * (n not in FIRST))
        for n in NAMES
        for channels in (1, 2)
    ],
)
def test_other_units_move_the_score_by_the_log_jacobian(name: str, channels: int):
    """In other units, the score is lower by log |d new / d old| per value."""
    data = dataset(num=6, channels=channels)
    other = SequenceDataset.from_list([2.54 * s.x - 7 for s in data])
    a = score(model(name, data=data), data)[0]
    b = score(model(name, data=other), other)[0]
    moved = a["log_prob"] - b["log_prob"]
    np.testing.assert_allclose(moved, a["num_observed"] * np.log(2.54), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[pytest.mark.slow] * (n not in (*FIRST, *REFUSE_MISSING)))
        for n in NAMES
    ],
)
def test_missing_values(name: str):
    """Missing steps are not scored, missing channels are left out, and scores are finite."""
    data = dataset(num=4, channels=2, steps=8)
    for s in data:
        s.x[2] = np.nan
        s.x[4, 1] = np.nan
    m = model(name, data=data)
    if name in REFUSE_MISSING:
        with pytest.raises(InputError, match="series 0, 'y1' is missing at step 2"):
            score(m, data)
        with pytest.raises(InputError, match="series 0, 'y1' is missing at step 2"):
            fit(m, data, data, make(TrainingOptions, {"max_steps": 1}))
        return
    lost = 3
    if name in REFUSE_PARTLY_MISSING:
        with pytest.raises(
            InputError,
            match=r"series 0, 'y2' is missing at step 4 .*(channels=autoreg|such as rnn)",
        ):
            score(m, data)
        with pytest.raises(InputError, match="here some are missing"):
            m.loss(collate(data.sequences))
        for s in data:
            s.x[4] = np.nan
        lost = 4
    frame, steps = score(m, data)
    assert list(frame["num_observed"]) == [2 * len(s) - lost for s in data]
    assert np.isfinite(frame["log_prob"]).all()
    assert 2 not in set(steps["ds"][~np.isnan(steps["log_prob"])])
    torch.manual_seed(4)  # of a loss that has noise
    m.loss(collate(data.sequences)).backward()
    assert without_gradient(m) == []
    assert np.isfinite(forecast(m, data, 2, num_samples=5).mean[0]).all()


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_context_is_conditioned_on_and_not_scored(name: str):
    m = model(name)
    x = dataset(num=1, steps=8).sequences[0].x
    if name in COMPUTED:
        whole = log_prob(m, one(x))[0]
        part = log_prob(m, one(x, context=3))[0]
        assert (part[:3] == 0).all()
        torch.testing.assert_close(part[3:], whole[3:])
    frame = score(m, SequenceDataset((one_sequence(x, 3),), ("y",)))[0]
    assert frame["num_observed"][0] == 5


def one_sequence(x: np.ndarray, context: int) -> Sequence:
    return Sequence("a", np.arange(len(x)), x, np.zeros((len(x), 0)), context)


@pytest.mark.parametrize("name", NAMES)
def test_finite_at_the_edges(name: str):
    """Extreme values, constant series and single steps: finite loss, gradient and samples."""
    m = model(name)
    wild = np.array([1e9, -1e9, 20.0, 20.0, 1e-9])[:, None]
    for x in (wild, np.full((5, 1), 20.0), np.array([[20.0]])):
        m.zero_grad()
        loss = m.loss(one(x))
        loss.backward()
        assert torch.isfinite(loss)
        assert all(torch.isfinite(p.grad).all() for p in m.parameters() if p.grad is not None)
        paths = forecast(m, SequenceDataset.from_list([x]), 3, num_samples=5).samples
        assert np.isfinite(paths).all()


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_long_history_is_read_in_chunks(name: str, monkeypatch: pytest.MonkeyPatch):
    history_may_be_cut(model(name), dataset(num=1, steps=9), 2, monkeypatch)
