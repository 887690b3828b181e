"""Latents from the guide, or some of them from the prior, and their weights."""

from typing import Any

from torch import Tensor

from seqlatent.distributions.normal import DiagonalNormal
from seqlatent.models.latent.parts import LatentSample, Reading
from seqlatent.models.latent.prior_guide import PriorGuide
from seqlatent.nn.causal import State


def propose(
    model: Any,
    r: Reading,
    eps: Tensor,
    particles: State,
    branched: bool,
    from_prior: Tensor | None,
) -> tuple[LatentSample, State]:
    """See `LatentModel.propose`, of which `model` is one.

    The particles' states are the guide's and the prior's. A guide that corrects the prior has
    computed the prior's distribution and has its state: its own is None.
    """
    guide, (own, prior) = model.guide_network, particles or (None, None)
    if isinstance(guide, PriorGuide):
        q, p, past, prior = guide.beside_prior(r.seen, eps, prior)
        if from_prior is None:
            z, log_q = q.sample(eps)
        else:
            z, log_q, eps = q.sample_or_prior(eps, p, from_prior)
            prior = guide.went_on_with(prior, z, eps)
        return LatentSample(z, model.log_x(r, z, past), p.log_prob(z), log_q, eps), (None, prior)
    if from_prior is None:
        z, log_q, own = guide.sample(r.seen, eps, own, branched)
    else:
        p = model.prior(eps, r.prior, prior)[0]  # of one step: whatever its own latents
        assert isinstance(p, DiagonalNormal)
        q, own = guide.distributions(r.seen, eps, own)
        z, log_q, eps = q.sample_or_prior(eps, p, from_prior)
        own = guide.went_on_with(own, z, eps)
    p, past, prior = model.prior(z, r.prior, prior)
    return LatentSample(z, model.log_x(r, z, past), p.log_prob(z), log_q, eps), (own, prior)
