"""The autoregressive guide of the latent-variable model.

    q(z_{1:T} | x_{1:T}) = prod_t q(z_t | x_{1:t}, z_{1:t-1})
    z_t = loc_t + scale_t f_t^{-1}(eps_t),    eps_t ~ N(0, I)

in two forms of one family; f_t is the identity or an increasing map of each latent
(guide_distribution.py). `latents` is the literal form: (loc_t, scale_t, f_t) = net(x_{1:t},
z_{<t}), and sampling walks through time. `noise` conditions on eps_{<t} in place of z_{<t}: given x
the two are in bijection, and all T steps are sampled in one parallel pass. Each form has a parallel
and a sequential direction, and they are each other's mirror:

    latents:  density of given z in parallel,  sampling z from eps step by step
    noise:    sampling z from eps in parallel,  density of given z (recovering eps) step by step

Either way log q(z) is the sum of the steps' own distributions. A smoothing guide sees x_{t:T} too,
through a second network that reads the sequence from its end.
"""

from typing import ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints, register_kl
from torch.nn import functional as F

from seqlatent.distributions.normal import DiagonalNormal
from seqlatent.models.latent.guide_distribution import GUIDE_DISTRIBUTIONS, TransformedNormal
from seqlatent.models.latent.priors import PriorDistribution
from seqlatent.nn.causal import CausalNetwork, State
from seqlatent.nn.layers import SOFTPLUS_ONE

CONDITIONINGS = ("noise", "latents")


class Guide(nn.Module):
    """A causal network over (what is known of x_t, the previous z or eps).

    Args:
        network: of input size F + Z.
        latent_dim: Z.
        conditioning: `noise` or `latents`.
        backward: for a smoothing guide, a network over inputs that it is given in reverse.
        distribution: of `GUIDE_DISTRIBUTIONS`.
    """

    def __init__(
        self,
        network: CausalNetwork,
        latent_dim: int,
        conditioning: str,
        backward: CausalNetwork | None = None,
        distribution: str = "normal",
    ):
        super().__init__()
        self.shape = GUIDE_DISTRIBUTIONS[distribution]
        self.network, self.latent_dim, self.conditioning = network, latent_dim, conditioning
        self.backward_network = backward
        # The distributions also see each step's inputs without a network: a recurrent one alone is
        # slow to learn to hand x_t on.
        num_params = 2 + self.shape.num_params
        self.out = nn.Linear(network.out_dim + network.in_dim, num_params * latent_dim)
        with torch.no_grad():  # begin near the prior, N(0, I)
            self.out.weight.mul_(0.1)
            self.out.bias.zero_()

    def prepare(self, seen: Tensor, ahead: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, .) what the guide sees of each step: `seen`, and for a smoothing guide a summary
        of (B, T, .) `ahead` from this step to the sequence's end; `lengths` (B,) leave out
        padding."""
        if self.backward_network is None:
            return seen
        step = torch.arange(ahead.shape[1], device=ahead.device)
        # Each sequence is turned within its own length: padding stays behind it.
        turned = (lengths[:, None] - 1 - step) % ahead.shape[1]
        turned = torch.where(step < lengths[:, None], turned, step)[..., None]
        h, _ = self.backward_network(ahead.gather(1, turned.expand(ahead.shape)))
        return torch.cat([seen, h.gather(1, turned.expand(h.shape))], -1)

    def _law(self, seen: Tensor, given: Tensor, state: State) -> tuple[TransformedNormal, State]:
        """Inputs (B, T, F), previous z or eps (..., B, T, Z) -> distributions (..., B, T),
        state."""
        u = torch.cat([seen.expand(*given.shape[:-1], -1), given], -1)
        h, state = self.network(u, state)
        params = self.out(torch.cat([h, u], -1)).unflatten(-1, (-1, self.latent_dim))
        loc, raw = params[..., 0, :], params[..., 1, :]
        scale = 1e-4 + F.softplus(raw + SOFTPLUS_ONE)
        return TransformedNormal(loc, scale, params[..., 2:, :].movedim(-2, -1), self.shape), state

    def _walk(
        self, seen: Tensor, source: Tensor, state: State, invert: bool
    ) -> tuple[TransformedNormal, State]:
        """The distribution of each step, through time from eps to z, or (invert) from z to eps,
        which are fed back."""
        network, last = state or (None, torch.zeros_like(source[..., :1, :]))
        distributions = []
        for t in range(source.shape[-2]):
            step = slice(t, t + 1)
            distribution, network = self._law(seen[..., step, :], last, network)
            now = source[..., step, :]
            last = distribution.noise(now) if invert else distribution.z(now)
            distributions.append(distribution)
        return TransformedNormal.cat(distributions), (network, last)

    def _pass(self, seen: Tensor, source: Tensor, state: State) -> tuple[TransformedNormal, State]:
        """One parallel pass that conditions each step on the source at the steps before it."""
        network, last = state or (None, torch.zeros_like(source[..., :1, :]))
        given = torch.cat([last, source[..., :-1, :]], -2)
        distribution, network = self._law(seen, given, network)
        return distribution, (network, source[..., -1:, :])

    def distributions(
        self, seen: Tensor, eps: Tensor, state: State = None
    ) -> tuple[TransformedNormal, State]:
        """Distributions of each step's z, given the z before it that come from noise.

        Args:
            seen: (B, T, F) what is known of each step (`prepare`).
            eps: (..., B, T, Z) standard normal noise.
            state: what an earlier call returned, to go on with the next steps.

        Returns:
            the distributions (..., B, T), state.
        """
        if self.conditioning == "noise":
            return self._pass(seen, eps, state)
        return self._walk(seen, eps, state, invert=False)

    def sample(
        self, seen: Tensor, eps: Tensor, state: State = None, branched: bool = False
    ) -> tuple[Tensor, Tensor, State]:
        """Sample z from noise; the arguments are those of `distributions`.

        Args:
            branched: take K samples at every step, each given the *first* particle's past. The
                network then runs once in place of K times. Such samples serve estimates that are
                made step by step (inference/bounds.py), and are no samples of whole sequences.
                Gradients of their log q reach z and not the distributions, as
                `doubly_reparametrised` wants.

        Returns:
            z (..., B, T, Z), log q(z_t | x_{1:t}, z_{<t}) (..., B, T) in nats, state.
        """
        distribution, state = self.distributions(seen, eps[:1] if branched else eps, state)
        if branched:
            z = distribution.z(eps)
            return z, distribution.detach().log_prob(z), state
        return *distribution.sample(eps), state

    def log_prob(self, seen: Tensor, z: Tensor) -> Tensor:
        """(..., B, T) log q(z_t | x_{1:t}, z_{<t}) of any latents (..., B, T, Z)."""
        return self.given(seen, z)[0].log_prob(z)

    def given(
        self, seen: Tensor, z: Tensor, state: State = None
    ) -> tuple[TransformedNormal, State]:
        """The distributions of latents (..., B, T, Z) that are given, and the state after them."""
        if self.conditioning == "latents":
            return self._pass(seen, z, state)
        return self._walk(seen, z, state, invert=True)


class GuideDistribution(TorchDistribution):
    """q(z_{1:T} | x_{1:T}) as one Pyro site: batch shape (B, T), event shape (Z,).

    It remembers the distributions of its own sample, which came with the sample for free. `expand`
    returns the object itself for an equal batch shape: Pyro's plates call it, and a copy would lose
    that memory and fall back to the step-by-step density.
    """

    arg_constraints: ClassVar[dict] = {}  # pyright: ignore
    support = constraints.real_vector  # pyright: ignore
    has_rsample = True

    def __init__(self, guide: Guide, seen: Tensor):
        self.guide, self.seen = guide, seen
        self.drawn: tuple[Tensor, TransformedNormal, Tensor] | None = (
            None  # z, its distributions, log q
        )
        super().__init__(seen.shape[:-1], torch.Size([guide.latent_dim]), validate_args=False)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> "GuideDistribution":
        if torch.Size(batch_shape) == self.batch_shape:
            return self
        return GuideDistribution(self.guide, self.seen.expand(*batch_shape, -1))

    def rsample(self, sample_shape=torch.Size()) -> Tensor:  # noqa: B008
        eps = torch.randn(*sample_shape, *self.batch_shape, *self.event_shape).to(self.seen)
        distribution, _ = self.guide.distributions(self.seen, eps)
        z, log_q = distribution.sample(eps)
        self.drawn = (z, distribution, log_q)
        return z

    def log_prob(self, value: Tensor) -> Tensor:
        if self.drawn is not None and value is self.drawn[0]:
            return self.drawn[2]
        return self.guide.log_prob(self.seen, value)


@register_kl(GuideDistribution, PriorDistribution)
def kl_to_prior(q: GuideDistribution, p: PriorDistribution) -> Tensor:
    """(B, T) KL(q(z_t | .) || p(z_t | .)) at the sampled z_{<t}: exact where both are normal."""
    return kl_per_latent(q, p).sum(-1)


def kl_per_latent(q: GuideDistribution, p: PriorDistribution) -> Tensor:
    """(B, T, Z) the same, of every latent.

    Raises:
        NotImplementedError: where it has no closed form; Pyro then takes the sample's own.
    """
    if q.drawn is None:
        raise NotImplementedError("the guide has drawn nothing yet")
    z, distribution, _ = q.drawn
    prior = p.distribution(z)
    if not isinstance(prior, DiagonalNormal) or distribution.normal is None:
        raise NotImplementedError(
            "only between normal distributions is the KL known in closed form"
        )
    return prior.kl_from(distribution.loc, distribution.scale).expand(z.shape)
