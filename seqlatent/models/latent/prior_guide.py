"""A guide that corrects the prior, as a Kalman filter does.

    p(z_t | z_{<t}, .) = N(m_t, s_t^2)
    q(z_t | z_{<t}, x) = N(m_t + k_t d_t, (1 - k_t) s_t^2),    0 < k_t < 1

A hidden layer of what is known of x_t and of m_t yields the gain k_t and the innovation d_t. If the
likelihood of z_t is proportional to N(z_t; m_t + d_t, s_t^2 (1 - k_t) / k_t), then q is the product
of prior and likelihood: p(z_t | z_{<t}, x_t) itself, as it is where one latent acts linearly on
values with normal noise. With a gain of 0 the guide is the prior, and the KL is 0 however small s_t
is; a guide with a network of its own has to learn the transition a second time.

(Fraccaro et al. 2016 correct the prior's mean, Johnson et al. 2016 multiply prior and evidence, and
Karl et al. 2017 share the transition between model and guide.)

Latents are sampled step by step; the distributions of given ones come from one parallel pass.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqlatent.distributions.normal import DiagonalNormal
from seqlatent.models.latent.guide import Guide
from seqlatent.models.latent.guide_distribution import TransformedNormal
from seqlatent.models.latent.priors import SequentialPrior
from seqlatent.nn.causal import CausalNetwork, State

MAX_GAIN = 1 - 1e-4  # so that the scale is positive where the sigmoid rounds to 1


class PriorGuide(Guide):
    """q(z_t | z_{<t}, x) as a correction of p(z_t | z_{<t}, .).

    Args:
        prior: which the guide refers to, and does not own.
        seen_dim: size of what is known of each step, with the summary of a smoothing guide.
        hidden_dim: size of the hidden layers.
        backward, distribution: see `Guide`.
    """

    def __init__(
        self,
        prior: SequentialPrior,
        seen_dim: int,
        hidden_dim: int,
        backward: CausalNetwork | None = None,
        distribution: str = "normal",
    ):
        super().__init__(prior.latent_dim, backward, distribution)
        self._prior = (prior,)  # in a tuple: as a submodule its parameters would be saved twice
        self.hidden_dim = hidden_dim
        self.read = nn.Linear(seen_dim, hidden_dim)
        self.evidence = nn.Linear(hidden_dim, hidden_dim)
        self.from_loc = nn.Linear(prior.latent_dim, hidden_dim, bias=False)
        self.out = nn.Linear(hidden_dim, (2 + self.shape.num_params) * prior.latent_dim)
        with torch.no_grad():  # start near a gain of 1/2 and no innovation
            self.out.weight.mul_(0.3)
            self.out.bias.zero_()

    @property
    def prior(self) -> SequentialPrior:
        return self._prior[0]

    def prepare(self, seen: Tensor, ahead: Tensor, lengths: Tensor, context: Tensor) -> Tensor:
        """(B, T, H + C) the evidence of each step, which is the part of the hidden layer that needs
        no latents, and the prior's context."""
        known = super().prepare(seen, ahead, lengths, context)
        return torch.cat([self.evidence(F.silu(self.read(known))), context], -1)

    def _parts(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """What `prepare` joined: evidence (B, T, H) and the prior's context (B, T, C)."""
        return seen[..., : self.hidden_dim], seen[..., self.hidden_dim :]

    def _correct(self, evidence: Tensor, loc: Tensor, scale: Tensor) -> TransformedNormal:
        """q(z_t | .) from the evidence (B, T, H), and the prior's loc and scale (..., B, T, Z)."""
        hidden = F.silu(evidence + self.from_loc(loc))
        Z, P = self.latent_dim, self.shape.num_params
        # Apart in memory: functions of short slices are not vectorised on a CPU.
        parts = self.out(hidden).split([Z, Z, P * Z], -1)
        innovation, logit, shape = (part.contiguous() for part in parts)
        gain = MAX_GAIN * torch.sigmoid(logit)
        loc = torch.addcmul(loc, gain, innovation)
        scale = scale * (1 - gain).sqrt()
        params = shape.unflatten(-1, (P, Z)).movedim(-2, -1)
        return TransformedNormal(loc, scale, params, self.shape)

    def distributions(
        self, seen: Tensor, eps: Tensor, state: State = None
    ) -> tuple[TransformedNormal, State]:
        q, _, _, state = self.beside_prior(seen, eps, state)
        return q, state

    def beside_prior(
        self, seen: Tensor, eps: Tensor, state: State = None
    ) -> tuple[TransformedNormal, DiagonalNormal, Tensor | None, State]:
        """`distributions` and, of the same steps, the prior's with its features: the guide has to
        compute them, and the model need not do so again. The state is that of both."""
        evidence, context = self._parts(seen)
        prepared = self.prior.transition.prepare(context)
        network, last = state or self.prior.start(eps.shape[:-1])
        steps = zip(*(part.split(1, -2) for part in (evidence, prepared, eps)), strict=True)
        corrected, priors, features = [], [], []
        for now, known, noise in steps:
            p, past, network = self.prior.after(last, known, network)
            q = self._correct(now, p.loc, p.scale)
            last = q.z(noise)
            corrected.append(q)
            priors.append(p)
            features.append(past)
        past = None if features[0] is None else torch.cat(features, -2)
        q, p = TransformedNormal.cat(corrected), DiagonalNormal.cat(priors)
        return q, p, past, (network, last)

    def went_on_with(self, state: State, z: Tensor, eps: Tensor) -> State:
        return state[0], z

    def given(
        self, seen: Tensor, z: Tensor, state: State = None
    ) -> tuple[TransformedNormal, State]:
        evidence, context = self._parts(seen)
        p, _, state = self.prior(z, context, state)
        return self._correct(evidence, p.loc, p.scale), state
