"""The adversarial models `gan` and `wgan`: their losses, critic, training, draws and warnings."""

import dataclasses
import logging

import numpy as np
import pytest
import torch
from cases import dataset, unscored
from torch import Tensor
from torch.nn import functional as F

import seqlatent as sl
from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.errors import InputError
from seqlatent.models.adversarial import losses
from seqlatent.models.adversarial.critic import LIPSCHITZ, Critic
from seqlatent.models.adversarial.diagnostics import examine, failures, spread
from seqlatent.models.adversarial.windows import cut, first_steps, views
from seqlatent.processes import PROCESSES
from seqlatent.tasks.forecasting import forecast
from seqlatent.tasks.scoring import score
from seqlatent.training.messages import warn

NAMES = ("gan", "wgan")


# -- losses ---------------------------------------------------------------------------------------


def test_minimax_losses_are_those_of_the_logistic_function():
    real, fake = torch.tensor([0.3, -2.0]), torch.tensor([1.1, 0.4])
    expected = -(torch.sigmoid(real).log() + (1 - torch.sigmoid(fake)).log()).mean()
    torch.testing.assert_close(losses.minimax_critic(real, fake, torch.ones(2)), expected)
    expected = -torch.sigmoid(fake[1]).log()  # the first counts for nothing
    torch.testing.assert_close(losses.minimax_generator(fake, torch.tensor([0.0, 1])), expected)


def test_gradient_penalty_of_a_linear_critic_is_a_closed_form():
    """f(x) = w . x has the gradient w everywhere: the penalty is (|w| - 1)^2."""
    w = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    real, fake = torch.randn(5, 3, 2), torch.randn(5, 3, 2)
    value = losses.gradient_penalty(lambda x: (x * w).sum((1, 2)), real, fake, torch.ones(5))
    torch.testing.assert_close(value, (w.norm() - 1) ** 2)
    (slope,) = torch.autograd.grad(value, w)
    torch.testing.assert_close(slope, 2 * (w.norm() - 1) * w / w.norm())


def test_gradient_penalty_is_taken_between_real_and_fake():
    """f(x) = x^2 / 2 has the gradient x: between 3 and 5 its penalty is that of a uniform point."""
    torch.manual_seed(0)
    num = 20_000
    real, fake = torch.full((num, 1), 3.0), torch.full((num, 1), 5.0)
    value = losses.gradient_penalty(lambda x: x.square().sum(1) / 2, real, fake, torch.ones(num))
    # The penalty (x - 1)^2 for x uniform in (3, 5): mean 28 / 3, standard deviation below 3.6.
    assert abs(float(value.detach()) - 28 / 3) < 4 * 3.6 / num**0.5


@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_the_wasserstein_critic_finds_the_distance_of_a_shift(noise: float):
    """Of two point masses, or two normals, in the plane 2 apart the distance is 2."""
    torch.manual_seed(0)
    f = torch.nn.Sequential(
        torch.nn.Linear(2, 16), torch.nn.LeakyReLU(0.2), torch.nn.Linear(16, 1), torch.nn.Flatten(0)
    )
    optimizer = torch.optim.Adam(f.parameters(), 1e-2, betas=(0.5, 0.9))
    weight, found, shift = torch.ones(128), [], torch.tensor([1.2, -1.6])
    for step in range(250):
        real, fake = shift + noise * torch.randn(128, 2), noise * torch.randn(128, 2)
        loss = losses.wasserstein_critic(f(real), f(fake), weight)
        if step >= 150:
            found.append(-float(loss.detach()))
        penalty = losses.gradient_penalty(f, real, fake, weight)
        optimizer.zero_grad()
        (loss + 10 * penalty).backward()
        optimizer.step()
    # The penalty is no constraint: of constant slopes k the best has 2 = 20 (k - 1), k = 1.1. The
    # mean of 100 batches of 128 has a standard error of 0.013.
    assert 2.0 - 0.06 < np.mean(found) < 2.2 + 0.06


def test_slope_penalty_of_a_square_is_its_mean_square():
    real = torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    value = losses.slope_penalty(lambda x: x.square().sum(1), real, torch.tensor([1.0, 0.0]))
    assert float(value.detach()) == pytest.approx(4 * 5)


def test_energy_distances_are_those_of_pairs():
    fake, real = torch.tensor([[[0.0, 1.0], [2.0, 5.0], [4.0, 9.0]]]), torch.tensor([[1.0, 3.0]])
    seen = torch.tensor([[1.0, 0.0]])
    apart, among = losses.energy_distances(fake, real, seen)
    assert float(apart) == pytest.approx((1 + 1 + 3) / 3)
    assert float(among) == pytest.approx((2 + 4 + 2) / 3)


# -- the critic -----------------------------------------------------------------------------------


def test_spectral_normalisation_bounds_the_slope():
    """However large its weights are."""
    torch.manual_seed(0)
    slopes = {}
    for spectral in (True, False):
        critic = Critic(2, 3, 16, spectral)
        with torch.no_grad():
            for p in critic.parameters():
                p.add_(torch.randn_like(p))
        given, inside = torch.randn(64, 12, 3), torch.ones(64, 12)
        for _ in range(100):  # power iterations
            critic(torch.randn(64, 12, 2), given, inside)
        values = torch.randn(64, 12, 2, requires_grad=True)
        (slope,) = torch.autograd.grad(critic(values, given, inside).sum(), values)
        slopes[spectral] = float(slope.flatten(1).norm(dim=1).max())
    assert slopes[True] < 1.01 * LIPSCHITZ
    assert slopes[False] > LIPSCHITZ


def test_steps_that_are_not_inside_do_not_count_in_its_mean():
    critic = Critic(2, 3, 8, False)
    values, given = torch.randn(4, 6, 2), torch.randn(4, 6, 3)
    none = critic(values, given, torch.zeros(4, 6))
    torch.testing.assert_close(none, none[:1].expand(4))


# -- windows --------------------------------------------------------------------------------------


def test_cut():
    part = torch.arange(10.0).reshape(2, 5, 1)
    found = cut(part, torch.tensor([-1, 3]), 3, -7.0)[..., 0]
    assert found.tolist() == [[-7, 0, 1], [8, 9, -7]]


@pytest.mark.parametrize("scaling", ["global", "increments", "running+increments", "log+running"])
def test_windows_go_on_from_what_was_read(scaling: str):
    """State and memory before a window are those of the model that has read so far."""
    data = dataset(num=3, steps=9, channels=2)
    m = unscored("gan", data=data, scaling=scaling)
    batch = collate(data)
    starts = torch.tensor([0, 2, 5])
    with torch.no_grad():
        w = m.windows(
            batch, m.reading(batch), torch.arange(3), starts, torch.ones(3, dtype=torch.bool)
        )
        x, _ = m.sample_steps(w.state, w.covariates, SequenceNoise("abc", 0))
        for i in (1, 2):
            part = collate(data[[i]]).steps(0, int(starts[i]))
            state = m.read(part)._replace(memory=m.remember(part))
            alone, _ = m.sample_steps(state, w.covariates[[i]], SequenceNoise("abc"[i], 0))
            torch.testing.assert_close(x[[i]], alone, rtol=1e-4, atol=1e-4)


def test_views_are_the_same_for_equal_values_and_hide_what_is_missing():
    data = dataset(num=2, steps=8, channels=2)
    data.sequences[0].x[4, 1] = np.nan
    m = unscored("gan", data=data)
    batch = collate(data)
    rows, known = torch.arange(2), torch.ones(2, dtype=torch.bool)
    with torch.no_grad():
        w = m.windows(batch, m.reading(batch), rows, torch.tensor([3, 2]), known)
    real, seen = views(w, w.x, m.scaler)
    other, _ = views(w, w.x + 5.0, m.scaler)
    assert seen[0, w.before.shape[1] + 1].tolist() == [1, 0, 1, 0]
    assert (real[seen == 0] == 0).all()
    assert (other[seen == 0] == 0).all()
    assert (other != real).any()
    # Within a window a shift moves values, and differences only at its first step.
    inside = w.before.shape[1] + 1
    torch.testing.assert_close(real[:, inside:, 2:], other[:, inside:, 2:])


# -- training -------------------------------------------------------------------------------------


class Recorder:
    """An update that records the gradients and takes no step."""

    def __init__(self, m):
        self.m, self.gradients = m, {}

    def __call__(self, name: str, loss: Tensor) -> None:
        loss.backward()
        for key, p in self.m.named_parameters():
            if p.grad is not None:
                assert torch.isfinite(p.grad).all(), key
                if (p.grad != 0).any():
                    self.gradients.setdefault(name, set()).add(key.split(".")[0])
                    self.gradients.setdefault("all", set()).add(key)
        self.m.zero_grad()


@pytest.mark.parametrize("scaling", ["global", "running+increments"])
@pytest.mark.parametrize("name", NAMES)
def test_each_part_learns_from_its_own_loss(name: str, scaling: str):
    data = dataset(channels=2, num=20, steps=9)
    data.sequences[0].x[:] = np.nan
    data.sequences[1].x[3:5, 0] = np.nan
    m = unscored(name, data=data, start_steps=0, scaling=scaling).train()
    record = Recorder(m)
    torch.manual_seed(0)
    assert np.isfinite(float(m.training_step(collate(data.sequences), 0, record)))
    assert record.gradients["critic"] == {"critic"}
    assert record.gradients["generator"] == {"generator"}
    # A constant cancels in a distance, and may in the hidden layer too.
    free = {"critic.out.bias", "critic.hidden.bias"} if name == "wgan" else set()
    assert record.gradients["all"] | free == {k for k, _ in m.named_parameters()} | free
    assert int(m.judged) == m.options.critic_steps
    assert set(m.curve_numbers()) == {"critic_loss"}
    assert m.curve_numbers() == {}


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_at_the_edges(name: str):
    """Single steps, constant series, extreme values: all stays finite."""
    wild = np.array([1e9, -1e9, 20.0, 20.0, 1e-9])[:, None]
    m = unscored(name, start_steps=0).train()
    for x in (wild, np.full((5, 1), 20.0), np.array([[20.0]])):
        data = SequenceDataset.from_list([x])
        m.training_step(collate(data), 0, Recorder(m))
        assert torch.isfinite(m.validation_score(collate(data), SequenceNoise(["a"], 0))).all()


def test_the_score_does_not_depend_on_padding():
    data = dataset(num=2, steps=9)
    m = unscored("gan", data=data)
    batch = collate(data[[1]])
    with torch.no_grad():
        alone = m.validation_score(batch, SequenceNoise(["a"], 0))
        longer = {
            name: F.pad(getattr(batch, name), (0, 0, 0, 3), value=0)
            for name in ("x", "observed", "covariates")
        }
        padded = dataclasses.replace(batch, **longer)
        torch.testing.assert_close(m.validation_score(padded, SequenceNoise(["a"], 0)), alone)


def test_counts_are_refused_in_one_sentence():
    counts = SequenceDataset.from_arrays(np.random.default_rng(0).poisson(2.0, (20, 9, 1)))
    with pytest.raises(InputError, match=r"'gan' is for real values, and here .*negative-binomial"):
        sl.GAN().fit(counts, max_steps=1)
    with pytest.raises(InputError, match="noise_dim=1 is below the number of channels, 2"):
        sl.GAN(noise_dim=1).fit(dataset(channels=2, num=20), max_steps=1)


def test_scores_are_refused_and_say_what_there_is_instead():
    m = unscored("gan")
    with pytest.raises(InputError, match=r"no likelihood .* forecasts by evaluate .* compare"):
        score(m, dataset())


# -- what is drawn --------------------------------------------------------------------------------


def test_spread_of_draws_like_the_data_is_one_and_of_few_modes_is_not():
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    N, M = 2000, 12
    real, seen = normal(N, 4, 1), torch.ones(N, 4, 1)
    # The mean of N ratios of distances in four dimensions, whose spread is below 0.5.
    np.testing.assert_allclose(spread(real, normal(N, M, 4, 1), seen), 1, atol=4 * 0.5 / N**0.5)
    modes = torch.tensor([-1.0, 1.0]).repeat(M // 2)[:, None, None].expand(N, M, 4, 1)
    diversity, nearest = spread(real, modes, seen)
    assert diversity > 0.5
    assert nearest < 0.01
    diversity, _ = spread(real, torch.zeros(N, M, 4, 1), seen)
    assert diversity < 0.01


@pytest.fixture(scope="module")
def process():
    return PROCESSES["ar2"]().sample(60, 30, 0)


@pytest.fixture(scope="module")
def fitted(process):
    """Of the energy score of one step and a few steps of the critic."""
    options = {"hidden_dim": 16, "critic_dim": 16, "start_steps": 100, "scaling": "global"}
    return sl.GAN(**options).fit(process, max_steps=130, eval_every=10, seed=0)


def test_the_curve_has_what_tells_of_failure(fitted):
    last = fitted.result.curve[-1]
    assert 0.5 < last["critic_loss"] < 2.5
    assert 0.7 < last["diversity"] < 1.3
    assert "critic_loss" not in fitted.result.curve[0]


def test_what_is_kept_is_from_after_the_critic_s_first_step(fitted):
    after = [row for row in fitted.result.curve if "critic_loss" in row]
    best = max(after, key=lambda row: row["valid_energy_score"])
    assert fitted.result.best_step == best["step"] > 100
    assert int(fitted.module.judged) == best["step"] - 100


def test_a_good_fit_is_not_warned_of(fitted, process, caplog):
    with caplog.at_level(logging.INFO, "seqlatent"):
        warn(fitted.module, process)
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]
    assert "they differ from each other" in caplog.text


def test_collapsed_modes_are_warned_of(fitted, process, caplog):
    """A generator that hardly uses its noise."""
    m = fitted.clone().fit(process, max_steps=1).module
    m.load_state_dict(fitted.module.state_dict())
    m.judged.fill_(1)
    with torch.no_grad():
        D = m.description.num_channels
        m.generator.moments.weight[D:] = 0.0
        m.generator.moments.bias[D:] = -6.0
    warn(m, process)
    (text,) = [r.message for r in caplog.records if "modes have collapsed" in r.message]
    assert "--model wgan" in text
    assert examine(m, collate(process)).diversity < 0.1


def test_a_critic_that_has_won_is_warned_of(fitted, process):
    found = examine(fitted.module, collate(process))
    assert found.told < 0.75
    won = found._replace(told=0.97)
    fitted.module.judged.fill_(1)
    (text,) = failures(fitted.module, won)
    assert "it tells 97% of the windows drawn from the held-out ones" in text
    fitted.module.judged.fill_(0)
    (text,) = failures(fitted.module, won)
    assert "start_steps=0" in text


def test_forecasts_go_on_from_their_history(fitted):
    """The mean of one step ahead follows the regression on the last two values."""
    process = PROCESSES["ar2"]()
    data = process.sample(200, 12, 5)
    fc = forecast(fitted.module, data, 1, num_samples=100)
    drawn = fc.samples[:, :, 0, 0].mean(1)
    last = np.stack([[s.x[-1, 0], s.x[-2, 0], 1.0] for s in data])
    truth = last @ [process.a1, process.a2, 0.0]
    assert np.corrcoef(drawn, truth)[0, 1] > 0.97
    assert fc.samples.std(1).mean() == pytest.approx(process.sigma, rel=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_draws_have_the_moments_of_an_autoregression(name: str):
    """Mean, variance, and autocorrelations at lags 1 and 2, of sequences that run freely from
    nothing."""
    process = PROCESSES["ar2"]()
    cls = {"gan": sl.GAN, "wgan": sl.WGAN}[name]
    fitted = cls(scaling="global").fit(process.sample(200, 60, 0), max_steps=500, seed=0)

    def moments(x: np.ndarray) -> np.ndarray:
        z = x - x.mean()
        v = (z**2).mean()
        return np.array([x.mean(), v, *((z[:, k:] * z[:, :-k]).mean() / v for k in (1, 2))])

    rho = process.a1 / (1 - process.a2)
    second = process.a1 * rho + process.a2
    variance = process.sigma**2 / (1 - process.a1 * rho - process.a2 * second)
    truth = np.array([0.0, variance, rho, second])
    drawn = moments(np.stack([s.x[:, 0] for s in fitted.sample(1000, 60, seed=1)]))
    # 200 series tell the mean to 0.05, the variance to 3 % and autocorrelations to 0.01; the fit
    # is allowed three times as much. The largest error of the variance was 3 %, of four seeds of
    # gan, and 7 %, of three of wgan.
    allowed = [0.15, 0.1 * truth[1], 0.05, 0.08]
    assert (np.abs(drawn - truth) < allowed).all(), (drawn, truth)


def test_all_parameters_are_in_one_optimiser():
    m = unscored("wgan")
    groups = [
        id(p) for o in m.optimizers(1e-3).values() for g in o.param_groups for p in g["params"]
    ]
    assert sorted(groups) == sorted(id(p) for p in m.parameters())


def test_windows_without_a_past_begin_where_their_sequences_do():
    """Unless these are pieces of longer ones, which have no beginnings of their own."""
    data = dataset(num=2, steps=9)
    batch = dataclasses.replace(collate(data), past_lengths=torch.tensor([0, 5]))
    rows = torch.tensor([0, 1, 0, 1])
    known = torch.tensor([False, False, True, True])
    starts = first_steps(batch, rows, torch.full((4,), 0.99), known, 4)
    assert starts.tolist() == [0, 4, 5, 4]  # lengths 9 and 8


def test_a_level_that_draws_from_nothing_cannot_know_is_no_failure():
    """Held-out pieces of longer series far from where training was, of a model of increments."""
    data = dataset(num=20, steps=14)
    m = unscored("gan", data=data, scaling="increments")
    batch = collate(SequenceDataset.from_list([s.x + 1000.0 for s in data]))
    whole = examine(m, batch)
    piece = examine(m, dataclasses.replace(batch, context=batch.context + 6))
    assert whole.diversity < 0.3 * piece.diversity
