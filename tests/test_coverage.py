"""Stated errors against the truth: 95 % intervals hold log p(x) in models where it is known, and a
bad guide does not go unwarned. `scripts/benchmark coverage` measures the same at length."""

import math

import numpy as np
import pytest
import torch
from exact import guided_chain, guided_last_value

from seqlatent.data.dataset import SequenceDataset
from seqlatent.inference.errors import jackknife, leave_one_out, log_normal, student_quantile, tails
from seqlatent.inference.smc import Trace, particle_filter
from seqlatent.inference.widening import (
    SHARE,
    is_from_prior,
    log_mixture,
    log_over_prior,
    log_ratios,
    num_from_prior,
    widen,
)
from seqlatent.models.latent.network_guide import NetworkGuide
from seqlatent.tasks.scoring import score

GUIDES = {"good": (0.3, 0.9), "wide": (0.0, 2.0), "narrow": (0.0, 0.4)}
BAD = {"far": (3.0, 1.0), "needle": (0.0, 0.02), "both": (6.0, 0.1)}
BUILD = {"per-step": guided_last_value, "smc": guided_chain}


def scored(estimator: str, guide: tuple[float, float], number: int, steps: int):
    """Scores at the defaults, and the truth, of sequences sampled from the model."""
    m, sample, log_prob = BUILD[estimator](*guide)
    x = sample(number, steps, 0)
    frame, _ = score(m, SequenceDataset.from_arrays(x[..., None]), estimator=estimator)
    return frame, log_prob(x)


def holds(frame, truth: np.ndarray) -> np.ndarray:
    return ((frame["lower"] <= truth) & (truth <= frame["upper"])).to_numpy()


@pytest.mark.parametrize("guide", GUIDES)
@pytest.mark.parametrize(
    ("estimator", "number", "steps"), [("per-step", 1_000, 15), ("smc", 150, 10)]
)
def test_intervals_hold_the_truth(estimator: str, number: int, steps: int, guide: str):
    """Between .93 and .995 of them, within three binomial standard errors, and most are told."""
    frame, truth = scored(estimator, GUIDES[guide], number, steps)
    told = frame["std_error"].notna().to_numpy()
    assert told.mean() > 0.95
    share = holds(frame, truth)[told].mean()
    error = 3 * math.sqrt(0.05 * 0.95 / told.sum())
    assert 0.93 - error < share
    assert share < 0.995 or number < 1_000
    # An interval that held by being wide would be useless.
    off = np.sqrt(np.mean((frame["log_prob"] - truth)[told] ** 2))
    assert frame["std_error"].to_numpy()[told].mean() < 2 * off


@pytest.mark.parametrize("guide", BAD)
@pytest.mark.parametrize(("estimator", "number", "steps"), [("per-step", 300, 15), ("smc", 50, 10)])
def test_a_bad_guide_is_warned_of(estimator: str, number: int, steps: int, guide: str, caplog):
    """No error is told of nearly all, as the warning says; the lower bound holds all the same."""
    with caplog.at_level("WARNING", "seqlatent"):
        frame, truth = scored(estimator, BAD[guide], number, steps)
    told = frame["std_error"].notna().to_numpy()
    assert told.mean() <= 0.02
    assert f"the error of {(~told).sum()} of {number} estimates cannot be told" in caplog.text
    assert "use more particles, fit longer" in caplog.text
    assert holds(frame, truth)[~told].mean() > 0.95 - 3 * math.sqrt(0.05 * 0.95 / number)
    np.testing.assert_allclose(
        frame["lower"][~told], frame["log_prob"][~told] - math.log(20), rtol=0, atol=1e-4
    )


def test_a_target_is_not_called_reached_where_no_error_can_be_told(caplog, monkeypatch):
    """The guide that is far off, whose old error of at most one nat met any such target."""
    monkeypatch.setattr("seqlatent.tasks.scoring.MAX_PARTICLES", 128)
    m, sample, _ = guided_last_value(6.0, 0.1)
    data = SequenceDataset.from_arrays(sample(3, 100, 0)[..., None])
    with caplog.at_level("WARNING", "seqlatent"):
        frame, _ = score(m, data, target_error=0.05)
    assert frame["std_error"].isna().all()
    assert set(frame["num_particles"]) == {128}
    assert "3 of 3 sequences did not reach the target error" in caplog.text
    assert "an error that cannot be told" in caplog.text


# -- the parts ------------------------------------------------------------------------------------


def test_leaving_one_out():
    w = torch.tensor([[1.0, 1e-300], [2.0, 3.0], [6.0, 1e-300]], dtype=torch.float64)
    others = leave_one_out(w.log()).exp()
    torch.testing.assert_close(others[:, 0], torch.tensor([4.0, 3.5, 1.5]).double())
    assert others[1, 1] == pytest.approx(1e-300)  # not lost beside the largest


def test_the_jackknife_is_not_bounded_and_is_the_delta_method_where_that_holds():
    dominated = torch.zeros(64, 1, 1, dtype=torch.float64)
    dominated[0] = 700.0
    inside = torch.ones(1, 1, dtype=torch.bool)
    e = jackknife(dominated, inside)
    assert e.variance.sqrt() > 500
    assert not e.told
    torch.manual_seed(0)
    even = 0.1 * torch.randn(4_096, 5, 1, dtype=torch.float64)
    e = jackknife(even, inside.expand(5, 1))
    relative = even.exp() / even.exp().mean(0)
    torch.testing.assert_close(e.variance, relative.var(0)[:, 0] / 4_096, rtol=1e-2, atol=0)
    torch.testing.assert_close(e.correction, e.variance / 2, rtol=2e-2, atol=0)
    assert e.told.all()


def test_weights_that_are_constant_or_absent_have_no_error():
    inside = torch.tensor([[True, True], [False, False]])
    e = jackknife(torch.full((8, 2, 2), -1.5), inside)
    assert e.told.all()
    total = torch.tensor([-3.0, 0.0]).double()
    for end in e.interval(total, torch.ones(2, dtype=torch.bool)):
        torch.testing.assert_close(end, total)


def test_after_a_context_a_filter_has_no_bound_where_no_error_can_be_told():
    """p^(x_{1:T}) / p^(context) is not unbiased, and Markov's inequality says nothing of it."""
    m, sample, _ = guided_chain(*BAD["both"])
    data = SequenceDataset.from_arrays(sample(2, 10, 0)[..., None])
    pieces = tuple(s.slice(0, 10, start) for s, start in zip(data.sequences, (0, 4), strict=True))
    frame, _ = score(m, SequenceDataset(pieces, data.targets))
    assert frame["std_error"].isna().all()
    assert list(np.isfinite(frame["lower"])) == [True, False]


@pytest.mark.parametrize("shape", [0.2, 0.5, 1.0])
def test_the_tail_of_pareto_weights(shape: float):
    """Its posterior mean is within .1 of the truth on average, from 10,000 weights."""
    torch.manual_seed(0)
    log_odds = torch.distributions.Exponential(1.0).sample((10_000, 40)).double() * shape
    found, growth, even = tails(log_odds, torch.full((40,), 10_000), 64)
    assert abs(found.mean() - shape) < 0.1
    assert (growth >= 1).all()
    assert even.any() == (shape < 0.5)  # no weight is a tenth of 64 particles' together
    assert torch.isinf(tails(log_odds[:10], torch.full((40,), 10), 64)[0]).all()


def test_students_quantiles():
    exact = {3: 3.1824, 5: 2.5706, 7: 2.3646, 30: 2.0423, 1_000: 1.9623}
    for freedom, value in exact.items():
        assert student_quantile(torch.tensor(float(freedom))).item() == pytest.approx(value, 1e-2)


@pytest.mark.parametrize("spread", [0.1, 1.5])
def test_log_normal_filters(spread: float):
    """Intervals from six log-normal estimates hold their mean, with a context and without.

    Near the largest spread allowed, those told are the ones that happen to look small: it is what
    is said of all, told or bounded, that holds."""
    torch.manual_seed(0)
    number = 20_000
    start = 0.5 * spread * torch.randn(6, number) - spread**2 / 8
    end = start + 0.75**0.5 * spread * torch.randn(6, number) - 0.375 * spread**2
    yes = torch.ones(number, dtype=torch.bool)
    for starts in (torch.zeros_like(start), start):
        e = log_normal(end, starts, torch.zeros(number), yes)
        total = end.logsumexp(0) - starts.logsumexp(0)
        lower, upper = e.interval(total.double(), yes)
        share = ((lower <= 0) & (upper >= 0)).double().mean()
        assert 0.93 < share < 0.98
        assert e.told.double().mean() > 0.5


def test_widened_noise_keeps_the_mean_and_bounds_the_weights():
    """E[N(eps) / h(eps)] = 1 and that of eps^2 is 1 too; no ratio exceeds 1 / (1 - 1/8)."""
    torch.manual_seed(0)
    eps = torch.randn(64, 4_000, 1, 3, dtype=torch.float64)
    shift = torch.randint(64, (4_000, 1))
    for moved in (None, shift):
        wider, wide = widen(eps, 5, moved)
        assert wide.double().mean() == 2 / SHARE
        assert moved is not None or not wide[0].any()
        ratio = (-log_mixture(log_ratios(wider, 5), 64)).exp()
        assert ratio.max() <= 1 / (1 - 2 / SHARE) + 1e-9
        for value, truth in ((ratio, 1.0), (ratio * wider[..., 1] ** 2, 1.0)):
            means = value.mean((0, 2))
            assert abs(means.mean() - truth) < 4 * means.std() / math.sqrt(4_000)
    few = torch.randn(15, 2, 1, 3)
    assert torch.equal(widen(few)[0], few)
    assert not log_mixture(log_ratios(few), 15).any()


@pytest.mark.parametrize("size", [4, 8, 20, 64])
def test_particles_of_the_prior_keep_the_mean_and_bound_the_weights(size: int):
    """From a guide N(1, .5^2) of p = N(0, I): E[p / m] = 1 under the mixture m, E[z^2 p / m] = 1,
    and no p / m exceeds 1 / b. Four particles are the guide's, where z^2 has no such mean."""
    torch.manual_seed(0)
    shift = torch.randint(size, (4_000, 1))
    eps, wide = widen(torch.randn(size, 4_000, 1, 2, dtype=torch.float64), 5, shift)
    prior = is_from_prior(size, shift)
    assert (prior.sum(0) == num_from_prior(size)).all() and not (prior & wide).any()
    z = torch.where(prior[..., None], eps, 1 + 0.5 * eps)
    eps = (z - 1) / 0.5
    log_ratio = (-0.5 * z**2 + 0.5 * eps**2 + math.log(0.5)).sum(-1)
    weight = (-log_over_prior(eps, log_ratio, 5)).exp()
    if size < 8:
        torch.testing.assert_close(weight, log_ratio.exp())
        return
    assert weight.max() <= size / num_from_prior(size) + 1e-9
    for value in (weight, weight * z[..., 0] ** 2):
        means = value.mean((0, 2))
        assert abs(means.mean() - 1) < 4 * means.std() / math.sqrt(4_000)


@pytest.mark.parametrize("conditioning", ["latents", "noise"])
@pytest.mark.parametrize("num_particles", [8, 64])
def test_a_guide_hundreds_of_scales_away_costs_little(num_particles: int, conditioning: str):
    """600 standard deviations of the posterior off, and a hundredth as wide: 180,000 nats of a step
    by its own particles; by those of the prior less than 3, and less than .5 where these are 4."""
    m, sample, log_prob = guided_chain(600.0, 0.01)
    guide = m.guide_network
    assert isinstance(guide, NetworkGuide)
    guide.conditioning = conditioning
    x = sample(20, 30, 0)
    data = SequenceDataset.from_arrays(x[..., None])
    frame, _ = score(m, data, num_particles=num_particles)
    off = (log_prob(x) - frame["log_prob"].to_numpy()) / 30
    assert (off > -0.1).all() and off.max() < (3 if num_particles == 8 else 0.5)
    assert frame["std_error"].isna().mean() > 0.9


def test_two_particles_can_be_resampled():
    weights = torch.tensor([[3.0], [-3.0]])
    trace = Trace(2, 1, torch.device("cpu"))
    particle_filter(lambda t, state: (weights, torch.zeros(2, 1)), torch.rand(1, 3), 2, trace)
    assert trace.moves.item() == 3


def test_resampled_particles_count_alike():
    trace = Trace(4, 2, torch.device("cpu"))
    weights = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.4, 0.3, 0.2, 0.1]]).log().T
    own = torch.arange(4)[:, None]
    trace(weights, torch.cat([torch.tensor([[0], [0], [0], [2]]), own], 1))
    assert trace.moves.tolist() == [1, 0]
    even = torch.full((4,), -math.log(4))
    torch.testing.assert_close(trace.log_weights, torch.stack([even, weights[:, 1]], 1))
    expected = torch.tensor([0.52 + 0.25, 0.3])  # the sums of squared weights, then and now
    torch.testing.assert_close(trace.inverse_ess(), expected)
