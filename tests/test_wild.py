"""Wild values: what they cost, that they are forgotten, and that no fit rests on them."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from seqlatent.api import RNN
from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.wild import tame, tell_wild
from seqlatent.distributions.families import StudentT
from seqlatent.distributions.noise import TorchNoise
from seqlatent.distributions.tails import bend, bent_log_prob, unbend
from seqlatent.models.registry import MODELS, build_model
from seqlatent.nn.layers import soft_clip
from seqlatent.nn.scaling import ROW, Scaler
from seqlatent.options import make
from seqlatent.processes import AutoregressiveTwo
from seqlatent.tasks.scoring import worst_share

REAL = ("rnn", "cnn", "transformer", "flow", "latent", "vrnn", "srnn", "dmm", "linear-gaussian")


def series(num: int = 6, steps: int = 40) -> SequenceDataset:
    return AutoregressiveTwo().sample(num, steps, seed=0)


def changed(data: SequenceDataset, t: int, value: float) -> SequenceDataset:
    """The data with one value of the first series replaced."""
    x = data.sequences[0].x.copy()
    x[t, 0] = value
    return replace(data, sequences=(replace(data.sequences[0], x=x), *data.sequences[1:]))


def built(name: str, data: SequenceDataset, scaling: str = "global"):
    description = DataDescription.of(data)
    options = make(MODELS[name].Options, {"scaling": scaling})
    options, _ = MODELS[name].complete(options, description)
    torch.manual_seed(0)
    return build_model(name, options, description).eval()


# -- tails ----------------------------------------------------------------------------------------


def test_bent_tails_are_a_density_with_its_map():
    size = torch.exp(torch.linspace(-12, 80, 200_001, dtype=torch.float64))
    mass = 2 * torch.trapezoid(bent_log_prob(size).exp(), size)
    assert float(mass) == pytest.approx(1, abs=1e-5)
    y = torch.cat([-size[::50], size[::50]])
    u, log_slope = unbend(y)
    normal = torch.distributions.Normal(0.0, 1.0).log_prob(u)
    torch.testing.assert_close(normal + log_slope, bent_log_prob(y), rtol=0, atol=1e-10)
    near = y[y.abs() < 1e20].requires_grad_()
    u, log_slope = unbend(near)
    torch.testing.assert_close(bend(u), near, rtol=1e-10, atol=1e-12)
    slope = torch.autograd.grad(u.sum(), near)[0]
    torch.testing.assert_close(slope.log(), log_slope, rtol=0, atol=1e-10)
    middle = torch.linspace(-4, 4, 9)
    torch.testing.assert_close(
        bent_log_prob(middle), torch.distributions.Normal(0.0, 1.0).log_prob(middle)
    )
    far = bent_log_prob(torch.tensor([50.0, 950.0])).tolist()
    assert far == pytest.approx([-17.9, -22.5], abs=0.1)


def test_tails_are_finite_in_single_precision():
    y = torch.tensor([-3e30, -1e12, 3e30], requires_grad=True)
    bent_log_prob(y).sum().backward()
    assert torch.isfinite(y.grad).all() and torch.isfinite(bend(torch.tensor([-50.0, 50.0]))).all()


def test_features_are_the_values_and_their_logarithms_far_out():
    """With the slope of one or the other everywhere, where they meet as well."""
    x = torch.tensor([-1e6, -80, -8, -3, 0, 2.5, 8, 16], dtype=torch.float64, requires_grad=True)
    y = soft_clip(x)
    far = x.detach().abs() > 8
    logarithm = x.detach().sign() * 8 * (1 + (x.detach().abs().clamp(min=8) / 8).log())
    torch.testing.assert_close(y.detach(), torch.where(far, logarithm, x.detach()))
    (slope,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(slope, torch.where(far, 8 / x.detach().abs(), 1.0))


# -- a wild value, scored -------------------------------------------------------------------------


@pytest.mark.parametrize("sd", [50, 500, 1e12])
@pytest.mark.parametrize("name", [n for n in REAL if n not in ("latent", "vrnn", "srnn", "dmm")])
def test_a_wild_value_is_forgotten(name: str, sd: float):
    """What follows it has the density that it has after a missing value; itself it is cheap."""
    data = series()
    m = built(name, data)
    with torch.no_grad():
        logs = [
            m.log_prob(collate(changed(data, 20, v)))[0][0]
            for v in (data.sequences[0].x[20, 0], sd * m.description.channels[0].scale, np.nan)
        ]
    clean, wild, gap = logs
    torch.testing.assert_close(wild[21:], gap[21:], rtol=0, atol=1e-5)
    torch.testing.assert_close(wild[:20], clean[:20], rtol=0, atol=1e-5)
    assert float(clean[20] - wild[20]) < {50: 25, 500: 40}.get(sd, 80)


@pytest.mark.parametrize("emission", ["normal", "student-t", "mixture", "sinh-arcsinh", "spline"])
def test_a_wild_value_is_cheap_under_every_emission(emission: str):
    data = series()
    description = DataDescription.of(data)
    options = make(MODELS["rnn"].Options, {"emission": emission, "scaling": "global"})
    torch.manual_seed(0)
    m = build_model("rnn", MODELS["rnn"].complete(options, description)[0], description).eval()
    if emission == "student-t":
        for p in m.head.parameters():  # 201 degrees of freedom
            if p.shape == (3,):
                p.data[2] = 20.0
    scale = description.channels[0].scale
    with torch.no_grad():
        clean, *wild = (
            float(m.log_prob(collate(changed(data, 20, v)))[0][0, 20])
            for v in (data.sequences[0].x[20, 0], 50 * scale, 500 * scale)
        )
    assert clean - wild[0] < 25 and clean - wild[1] < 40


def test_student_s_t_with_rare_values_is_what_it_draws():
    """A density of mass 1, whose tail probabilities are those of 4 million draws: of 200 rare ones
    a share 1 - 2 atan(y) / pi is beyond y scales."""
    data = series()
    family = StudentT(DataDescription.of(data).channels, [1.0])
    params = torch.tensor([0.3, 0.5, 20.0], dtype=torch.float64)
    y = torch.sinh(torch.linspace(-30, 30, 200_001, dtype=torch.float64))
    density = family.log_prob(params.expand(len(y), -1), y).exp()
    assert float(torch.trapezoid(density, y)) == pytest.approx(1, abs=1e-6)
    torch.manual_seed(0)
    x = family.sample(params.float().expand(4_000_000, -1), TorchNoise())
    for far in (12.0, 100.0):
        expected = 4e6 * float(family.tail(params, torch.tensor(far, dtype=torch.float64)))
        beyond = int(((x - 0.3).abs() > far - 0.3).sum())
        assert abs(beyond - expected) < 4 * expected**0.5, (far, beyond, expected)


@pytest.mark.parametrize("chain", ["global", "increments", "running", "running+increments"])
def test_scaling_forgets_wild_values_and_follows_a_series_that_moved(chain: str):
    data = changed(series(), 20, 1e9)
    x = data.sequences[0].x
    scaler = Scaler(DataDescription.of(data), chain, lags=(2,))
    scaled, _ = scaler.scan(collate(data.sequences[:1]))
    gap, _ = scaler.scan(collate(changed(data, 20, np.nan).sequences[:1]))
    for a, b in zip(scaled, gap, strict=True):
        torch.testing.assert_close(a, b)
    moved = x.copy()
    moved[20:] = x[20:] % 1 + 1e6
    data = replace(data, sequences=(replace(data.sequences[0], x=moved), *data.sequences[1:]))
    scaled, _ = scaler.scan(collate(data.sequences[:1]))
    memory, steps = scaler.begin(), []
    for value in torch.from_numpy(moved)[:, None, None].unbind(0):
        steps.append(scaler.next(memory))
        memory = scaler.after(memory, value)
    for a, b in zip(scaled, map(torch.cat, zip(*steps, strict=True), [1] * 4), strict=True):
        torch.testing.assert_close(a, b.expand_as(a), rtol=1e-10, atol=1e-10)
    assert (scaled.limit[0, :20, 0] == 10).all()
    if scaler.moving:
        assert scaled.limit[0, 20 + ROW, 0] == torch.inf
    if "increments" in chain:
        loc = scaler.from_scale(scaled.loc)[0, 20 + ROW + 1, 0]
        assert float(loc) == pytest.approx(1e6, rel=1e-3)


# -- descriptions and notices ---------------------------------------------------------------------


def test_a_description_does_not_rest_on_a_wild_value():
    data = series()
    wild = DataDescription.of(changed(data, 20, 1e12)).channels[0]
    gap = DataDescription.of(changed(data, 20, np.nan)).channels[0]
    assert wild.maximum == 1e12
    assert replace(wild, maximum=gap.maximum, num_observed=0, num_missing=0) == replace(
        gap, num_observed=0, num_missing=0
    )


def test_heavy_tails_levels_and_zeros_are_not_wild():
    rng = np.random.default_rng(0)
    lognormal = [np.exp(rng.normal(size=200)) for _ in range(5)]
    levels = [rng.normal(size=50) + 10.0**k for k in range(-1, 8)]
    sparse = [np.where(rng.random(500) < 0.005, 1e6, 0.0)]
    for columns in (lognormal, levels, sparse):
        for before, after in zip(columns, tame(columns), strict=True):
            np.testing.assert_array_equal(before, after)


def test_a_notice_names_series_step_and_value(caplog: pytest.LogCaptureFixture):
    data = changed(changed(series(), 20, 1e12), 25, -777.0)
    channel = DataDescription.of(data).channels[0]
    with caplog.at_level(logging.WARNING, "seqlatent"):
        tell_wild(series(), [channel.loc], [channel.scale])
        assert not caplog.records
        tell_wild(data, [channel.loc], [channel.scale])
    name = data.sequences[0].unique_id
    assert f"series {name}, {data.targets[0]} at step 20: 1e+12" in caplog.text
    assert f"series {name}, {data.targets[0]} at step 25: -777" in caplog.text


def test_the_share_of_the_three_worst_steps():
    assert worst_share(np.array([-1.0] * 10 + [-5.0, -3.0, -2.0, -2.0])) == pytest.approx(7 / 8)
    assert np.isnan(worst_share(np.full(5, -1.0)))


@pytest.mark.slow
def test_one_wild_value_in_training_does_not_ruin_a_fit():
    data, test = AutoregressiveTwo().sample(100, 60, seed=0), AutoregressiveTwo().sample(50, 60, 1)
    scores = [
        RNN(hidden_dim=16).fit(d, max_steps=200, valid=test).log_prob(test)["log_prob"].sum()
        for d in (data, changed(data, 30, 1e12))
    ]
    assert abs(scores[0] - scores[1]) / test.lengths.sum() < 0.05
