"""The latent-variable model: guide, bound and estimate against independent calculations."""

import itertools
import math

import numpy as np
import pyro
import pytest
import torch
from cases import dataset, model, stir
from pyro import poutine
from torch.autograd.functional import jacobian
from torch.distributions import Normal

from seqlatent.data.batch import collate
from seqlatent.data.splits import split
from seqlatent.inference.bounds import per_step_importance
from seqlatent.models.guide import Guide, GuideDistribution
from seqlatent.nn.convolution import Convolution
from seqlatent.nn.recurrent import Recurrent
from seqlatent.options import make
from seqlatent.scoring import score
from seqlatent.training import fit
from seqlatent.training_options import TrainingOptions

STEPS, LATENTS, SEEN = 6, 2, 3


@pytest.fixture(params=["cnn", "rnn"])
def network(request: pytest.FixtureRequest):
    size = SEEN + LATENTS
    return Convolution(size, 8, 2) if request.param == "cnn" else Recurrent(size, 8)


def guide_of(network, conditioning: str) -> Guide:
    torch.manual_seed(0)
    guide = Guide(network, LATENTS, conditioning).double()
    stir(guide)
    return guide


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("conditioning", ["noise", "latents"])
def test_density_of_draws_is_the_change_of_variables(network, conditioning: str):
    """log q(z) = log N(eps; 0, I) - log |det dz / d eps|, the determinant by autograd."""
    guide, seen, eps = (
        guide_of(network, conditioning),
        noise(1, STEPS, SEEN),
        noise(1, STEPS, LATENTS),
    )
    z, log_q, _ = guide.draw(seen, eps)
    derivative = jacobian(lambda e: guide.draw(seen, e)[0].flatten(), eps)
    log_det = derivative.reshape(z.numel(), -1).det().abs().log()
    expected = Normal(0, 1).log_prob(eps).sum() - log_det
    assert log_q.sum().item() == pytest.approx(expected.item(), abs=1e-10)


@pytest.mark.parametrize("conditioning", ["noise", "latents"])
def test_parallel_form_is_the_ancestral_density(network, conditioning: str):
    """prod_t q(z_t | x_{1:t}, z_{<t}), each factor a normal law found from the prefix alone."""
    guide, seen, eps = (
        guide_of(network, conditioning),
        noise(1, STEPS, SEEN),
        noise(1, STEPS, LATENTS),
    )
    z, log_q, _ = guide.draw(seen, eps)
    past = torch.zeros(1, 0, LATENTS, dtype=torch.float64)  # z_{<t}, or the eps_{<t} they stand for
    for t in range(STEPS):
        # Location and scale of step t do not depend on its own noise: read them off two draws.
        at_zero, at_one = (
            _draw_last(guide, seen[:, : t + 1], past, torch.full((1, 1, LATENTS), float(e)))
            for e in (0.0, 1.0)
        )
        law = Normal(at_zero, at_one - at_zero)
        expected = law.log_prob(z[:, t]).sum()
        assert log_q[0, t].item() == pytest.approx(expected.item(), abs=1e-9)
        own = (z[:, t] - law.loc) / law.scale  # the noise recovered from z alone
        past = torch.cat([past, own[:, None]], 1)
    torch.testing.assert_close(past, eps, rtol=0, atol=1e-9)
    torch.testing.assert_close(guide.log_prob(seen, z), log_q, rtol=0, atol=1e-9)


def _draw_last(guide: Guide, seen, past, now) -> torch.Tensor:
    z, _, _ = guide.draw(seen, torch.cat([past, now.double()], 1))
    return z[:, -1]


@pytest.mark.parametrize("conditioning", ["noise", "latents"])
def test_later_steps_do_not_enter(network, conditioning: str):
    guide, seen, eps = (
        guide_of(network, conditioning),
        noise(1, STEPS, SEEN),
        noise(1, STEPS, LATENTS),
    )
    size = jacobian(lambda s: guide.draw(s, eps)[0].sum(-1)[0], seen)[:, 0].abs().sum(-1)
    assert (size.triu(1) == 0).all()
    assert (size.diagonal() > 0).all()


def test_the_site_remembers_its_draw(network):
    """Pyro's plates call `expand`: it must not lose the memory of the draw's density."""
    guide, seen = guide_of(network, "noise"), noise(2, STEPS, SEEN)
    site = GuideDistribution(guide, seen)
    assert site.expand(torch.Size([2, STEPS])) is site
    torch.set_default_dtype(torch.float64)
    try:
        z = site.rsample()
    finally:
        torch.set_default_dtype(torch.float32)
    remembered = site.log_prob(z)
    recomputed = site.log_prob(z.clone())
    assert remembered is site.log_prob(z)
    torch.testing.assert_close(remembered, recomputed, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", ["latent", "latent-last", "latent-rnn", "latent-ancestral"])
def test_pyro_s_elbo_is_ours(name: str):
    """-Trace_ELBO with one particle is the sum of the log-weights of the same noise."""
    data = dataset(num=4, channels=2)
    m, batch = model(name, data=data), collate(data.sequences)
    torch.manual_seed(3)
    loss = m.loss(batch)
    torch.manual_seed(3)
    weights, _ = m.log_weights(batch, torch.randn(1, *batch.x.shape[:2], m.latent_dim))
    expected = -weights.mean(0).sum() / batch.scored.sum()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    parts = m.terms(batch)
    assert parts["kl"].shape == batch.x.shape[:2]


def test_model_and_guide_have_two_sites_with_a_term_for_every_step():
    data = dataset(num=4)
    m, batch = model("latent", data=data), collate(data.sequences)
    guide = poutine.trace(m.guide).get_trace(batch)
    trace = poutine.trace(poutine.replay(m.model, guide)).get_trace(batch)
    trace.compute_log_prob()
    assert [n for n, s in trace.nodes.items() if s["type"] == "sample" and n in "zx"] == ["z", "x"]
    for site in ("z", "x"):
        assert trace.nodes[site]["log_prob"].shape == (4, 7)
        assert (trace.nodes[site]["log_prob"][~batch.scored] == 0).all()


def test_kl_is_annealed():
    data = dataset(num=4)
    m, batch = model("latent", data=data, kl_anneal_steps=9), collate(data.sequences)

    def loss(step: int | None) -> float:
        torch.manual_seed(3)
        return m.loss(batch, step).item()

    kl = {s: loss(s) - loss(None) for s in (0, 4, 9)}
    torch.manual_seed(3)
    full = m.terms(batch)["kl"].sum().item() / batch.scored.sum().item()
    assert kl[0] == pytest.approx(-0.9 * full, rel=1e-4)
    assert kl[4] == pytest.approx(-0.5 * full, rel=1e-4)
    assert kl[9] == 0


def quadrature(m, batch) -> torch.Tensor:
    """(B, T) log p(x_t | x_{t-1}) = log int N(z) p(x_t | x_{t-1}, z) dz, for one latent."""
    z, weight = np.polynomial.hermite_e.hermegauss(80)
    log_weight = torch.from_numpy(np.log(weight / math.sqrt(2 * math.pi))).float()
    r = m._read(batch, None)
    grid = torch.from_numpy(z).float()[:, None, None, None].expand(-1, *batch.x.shape[:2], 1)
    log_x = m._emission(r.context, grid, batch.observed).log_prob(
        r.y.expand(len(z), *r.y.shape[:2], -1)
    )
    return (log_x + log_weight[:, None, None]).logsumexp(0) - r.scaling.log_scale(batch.observed)


@pytest.mark.parametrize("name", ["latent", "latent-last"])
def test_per_step_estimate_agrees_with_quadrature(name: str):
    data = dataset(num=2, steps=6)
    m, batch = model(name, "normal", data, latent_dim=1), collate(data.sequences)
    eps = torch.randn(20_000, 2, 6, 1, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        estimate = per_step_importance(m.log_weights(batch, eps)[0])
        truth = torch.where(batch.scored, quadrature(m, batch), 0.0)
    error = 4 * estimate.variance.sqrt() + 1e-4
    assert ((estimate.log_prob - truth).abs() < error).all()
    assert error.max() < 0.05


def test_estimates_are_unbiased_and_their_errors_honest():
    """Over seeds: E[p^ / p] = 1, and the stated standard error is the spread of the estimates."""
    data = dataset(num=1, steps=6)
    m, batch = model("latent-last", "normal", data, latent_dim=1), collate(data.sequences)
    with torch.no_grad():
        truth = float(quadrature(m, batch)[0].sum())
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


def test_training_leaves_pyro_s_global_store_empty():
    data = dataset(num=12)
    m = model("latent", data=data)
    before = pyro.settings.get("validate_distributions_torch")
    train, valid = split(data, 0.2, "series")
    fit(m, train, valid, make(TrainingOptions, {"max_steps": 3}))
    assert len(list(pyro.get_param_store().keys())) == 0
    assert pyro.settings.get("validate_distributions_torch") == before
