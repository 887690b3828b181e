"""The guide of the latent-variable model: the approximate posterior that latents are sampled from.

    q(z_{1:T} | x_{1:T}) = prod_t q(z_t | x_{1:t}, z_{1:t-1})
    z_t = loc_t + scale_t f_t^{-1}(eps_t),    eps_t ~ N(0, I)

f_t is the identity or an increasing map of each latent (guide_distribution.py). What loc_t and
scale_t know of the earlier latents is the guide's conditioning:

    prior             p(z_t | z_{<t}, .), which they correct by what x_t says    (prior_guide.py)
    noise, latents    eps_{<t} or z_{<t}, through a network of their own         (network_guide.py)

In each case log q(z) is the sum over the steps of log q(z_t | .). A smoothing guide also sees
x_{t:T}, through a second network that reads the sequence backwards.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints, register_kl

from seqlatent.data.share import drawn
from seqlatent.distributions.normal import DiagonalNormal
from seqlatent.models.latent.guide_distribution import GUIDE_DISTRIBUTIONS, TransformedNormal
from seqlatent.models.latent.priors import PriorDistribution
from seqlatent.nn.causal import CausalNetwork, State

CONDITIONINGS = ("auto", "prior", "noise", "latents")


class Guide(nn.Module, ABC):
    """What all guides share: the summary of later values, samples and densities.

    Args:
        latent_dim: Z.
        backward: for a smoothing guide, a network that reads the sequence backwards.
        distribution: of each latent, one of `GUIDE_DISTRIBUTIONS`.
    """

    def __init__(
        self, latent_dim: int, backward: CausalNetwork | None = None, distribution: str = "normal"
    ):
        super().__init__()
        self.shape = GUIDE_DISTRIBUTIONS[distribution]
        self.latent_dim, self.backward_network = latent_dim, backward

    def prepare(self, seen: Tensor, ahead: Tensor, lengths: Tensor, context: Tensor) -> Tensor:
        """What the guide needs of each step besides latents.

        Args:
            seen: (B, T, .) what is known of each step and of those before it.
            ahead: (B, T, .) the inputs that a smoothing guide reads backwards.
            lengths: (B,) of the sequences without padding.
            context: (B, T, C) what the prior sees besides latents, for guides that correct it.

        Returns:
            (B, T, F) `seen`, and for a smoothing guide also a summary of `ahead` from this step to
            the sequence's end.
        """
        if self.backward_network is None:
            return seen
        step = torch.arange(ahead.shape[1], device=ahead.device)
        # Each sequence is reversed within its own length; padding stays at the end.
        reverse = (lengths[:, None] - 1 - step) % ahead.shape[1]
        reverse = torch.where(step < lengths[:, None], reverse, step)[..., None]
        h, _ = self.backward_network(ahead.gather(1, reverse.expand(ahead.shape)))
        return torch.cat([seen, h.gather(1, reverse.expand(h.shape))], -1)

    @abstractmethod
    def distributions(
        self, seen: Tensor, eps: Tensor, state: State = None
    ) -> tuple[TransformedNormal, State]:
        """The distributions of each step's z, given the earlier latents that `eps` yields.

        Args:
            seen: (B, T, F) what is known of each step (`prepare`).
            eps: (..., B, T, Z) standard normal noise.
            state: what an earlier call returned, to continue with the next steps.

        Returns:
            the distributions with batch shape (..., B, T), and the state after.
        """

    @abstractmethod
    def given(
        self, seen: Tensor, z: Tensor, state: State = None
    ) -> tuple[TransformedNormal, State]:
        """The distributions of given latents (..., B, T, Z), and the state after them."""

    def sample(
        self, seen: Tensor, eps: Tensor, state: State = None, branched: bool = False
    ) -> tuple[Tensor, Tensor, State]:
        """Sample z from noise.

        Args:
            seen, eps, state: see `distributions`.
            branched: sample the K latents of a step given the past of the *first* particle, so that
                the network runs once and not K times. This suits estimates by step
                (inference/bounds.py), but does not give samples of whole sequences. Gradients of
                log q then pass through z only, as `doubly_reparametrised` requires.

        Returns:
            z (..., B, T, Z), log q(z_t | x_{1:t}, z_{<t}) (..., B, T) in nats, and the state after.
        """
        distribution, state = self.distributions(seen, eps[:1] if branched else eps, state)
        if branched:
            z = distribution.z(eps)
            return z, distribution.detach().log_prob(z), state
        return *distribution.sample(eps), state

    @abstractmethod
    def went_on_with(self, state: State, z: Tensor, eps: Tensor) -> State:
        """The state after a step whose latents, (..., 1, Z), and the noise that yields them, are
        not those of `distributions`, which returned this state."""

    def log_prob(self, seen: Tensor, z: Tensor) -> Tensor:
        """(..., B, T) log q(z_t | x_{1:t}, z_{<t}) of given latents (..., B, T, Z), in nats."""
        return self.given(seen, z)[0].log_prob(z)


class GuideDistribution(TorchDistribution):
    """q(z_{1:T} | x_{1:T}) as one Pyro site: batch shape (B, T), event shape (Z,).

    It keeps the distributions and density of its last sample, which sampling computes anyway.
    `expand` to an equal batch shape returns the object itself: Pyro's plates call it, and a copy
    would have to compute the density again, step by step.
    """

    arg_constraints: ClassVar[dict] = {}  # pyright: ignore
    support = constraints.real_vector  # pyright: ignore
    has_rsample = True

    def __init__(self, guide: Guide, seen: Tensor):
        self.guide, self.seen = guide, seen
        # The last sample: z, its distributions, log q.
        self.sampled: tuple[Tensor, TransformedNormal, Tensor] | None = None
        super().__init__(seen.shape[:-1], torch.Size([guide.latent_dim]), validate_args=False)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> "GuideDistribution":
        if torch.Size(batch_shape) == self.batch_shape:
            return self
        return GuideDistribution(self.guide, self.seen.expand(*batch_shape, -1))

    def rsample(self, sample_shape=torch.Size()) -> Tensor:  # noqa: B008
        shape = (*sample_shape, *self.batch_shape, *self.event_shape)
        eps = drawn(torch.randn, shape, len(sample_shape)).to(self.seen)
        distribution, _ = self.guide.distributions(self.seen, eps)
        z, log_q = distribution.sample(eps)
        self.sampled = (z, distribution, log_q)
        return z

    def log_prob(self, value: Tensor) -> Tensor:
        if self.sampled is not None and value is self.sampled[0]:
            return self.sampled[2]
        return self.guide.log_prob(self.seen, value)


@register_kl(GuideDistribution, PriorDistribution)
def kl_to_prior(q: GuideDistribution, p: PriorDistribution) -> Tensor:
    """(B, T) KL(q(z_t | .) || p(z_t | .)) at the sampled z_{<t}, in nats; exact.

    Raises:
        NotImplementedError: see `kl_per_latent`.
    """
    return kl_per_latent(q, p).sum(-1)


def kl_per_latent(q: GuideDistribution, p: PriorDistribution) -> Tensor:
    """(B, T, Z) KL(q(z_t | .) || p(z_t | .)) of each latent, in nats.

    Raises:
        NotImplementedError: if it has no closed form, which needs normal distributions; Pyro then
            estimates it from the sample.
    """
    if q.sampled is None:
        raise NotImplementedError("the guide has no sample yet")
    z, distribution, _ = q.sampled
    prior = p.distribution(z)
    if not isinstance(prior, DiagonalNormal) or distribution.normal is None:
        raise NotImplementedError("the KL has a closed form between normal distributions only")
    return prior.kl_from(distribution.loc, distribution.scale).expand(z.shape)
