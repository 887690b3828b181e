"""The linear-Gaussian state-space model: exact likelihood by the Kalman filter (Kalman 1960).

    z_1 ~ N(m0, P0),    z_t = A z_{t-1} + N(0, Q),    x_t = C z_t + d + E u_t + N(0, R)

with covariates u_t, fitted by maximum likelihood, with gradients through the filter. It is the
baseline for deep models, and the exact answer that estimates are tested against.

One wild value would spoil all later steps. The density is therefore defined recursively, with the
filter's S_t = L L' and innovation v_t = x_t - E[x_t | x_{<t}]:

    p(x_t | x_{<t}) = prod_d b(e_td) / L_dd,    e_t = L^-1 v_t

with b the normal density whose tails bend beyond 4 standard deviations
(`seqlatent.distributions.tails`). A wild value (`seqlatent.nn.scaling`) is scored by its
conditional distribution given the tame channels before it; the filter, the smoother and the other
channels pass it over as missing. This is an exact density of values that follow the state space but
for rare wild ones: where no |e_td| exceeds 4 it is the Kalman filter's to the last digit. Sampled
paths are those of the state space itself, without the bent tails.

The data identify z only up to a change of basis. We use the basis in which the stationary
distribution of z is N(0, I); every stable system with noise in all directions has one:

    L L^T = I + M M^T,    A = L^{-1} M,    Q = L^{-1} L^{-T} = I - A A^T

Any M then gives a stable system with a positive definite Q (A is a contraction, whose spectral
radius approaches 1 as M grows). A, Q and C are unconstrained up to a rotation of z.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from seqlatent.data.batch import SequenceBatch
from seqlatent.data.description import DataDescription
from seqlatent.distributions.families import LocationScale
from seqlatent.distributions.noise import Noise
from seqlatent.distributions.tails import bent_log_prob, normal_tail, unbend
from seqlatent.errors import InputError
from seqlatent.inference.protocols import ExactDensity, ExactPosterior, ModelState
from seqlatent.models.emission_model import EmissionModel, EmissionModelOptions
from seqlatent.models.gaussian_parts import (
    CholeskyFactor,
    Filtering,
    System,
    gaussian,
    oscillators,
    wild_innovations,
)

DOUBLE = torch.float64  # the recursions subtract nearly equal covariances


@dataclass(frozen=True)
class LinearGaussianOptions(EmissionModelOptions):
    latent_dim: int = field(
        default=8, metadata={"help": "number of dimensions of the latent state z_t", "min": 1}
    )


class LinearGaussianModel(EmissionModel, ExactDensity, ExactPosterior):
    """A linear-Gaussian state space: exact likelihood by the Kalman filter (Kalman 1960).

        x_t = C z_t + d + noise,    z_t = A z_{t-1} + noise

    Use it as the baseline for deep models, for small data, and where the posterior of latents or of
    missing values must be exact.
    """

    family, Options = "linear-gaussian", LinearGaussianOptions
    trained_by = "maximum likelihood, by the Kalman filter"
    learning_rate = 0.03  # few parameters, whose gradients have little noise
    gaps = "known"
    options: LinearGaussianOptions

    def __init__(self, options: LinearGaussianOptions, description: DataDescription):
        super().__init__(options, description)
        if description.past_names:
            raise InputError(
                "model 'linear-gaussian' has the same noise whether past covariates are known or "
                "not, so that its forecasts would be too narrow: leave them out "
                "(--past-covariates), or fit another model"
            )
        self.latent_dim = Z = options.latent_dim
        D, num_covariates = description.num_channels, self.covariate_scaler.out_dim
        self.M = nn.Parameter(oscillators(Z))
        self.C = nn.Parameter(torch.randn(D, Z, dtype=DOUBLE) / math.sqrt(Z))
        self.d = nn.Parameter(torch.zeros(D, dtype=DOUBLE))
        weights = torch.zeros(D, num_covariates, dtype=DOUBLE)
        self.E = nn.Parameter(weights) if num_covariates else None
        self.m0 = nn.Parameter(torch.zeros(Z, dtype=DOUBLE))
        self.P0_factor = CholeskyFactor(torch.full((Z,), 1e-4), start=1.0)
        assert isinstance(self.value_distribution, LocationScale)
        if options.channels == "coupling":
            raise InputError(
                "model 'linear-gaussian' has one covariance matrix for all channels: "
                "channels=coupling is for models with networks; use channels=auto or independent"
            )
        independent = options.channels == "independent"  # R is then diagonal
        self.R_factor = CholeskyFactor(
            self.value_distribution.floor, start=0.5, diagonal=independent
        )

    @classmethod
    def accepts(cls, emission: str) -> bool:
        return emission == "normal"

    @classmethod
    def choose_emission(cls, description: DataDescription) -> tuple[str, str]:
        return "normal", "the only one of this model"

    @classmethod
    def unused_options(cls, options: LinearGaussianOptions) -> dict[str, str]:
        applies = "models with networks; this one has a full covariance matrix"
        rest = dict.fromkeys(("coupling_order", "channel_dim", "channel_dropout"), applies)
        return super().unused_options(options) | rest

    def system(self) -> System:
        """The matrices of the system, from the parameters."""
        eye = torch.eye(self.latent_dim, dtype=DOUBLE, device=self.M.device)
        L = torch.linalg.cholesky(eye + self.M @ self.M.mT)
        A, Q_factor = torch.linalg.solve_triangular(
            L, torch.cat([self.M, eye], -1), upper=False
        ).chunk(2, -1)
        R_factor, P0_factor = self.R_factor(), self.P0_factor()
        return System(
            A, Q_factor @ Q_factor.mT, self.C, R_factor @ R_factor.mT, self.m0,
            P0_factor @ P0_factor.mT,
        )  # fmt: skip

    # -- the filter and the smoother --------------------------------------------------------------

    def scaled(self, batch: SequenceBatch) -> Tensor:
        """(B, T, D) scaled values."""
        return self.scaler.scale_values(batch.x, self.scaler(batch), DOUBLE)

    def sees_past(self) -> bool:
        return False  # there is no network to see it

    def _offset(self, covariates: Tensor) -> Tensor:
        """(B, T, D) d + E u_t for (B, T, .) covariates."""
        if self.E is None:
            return self.d
        return self.d + self.covariate_scaler(covariates).to(DOUBLE) @ self.E.mT

    def _filter(self, batch: SequenceBatch, state: ModelState, seen: Tensor) -> Filtering:
        """Filter a batch, treating as observed the values where `seen` (B, T, D) is true and that
        are not wild."""
        s = self.system()
        B, T, D = batch.x.shape
        m, P = state.network or (s.m0.expand(B, -1), s.P0[None])
        wild = batch.observed & ~self.tame(batch)
        seen = seen & ~wild
        values = self.scaled(batch) - self._offset(batch.covariates)
        r = torch.where(seen, values, 0.0)
        if len(P) == 1 and bool(seen.all()):
            seen = seen[:1]
        b = len(seen)
        # A missing channel gets zero loadings, unit noise and a zero innovation, and so contributes
        # nothing to the gain or to log |S|.
        C = s.C * seen[..., None]
        both = seen[..., None] & seen[..., None, :]
        R = torch.where(both, s.R, torch.eye(D, dtype=DOUBLE, device=r.device))

        # Covariances:  S = C P C' + R = L L',  W = L^-1 C P,  P <- A (P - W'W) A' + Q.
        # The subtraction is safe in double precision: unless P0 is large, P <= I, and Q is added.
        A, Q, P = s.A.expand(b, -1, -1), s.Q.expand(b, -1, -1), P.expand(b, -1, -1)
        steps = []
        for C_t, R_t in zip(C.unbind(1), R.unbind(1), strict=True):
            CP = torch.bmm(C_t, P)
            L = torch.linalg.cholesky(torch.baddbmm(R_t, CP, C_t.mT))
            W = torch.linalg.solve_triangular(L, CP, upper=False)
            steps.append((P, L, W))
            P = torch.baddbmm(Q, torch.bmm(A, torch.baddbmm(P, W.mT, W, alpha=-1)), A.mT)
        P_all, L, W = (torch.stack(part, 1) for part in zip(*steps, strict=True))
        whiten = torch.linalg.solve_triangular(
            L, torch.eye(D, dtype=DOUBLE, device=r.device), upper=False
        )
        K = W.mT @ whiten
        G = s.A @ K
        F = s.A - G @ C

        # Means:  m <- A (m + K v) = F m + G r,  with K = W' L^-1, r = x - d - E u, v = r - C m.
        Gr = torch.einsum("btij,btj->tbi", G, r).reshape(T, b, -1, self.latent_dim)
        m = m.reshape(b, -1, self.latent_dim)  # sequences that share a covariance in one row
        means = []
        for Gr_t, F_t in zip(Gr.unbind(0), F.unbind(1), strict=True):
            means.append(m)
            m = torch.baddbmm(Gr_t, m, F_t.mT)
        m_all = torch.stack(means, 2).reshape(B, T, -1)
        v = r - torch.einsum("btij,btj->bti", C, m_all)
        places = wild.nonzero().tolist()
        beyond = wild_innovations(s, places, values, seen, m_all, P_all) if places else None
        return Filtering(m_all, P_all, v, L, whiten, beyond, K, C, R, (m.reshape(B, -1), P))

    def tame(self, batch: SequenceBatch) -> Tensor:
        """(B, T, D) whether values are observed and not wild."""
        return batch.observed & (self.scaled(batch).abs() <= self.scaler(batch).limit)

    def filter(
        self, batch: SequenceBatch, state: ModelState | None = None
    ) -> tuple[Tensor, Tensor, ModelState]:
        """Mean (B, T, Z) and covariance (b, T, Z, Z) of p(z_t | x_{1:t}), and the state after; b is
        1 if all sequences share their covariances, else B."""
        state = state or self.begin(batch)
        f = self._filter(batch, state, batch.observed)
        J = torch.eye(self.latent_dim, dtype=DOUBLE, device=f.m.device) - f.K @ f.C
        m = f.m + torch.einsum("btij,btj->bti", f.K, f.v)
        P = J @ f.P @ J.mT + f.K @ f.R @ f.K.mT
        return m, P, ModelState(state.memory, state.last, f.after)

    def smoother(self, batch: SequenceBatch) -> tuple[Tensor, Tensor]:
        """Mean (B, T, Z) and covariance (b, T, Z, Z) of p(z_t | x_{1:T}), as for `filter`.

        Backwards in time from the filtered distributions N(m, P), given which the distribution of
        z_{t+1} is N(A m, A P A' + Q) (Rauch, Tung and Striebel 1965):

            G = P A' (A P A' + Q)^-1,   m^s = m + G (m^s_{t+1} - A m),
            P^s = (I - G A) P (I - G A)' + G (Q + P^s_{t+1}) G'
        """
        m, P, ahead, G, kept = self._backwards(batch)
        means, covariances = [m[:, -1]], [P[:, -1]]
        for t in range(m.shape[1] - 2, -1, -1):
            surprise = (means[-1] - ahead[:, t])[..., None]
            means.append(m[:, t] + (G[:, t] @ surprise)[..., 0])
            covariances.append(kept[:, t] + G[:, t] @ covariances[-1] @ G[:, t].mT)
        return torch.stack(means[::-1], 1), torch.stack(covariances[::-1], 1)

    def sample_smoothed(
        self,
        batch: SequenceBatch,
        num_samples: int,
        noise: Noise,
        state: ModelState | None = None,
    ) -> Tensor:
        """(S, B, T, Z) joint samples of p(z_{1:T} | x_{1:T}), given too what `state` has read.

        Backwards in time: z_T from its filtered distribution, then each z_t given x_{1:t} and the
        sampled z_{t+1} (Carter and Kohn 1994).
        """
        m, P, ahead, G, kept = self._backwards(batch, state)
        B, T, _ = m.shape
        factor = torch.linalg.cholesky(torch.cat([kept, P[:, -1:]], 1))

        def step_noise(t: int) -> Tensor:
            """(S, B, Z) samples of N(0, L L')."""
            L = factor[:, t].expand(num_samples, B, -1, -1).flatten(0, 1)
            return gaussian(L, num_samples * B, noise).unflatten(0, (num_samples, B))

        steps = [m[:, -1] + step_noise(T - 1)]
        for t in range(T - 2, -1, -1):
            surprise = (steps[-1] - ahead[:, t])[..., None]
            steps.append(m[:, t] + (G[:, t] @ surprise)[..., 0] + step_noise(t))
        return torch.stack(steps[::-1], 2)

    def sample_missing(
        self,
        batch: SequenceBatch,
        num_samples: int,
        noise: Noise,
        state: ModelState | None = None,
    ) -> Tensor:
        """(S, B, T, D) values in data units: joint samples of the missing ones given all observed
        ones, which are unchanged, and those before `state`.

            x_t = C z_t + d + E u_t + e_t,  z ~ p(z_{1:T} | x),  e_t ~ N(0, R) given its observed
            channels o:  e = e' + R_{.o} R_{oo}^-1 (e_o - e'_o),  e' ~ N(0, R)
        """
        s, scaled, seen = self.system(), self.scaler(batch), self.tame(batch)
        level = self.sample_smoothed(batch, num_samples, noise, state) @ s.C.mT
        level = level + self._offset(batch.covariates)
        e = gaussian(self.R_factor(), level[..., 0].numel(), noise).reshape(level.shape)
        surprise = torch.where(seen, self.scaled(batch) - level - e, 0.0)
        both = seen[..., None] & seen[..., None, :]
        known = torch.where(both, s.R, torch.eye(len(s.R), dtype=DOUBLE, device=e.device))
        gain = (s.R * seen[..., None, :]) @ torch.linalg.inv(known)
        e = e + (gain @ surprise[..., None])[..., 0]
        return torch.where(batch.observed, batch.x, self.scaler.unscale(level + e, scaled))

    def _backwards(
        self, batch: SequenceBatch, state: ModelState | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Terms of the backward recursions: the filtered m and P; and for every step but the last
        E[z_{t+1} | x_{1:t}], the gain G and the covariance of z_t given z_{t+1} and x_{1:t}."""
        s = self.system()
        m, P, _ = self.filter(batch, state)
        before = P[:, :-1]
        predicted = s.A @ before @ s.A.mT + s.Q
        G = torch.cholesky_solve(s.A @ before, torch.linalg.cholesky(predicted)).mT
        J = torch.eye(self.latent_dim, dtype=DOUBLE, device=m.device) - G @ s.A
        kept = J @ before @ J.mT + G @ s.Q @ G.mT
        return m, P, m[:, :-1] @ s.A.mT, G, kept

    # -- the interface of a model -----------------------------------------------------------------

    def _score(self, batch: SequenceBatch, state: ModelState) -> Filtering:
        # Padding is treated as observed, so that sequences can share covariances. It is not scored,
        # and no step follows it.
        step = torch.arange(batch.x.shape[1], device=batch.x.device)
        padding = (step >= batch.lengths[:, None])[..., None]
        return self._filter(batch, state, batch.observed | padding)

    def tail_probability(
        self, batch: SequenceBatch, state: ModelState | None = None
    ) -> Tensor | None:
        if self.description.num_channels > 1 or self.scaler.any_logged:
            return None
        e, _ = self._score(batch, state or self.begin(batch)).standardised()
        tail = normal_tail(unbend(e[..., 0])[0])
        return torch.where(batch.scored, tail, torch.nan)

    def log_prob(
        self, batch: SequenceBatch, state: ModelState | None = None
    ) -> tuple[Tensor, ModelState]:
        """(B, T) log p(x_t | x_{<t}), nats, in data units; 0 where not scored."""
        state = state or self.begin(batch)
        f = self._score(batch, state)
        e, log_scale = f.standardised()
        each = torch.where(batch.observed, bent_log_prob(e) - log_scale, 0.0)
        log_prob = each.sum(-1) - self.scaler.log_scale(batch, self.scaler(batch), DOUBLE)
        after = ModelState(state.memory, state.last, f.after)
        return torch.where(batch.scored, log_prob, 0.0), after

    def loss(self, batch: SequenceBatch, step: int | None = None) -> Tensor:
        return -self.log_prob(batch)[0].sum() / batch.num_scored

    def terms(self, batch: SequenceBatch) -> dict[str, Tensor]:
        return {"log_prob": self.log_prob(batch)[0]}

    def at_floor(self, batch: SequenceBatch) -> Tensor:
        """(B, T, D) to what extent, 0 to 1, the floor of the scale determines each density; the
        scale is that of a channel given those before it."""
        scale = self._score(batch, self.begin(batch)).L.diagonal(dim1=-2, dim2=-1)
        return (scale < 1.5 * self.R_factor.floor).to(scale).expand(batch.x.shape)

    def read(self, batch: SequenceBatch, state: ModelState | None = None) -> ModelState:
        return self.log_prob(batch, state)[1]

    def sample_step(
        self, state: ModelState, covariates: Tensor, noise: Noise
    ) -> tuple[Tensor, ModelState]:
        """Sample z_t ~ N(m, P) and x_t given z_t; the path continues from the sampled z_t."""
        s = self.system()
        B = len(state.last)
        m, P = state.network or (s.m0.expand(B, -1), s.P0[None])
        z = m + gaussian(torch.linalg.cholesky(P), B, noise)
        y = z @ s.C.mT + gaussian(self.R_factor(), B, noise)
        y = y[:, None] + self._offset(covariates)
        after = (z @ s.A.mT, s.Q.expand(B, -1, -1))
        x, memory = self.unscale_step(y, state)
        return x, ModelState(memory, state.last, after)
