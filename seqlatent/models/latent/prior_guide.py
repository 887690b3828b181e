"""A guide that starts from the prior, as a Kalman filter does.

    p(z_t | z_{<t}, .) = N(m_t, s_t^2)
    q(z_t | z_{<t}, x) = N(m_t + k_t d_t, (1 - k_t) s_t^2),    0 < k_t < 1

k_t is the gain and d_t the innovation: a hidden layer of what is known of x_t and of m_t yields
both. Given normal evidence N(z_t; m_t + d_t, s_t^2 (1 - k_t) / k_t) about z_t this is the product of
prior and evidence, and exact where values are linear in latents. With a gain of 0 the guide is the
prior and costs nothing, however small the noise of the latents is; a guide of its own would have to
learn every transition a second time. (Johnson et al. 2016 combine prior and evidence by potentials;
Karl et al. 2017 tie guide and transition.)

The latents are sampled step by step; the distributions of given ones come from one parallel pass.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqlatent.models.latent.guide import Guide
from seqlatent.models.latent.guide_distribution import TransformedNormal
from seqlatent.models.latent.priors import SequentialPrior
from seqlatent.nn.causal import CausalNetwork, State


class PriorGuide(Guide):
    """q(z_t | z_{<t}, x) as a correction of p(z_t | z_{<t}, .).

    Args:
        prior: the prior, whose parameters stay its own.
        seen_dim: of what is known of each step.
        context: where in that the prior's context stands.
        hidden_dim: size of the hidden layers.
        backward, distribution: see `Guide`.
    """

    def __init__(
        self,
        prior: SequentialPrior,
        seen_dim: int,
        context: slice,
        hidden_dim: int,
        backward: CausalNetwork | None = None,
        distribution: str = "normal",
    ):
        super().__init__(prior.latent_dim, backward, distribution)
        self._prior = (prior,)  # a tuple, as a module here would own its parameters too
        self.context, self.hidden_dim = context, hidden_dim
        self.read = nn.Linear(seen_dim, hidden_dim)
        self.evidence = nn.Linear(hidden_dim, hidden_dim)
        self.from_loc = nn.Linear(prior.latent_dim, hidden_dim, bias=False)
        self.out = nn.Linear(hidden_dim, (2 + self.shape.num_params) * prior.latent_dim)
        with torch.no_grad():
            self.out.weight.mul_(0.3)
            self.out.bias.zero_()

    @property
    def prior(self) -> SequentialPrior:
        return self._prior[0]

    def prepare(self, seen: Tensor, ahead: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, H + C) the evidence of each step, and the prior's context."""
        known = super().prepare(seen, ahead, lengths)
        evidence = self.evidence(F.silu(self.read(known)))
        return torch.cat([evidence, seen[..., self.context]], -1)

    def _correct(self, evidence: Tensor, loc: Tensor, scale: Tensor) -> TransformedNormal:
        hidden = F.silu(evidence + self.from_loc(loc))
        params = self.out(hidden).unflatten(-1, (-1, self.latent_dim))
        gain = torch.sigmoid(params[..., 1, :])
        loc = torch.addcmul(loc, gain, params[..., 0, :])
        # As z is random, the guide needs a scale even where the gain is 1 to all digits.
        scale = scale * (1 - (1 - 1e-4) * gain).sqrt()
        return TransformedNormal(loc, scale, params[..., 2:, :].movedim(-2, -1), self.shape)

    def distributions(
        self, seen: Tensor, eps: Tensor, state: State = None
    ) -> tuple[TransformedNormal, State]:
        evidence, context = seen.split([self.hidden_dim, seen.shape[-1] - self.hidden_dim], -1)
        prepared = self.prior.transition.prepare(context)
        network, last = state or self.prior.start(eps.shape[:-1])
        steps = zip(*(part.split(1, -2) for part in (evidence, prepared, eps)), strict=True)
        corrected = []
        for now, known, noise in steps:
            p, _, network = self.prior.after(last, known, network)
            q = self._correct(now, p.loc, p.scale)
            last = q.z(noise)
            corrected.append(q)
        return TransformedNormal.cat(corrected), (network, last)

    def given(
        self, seen: Tensor, z: Tensor, state: State = None
    ) -> tuple[TransformedNormal, State]:
        evidence, context = seen.split([self.hidden_dim, seen.shape[-1] - self.hidden_dim], -1)
        p, _, state = self.prior(z, context, state)
        return self._correct(evidence, p.loc, p.scale), state
