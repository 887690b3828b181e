"""A guide with a network of its own, in two forms of one family.

With `latents`, (loc_t, scale_t, f_t) = net(x_{1:t}, z_{<t}), and samples are computed step by step.
With `noise`, the network sees eps_{<t} instead of z_{<t}: given x there is a bijection between the
two, and all T steps are sampled in one parallel pass. One direction of each form is parallel and
the other sequential:

    latents:  density of given z in parallel,  sampling z from eps step by step
    noise:    sampling z from eps in parallel,  density of given z (recovering eps) step by step
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqlatent.models.latent.guide import Guide
from seqlatent.models.latent.guide_distribution import TransformedNormal
from seqlatent.nn.causal import CausalNetwork, State
from seqlatent.nn.layers import SOFTPLUS_ONE

FURTHEST = 12.0  # of noise that is not the guide's own: what it makes of more is of no use


class NetworkGuide(Guide):
    """A causal network over what is known of x_t and the previous z or eps.

    Args:
        network: with inputs of size F + Z.
        latent_dim: Z.
        conditioning: `noise` or `latents`.
        backward, distribution: see `Guide`.
    """

    def __init__(
        self,
        network: CausalNetwork,
        latent_dim: int,
        conditioning: str,
        backward: CausalNetwork | None = None,
        distribution: str = "normal",
    ):
        super().__init__(latent_dim, backward, distribution)
        self.network, self.conditioning = network, conditioning
        # The distributions also depend on each step's inputs directly, because a recurrent network
        # is slow to learn to pass x_t through.
        num_params = 2 + self.shape.num_params
        self.out = nn.Linear(network.out_dim + network.in_dim, num_params * latent_dim)
        with torch.no_grad():  # start near N(0, I)
            self.out.weight.mul_(0.1)
            self.out.bias.zero_()

    def _distribution(
        self, seen: Tensor, given: Tensor, state: State
    ) -> tuple[TransformedNormal, State]:
        """Inputs (B, T, F), previous z or eps (..., B, T, Z) -> the distribution of z, with batch
        shape (..., B, T), and the state after."""
        u = torch.cat([seen.expand(*given.shape[:-1], -1), given], -1)
        h, state = self.network(u, state)
        params = self.out(torch.cat([h, u], -1)).unflatten(-1, (-1, self.latent_dim))
        loc, raw = params[..., 0, :], params[..., 1, :]
        scale = 1e-4 + F.softplus(raw + SOFTPLUS_ONE)
        return TransformedNormal(loc, scale, params[..., 2:, :].movedim(-2, -1), self.shape), state

    def _walk(
        self, seen: Tensor, source: Tensor, state: State, invert: bool
    ) -> tuple[TransformedNormal, State]:
        """The distributions of z step by step, mapping eps to z or, if `invert`, z to eps; each
        step is conditioned on the results before it."""
        network, last = state or (None, torch.zeros_like(source[..., :1, :]))
        distributions = []
        for t in range(source.shape[-2]):
            step = slice(t, t + 1)
            distribution, network = self._distribution(seen[..., step, :], last, network)
            now = source[..., step, :]
            last = distribution.noise(now) if invert else distribution.z(now)
            distributions.append(distribution)
        return TransformedNormal.cat(distributions), (network, last)

    def _pass(self, seen: Tensor, source: Tensor, state: State) -> tuple[TransformedNormal, State]:
        """The distributions of z in one parallel pass, each step conditioned on `source` at the
        steps before it."""
        network, last = state or (None, torch.zeros_like(source[..., :1, :]))
        given = torch.cat([last, source[..., :-1, :]], -2)
        distribution, network = self._distribution(seen, given, network)
        return distribution, (network, source[..., -1:, :])

    def distributions(
        self, seen: Tensor, eps: Tensor, state: State = None
    ) -> tuple[TransformedNormal, State]:
        if self.conditioning == "noise":
            return self._pass(seen, eps, state)
        return self._walk(seen, eps, state, invert=False)

    def went_on_with(self, state: State, z: Tensor, eps: Tensor) -> State:
        noise = self.conditioning == "noise"
        return state[0], eps.clamp(-FURTHEST, FURTHEST) if noise else z

    def given(
        self, seen: Tensor, z: Tensor, state: State = None
    ) -> tuple[TransformedNormal, State]:
        if self.conditioning == "latents":
            return self._pass(seen, z, state)
        return self._walk(seen, z, state, invert=True)
