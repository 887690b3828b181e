"""The guide that corrects the prior: exact where values are linear in latents, and what it sees."""

import copy
import dataclasses
import math

import known
import numpy as np
import pytest
import torch
from cases import dataset, model, without_gradient
from exact import CHAIN, LOADING, NOISE, SLOPE, STEP, chain, kalman_guide
from torch.autograd.functional import jacobian
from torch.distributions import Normal

from seqlatent.data.batch import SequenceBatch, collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.models.latent.guide_distribution import GUIDE_DISTRIBUTIONS
from seqlatent.models.latent.model import LatentModel
from seqlatent.models.latent.parts import Reading
from seqlatent.models.latent.prior_guide import PriorGuide
from seqlatent.models.latent.transitions import TRANSITIONS
from seqlatent.tasks.scoring import score
from seqlatent.training.checkpoint import load_model, save_model

STEPS = 5


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def corrected(data: SequenceDataset | None = None, **options) -> tuple[LatentModel, PriorGuide]:
    m = model("latent", data=data, **options)
    assert isinstance(m, LatentModel) and isinstance(m.guide_network, PriorGuide)
    return m, m.guide_network


def batch_of(num: int = 2) -> SequenceBatch:
    return collate(dataset(num=num, steps=STEPS).sequences)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4))


def kalman_chain() -> LatentModel:
    m = chain(smoothing=False, guide_conditioning="prior")
    kalman_guide(m)
    return m


# -- exact answers --------------------------------------------------------------------------------


def test_with_the_kalman_gain_it_is_the_posterior_of_each_step():
    """p(z_t | z_{t-1}, x_t), by precisions; hence each weight is p(x_t | z_{t-1}), whatever z_t."""
    m, data = kalman_chain(), SequenceDataset.from_list([s.x for s in CHAIN.sample(3, STEPS, 0)])
    batch = collate(data.sequences)
    r = m.reading(batch)
    eps = noise(8, 3, STEPS, 1)
    sample, _ = m.propose(r, eps)
    before = torch.cat([torch.zeros(8, 3, 1, 1), sample.z[:, :, :-1]], 2)[..., 0]
    q, _ = m.guide_network.distributions(r.seen, eps)
    precision = STEP**-2 + LOADING**2 / NOISE**2
    x = batch.x[..., 0]
    loc = (SLOPE * before / STEP**2 + LOADING * x / NOISE**2) / precision
    torch.testing.assert_close(q.loc[..., 0], loc, rtol=0, atol=1e-6)
    torch.testing.assert_close(q.scale, torch.full_like(q.scale, precision**-0.5))
    predicted = Normal(LOADING * SLOPE * before, math.hypot(LOADING * STEP, NOISE)).log_prob(x)
    torch.testing.assert_close(sample.log_weight, predicted, rtol=0, atol=1e-6)
    # At the first step there is no z_{t-1}: each particle has the log-likelihood itself.
    first = torch.from_numpy(CHAIN.log_prob_steps(batch.x.numpy())[:, 0])
    torch.testing.assert_close(sample.log_weight[:, :, 0], first.expand(8, -1), rtol=0, atol=1e-6)


def test_with_the_kalman_gain_few_particles_estimate_well():
    """Within four standard errors of the Kalman filter; the standard error is small, and more than
    twice as large with the prior as the guide."""
    m, data = kalman_chain(), SequenceDataset.from_list([s.x for s in CHAIN.sample(4, 30, 1)])
    truth = CHAIN.log_prob_steps(np.stack([s.x for s in data])).sum(-1)
    errors = []
    for gain in (None, -40.0):
        if gain is not None:
            m.guide_network.out.bias.data[1] = gain
        frame = score(m, data, num_particles=64)[0]
        errors.append(frame["std_error"].mean())
        assert (np.abs(frame["log_prob"] - truth) < 4 * frame["std_error"]).all()
    assert errors[0] < 0.2 and errors[1] > 2 * errors[0]


@pytest.mark.parametrize("transition", TRANSITIONS)
def test_without_gain_it_is_the_prior(transition: str):
    m, guide = corrected(transition=transition, history="last")
    sites = m.sites(batch_of())
    sites.posterior.rsample()
    assert (sites.kl() > 1e-6).all()
    gains = slice(m.latent_dim, 2 * m.latent_dim)
    guide.out.weight.data[gains], guide.out.bias.data[gains] = 0.0, -40.0
    sites.posterior.rsample()
    torch.testing.assert_close(sites.kl(), torch.zeros(2, STEPS), rtol=0, atol=1e-12)


# -- its samples and densities --------------------------------------------------------------------


@pytest.mark.parametrize("distribution", GUIDE_DISTRIBUTIONS)
@pytest.mark.parametrize("transition", TRANSITIONS)
def test_density_of_samples_is_the_change_of_variables(transition: str, distribution: str):
    """log q(z) = log N(eps; 0, I) - log |det dz / d eps|, the determinant by autograd, whether z
    was sampled step by step or is given at once; either leaves the same state."""
    m, guide = corrected(transition=transition, history="last", guide_distribution=distribution)
    seen, eps = m.reading(batch_of(1)).seen.detach(), noise(1, STEPS, m.latent_dim)
    z, log_q, after = guide.sample(seen, eps)
    derivative = jacobian(lambda e: guide.sample(seen, e)[0].flatten(), eps)
    log_det = derivative.reshape(z.numel(), -1).det().abs().log()
    expected = Normal(0, 1).log_prob(eps).sum() - log_det
    torch.testing.assert_close(log_q.sum(), expected, rtol=0, atol=1e-9)
    given, state = guide.given(seen, z)
    torch.testing.assert_close(given.log_prob(z), log_q, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(state, after)


@pytest.mark.parametrize("transition", TRANSITIONS)
def test_chunks_equal_the_whole(transition: str):
    m, guide = corrected(transition=transition, history="last")
    seen, eps = m.reading(batch_of()).seen, noise(3, 2, STEPS, m.latent_dim)
    z, log_q, _ = guide.sample(seen, eps)
    state, parts, past, densities = None, [], None, []
    for start, stop in ((0, 2), (2, 3), (3, STEPS)):
        now = seen[:, start:stop]
        *part, state = guide.sample(now, eps[:, :, start:stop], state)
        parts.append(part)
        given, past = guide.given(now, z[:, :, start:stop], past)
        densities.append(given.log_prob(z[:, :, start:stop]))
    torch.testing.assert_close(torch.cat([p[0] for p in parts], 2), z)
    torch.testing.assert_close(torch.cat([p[1] for p in parts], 2), log_q)
    torch.testing.assert_close(torch.cat(densities, 2), log_q)


# -- what it sees ---------------------------------------------------------------------------------


def latents_of(m: LatentModel, batch: SequenceBatch) -> torch.Tensor:
    """(B, t, B, s) how much z_t of each sequence depends on the value at s, at fixed noise."""
    eps = noise(*batch.x.shape[:2], m.latent_dim)

    def sample(x: torch.Tensor) -> torch.Tensor:
        r = m.reading(dataclasses.replace(batch, x=x))
        return m.guide_network.sample(r.seen, eps)[0].sum(-1)

    return jacobian(sample, batch.x)[..., 0].abs()


@pytest.mark.parametrize("prior", ["autoregressive", "conditional"])
def test_later_steps_do_not_enter(prior: str):
    size = latents_of(corrected(prior=prior)[0], batch_of(1))[0, :, 0]
    assert torch.equal(size > 0, torch.ones_like(size).tril() > 0)


def test_smoothing_sees_later_steps_and_no_padding():
    batch = batch_of(2)  # of which the second is a step shorter
    assert batch.lengths.tolist() == [STEPS, STEPS - 1]
    size = latents_of(corrected(smoothing=True)[0], batch)
    assert (size[0, :, 0] > 0).all()
    assert (size[1, : STEPS - 1, 1, : STEPS - 1] > 0).all()
    assert (size[1, : STEPS - 1, 1, STEPS - 1 :] == 0).all()
    assert (size[0, :, 1] == 0).all() and (size[1, :, 0] == 0).all()


@pytest.mark.parametrize("smoothing", [False, True])
@pytest.mark.parametrize("history", ["none", "last", "all"])
@pytest.mark.parametrize("prior", ["autoregressive", "conditional"])
def test_its_prior_has_the_context_of_the_model_s(prior: str, history: str, smoothing: bool):
    """With an autoregressive prior these are the covariates alone: no value enters."""
    data = known.dataset(num=2, steps=STEPS)
    options = {"prior": prior, "history": history, "smoothing": smoothing, "lags": "none"}
    m, guide = corrected(data, **options)
    batch, parts = collate(data.sequences), []

    def context(x: torch.Tensor) -> torch.Tensor:
        r: Reading = m.reading(dataclasses.replace(batch, x=x))
        parts[:] = [r.prior, r.seen[..., guide.hidden_dim :]]
        return parts[1].sum(-1)

    size = jacobian(context, batch.x)
    assert torch.equal(parts[0], parts[1])
    assert m.num_known > 1
    if prior == "autoregressive":
        assert parts[1].shape[-1] == m.num_known
        assert (size == 0).all()
    else:
        assert (size[0, 1:, 0, :, 0].diagonal() != 0).all()  # x_{t-1}


# -- its parameters -------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", ["elbo", "iwae", "fivo"])
@pytest.mark.parametrize("transition", TRANSITIONS)
def test_gradients_reach_all_parameters(transition: str, objective: str):
    m, guide = corrected(transition=transition, history="last", objective=objective)
    m.loss(batch_of()).backward()
    assert without_gradient(m) == []
    # Those of the prior also by way of the guide's samples.
    m.zero_grad()
    guide.sample(m.reading(batch_of()).seen, noise(2, STEPS, m.latent_dim))[0].sum().backward()
    assert without_gradient(m.prior) == []


def test_the_prior_s_parameters_are_the_model_s_alone(tmp_path):
    """They are saved once, and a copy's or a loaded model's guide refers to its own prior."""
    data = dataset(num=3)
    m, guide = corrected(data)
    names = [name for name, _ in m.named_parameters(remove_duplicate=False)]
    assert len(names) == len({id(p) for p in m.parameters()})
    assert not {id(p) for p in guide.parameters()} & {id(p) for p in m.prior.parameters()}
    before = score(m, data, num_particles=4)[0]["log_prob"].to_numpy()
    save_model(m, tmp_path)
    other, twin = load_model(tmp_path)[0], copy.deepcopy(m)
    for same in (other, twin):
        assert isinstance(same, LatentModel) and isinstance(same.guide_network, PriorGuide)
        assert same.guide_network.prior is same.prior
        assert same.prior is not m.prior
        after = score(same, data, num_particles=4)[0]["log_prob"].to_numpy()
        np.testing.assert_allclose(after, before, rtol=1e-6)
    for p in twin.prior.parameters():
        p.data.add_(0.5)
    changed = score(twin, data, num_particles=4)[0]["log_prob"].to_numpy()
    assert (np.abs(changed - before) > 1e-3).all()
