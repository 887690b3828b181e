"""The autoregressive guide of the latent-variable model.

    q(z_{1:T} | x_{1:T}) = prod_t q(z_t | x_{1:t}, z_{1:t-1}),   z_t = loc_t + scale_t eps_t

in two forms of one family. `latents` is the literal one: (loc_t, scale_t) = net(x_{1:t}, z_{<t}),
and drawing walks through time. `noise` conditions on eps_{<t} in place of z_{<t}: given x the two
are in bijection, and all T steps are drawn in one parallel pass. Each form has a parallel and a
sequential direction, and they are each other's mirror:

    latents:  density of given z in parallel,  drawing z from eps step by step
    noise:    drawing z from eps in parallel,  density of given z (recovering eps) step by step

Either way log q(z) = sum_t log N(eps_t; 0, I) - log scale_t.
"""

import math
from typing import ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn import functional as F

from seqlatent.distributions.families import SOFTPLUS_ONE
from seqlatent.nn.causal import CausalNetwork, State

CONDITIONINGS = ("noise", "latents")


class Guide(nn.Module):
    """A causal network over (what is known of x_t, the previous z or eps).

    Args:
        network: of input size F + Z.
        latent_dim: Z.
        conditioning: `noise` or `latents`.
    """

    def __init__(self, network: CausalNetwork, latent_dim: int, conditioning: str):
        super().__init__()
        self.network, self.latent_dim, self.conditioning = network, latent_dim, conditioning
        self.out = nn.Linear(network.out_dim, 2 * latent_dim)
        with torch.no_grad():  # begin near the prior, N(0, I)
            self.out.weight.mul_(0.1)
            self.out.bias.zero_()

    def _loc_scale(self, seen: Tensor, given: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """Inputs (B, T, F), previous z or eps (..., B, T, Z) -> loc, scale (..., B, T, Z)."""
        u = torch.cat([seen.expand(*given.shape[:-1], -1), given], -1)
        h, state = self.network(u, state)
        loc, raw = self.out(h).chunk(2, -1)
        return loc, 1e-4 + F.softplus(raw + SOFTPLUS_ONE), state

    def _walk(
        self, seen: Tensor, source: Tensor, state: State, invert: bool
    ) -> tuple[Tensor, Tensor, State]:
        """Step through time from eps to z, or (invert) from z to eps, feeding back the result."""
        network, last = state or (None, torch.zeros_like(source[..., :1, :]))
        results, scales = [], []
        for t in range(source.shape[-2]):
            step = slice(t, t + 1)
            loc, scale, network = self._loc_scale(seen[..., step, :], last, network)
            now = source[..., step, :]
            last = (now - loc) / scale if invert else loc + scale * now
            results.append(last)
            scales.append(scale)
        return torch.cat(results, -2), torch.cat(scales, -2), (network, last)

    def _pass(self, seen: Tensor, source: Tensor, state: State) -> tuple[Tensor, Tensor, State]:
        """One parallel pass that conditions each step on the source at the steps before it."""
        network, last = state or (None, torch.zeros_like(source[..., :1, :]))
        given = torch.cat([last, source[..., :-1, :]], -2)
        loc, scale, network = self._loc_scale(seen, given, network)
        return loc, scale, (network, source[..., -1:, :])

    def draw(self, seen: Tensor, eps: Tensor, state: State = None) -> tuple[Tensor, Tensor, State]:
        """Draw z from noise.

        Args:
            seen: (B, T, F) what is known of each x_t.
            eps: (..., B, T, Z) standard normal noise.
            state: what an earlier call returned, to go on with the next steps.

        Returns:
            z (..., B, T, Z), log q(z_t | x_{1:t}, z_{<t}) (..., B, T) in nats, state.
        """
        if self.conditioning == "noise":
            loc, scale, state = self._pass(seen, eps, state)
            z = loc + scale * eps
        else:
            z, scale, state = self._walk(seen, eps, state, invert=False)
        return z, log_density(eps, scale), state

    def log_prob(self, seen: Tensor, z: Tensor) -> Tensor:
        """(..., B, T) log q(z_t | x_{1:t}, z_{<t}) of any latents (..., B, T, Z)."""
        if self.conditioning == "latents":
            loc, scale, _ = self._pass(seen, z, None)
            return log_density((z - loc) / scale, scale)
        eps, scale, _ = self._walk(seen, z, None, invert=True)
        return log_density(eps, scale)


def log_density(eps: Tensor, scale: Tensor) -> Tensor:
    """log N(eps; 0, I) - log scale, summed over the last dimension."""
    return (-0.5 * eps**2 - 0.5 * math.log(2 * math.pi) - scale.log()).sum(-1)


class GuideDistribution(TorchDistribution):
    """q(z_{1:T} | x_{1:T}) as one Pyro site: batch shape (B, T), event shape (Z,).

    It remembers the density of its own draw, which came with the draw for free. `expand` returns
    the object itself for an equal batch shape: Pyro's plates call it, and a copy would lose that
    memory and fall back to the step-by-step density.
    """

    arg_constraints: ClassVar[dict] = {}  # pyright: ignore
    support = constraints.real_vector  # pyright: ignore
    has_rsample = True

    def __init__(self, guide: Guide, seen: Tensor):
        self.guide, self.seen = guide, seen
        self._drawn: tuple[Tensor, Tensor] | None = None
        super().__init__(seen.shape[:-1], torch.Size([guide.latent_dim]), validate_args=False)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> "GuideDistribution":
        if torch.Size(batch_shape) == self.batch_shape:
            return self
        return GuideDistribution(self.guide, self.seen.expand(*batch_shape, -1))

    def rsample(self, sample_shape=torch.Size()) -> Tensor:  # noqa: B008
        eps = torch.randn(*sample_shape, *self.batch_shape, *self.event_shape).to(self.seen)
        z, log_q, _ = self.guide.draw(self.seen, eps)
        self._drawn = (z, log_q)
        return z

    def log_prob(self, value: Tensor) -> Tensor:
        if self._drawn is not None and value is self._drawn[0]:
            return self._drawn[1]
        return self.guide.log_prob(self.seen, value)
