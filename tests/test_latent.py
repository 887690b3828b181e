"""The latent-variable model: its two sites, bounds and parts, against independent calculations."""

import math

import numpy as np
import pytest
import torch
from cases import MODELS, dataset, example, first_quick, model, without_gradient
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch.distributions import Categorical, MixtureSameFamily, Normal, kl_divergence

from seqlatent.data.batch import collate
from seqlatent.errors import InputError
from seqlatent.models.latent.model import LatentModel
from seqlatent.models.latent.options import HISTORIES, LatentOptions
from seqlatent.models.latent.priors import PRIORS
from seqlatent.models.latent.transitions import TRANSITIONS
from seqlatent.options import make
from seqlatent.tasks.scoring import score

LATENT = sorted(n for n in MODELS if isinstance(example(n), LatentModel))
ELBO = [n for n in LATENT if example(n).options.bound == "elbo"]


def weights(m, batch, particles: int, branched: bool = False) -> torch.Tensor:
    """(K, B, T) log-weights, of noise from torch's global generator."""
    r = m.reading(batch)
    eps = torch.randn(particles, *batch.x.shape[:2], m.latent_dim)
    return torch.where(r.counted, m.propose(r, eps, branched=branched)[0].log_weight, 0.0)


@pytest.mark.parametrize(
    "name",
    first_quick(n for n in ELBO if n != "srnn"),  # which has free bits
)
def test_pyro_s_elbo_is_ours(name: str):
    """Pyro's ELBO with one particle is the sum of the log-weights of the same noise (Trace_ELBO's
    exactly; where KLs have a closed form, the trained one agrees with it on average)."""
    data = dataset(num=4, channels=2)
    m, batch = model(name, data=data), collate(data.sequences)
    torch.manual_seed(3)
    sampled = Trace_ELBO().differentiable_loss(m.model, m.guide, batch) + m.log_scale(batch).sum()
    torch.manual_seed(3)
    assert sampled.item() == pytest.approx(-weights(m, batch, 1).sum().item(), rel=1e-5)
    num, copies = 20, 20  # a loss of many copies is a mean of as many losses
    many = collate(list(data.sequences) * copies)
    with torch.no_grad():
        exact = np.array([(m.loss(many) * batch.scored.sum()).item() for _ in range(num)])
        estimated = -weights(m, batch, 1600).sum((1, 2)).numpy()
    error = math.hypot(exact.std() / math.sqrt(num), estimated.std() / math.sqrt(1600))
    assert abs(exact.mean() - estimated.mean()) < 4 * error
    assert m.terms(batch)["kl"].shape == batch.x.shape[:2]


@pytest.mark.parametrize("prior", PRIORS)
def test_the_prior_s_kl(prior: str):
    """Closed form where the prior is normal given the past, and refused where it is not."""
    data = dataset(num=2)
    m, batch = model("latent", data=data, prior=prior), collate(data.sequences)
    r, p, q = m.sites(batch)
    torch.manual_seed(0)
    z = q.rsample()
    if prior == "mixture":
        with pytest.raises(NotImplementedError, match="normal"):
            kl_divergence(q, p)
        return
    assert q.sampled is not None
    own, given = q.sampled[1], p.distribution(z)
    expected = kl_divergence(Normal(own.loc, own.scale), Normal(given.loc, given.scale)).sum(-1)
    torch.testing.assert_close(kl_divergence(q, p), expected.expand(r.y.shape[:2]))


def test_a_mixture_prior_s_kl_agrees_with_quadrature():
    """KL(q || p) of one latent at one step: the mean of log q - log p over samples, and the
    integral."""
    m = model("latent-mixture", latent_dim=1)
    prior, _, _ = m.prior(torch.zeros(1, 1, 1), torch.zeros(1, 1, 0))
    q = Normal(0.7, 0.4)
    z = torch.linspace(0.7 - 8 * 0.4, 0.7 + 8 * 0.4, 4001)
    with torch.no_grad():
        gap = q.log_prob(z) - prior.log_prob(z[:, None])
        truth = torch.trapezoid(q.log_prob(z).exp() * gap, z).item()
        torch.manual_seed(0)
        samples = q.sample((200_000,))
        values = q.log_prob(samples) - prior.log_prob(samples[:, None])
        # The density is that of torch's mixture of normals.
        same = MixtureSameFamily(
            Categorical(logits=prior.log_weights), Normal(prior.loc[:, 0], prior.scale[:, 0])
        )
        torch.testing.assert_close(
            prior.log_prob(z[:, None]), same.log_prob(z), rtol=1e-4, atol=1e-4
        )
    assert abs(values.mean().item() - truth) < 4 * values.std().item() / math.sqrt(len(values))


def test_free_bits_do_not_penalise_the_kl_below_them():
    """The loss has max(KL, free) instead of the KL, and no gradient where the KL is free."""
    data = dataset(num=4)
    batch = collate(data.sequences)

    def loss(free: float) -> torch.Tensor:
        torch.manual_seed(3)
        return model("dmm", data=data, free_bits=free).loss(batch)

    torch.manual_seed(3)
    m = model("dmm", data=data)
    sites = m.sites(batch)
    torch.manual_seed(3)
    sites.posterior.rsample()
    kl = kl_divergence(sites.posterior, sites.prior)
    kl = (torch.where(sites.reading.counted, kl, 0.0).sum() / batch.scored.sum()).item()
    assert loss(kl / 2).item() == pytest.approx(loss(0.0).item(), rel=1e-5)
    assert loss(2 * kl).item() == pytest.approx(loss(0.0).item() + kl, rel=1e-4)
    m = model("dmm", data=data, free_bits=100.0)
    m.loss(batch).backward()
    sizes = [0.0 if p.grad is None else p.grad.abs().max().item() for p in m.prior.parameters()]
    assert max(sizes) < 1e-6  # what rounding leaves of KL - KL


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"prior": "independent", "history": "none"}, "no memory"),
        ({"prior": "independent", "guide_conditioning": "prior"}, "nothing to correct"),
        ({"prior": "independent", "smoothing": True}, "does not depend on later values"),
        ({"prior": "independent", "objective": "fivo"}, "objective=iwae is the tight bound"),
        ({"prior": "conditional", "smoothing": True, "objective": "fivo"}, "smoothing guide"),
        ({"objective": "iwae", "free_bits": 1.0}, "belongs to objective=elbo"),
    ],
)
def test_contradictory_options_are_refused_with_the_reason(options: dict, reason: str):
    with pytest.raises(InputError, match=reason):
        make(LatentOptions, options)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("transition", TRANSITIONS)
@pytest.mark.parametrize("smoothing", [False, True])
def test_every_sensible_combination_trains_and_scores(prior, history, transition, smoothing):
    options = {"prior": prior, "history": history, "transition": transition, "smoothing": smoothing}
    data = dataset(num=3, channels=2)
    try:
        m = model("latent", data=data, **options)
    except InputError:
        assert prior in ("independent", "mixture")
        return
    m.loss(collate(data.sequences)).backward()
    assert without_gradient(m) == []
    assert np.isfinite(score(m, data, num_particles=4)[0]["log_prob"]).all()


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
    m, batch = model("latent-elbo", data=data, kl_anneal_steps=9), collate(data.sequences)

    def loss(step: int | None) -> float:
        torch.manual_seed(3)
        return m.loss(batch, step).item()

    less = {s: loss(s) - loss(None) for s in (0, 4, 9)}
    torch.manual_seed(3)
    _, p, q = m.sites(batch)
    q.rsample()
    kl = torch.where(batch.scored, kl_divergence(q, p), 0.0)
    full = kl.sum().item() / batch.scored.sum().item()
    assert less[0] == pytest.approx(-0.9 * full, rel=1e-4)
    assert less[4] == pytest.approx(-0.5 * full, rel=1e-4)
    assert less[9] == 0
