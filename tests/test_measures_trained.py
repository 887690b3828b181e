"""Measures that train a network: their parts against exact answers, their values where known."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch.nn import functional as F

import seqlatent as sl
from seqlatent.measures import context_fid, discriminative, frechet, predictive, trained
from seqlatent.measures import encoder as encoders


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch):
    """Fewer and larger steps of training, which tell good from bad."""
    monkeypatch.setattr(encoders, "FEW_STEPS", 8)
    monkeypatch.setattr(encoders, "DEPTH", 3)
    monkeypatch.setattr(trained, "BATCH", 64)
    monkeypatch.setattr(trained, "RATE", 0.03)  # thirty times the published one
    monkeypatch.setattr(trained, "DISCRIMINATIVE_STEPS", 100)
    monkeypatch.setattr(trained, "PREDICTIVE_STEPS", 150)


def waves(number: int, seed: int, shift: float = 0.0) -> np.ndarray:
    """(N, 12, 2) waves of random phase and the same ones a quarter later, in noise."""
    rng = np.random.default_rng(seed)
    phase = rng.uniform(0, 2 * np.pi, (number, 1)) + 0.7 * np.arange(12)
    values = np.stack([np.sin(phase), np.cos(phase)], -1)
    return 3 * values + 0.3 * rng.normal(size=values.shape) + shift


# -- Frechet distance and the encoder -------------------------------------------------------------


def test_frechet_distance_is_the_closed_form():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(50, 4)), rng.normal(size=(60, 4)) @ rng.normal(size=(4, 4)) + 1
    a, b = np.cov(x.T), np.cov(y.T)
    gap = ((x.mean(0) - y.mean(0)) ** 2).sum()
    expected = gap + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet(x, y) == pytest.approx(expected, rel=1e-9)
    assert frechet(x, x) == pytest.approx(0, abs=1e-12)
    assert frechet(x, x + 2) == pytest.approx(16, rel=1e-9)
    # (sd - sd')^2 + (mean - mean')^2 of one dimension
    one, two = x[:, :1], 3 * x[:, :1] - 1
    sd = one.std(ddof=1)
    assert frechet(one, two) == pytest.approx((2 * sd) ** 2 + (2 * one.mean() - 1) ** 2)


@pytest.mark.parametrize("dilation", [1, 3, 8, 16])
def test_dilated_convolution_is_that_of_torch(dilation):
    torch.manual_seed(0)
    conv, x = encoders.DilatedConv(4, 5, dilation), torch.randn(2, 8, 4)
    weight = conv.weight.view(5, 3, 4).transpose(1, 2)
    padded = F.conv1d(x.transpose(1, 2), weight, conv.bias, padding=dilation, dilation=dilation)
    torch.testing.assert_close(conv(x), padded.transpose(1, 2))


def test_contrast_is_its_definition():
    torch.manual_seed(1)
    r, s = torch.randn(2, 3, 4, 5, dtype=torch.float64).unbind()

    def mean_loss(r: torch.Tensor, s: torch.Tensor) -> tuple[float, float]:
        temporal, instance = [], []
        for a, b in ((r, s), (s, r)):
            for i in range(3):
                for t in range(a.shape[1]):
                    own = (a[i, t] @ b[i, t]).exp()
                    steps = [(a[i, t] @ b[i, k]).exp() for k in range(a.shape[1])]
                    steps += [(a[i, t] @ a[i, k]).exp() for k in range(a.shape[1]) if k != t]
                    others = [(a[i, t] @ b[j, t]).exp() for j in range(3)]
                    others += [(a[i, t] @ a[j, t]).exp() for j in range(3) if j != i]
                    temporal.append(-(own / sum(steps)).log())
                    instance.append(-(own / sum(others)).log())
        return float(sum(temporal) / len(temporal)), float(sum(instance) / len(instance))

    found, levels = float(encoders.contrast(r, s)), []
    for steps in (4, 2, 1):
        temporal, instance = mean_loss(r, s)
        levels.append((temporal * (steps > 1) + instance) / 2)
        if steps > 1:
            r, s = (h.view(3, steps // 2, 2, 5).amax(2) for h in (r, s))
    assert found == pytest.approx(np.mean(levels), rel=1e-9)


def test_crops_share_their_overlap():
    """The last steps of the first crop are the first ones of the second, and lie in the window."""
    torch.manual_seed(2)
    x = torch.arange(5 * 9.0).view(5, 9, 1)
    lengths = set()
    for _ in range(200):
        first, second, both = encoders.crops(x)
        torch.testing.assert_close(first[:, -both:], second[:, :both])
        assert (first.diff(dim=1) == 1).all()
        assert (second.diff(dim=1) == 1).all()
        assert (torch.cat([first, second], 1) // 9 == torch.arange(5.0)[:, None, None]).all()
        lengths |= {first.shape[1], second.shape[1]}
    assert lengths == set(range(2, 10))


def test_context_fid_tells_what_is_wrong(short):
    real, alike, shuffled = waves(400, 0), waves(400, 1), waves(400, 2)
    rng = np.random.default_rng(0)
    shuffled = rng.permuted(shuffled, axis=1)  # the same values in another order
    encoder = trained.encoder_of(real, 3)
    floor = context_fid(real, alike, 3, encoder)
    assert context_fid(real, shuffled, 3, encoder) > 20 * floor
    assert context_fid(real, real, 3, encoder) == pytest.approx(0, abs=1e-6)
    assert context_fid(real, alike, 3) == pytest.approx(floor, rel=1e-6)


# -- discriminative and predictive score ----------------------------------------------------------


def test_discriminative_of_equals_is_chance_and_of_a_shift_a_half(short):
    """400 windows are judged: the accuracy of a coin has a standard error of 0.025."""
    real = waves(1000, 4)
    assert discriminative(real, waves(1000, 5)) < 0.1
    assert discriminative(real, waves(1000, 6, shift=6.0)) > 0.48


def test_predictive_is_low_where_the_future_follows(short):
    """The second channel is the first one a quarter later; white noise teaches nothing of it."""
    real = waves(400, 7)
    noise = real.mean((0, 1)) + real.std((0, 1)) * np.random.default_rng(1).normal(size=real.shape)
    good, bad = predictive(real, waves(400, 8)), predictive(real, noise)
    spread = np.ptp(real[..., 1])
    blind = np.abs(real[:, 1:, 1] - np.median(real[..., 1])).mean() / spread
    assert good < 0.75 * blind
    assert bad > 0.95 * blind


@pytest.mark.parametrize("function", [context_fid, discriminative, predictive])
def test_seeds_reproduce_and_leave_torch_alone(short, function, monkeypatch):
    monkeypatch.setattr(encoders, "FEW_STEPS", 4)
    monkeypatch.setattr(trained, "DISCRIMINATIVE_STEPS", 20)
    monkeypatch.setattr(trained, "PREDICTIVE_STEPS", 20)
    real, drawn = waves(40, 9), waves(50, 10, shift=0.5)
    torch.manual_seed(0)
    before = torch.random.get_rng_state()
    found = [function(real, drawn, seed) for seed in (1, 1, 2)]
    assert torch.equal(before, torch.random.get_rng_state())
    assert found[0] == found[1]
    assert found[0] != found[2] or function is discriminative  # a coarse number


def test_they_are_asked_for_by_name(short):
    real, drawn = waves(80, 11), waves(80, 12)
    names = ["context-fid", "discriminative", "predictive"]
    found = sl.measure_drawn(real, drawn, measures=names, references=["half"], repeats=1)
    assert list(found["measure"]) == names * 2
    assert np.isfinite(found["value"]).all()
    one = sl.measure_drawn(real[..., :1], drawn[..., :1], measures=names, references=[], repeats=1)
    assert np.isfinite(one["value"]).all()
