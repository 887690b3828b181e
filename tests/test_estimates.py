"""Estimates of log p(x) against exact answers: quadrature, and linear-Gaussian models."""

import itertools
import math

import numpy as np
import pytest
import torch
from cases import dataset, model
from torch.distributions import MultivariateNormal, Normal

from seqlatent.data.batch import collate
from seqlatent.errors import InputError
from seqlatent.inference.bounds import (
    average,
    doubly_reparametrised,
    joint_importance,
    per_step_importance,
)
from seqlatent.inference.estimating import estimate
from seqlatent.inference.likelihood import spread_over_scored
from seqlatent.inference.smc import particle_filter, systematic
from seqlatent.tasks.scoring import score

# -- one latent at every step, by quadrature ------------------------------------------------------


def quadrature(m, batch, points: int = 4_001) -> torch.Tensor:
    """(B, T) log p(x_t | x_{<t}) = log int p(z) p(x_t | history, z) dz, for one latent whose
    posterior factorises, on an even grid."""
    z = torch.linspace(-10, 10, points)
    grid = z[:, None, None, None].expand(-1, *batch.x.shape[:2], 1)
    r = m.reading(batch)
    prior, _, _ = m.prior(grid, r.prior)
    log_x = m._emission(r.emission, grid, None, batch.observed).log_prob(
        r.y.expand(len(z), *r.y.shape[:2], -1)
    )
    total = (log_x + prior.log_prob(grid)).logsumexp(0) + math.log(20 / (points - 1))
    return torch.where(batch.scored, total - r.log_scale, 0.0)


@pytest.mark.parametrize("name", ["latent-all", "latent-last"])
@pytest.mark.parametrize("estimator", ["per-step", "joint"])
def test_estimates_agree_with_quadrature(name: str, estimator: str):
    data = dataset(num=2, steps=6 if estimator == "per-step" else 3)
    m, batch = model(name, "normal", data, latent_dim=1), collate(data.sequences)
    for p in m.guide_network.out.parameters():
        p.data.mul_(0.3)  # near the prior, so that the weights have a finite variance
    e = estimate(m, batch, ["a", "b"], num_particles=50_000, estimator=estimator, seed=0)
    with torch.no_grad():
        truth = quadrature(m, batch)
    error = 4 * e.variance.sqrt() + 1e-4
    assert ((e.log_prob.sum(-1) - truth.sum(-1)).abs() < error).all()
    assert error.max() < 0.2
    assert (e.elbo < truth.sum(-1)).all()
    assert ((e.ess > 1) & (e.ess <= 50_000)).all()
    if estimator == "per-step":
        assert (e.log_prob - truth).abs().max() < error.max()


def test_estimates_are_unbiased_and_their_standard_errors_right():
    """Over seeds, E[p^ / p] = 1, and the standard error is the spread of the estimates."""
    data = dataset(num=1, steps=6)
    m, batch = model("latent-last", "normal", data, latent_dim=1), collate(data.sequences)
    with torch.no_grad():
        truth = float(quadrature(m, batch).sum())
    frames = [score(m, data, num_particles=64, seed=s)[0] for s in range(300)]
    estimates = np.array([f["log_prob"][0] for f in frames])
    stated = np.array([f["std_error"][0] for f in frames])
    ratio = np.exp(estimates - truth)
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / math.sqrt(len(ratio))
    assert 0.8 < stated.mean() / estimates.std() < 1.25
    assert frames[0]["kind"][0] == "iwae"
    assert frames[0]["num_particles"][0] == 64


def test_more_particles_tighten_the_bound():
    data = dataset(num=6, steps=6)
    m = model("latent-last", "normal", data, latent_dim=2)
    means = []
    for k in (1, 8, 64):
        totals = [score(m, data, num_particles=k, seed=s)[0]["log_prob"].sum() for s in range(40)]
        means.append((np.mean(totals), np.std(totals) / math.sqrt(40)))
    for (low, a), (high, b) in itertools.pairwise(means):
        assert high - low > 2 * math.hypot(a, b)
    assert score(m, data, num_particles=1)[0]["kind"][0] == "elbo"
    assert np.isnan(score(m, data, num_particles=1)[0]["std_error"][0])


def test_double_reparametrisation_keeps_the_guide_s_gradient_and_lowers_its_noise():
    """For a normal guide and prior, the mean is that of the plain gradient, the spread smaller."""

    def gradient(doubled: bool, seed: int) -> float:
        loc = torch.tensor(0.5, requires_grad=True)
        torch.manual_seed(seed)
        eps = torch.randn(64, 50, 1, 1)
        z = loc + 0.8 * eps
        log_q = Normal(loc.detach() if doubled else loc, 0.8).log_prob(z)
        log_weights = (Normal(0, 1).log_prob(z) - log_q)[..., 0]
        if doubled:
            doubly_reparametrised(z, log_weights)
        per_step_importance(log_weights).log_prob.mean().backward()
        assert loc.grad is not None
        return loc.grad.item()

    plain, doubled = (np.array([gradient(d, s) for s in range(400)]) for d in (False, True))
    error = 4 * math.hypot(plain.std(), doubled.std()) / math.sqrt(400)
    assert abs(plain.mean() - doubled.mean()) < error
    assert abs(doubled.mean()) > error  # the means differ from zero
    assert doubled.std() < 0.5 * plain.std()


# -- a linear-Gaussian model, known in closed form ------------------------------------------------

DECAY, STEP, SLOPE, NOISE = 0.9, 0.6, 1.3, 0.7
STEPS = 25


class LinearGaussian:
    """z_t = DECAY z_{t-1} + STEP e, z_1 ~ N(0, STEP^2), x_t = SLOPE z_t + NOISE e, and proposals
    that depend on what a guide can see."""

    def __init__(self, num_sequences: int, seed: int, steps: int = STEPS):
        self.steps = steps
        t = torch.arange(steps, dtype=torch.float64)
        decays = DECAY ** (t[:, None] - t).clamp(min=0) * (t[:, None] >= t)
        self.cov_z = STEP**2 * decays @ decays.T
        cov_x = SLOPE**2 * self.cov_z + NOISE**2 * torch.eye(steps, dtype=torch.float64)
        self.distribution = MultivariateNormal(torch.zeros(steps, dtype=torch.float64), cov_x)
        torch.manual_seed(seed)
        self.x = self.distribution.sample((num_sequences,))
        # The posterior of z_{1:T} is Gaussian with a tridiagonal precision, so that z_t depends on
        # z_{t-1} and x_{t:T} only.
        precision = self.cov_z.inverse() + SLOPE**2 / NOISE**2 * torch.eye(steps).double()
        self.posterior = precision.inverse()
        self.mean = self.x @ self.posterior * SLOPE / NOISE**2

    def log_prob(self) -> torch.Tensor:
        return self.distribution.log_prob(self.x)

    def guide(self, kind: str, t: int, last: torch.Tensor) -> Normal:
        """q(z_t | z_{t-1}, ...): `prior`, `filtering` (sees x_t), `smoothing` (sees x_{t:T})."""
        loc = DECAY * last
        if kind == "prior":
            return Normal(loc, torch.full_like(loc, STEP))
        if kind == "filtering":
            precision = STEP**-2 + SLOPE**2 / NOISE**2
            at = (loc / STEP**2 + SLOPE * self.x[:, t] / NOISE**2) / precision
            return Normal(at, torch.full_like(loc, precision**-0.5))
        if t == 0:
            at, variance = self.mean[:, 0].expand_as(last), self.posterior[0, 0]
        else:
            slope = self.posterior[t, t - 1] / self.posterior[t - 1, t - 1]
            at = self.mean[:, t] + slope * (last - self.mean[:, t - 1])
            variance = self.posterior[t, t] - slope * self.posterior[t - 1, t]
        return Normal(at, variance.sqrt().expand_as(last))

    def proposal(self, kind: str, num_particles: int, seed: int):
        generator = torch.Generator().manual_seed(seed)
        size = (num_particles, len(self.x))

        def propose(t: int, last: torch.Tensor | None):
            last = torch.zeros(size, dtype=torch.float64) if last is None else last
            q = self.guide(kind, t, last)
            z = q.loc + q.scale * torch.randn(size, generator=generator, dtype=torch.float64)
            log_weight = (
                Normal(SLOPE * z, NOISE).log_prob(self.x[:, t])
                + Normal(DECAY * last, STEP).log_prob(z)
                - q.log_prob(z)
            )
            return log_weight, z

        return propose

    def weights(self, kind: str, num_particles: int, seed: int) -> torch.Tensor:
        """(K, B, T) log-weights of trajectories without resampling."""
        propose, last, parts = self.proposal(kind, num_particles, seed), None, []
        for t in range(self.steps):
            log_weight, last = propose(t, last)
            parts.append(log_weight)
        return torch.stack(parts, -1)

    def particle_filter(self, kind: str, num_particles: int, seed: int):
        generator = torch.Generator().manual_seed(seed + 10**6)
        uniforms = torch.rand(len(self.x), self.steps, generator=generator)
        return particle_filter(self.proposal(kind, num_particles, seed), uniforms, num_particles)


@pytest.mark.parametrize("kind", ["prior", "filtering"])
def test_smc_is_unbiased(kind: str):
    """E[p^ / p] = 1 over 2,000 sequences' filters of 16 particles, within four standard errors."""
    system = LinearGaussian(1, 0)
    system.x = system.x.expand(2_000, -1)
    e, _ = system.particle_filter(kind, 16, 0)
    ratio = (e.log_prob.sum(-1) - system.log_prob()).exp()
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / math.sqrt(len(ratio))
    assert ratio.std() < 3  # else the check is too weak


@pytest.mark.parametrize("kind", ["prior", "filtering"])
def test_smc_comes_within_a_hundredth_of_a_nat_per_step(kind: str):
    """With 512 particles on 20 sequences of 200 steps: every sequence with a guide that sees x_t,
    and on average with the prior as the guide."""
    system = LinearGaussian(20, 1, steps=200)
    e, _ = system.particle_filter(kind, 512, 0)
    off = (e.log_prob.sum(-1) - system.log_prob()).abs() / 200
    assert (off.max() if kind == "filtering" else off.mean()) < 0.01
    assert (e.ess > 100).all()


def test_smc_steps_estimate_the_predictive_densities():
    """Each step's term estimates log p(x_t | x_{<t}), known from the densities of prefixes."""
    system = LinearGaussian(1, 2)
    e, _ = system.particle_filter("filtering", 20_000, 0)
    prefix = [
        MultivariateNormal(
            torch.zeros(t, dtype=torch.float64), system.distribution.covariance_matrix[:t, :t]
        ).log_prob(system.x[0, :t])
        for t in range(1, STEPS + 1)
    ]
    truth = torch.stack(prefix).diff(prepend=torch.zeros(1, dtype=torch.float64))
    assert (e.log_prob[0] - truth).abs().max() < 0.05


def test_a_filter_s_particles_follow_the_filtering_distribution():
    system = LinearGaussian(1, 3)
    _, particles = system.particle_filter("prior", 50_000, 0)
    weight = particles.log_weights.exp()
    mean = (weight * particles.state).sum(0)
    sd = (weight * (particles.state - mean) ** 2).sum(0).sqrt()
    assert abs(mean - system.mean[:, -1]) < 0.02  # at the last step filtering is smoothing
    assert abs(sd - system.posterior[-1, -1].sqrt()) < 0.02


def test_the_exact_smoothing_proposal_has_constant_weights():
    system = LinearGaussian(3, 4)
    total = system.weights("smoothing", 8, 0).sum(-1)
    torch.testing.assert_close(total, system.log_prob().expand(8, -1), rtol=0, atol=1e-9)
    e = joint_importance(system.weights("smoothing", 8, 0))
    torch.testing.assert_close(e.ess, torch.full((3,), 8.0).double())
    assert (e.variance < 1e-12).all()


@pytest.mark.parametrize("kind", ["joint", "smc"])
def test_the_expected_bound_does_not_fall_with_more_particles(kind: str):
    """It also stays below the truth; 400 repetitions, two standard errors."""
    system = LinearGaussian(1, 5)
    system.x = system.x.expand(400, -1)
    means = []
    for k in (1, 4, 16, 64):
        if kind == "joint":
            total = joint_importance(system.weights("prior", k, k)).log_prob.sum(-1)
        else:
            total = system.particle_filter("prior", k, k)[0].log_prob.sum(-1)
        means.append((total.mean().item(), total.std().item() / 20))
    for (low, a), (high, b) in itertools.pairwise(means):
        assert high > low - 2 * math.hypot(a, b)
    assert means[-1][0] > means[0][0]
    assert means[-1][0] < system.log_prob()[0] + 2 * means[-1][1]


def test_several_filters_give_a_standard_error():
    """The standard error from four filters is, on average, the spread of their mean."""
    system = LinearGaussian(1, 6)
    system.x = system.x.expand(300, -1)
    e = average([system.particle_filter("filtering", 64, s)[0] for s in range(4)])
    total = e.log_prob.sum(-1)
    stated = e.variance.mean().sqrt()
    assert 0.8 < (stated / total.std()).item() < 1.25
    ratio = (total - system.log_prob()).exp()
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / math.sqrt(len(ratio))


def test_smc_s_gradient_is_that_of_the_weights():
    """For a parameter of the weights only, with one particle that is never replaced."""
    level = torch.tensor(0.3, requires_grad=True)

    def propose(t: int, state):
        return level * torch.ones(1, 2), torch.zeros(1, 2)

    e, _ = particle_filter(propose, torch.zeros(2, 5), 1)
    e.log_prob.sum().backward()
    assert level.grad is not None
    assert level.grad.item() == pytest.approx(10)


def test_systematic_resampling():
    """Particle k appears K W^k times, rounded up or down, and K W^k on average."""
    torch.manual_seed(0)
    log_weights = (2 * torch.randn(16, 5_000)).log_softmax(0)
    log_weights = log_weights[:, :1].expand(-1, 5_000)
    chosen = systematic(log_weights, torch.rand(5_000))
    counts = torch.stack([(chosen == k).sum(0) for k in range(16)])
    wanted = 16 * log_weights.exp()
    assert ((counts >= wanted.floor() - 1e-3) & (counts <= wanted.ceil() + 1e-3)).all()
    error = 4 * 0.5 / math.sqrt(5_000)
    assert (counts.double().mean(1) - wanted[:, 0]).abs().max() < error


# -- models with a dependent prior ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["latent", "vrnn", "srnn", "dmm", "latent-sequential"])
def test_estimators_of_one_model_agree(name: str):
    """Joint importance sampling and SMC estimate the same number, with many particles."""
    data = dataset(num=2, steps=3)
    m, batch = model(name, "normal", data, latent_dim=1), collate(data.sequences)
    parts = [
        estimate(m, batch, ["a", "b"], num_particles=4_000, estimator=kind, seed=0)
        for kind in ("joint", "smc")
    ]
    joint, filtered = (spread_over_scored(e.log_prob, batch.scored, batch.context) for e in parts)
    error = 4 * sum(e.variance for e in parts).sqrt() + 1e-4
    assert ((joint - filtered).sum(-1).abs() < error).all()
    assert error.max() < 1


@pytest.mark.parametrize("name", ["latent", "vrnn", "dmm"])
def test_a_dependent_prior_by_quadrature(name: str):
    """log p(x_1, x_2) of one latent: the integral over (z_1, z_2) on a grid."""
    data = dataset(num=1, steps=2)
    m, batch = model(name, "normal", data, latent_dim=1), collate(data.sequences)
    points = torch.linspace(-7, 7, 281)
    grid = torch.stack(torch.meshgrid(points, points, indexing="ij"), -1).reshape(-1, 1, 2, 1)
    with torch.no_grad():
        r = m.reading(batch)
        prior, past, _ = m.prior(grid, r.prior)
        emission = m._emission(r.emission, grid, past, r.observed)
        log_x = emission.log_prob(r.y.expand(len(grid), 1, 2, -1)) - r.log_scale
        total = (log_x + prior.log_prob(grid)).sum(-1).logsumexp(0) + 2 * math.log(14 / 280)
    for kind in ("smc", "joint"):
        e = estimate(m, batch, ["a"], num_particles=10_000, estimator=kind, seed=0)
        assert abs(e.log_prob.sum() - total) < 4 * e.variance.sqrt() + 1e-3
        assert e.variance.sqrt() < 0.1


@pytest.mark.parametrize("prior", ["independent", "mixture"])
def test_filters_of_independent_latents_by_quadrature(prior: str):
    """They need none of the prior's particles, whose density may be that of a mixture."""
    data = dataset(num=1, steps=4)
    m, batch = model("latent", "normal", data, latent_dim=1, prior=prior), collate(data.sequences)
    with torch.no_grad():
        total = quadrature(m, batch).sum()
    e = estimate(m, batch, ["a"], num_particles=2_000, estimator="smc", seed=0)
    assert abs(e.log_prob.sum() - total) < 4 * e.variance.sqrt() + 1e-3
    assert e.variance.sqrt() < 0.05


def test_the_term_of_an_unscored_step_goes_to_the_next_scored_one():
    """With a dependent prior, the distribution after a gap depends on the latents in it."""
    log_prob = torch.tensor([[1.0, 10.0, 100.0, 1000.0, 10000.0]])
    scored = torch.tensor([[False, False, True, True, False]])
    spread = spread_over_scored(log_prob, scored, torch.tensor([1]))
    assert spread.tolist() == [[0, 0, 110, 1000, 0]]


def test_the_target_error_is_reached_or_there_is_a_warning(caplog, monkeypatch):
    data = dataset(num=3, steps=6)
    m = model("dmm", "normal", data)
    before = score(m, data, num_particles=64)[0]
    target = float((before["std_error"] / before["num_observed"]).max() / 4)
    assert target > 0
    after = score(m, data, num_particles=64, target_error=target)[0]
    assert (after["std_error"] / after["num_observed"] <= target).all()
    assert after["num_particles"].max() > 64
    assert list(after["unique_id"]) == list(before["unique_id"])
    monkeypatch.setattr("seqlatent.tasks.scoring.MAX_PARTICLES", 16)
    with caplog.at_level("WARNING", "seqlatent"):
        score(m, data, num_particles=8, target_error=1e-6)
    assert "3 of 3 sequences did not reach the target error" in caplog.text
    with pytest.raises(InputError, match="target_error=0 must be above 0"):
        score(m, data, target_error=0)


@pytest.mark.parametrize("name", ["latent", "latent-last", "vrnn"])
def test_one_particle_has_no_error_and_is_never_resampled(name: str):
    data = dataset(num=2)
    m = model(name, data=data)
    one, joint = (score(m, data, num_particles=1, estimator=e)[0] for e in ("smc", "joint"))
    assert one["log_prob"].tolist() == joint["log_prob"].tolist()
    assert set(one["kind"]) == {"elbo"}
    assert one["std_error"].isna().all()
    np.testing.assert_allclose(one["gap"], 0, rtol=0, atol=1e-4)
    np.testing.assert_allclose(one["ess"], 1, rtol=1e-6)


def test_estimators_that_do_not_fit_are_refused():
    data = dataset(num=2)
    with pytest.raises(InputError, match="estimator=per-step needs latents that are independent"):
        score(model("vrnn", data=data), data, estimator="per-step")
    with pytest.raises(InputError, match="computes its likelihood exactly"):
        score(model("rnn", data=data), data, estimator="smc")
    with pytest.raises(InputError, match="not one of auto"):
        score(model("vrnn", data=data), data, estimator="magic")
    expected = {"latent": "smc", "latent-last": "iwae", "vrnn": "smc", "dmm": "smc"}
    kinds = {n: score(model(n, data=data), data)[0]["kind"][0] for n in expected}
    assert kinds == expected
