"""Blocks of steps that are denoised together, against exact answers."""

import math

import numpy as np
import pytest
import torch
from cases import dataset, model
from exact import put, scale_floor, softplus_inverse
from test_diffusion import LOC, SLOPE, WIDTH, truth
from torch import Tensor, nn

import seqlatent as sl
from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.sequence import Sequence
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.errors import InputError
from seqlatent.models.diffusion import DiffusionModel, DiffusionOptions, blocks
from seqlatent.processes import AutoregressiveTwo
from seqlatent.tasks.forecasting import forecast
from seqlatent.tasks.scoring import score

BLOCK = 3


def moments(block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a block of x_t = LOC + SLOPE x_{t-1} + WIDTH e_t: its mean, for x_s-1 = 0, the slope of
    the mean, and the covariance."""
    step = np.arange(block)
    mean = LOC * np.cumsum(SLOPE**step)
    spread = np.tril(SLOPE ** np.maximum(step[:, None] - step, 0)) * WIDTH
    return mean, SLOPE ** (step + 1), spread @ spread.T


class Exact(nn.Module):
    """The exact F of a block as far as any of its steps, given the last value before it."""

    def __init__(self, place: int):
        super().__init__()
        self.place = place

    def condition(self, h: Tensor, length: Tensor | None = None) -> Tensor:
        return h[..., self.place : self.place + 1]

    def forward(self, z: Tensor, a: Tensor, past: Tensor) -> Tensor:
        return self.with_trace(z, a, past)[0]

    def with_trace(self, z: Tensor, a: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        # E[v | z(a)] of z ~ N(m, S) is linear in z(a), as in one dimension. In training values of
        # shorter blocks stand before zeros: then this is not exact, and not asked.
        n = z.shape[-1]
        mean, slope, cov = (torch.as_tensor(part).to(z) for part in moments(n))
        cos, sin = a.cos(), a.sin()
        eye = torch.eye(n).to(z)
        total = cos[..., None, None] ** 2 * cov + sin[..., None, None] ** 2 * eye
        gain = cos[..., None, None] * torch.linalg.solve(total, eye - cov, left=False)
        mean = mean + slope * past
        off = z - cos[..., None] * mean
        value = (gain @ off[..., None])[..., 0] - mean
        trace = gain.diagonal(dim1=-2, dim2=-1).sum(-1)
        return value, trace.expand(z.shape[:-1])


def exact_model(data: SequenceDataset, **options) -> DiffusionModel:
    """The process by its exact denoiser, and maps that leave values as they are."""
    m = DiffusionModel(
        DiffusionOptions(
            emission="normal",
            scaling="none",
            hidden_dim=4,
            block=BLOCK,
            scoring_steps=32,
            **options,
        ),
        DataDescription.of(data),
    ).eval()
    for head in (m.head, *m.later_heads):
        for p in head.parameters():
            p.data.zero_()
        head.family.bends = False  # pyright: ignore
        put(head.linear.bias, 1, softplus_inverse(1 - scale_floor(m)))  # pyright: ignore
    m.denoiser = Exact(m.network.out_dim)  # pyright: ignore[reportAttributeAccessIssue]
    return m


def series(num: int, steps: int) -> SequenceDataset:
    rng = np.random.default_rng(0)
    x = np.zeros((num, steps + 1))
    for t in range(1, steps + 1):
        x[:, t] = LOC + SLOPE * x[:, t - 1] + WIDTH * rng.normal(size=num)
    return SequenceDataset.from_arrays(x[:, 1:, None])


@pytest.mark.parametrize("steps", [12, 13, 14])
def test_scores_of_linear_gaussian_data_are_exact(steps: int):
    """Sums and single steps, with blocks that the end cuts short."""
    data = series(20, steps)
    frame, each = score(exact_model(data), data)
    assert set(frame["kind"]) == {"ode"}
    np.testing.assert_allclose(frame["log_prob"], truth(data), rtol=0, atol=0.01)
    x = np.stack([s.x[:, 0] for s in data])
    off = (x - LOC - SLOPE * np.pad(x, ((0, 0), (1, 0)))[:, :-1]) / WIDTH
    steps_truth = -0.5 * off**2 - math.log(WIDTH) - 0.5 * math.log(2 * math.pi)
    np.testing.assert_allclose(each["log_prob"], steps_truth.ravel(), rtol=0, atol=0.003)


def test_the_stated_error_is_that_of_the_solver():
    data = series(20, 13)
    m = exact_model(data)
    for steps in (6, 8):
        object.__setattr__(m.options, "scoring_steps", steps)
        frame = score(m, data)[0]
        off = np.abs(frame["log_prob"] - truth(data))
        stated = (frame["upper"] - frame["lower"]) / 2
        assert (off < 4 * stated + 1e-3).all()
        assert (stated > 0).all()


def test_the_bound_of_the_exact_denoiser_is_tight():
    """Of whole blocks, at their last steps: 12 steps have none that are cut short."""
    data = series(20, 12)
    noise = SequenceNoise([s.unique_id for s in data], 0)
    with torch.no_grad():
        bound, error = exact_model(data).variational_bound(collate(data), noise, 2000)
    assert ((bound != 0) == (torch.arange(12) % BLOCK == BLOCK - 1)).all()
    off = float(bound.sum()) - truth(data).sum()
    assert abs(off) < 4 * float(error.square().sum().sqrt())


@pytest.mark.parametrize(("sampler", "steps"), [("ode", 12), ("ancestral", 100)])
def test_forecasts_have_the_moments_of_the_process(sampler: str, steps: int):
    """Of seven steps, from a history that ends within a block."""
    data, num = series(1, 8), 20_000
    m = exact_model(data, sampler=sampler, sampling_steps=steps)
    paths = forecast(m, data, 7, num_samples=num)[0].samples[..., 0]
    mean, slope, cov = moments(7)
    mean = mean + slope * data.sequences[0].x[-1, 0]
    scale = np.sqrt(cov.diagonal())
    np.testing.assert_array_less(np.abs(paths.mean(0) - mean), 4 * scale / num**0.5 + 0.005)
    found = np.cov(paths.T)
    error = np.sqrt((np.outer(scale, scale) ** 2 + cov**2) / num)
    np.testing.assert_array_less(np.abs(found - cov), 4 * error + 0.01)


def test_places_by_enumeration():
    rng = np.random.default_rng(0)
    seen, context = rng.random((40, 17)) < 0.8, rng.integers(0, 6, 40)
    seen &= np.arange(17) >= context[:, None]
    expected = np.full(seen.shape, -1)
    for i, t in np.argwhere(seen):
        goes_on = (t - context[i]) % BLOCK and t and expected[i, t - 1] >= 0
        expected[i, t] = expected[i, t - 1] + 1 if goes_on else 0
    begun = blocks.none_unfinished(torch.zeros(40, 17, 1), BLOCK)
    place, age = blocks.places(torch.tensor(seen), torch.tensor(context), begun, BLOCK)
    np.testing.assert_array_equal(place, expected)
    np.testing.assert_array_equal(age[:, 0], 17 - context)
    ahead = [[next((j for j in range(BLOCK) if t + j > 16 or not row[t + j]), BLOCK)
              for t in range(17)] for row in seen]  # fmt: skip
    np.testing.assert_array_equal(blocks.runs(torch.tensor(seen), BLOCK), ahead)


def test_a_block_sees_the_covariates_of_its_steps_and_not_of_later_ones():
    rng = np.random.default_rng(0)
    sequences = tuple(
        Sequence(str(i), np.arange(6), rng.normal(size=(6, 1)), rng.normal(size=(6, 2)))
        for i in range(4)
    )
    data = SequenceDataset(sequences, ("y",), ("a", "b"))
    m = model("diffusion-blocks", "normal", data)
    batch = collate(data)
    before = m.log_prob(batch)[0]
    for t in range(6):
        batch.covariates[:, t] += 1
        moved = ((m.log_prob(batch)[0] - before).abs() > 1e-6).any(0)
        batch.covariates[:, t] -= 1
        assert moved[t]
        assert not moved[:t].any()


def test_a_window_at_once_is_one_block():
    """As long as the sequences: drawn without the network's state of any step but the first."""
    data = dataset(num=20, steps=6, channels=2)
    m = sl.Diffusion(block=6, hidden_dim=8, denoiser_dim=16)
    m.fit(data, max_steps=20, seed=0)
    assert np.isfinite(m.log_prob(data)["log_prob"]).all()
    assert np.isfinite(np.stack([s.x for s in m.sample(5, 6)])).all()


def test_context_must_be_whole_blocks():
    with pytest.raises(InputError, match=r"context_length=4 is no multiple of block=3"):
        model("diffusion-blocks", context_length=4)


@pytest.mark.slow
def test_trained_blocks_have_the_density_and_the_forecasts_of_an_autoregression():
    process = AutoregressiveTwo()
    train, test = process.sample(300, 40, seed=0), process.sample(200, 40, seed=1)
    m = sl.Diffusion(block=3, hidden_dim=32, denoiser_dim=32, scaling="global")
    m.fit(train, max_steps=600, seed=0)
    regret = (process.log_prob(test) - m.log_prob(test)["log_prob"].to_numpy()) / 40
    assert regret.mean() < 0.05
    num, past = 10_000, test.sequences[0].x[-2:, 0]
    paths = m.forecast(test[[0]], 3, num_samples=num).samples[0, :, :, 0]
    second, last = past
    mean = []
    for _ in range(3):
        second, last = last, process.a1 * last + process.a2 * second
        mean.append(last)
    weights = [1.0, process.a1, process.a1**2 + process.a2]
    scale = process.sigma * np.sqrt(np.cumsum(np.square(weights)))
    assert (np.abs(paths.mean(0) - mean) < 0.15 * scale + 4 * scale / num**0.5).all()
    assert (np.abs(paths.std(0) / scale - 1) < 0.15).all()
