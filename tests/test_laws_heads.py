"""Laws that hold for every emission head, of one channel and of several."""

import functools
import itertools

import numpy as np
import pytest
import torch
from cases import EMISSIONS, dataset, stir, values, without_gradient
from torch.autograd.functional import jacobian

from seqlatent.data.description import DataDescription
from seqlatent.distributions.build import build_family, build_head
from seqlatent.distributions.coupling import CouplingHead
from seqlatent.distributions.covariance import CovarianceHead
from seqlatent.distributions.emission_options import EmissionOptions
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.errors import InputError

SHAPES = {
    "one": (1, "independent"),
    "two": (2, "independent"),
    "two-autoregressive": (2, "autoregressive"),
    "two-coupling": (2, "coupling"),
}
MAPS = ("normal", "sinh-arcsinh", "spline", "sinh-arcsinh-spline")  # for coupling layers
CASES = [
    (emission, shape)
    for emission, shape in itertools.product(sorted(EMISSIONS), sorted(SHAPES))
    if shape != "two-coupling" or emission in MAPS
]


@functools.cache
def description(kind: str, channels: int) -> DataDescription:
    return DataDescription.of(dataset(kind, channels, num=20))


@pytest.fixture(params=CASES, ids=lambda c: "-".join(c))
def case(request: pytest.FixtureRequest):
    """A head with features of size 4, its number of channels and the kind of its data."""
    emission, shape = request.param
    channels, form = SHAPES[shape]
    kind = EMISSIONS[emission]
    torch.manual_seed(0)
    options = EmissionOptions(emission, num_components=3, channels=form, channel_dim=5)
    family = build_family(description(kind, channels), options, [1.0] * channels)
    head = build_head(family, channels, options, 4)
    # Coupling layers multiply, and the grid must cover all of the mass.
    stir(head, 0.1 if form == "coupling" else 0.3)
    return head.eval(), channels, kind, family


def support(kind: str) -> tuple[torch.Tensor, float]:
    """Points of one channel, and the weight of each: scaled values, or whole numbers."""
    if kind == "real":  # fine in the middle and wide, for heavy tails
        return torch.linspace(-12, 12, 6001).sinh() * 0.05, 0.0
    return torch.arange({"binary": 2, "category": 4, "count": 400}[kind]).float(), 1.0


def integrate(density: torch.Tensor, points: torch.Tensor, weight: float) -> torch.Tensor:
    """Sum or trapezoid rule over the last dimension."""
    return density.sum(-1) if weight else torch.trapezoid(density, points, dim=-1)


def features(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, 4, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def test_sums_to_one_and_samples_have_its_moments(case):
    """One channel after several histories; and means of a bounded function of each channel and of
    their product, against quadrature."""
    head, channels, kind, _ = case
    points, weight = support(kind)
    bounded = torch.tanh if kind == "real" else torch.log1p
    num = 40_000
    h = features(5)
    samples = head(h[:1].expand(num, 4)).sample(noise=SequenceNoise(["a"], 5))
    seen = bounded(samples).prod(-1)
    if channels == 1:
        step = head(h[:, None].expand(5, len(points), 4))
        density = step.log_prob(points[None, :, None].expand(5, -1, 1)).exp()
        total = integrate(density, points, weight)
        mean = integrate(density[0] * bounded(points), points, weight)
    else:
        coarse = points[::10] if kind == "real" else points[:150]
        n = len(coarse)
        step = head(h[:1, None].expand(n, n, 4))
        grid = torch.stack(torch.meshgrid(coarse, coarse, indexing="ij"), -1)
        density = step.log_prob(grid).exp()
        total = integrate(integrate(density, coarse, weight), coarse, weight)
        value = density * bounded(grid).prod(-1)
        mean = integrate(integrate(value, coarse, weight), coarse, weight)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=0.01)
    error = float(seen.std() / np.sqrt(num))
    assert abs(float(seen.mean() - mean)) < 4 * error + 2e-3


def test_an_unobserved_channel_is_summed_out(case):
    head, channels, kind, _ = case
    if channels == 1:
        step = head(features(3), torch.zeros(3, 1, dtype=torch.bool))
        assert (step.log_prob(torch.zeros(3, 1)) == 0).all()
        return
    if isinstance(head, CouplingHead):
        with pytest.raises(InputError, match="all channels at once"):
            head(features(1), torch.tensor([[True, False]]))
        return
    # Only the last channel is missing: what remains is the distribution of the first, whatever
    # value is given for the last.
    observed = torch.tensor([[True, False]])
    x = torch.tensor([[1.0, 0.0]])
    points, weight = support(kind)
    step = head(features(1)[:, None].expand(1, len(points), 4))
    grid = torch.stack([torch.ones_like(points), points], -1)[None]
    marginal = integrate(step.log_prob(grid).exp(), points, weight).log()
    torch.testing.assert_close(head(features(1), observed).log_prob(x), marginal, rtol=0, atol=0.01)


def test_samples_lie_in_the_support_and_follow_the_seed(case):
    head, _, kind, _ = case
    step = head(features(200))
    first = step.sample(noise=SequenceNoise(["a"], 7))
    assert torch.equal(first, step.sample(noise=SequenceNoise(["a"], 7)))
    assert not torch.equal(first, step.sample(noise=SequenceNoise(["a"], 8)))
    assert torch.isfinite(step.log_prob(first)).all()
    if kind != "real":
        assert torch.equal(first, first.round())
        assert first.min() >= 0


def test_gradient_to_every_parameter(case):
    head, channels, kind, _ = case
    x = torch.from_numpy(values(kind, (64, channels), 2)).float()
    x = (x - 20) / 3 if kind == "real" else x
    head(features(64)).log_prob(x).sum().backward()
    assert without_gradient(head) == []


def test_channels_see_only_those_before_them(case):
    head, channels, kind, _ = case
    if channels == 1 or kind != "real" or isinstance(head, CouplingHead):
        return
    if isinstance(head, CovarianceHead):
        return  # all channels at once
    step = head(features(1))
    size = jacobian(lambda x: step.params(x)[0], torch.randn(1, channels))  # (D, P, 1, D)
    influence = size.abs().amax((1, 2))
    assert (influence.triu() == 0).all()
    autoregressive = type(head).__name__ == "AutoregressiveHead"
    assert (influence[1, 0] > 0) == autoregressive


def test_finite_at_the_edges(case):
    """Far values and extreme features give finite densities and gradients."""
    head, channels, kind, _ = case
    extreme = {"real": 1e6, "binary": 1.0, "category": 3.0, "count": 1e6}[kind]
    for size in (0.0, extreme):
        h = (30 * features(8)).requires_grad_()
        log_prob = head(h).log_prob(torch.full((8, channels), size))
        assert torch.isfinite(log_prob).all()
        log_prob.sum().backward()
        assert h.grad is not None
        assert torch.isfinite(h.grad).all()
        assert torch.isfinite(head(h).sample(noise=SequenceNoise(["a"], 0))).all()
