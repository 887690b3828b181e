"""The diffusion model against exact answers: denoisers put in by hand, autograd, quadrature."""

import math

import numpy as np
import pytest
import torch
from cases import dataset, model
from exact import put, scale_floor, softplus_inverse
from torch import Tensor, nn

import seqlatent as sl
from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.distributions.noise import SequenceNoise, TorchNoise
from seqlatent.distributions.tails import unbend
from seqlatent.errors import InputError
from seqlatent.models.diffusion import DiffusionModel, DiffusionOptions, solver
from seqlatent.models.diffusion.denoiser import Denoiser
from seqlatent.models.diffusion.schedule import SCHEDULES, Schedule
from seqlatent.tasks.scoring import score
from seqlatent.text import score_lines

LOC, WIDTH, SLOPE = 0.4, 0.6, 0.7  # of z given the past, and of its past


class NormalDenoiser(nn.Module):
    """The exact F of z ~ N(LOC + h, WIDTH^2), for a past h of one number, or 0."""

    def condition(self, h: Tensor, length: Tensor | None = None) -> Tensor:
        return h

    def forward(self, z: Tensor, a: Tensor, past: Tensor) -> Tensor:
        return self.with_trace(z, a, past)[0]

    def with_trace(self, z: Tensor, a: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        # E[v | z(a)] = cos E[e] - sin E[z], and both are linear in z(a)
        cos, sin = a.cos()[..., None], a.sin()[..., None]
        variance = cos**2 * WIDTH**2 + sin**2
        slope = cos * (1 - WIDTH**2) / variance
        mean = LOC + past
        value = slope * (z - cos * mean) - mean
        return value, (slope * torch.ones_like(z)).sum(-1)


def exact(z: Tensor, past: Tensor) -> Tensor:
    return torch.distributions.Normal(LOC + past, WIDTH).log_prob(z).sum(-1)


@pytest.mark.parametrize("dim", [1, 3])
def test_the_ode_has_the_density_of_the_exact_denoiser(dim: int):
    z = torch.randn(200, dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    past = SLOPE * z.flip(0)
    errors = []
    for steps in (8, 16):
        found = solver.log_prob(NormalDenoiser(), z, past, math.pi / 2, steps)
        errors.append(float((found - exact(z, past)).abs().max()))
    assert errors[1] < 1e-4
    assert errors[0] > 8 * errors[1]  # a method of order four


class Last(nn.Module):
    """The past that `NormalDenoiser` reads: SLOPE times the last value, a network's first input."""

    def condition(self, h: Tensor, length: Tensor | None = None) -> Tensor:
        return SLOPE * h[..., self.place : self.place + 1]

    def __init__(self, place: int):
        super().__init__()
        self.place, self.normal = place, NormalDenoiser()

    def forward(self, z: Tensor, a: Tensor, past: Tensor) -> Tensor:
        return self.normal(z, a, past)

    def with_trace(self, z: Tensor, a: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        return self.normal.with_trace(z, a, past)


def linear_model(data: SequenceDataset, place: int = 0, **options) -> DiffusionModel:
    """x_t = LOC + SLOPE x_{t-1} + WIDTH e_t, by its exact denoiser and a map that leaves values as
    they are; `place` of the input, after the last value, that is read instead."""
    m = DiffusionModel(
        DiffusionOptions(emission="normal", scaling="none", hidden_dim=4, **options),
        DataDescription.of(data),
    ).eval()
    for p in m.head.parameters():
        p.data.zero_()
    family = m.head.family
    family.bends = False
    put(m.head.linear.bias, 1, softplus_inverse(1 - scale_floor(m)))
    m.denoiser = Last(m.network.out_dim + place)  # pyright: ignore[reportAttributeAccessIssue]
    return m


@pytest.fixture(scope="module")
def series() -> SequenceDataset:
    rng = np.random.default_rng(0)
    x = np.zeros((20, 31))
    for t in range(1, 31):
        x[:, t] = LOC + SLOPE * x[:, t - 1] + WIDTH * rng.normal(size=20)
    return SequenceDataset.from_arrays(x[:, 1:, None])


def truth(data: SequenceDataset) -> np.ndarray:
    """(N,) log p(x) of the process."""
    x = np.stack([s.x[:, 0] for s in data])
    off = (x - LOC - SLOPE * np.pad(x, ((0, 0), (1, 0)))[:, :-1]) / WIDTH
    return (-0.5 * off**2 - math.log(WIDTH) - 0.5 * math.log(2 * math.pi)).sum(1)


def test_scores_of_linear_gaussian_data_are_exact_within_the_stated_error(series: SequenceDataset):
    frame, steps = score(linear_model(series, scoring_steps=8), series)
    off = np.abs(frame["log_prob"] - truth(series))
    assert set(frame["kind"]) == {"ode"}
    assert off.max() / 30 < 0.01
    stated = (frame["upper"] - frame["lower"]) / 2
    assert (off < 2 * stated + 1e-3).all()  # and single precision
    assert (stated > 0).all()
    sums = steps.groupby("unique_id", sort=False)["log_prob"].sum()
    np.testing.assert_allclose(sums, frame["log_prob"], rtol=1e-6)
    assert "(ode, error of the solver 0.0" in score_lines(frame, len(steps))[0]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_variational_bound_is_tight_for_the_exact_denoiser(
    series: SequenceDataset, schedule: str
):
    m = linear_model(series, schedule=schedule)
    noise = SequenceNoise([s.unique_id for s in series], 0)
    with torch.no_grad():
        bound, error = m.variational_bound(collate(series), noise, 2000)
    assert float(error.square().mean().sqrt()) < 0.15
    off = float(bound.sum()) - truth(series).sum()
    assert abs(off) < 4 * float(error.square().sum().sqrt())


def test_the_bound_is_below_the_density_elsewhere(series: SequenceDataset):
    """A denoiser that does not see the past loses likelihood."""
    m = linear_model(series, place=1)  # which says that the last value is missing: it never is
    noise = SequenceNoise([s.unique_id for s in series], 0)
    with torch.no_grad():
        bound, error = m.variational_bound(collate(series), noise)
    assert float(bound.sum()) < truth(series).sum() - 4 * float(error.square().sum().sqrt())


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_the_trace_is_that_of_autograd(dim: int):
    torch.manual_seed(0)
    net = Denoiser(dim, 4, 16).double()
    for p in net.parameters():
        p.data.add_(0.3 * torch.randn_like(p))
    z, past = torch.randn(7, dim).double(), net.condition(torch.randn(7, 4).double())
    z[4:, 0] = torch.tensor([4.3, -4.7, 5.2])  # where it fades, and beyond
    a = torch.rand(7).double()
    value, trace = net.with_trace(z, a, past)
    trace = trace.detach()
    torch.testing.assert_close(value, net(z, a, past))
    for i in range(7):
        jacobian = torch.autograd.functional.jacobian(
            lambda one, i=i: net(one, a[i], past[i]), z[i]
        )
        assert float(trace[i]) == pytest.approx(float(jacobian.diagonal().sum()), abs=1e-10)
    assert value[:6].all() and trace[:6].all() and not value[6].any() and not trace[6]


@pytest.mark.parametrize(("value", "most"), [(50.0, 25.0), (500.0, 40.0)])
def test_a_network_does_not_make_wild_values_dearer(value: float, most: float):
    """By one that multiplies by 2 or so what is far out: the bent tails take 18 and 22 nats of a
    value, whose mean and scale are those of the map, and without fading it costs 40 or more."""
    net = Denoiser(1, 4, 2).double()
    for p in net.parameters():
        p.data.zero_()
    net.first.weight.data[:, 0] = torch.tensor([1.0, -1.0])
    net.second.weight.data.copy_(torch.eye(2))
    net.out.weight.data[0] = torch.tensor([0.5, -0.5])
    z, log_slope = unbend(torch.tensor([[value]]).double())
    past = net.condition(torch.zeros(1, 4).double())
    log_prob = solver.log_prob(net, z, past, math.pi / 2, 100) + log_slope[:, 0]
    assert -log_prob.item() < most


def test_a_random_network_has_mass_one():
    torch.manual_seed(0)
    net = Denoiser(1, 4, 16)
    for p in net.parameters():
        p.data.add_(0.3 * torch.randn_like(p))
    z = torch.linspace(-12, 12, 2001)[:, None]
    past = net.condition(torch.randn(4)).expand(len(z), -1)
    with torch.no_grad():
        density = solver.log_prob(net, z, past, math.pi / 2, 32).exp()
    assert float(torch.trapezoid(density, z[:, 0])) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize(("sampler", "steps"), [("ode", 6), ("ancestral", 100)])
def test_samples_have_the_moments_of_the_exact_denoiser(sampler: str, steps: int):
    torch.manual_seed(0)
    num, past = 40_000, torch.full((40_000, 1), SLOPE)
    z, net = torch.randn(num, 1), NormalDenoiser()
    if sampler == "ode":
        found = solver.flow_samples(net, z, past, math.pi / 2, steps)
    else:
        levels = Schedule("cosine", 20.0).levels(steps)
        found = solver.ancestral_samples(net, TorchNoise(), z, past, levels)
    error = WIDTH / math.sqrt(num)
    assert float(found.mean()) == pytest.approx(LOC + SLOPE, abs=4 * error)
    assert float(found.std()) == pytest.approx(WIDTH, abs=4 * error / math.sqrt(2) + 0.005)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_go_from_values_to_noise(name: str):
    schedule = Schedule(name, 20.0)
    angles = schedule.levels(1000)
    assert float(angles[0]) == pytest.approx(0, abs=1e-6)
    assert float(angles[-1]) == pytest.approx(schedule.end, abs=1e-6)
    assert (angles.diff() > 0).all()
    s = torch.linspace(0.05, 0.95, 50, dtype=torch.float64).requires_grad_()
    slope = torch.autograd.grad(schedule.angle(s).sum(), s)[0]
    torch.testing.assert_close(schedule.slope(s), slope)


def test_rates_of_noise_that_leave_too_much_or_too_little_are_refused(caplog):
    with pytest.raises(InputError, match="beta_max=1 leaves 58% of the signal"):
        Schedule("linear", 1.0)
    with pytest.raises(InputError, match=r"beta_max=200 leaves a share of \de-44"):
        Schedule("linear", 200.0)
    model("diffusion", schedule="linear", beta_max=6.0)
    assert "leaves 4.7 % of the signal" in caplog.text


def test_few_levels_have_the_same_loss_on_average():
    """A sum over 50 levels, from the right, instead of the integral over all."""
    data = collate(dataset(num=30, steps=9))
    m, few = model("diffusion"), model("diffusion", num_levels=50)
    torch.manual_seed(0)
    with torch.no_grad():
        a, b = (np.array([float(k.loss(data)) for _ in range(50)]) for k in (m, few))
    error = math.hypot(a.std(), b.std()) / math.sqrt(50)
    assert abs(a.mean() - b.mean()) < 4 * error + 0.05


@pytest.mark.parametrize("values", ["count", "binary"])
def test_counts_are_refused(values: str):
    with pytest.raises(InputError, match="model 'diffusion' is for real values"):
        sl.Diffusion().fit(dataset(values, num=20, steps=12), max_steps=1)


def test_a_partly_missing_step_is_neither_scored_nor_filled():
    data = dataset(channels=2, num=2)
    m = model("diffusion", data=data)
    data.sequences[0].x[2] = np.nan
    assert np.isfinite(score(m, data)[0]["log_prob"]).all()
    data.sequences[0].x[2, 0] = 20.0
    with pytest.raises(InputError, match=r"'y2' is missing at step 2 .* use another, such as rnn"):
        score(m, data)
    y, state = torch.zeros(3, 1, 2), m.begin(None)
    state = state._replace(last=state.last.expand(3, -1, -1))
    some = torch.tensor([True, False])
    with pytest.raises(InputError, match="cannot fill one that is partly observed"):
        m.fill_step(state, y, some, torch.zeros(3, 1, 0), SequenceNoise(["a"], 0))
