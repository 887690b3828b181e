"""Priors p(z_t | .) of the latent-variable model.

    independent      N(0, I)
    mixture          sum_k w_k N(m_k, diag s_k^2), the same at every step, learned or fixed
    autoregressive   p(z_t | z_{<t}), normal with mean and scale from a transition
    conditional      p(z_t | z_{<t}, x_{<t}), likewise

The transition (transitions.py) decides how much of the past the last two see. `gated`, the default,
sees z_{t-1} and, if conditional, x_{t-1}: p(z_t | z_{t-1}, x_{t-1}). With history=all it also sees
a summary of x_{<t}. `rnn` is a recurrent network over z_{<t} and, if conditional, x_{<t}. With
both, the distributions of all T steps of *given* latents come from one parallel pass, and latents
are sampled step by step.

With a mixture, latents can represent modes. From N(0, I) an emission must separate the modes by a
steep function of z, whose posterior a normal guide can hardly approximate. The KL between guide and
mixture has no closed form and is estimated from the guide's samples; that between normal
distributions is exact.
"""

from typing import ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn import functional as F

from seqlatent.distributions.noise import Noise, TorchNoise
from seqlatent.distributions.normal import DiagonalNormal, LatentDistribution, NormalMixture
from seqlatent.models.latent.transitions import GatedTransition, build_transition
from seqlatent.nn.causal import State
from seqlatent.nn.layers import SOFTPLUS_ONE

PRIORS = ("independent", "mixture", "autoregressive", "conditional")


class Prior(nn.Module):
    """N(0, I) over Z latents, and the base class of the other priors.

    Args:
        latent_dim: Z.

    Attributes:
        dependent: whether z_t depends on z_{<t}; if so, the posterior does not factorise.
        feature_dim: size of the prior's features of the past, which an emission can share; 0 if it
            has none.
    """

    dependent: ClassVar[bool] = False
    feature_dim: int = 0

    def __init__(self, latent_dim: int):
        super().__init__()
        self.latent_dim = latent_dim
        self.register_buffer("zeros", torch.zeros(latent_dim), persistent=False)

    def forward(
        self, z: Tensor, context: Tensor, state: State = None
    ) -> tuple[LatentDistribution, Tensor | None, State]:
        """The distributions of z_t at T steps whose latents are given.

        Args:
            z: (..., B, T, Z) latents; the distribution of z_t depends on those before it.
            context: (B, T, C) what else it depends on at each step.
            state: what an earlier call returned, to continue with the next steps.

        Returns:
            the distributions, with batch shape (..., B, T); the features (..., B, T, H) or None;
            and the state after.
        """
        zeros: Tensor = self.zeros  # type: ignore[assignment]
        return DiagonalNormal(zeros, zeros + 1), None, None

    def sample(
        self, context: Tensor, state: State, noise: Noise
    ) -> tuple[Tensor, Tensor | None, State]:
        """Sample one step: (B, 1, C) context -> z (B, 1, Z), features or None, state after."""
        shape = torch.Size((*context.shape[:-1], self.latent_dim))
        distribution, _, _ = self(torch.zeros(shape), context)
        return distribution.sample(shape, noise), None, None


class MixturePrior(Prior):
    """A mixture of K normals, learned or fixed; initialised with means sampled from N(0, I)."""

    def __init__(self, latent_dim: int, num_components: int, learned: bool = True):
        super().__init__(latent_dim)
        start = {
            "logits": torch.zeros(num_components),
            "loc": torch.randn(num_components, latent_dim),
            "raw_scale": torch.full((num_components, latent_dim), SOFTPLUS_ONE),
        }
        for name, value in start.items():
            if learned:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    def forward(
        self, z: Tensor, context: Tensor, state: State = None
    ) -> tuple[LatentDistribution, Tensor | None, State]:
        scale = 0.05 + F.softplus(self.raw_scale)  # type: ignore[arg-type]
        return NormalMixture(F.log_softmax(self.logits, -1), self.loc, scale), None, None  # type: ignore[arg-type]


class SequentialPrior(Prior):
    """p(z_t | z_{<t}, c_t), a normal distribution from a transition, with a learned z_0.

    Args:
        latent_dim: Z.
        context_dim: C, the size of c_t; 0 for none.
        transition: `rnn` or `gated`.
        hidden_dim: size of the transition's network.
    """

    dependent = True

    def __init__(self, latent_dim: int, context_dim: int, transition: str, hidden_dim: int):
        super().__init__(latent_dim)
        self.first = nn.Parameter(torch.zeros(latent_dim))
        self.transition = build_transition(transition, latent_dim, context_dim, hidden_dim)
        self.feature_dim = self.transition.feature_dim

    def start(self, shape: torch.Size) -> tuple[State, Tensor]:
        """The state before the first of steps with batch shape (..., B, T)."""
        return None, self.first.expand(*shape[:-1], 1, -1)

    def keep_within(self, low: Tensor, high: Tensor) -> None:
        """Have a gated transition read latents within this range, (Z,) each, and z_0."""
        assert isinstance(self.transition, GatedTransition)
        first = self.first.detach()
        self.transition.keep_within(torch.minimum(low, first), torch.maximum(high, first))

    def after(
        self, before: Tensor, prepared: Tensor, network: State
    ) -> tuple[DiagonalNormal, Tensor | None, State]:
        """The distributions after the latents `before`, (..., B, T, Z) of the steps before.

        Args:
            before: each step's z_{t-1}.
            prepared: what `transition.prepare` makes of the context.
            network: the transition's state.
        """
        loc, scale, features, network = self.transition(before, prepared, network)
        return DiagonalNormal(loc, scale), features, network

    def forward(
        self, z: Tensor, context: Tensor, state: State = None
    ) -> tuple[LatentDistribution, Tensor | None, State]:
        network, last = state or self.start(z.shape[:-1])
        before = torch.cat([last, z[..., :-1, :]], -2)
        prepared = self.transition.prepare(context)
        distribution, features, network = self.after(before, prepared, network)
        return distribution, features, (network, z[..., -1:, :])

    def sample(
        self, context: Tensor, state: State, noise: Noise
    ) -> tuple[Tensor, Tensor | None, State]:
        network, last = state or self.start(context.shape[:-1])
        prepared = self.transition.prepare(context)
        distribution, features, network = self.after(last, prepared, network)
        z = distribution.sample(distribution.loc.shape, noise)
        return z, features, (network, z)


def build_prior(
    name: str,
    latent_dim: int,
    *,
    num_components: int,
    learned: bool,
    context_dim: int,
    transition: str,
    hidden_dim: int,
) -> Prior:
    """A prior by its name, one of `PRIORS`; see the classes for the other arguments."""
    if name == "independent":
        return Prior(latent_dim)
    if name == "mixture":
        return MixturePrior(latent_dim, num_components, learned)
    return SequentialPrior(latent_dim, context_dim, transition, hidden_dim)


class PriorDistribution(TorchDistribution):
    """p(z_{1:T}) as one Pyro site: batch shape (B, T), event shape (Z,).

    It keeps the distributions given the last latents it was called with, which the density, the KL
    and, through `features`, the emission all need. (For `expand` see `GuideDistribution`.)
    """

    arg_constraints: ClassVar[dict] = {}  # pyright: ignore
    support = constraints.real_vector  # pyright: ignore
    has_rsample = False

    def __init__(self, prior: Prior, context: Tensor):
        self.prior, self.context = prior, context
        self._seen: tuple[Tensor, LatentDistribution, Tensor | None] | None = None
        super().__init__(context.shape[:-1], torch.Size([prior.latent_dim]), validate_args=False)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> "PriorDistribution":
        if torch.Size(batch_shape) == self.batch_shape:
            return self
        return PriorDistribution(self.prior, self.context.expand(*batch_shape, -1))

    def _read(self, z: Tensor) -> tuple[LatentDistribution, Tensor | None]:
        if self._seen is None or self._seen[0] is not z:
            distribution, features, _ = self.prior(z, self.context)
            self._seen = (z, distribution, features)
        return self._seen[1:]

    def distribution(self, z: Tensor) -> LatentDistribution:
        """The distributions of the latents z (B, T, Z), each given those before it."""
        return self._read(z)[0]

    def features(self, z: Tensor) -> Tensor | None:
        """(B, T, H) the prior's features of the past of each step; None if it has none."""
        return self._read(z)[1]

    def log_prob(self, value: Tensor) -> Tensor:
        return self.distribution(value).log_prob(value)

    def sample(self, sample_shape=torch.Size()) -> Tensor:  # noqa: B008
        context = self.context.expand(*sample_shape, *self.context.shape)
        state, steps = None, []
        for t in range(context.shape[-2]):
            z, _, state = self.prior.sample(context[..., t : t + 1, :], state, TorchNoise())
            steps.append(z)
        return torch.cat(steps, -2)
