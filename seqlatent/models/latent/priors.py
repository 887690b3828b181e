"""Priors p(z_t | .) of the latent-variable model.

    independent      N(0, I)
    mixture          sum_k w_k N(m_k, diag s_k^2), the same at every step, learned or fixed
    autoregressive   p(z_t | z_{<t}):  normal, its mean and scale by a transition
    conditional      p(z_t | z_{<t}, x_{<t}):  likewise

A transition (transitions.py) is a recurrent network over z_{<t}, or sees z_{t-1} alone. Either way
the distributions of all T steps of *given* latents come from one parallel pass, and sampling
latents walks through time.

A mixture lets latents carry modes: from N(0, I) an emission has to tear the modes apart by a steep
function of z, which a normal guide can hardly follow. Its KL from the guide has no closed form and
is estimated from the guide's own samples; that of the normal distributions is exact.
"""

from typing import ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn import functional as F

from seqlatent.distributions.noise import Noise, TorchNoise
from seqlatent.distributions.normal import DiagonalNormal, LatentDistribution, NormalMixture
from seqlatent.models.latent.transitions import build_transition
from seqlatent.nn.causal import State
from seqlatent.nn.layers import SOFTPLUS_ONE

PRIORS = ("independent", "mixture", "autoregressive", "conditional")


class Prior(nn.Module):
    """N(0, I) over Z latents, and the base of the others.

    Args:
        latent_dim: Z.

    Attributes:
        dependent: whether z_t depends on z_{<t}; if so, so does its posterior.
        feature_dim: size of what the prior knows of the past, which an emission may share; or 0.
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
        """The distributions of T steps, of which the latents are given.

        Args:
            z: (..., B, T, Z) latents; the distribution of z_t sees those before it.
            context: (B, T, C) what else it sees at each step.
            state: what an earlier call returned, to go on with the next steps.

        Returns:
            the distribution, batch shape (..., B, T); the features (..., B, T, H) or None; the
            state.
        """
        zeros: Tensor = self.zeros  # type: ignore[assignment]
        return DiagonalNormal(zeros, zeros + 1), None, None

    def sample(
        self, context: Tensor, state: State, noise: Noise
    ) -> tuple[Tensor, Tensor | None, State]:
        """Sample one step: (B, 1, C) context -> z (B, 1, Z), features or None, state."""
        shape = torch.Size((*context.shape[:-1], self.latent_dim))
        distribution, _, _ = self(torch.zeros(shape), context)
        return distribution.sample(shape, noise), None, None


class MixturePrior(Prior):
    """A mixture of K normals; begun as K distributions spread over N(0, I), and learned unless
    fixed."""

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
    """p(z_t | z_{<t}, c_t): a normal distribution by a transition, with a learned z_0.

    Args:
        latent_dim: Z.
        context_dim: C, of c_t; 0 for none.
        transition: `rnn` or `gated`.
        hidden_dim: of the transition.
    """

    dependent = True

    def __init__(self, latent_dim: int, context_dim: int, transition: str, hidden_dim: int):
        super().__init__(latent_dim)
        self.first = nn.Parameter(torch.zeros(latent_dim))
        self.transition = build_transition(transition, latent_dim, context_dim, hidden_dim)
        self.feature_dim = self.transition.feature_dim

    def _laws(
        self, before: Tensor, context: Tensor, state: State
    ) -> tuple[DiagonalNormal, Tensor | None, State]:
        loc, scale, features, state = self.transition(before, context, state)
        return DiagonalNormal(loc, scale), features, state

    def forward(
        self, z: Tensor, context: Tensor, state: State = None
    ) -> tuple[LatentDistribution, Tensor | None, State]:
        network, last = state or (None, self.first.expand(*z.shape[:-2], 1, -1))
        before = torch.cat([last, z[..., :-1, :]], -2)
        distribution, features, network = self._laws(before, context, network)
        return distribution, features, (network, z[..., -1:, :])

    def sample(
        self, context: Tensor, state: State, noise: Noise
    ) -> tuple[Tensor, Tensor | None, State]:
        network, last = state or (None, self.first.expand(*context.shape[:-2], 1, -1))
        distribution, features, network = self._laws(last, context, network)
        z = distribution.sample(distribution.loc.shape, noise)
        return z, features, (network, z)


def build_prior(
    name: str,
    latent_dim: int,
    num_components: int,
    learned: bool,
    context_dim: int,
    transition: str,
    hidden_dim: int,
) -> Prior:
    """A prior by its name; see the classes for the arguments."""
    if name == "independent":
        return Prior(latent_dim)
    if name == "mixture":
        return MixturePrior(latent_dim, num_components, learned)
    return SequentialPrior(latent_dim, context_dim, transition, hidden_dim)


class PriorDistribution(TorchDistribution):
    """p(z_{1:T}) as one Pyro site: batch shape (B, T), event shape (Z,).

    It remembers what it made of the last latents that it was shown: their distributions serve the
    density, the KL and, by `features`, the emission. (`expand`: see `GuideDistribution`.)
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
        """(B, T, H) what the prior knows of the past of each step, if it has a network for it."""
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
