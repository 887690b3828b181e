"""Simulated linear-Gaussian state spaces, scored and inferred exactly."""

import math
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np

from seqlatent.processes.base import require, require_scale
from seqlatent.processes.hidden import StateProcess


def _damped_rotation() -> np.ndarray:
    angle = 2 * math.pi / 20
    cos, sin = math.cos(angle), math.sin(angle)
    return 0.95 * np.array([[cos, -sin], [sin, cos]])


class _Filtering(NamedTuple):
    """The Kalman filter at every step: log_prob (N, T) log p(x_t | x_{<t}); mean m (N, T, Z) and
    covariance P (N, T, Z, Z) of p(z_t | x_{<=t}), and of p(z_t | x_{<t}) as `ahead`."""

    log_prob: np.ndarray
    m: np.ndarray
    P: np.ndarray
    m_ahead: np.ndarray
    P_ahead: np.ndarray


@dataclass(frozen=True, eq=False)
class LinearGaussianProcess(StateProcess):
    """Linear-Gaussian state space, scored by the Kalman filter (Kalman, 1960).

        z_1 ~ N(m0, P0),   z_t = A z_{t-1} + N(0, Q),   x_t = C z_t + N(0, R)

    With the defaults z turns by a 20th of a circle at each step, damped by 0.95; it starts from the
    stationary distribution N(0, I), and x shows one of its coordinates with noise. Values may be
    missing (NaN): they are integrated out. The states are smoothed by the recursion of Rauch, Tung
    and Striebel (1965). Shapes: A, Q, P0 (Z, Z), m0 (Z,), C (D, Z), R (D, D).
    """

    A: np.ndarray = field(default_factory=_damped_rotation)
    C: np.ndarray = field(default_factory=lambda: np.array([[1.0, 0.0]]))
    Q: np.ndarray = field(default_factory=lambda: (1 - 0.95**2) * np.eye(2))
    R: np.ndarray = field(default_factory=lambda: np.array([[0.1]]))
    m0: np.ndarray = field(default_factory=lambda: np.zeros(2))
    P0: np.ndarray = field(default_factory=lambda: np.eye(2))

    domain: ClassVar[str] = "finite values, or NaN where one is missing"

    def __post_init__(self) -> None:
        Z, D = np.size(self.m0), len(np.atleast_1d(self.C))
        shapes = {"A": (Z, Z), "C": (D, Z), "Q": (Z, Z), "R": (D, D), "m0": (Z,), "P0": (Z, Z)}
        for name, shape in shapes.items():
            value = np.array(getattr(self, name), dtype=np.float64)
            require(
                value.shape == shape and bool(np.isfinite(value).all()),
                f"LinearGaussianProcess: with {Z} latent and {D} observed dimensions, {name} needs "
                f"shape {shape} and finite numbers, not shape {value.shape}",
            )
            object.__setattr__(self, name, value)
        for name in ("Q", "R", "P0"):
            value = getattr(self, name)
            eigenvalues = np.linalg.eigvalsh(value)
            rounding = 1e-12 * np.abs(eigenvalues).max()
            # Without noise in some direction of x the density would be unbounded.
            definite = name == "R"
            enough = eigenvalues.min() > rounding if definite else eigenvalues.min() >= -rounding
            require(
                bool(np.allclose(value, value.T) and enough),
                f"LinearGaussianProcess: the covariance {name} must be symmetric and positive "
                f"{'definite' if definite else 'semidefinite'}",
            )

    @property
    def num_channels(self) -> int:
        return len(self.C)

    def _in_domain(self, x: np.ndarray) -> np.ndarray:
        return ~np.isinf(x)

    @property
    def state_names(self) -> tuple[str, ...]:
        return tuple(f"z{i + 1}" for i in range(len(self.A)))

    def _sample_states(
        self, rng: np.random.Generator, N: int, T: int
    ) -> tuple[np.ndarray, np.ndarray]:
        Z, D = self.A.shape[0], self.num_channels
        z_noise = rng.multivariate_normal(np.zeros(Z), self.Q, size=(T, N))
        x_noise = rng.multivariate_normal(np.zeros(D), self.R, size=(T, N))
        z = np.empty((N, T, Z))
        z[:, 0] = rng.multivariate_normal(self.m0, self.P0, size=N)
        for t in range(1, T):
            z[:, t] = z[:, t - 1] @ self.A.T + z_noise[t]
        return z @ self.C.T + x_noise.swapaxes(0, 1), z

    def _log_prob_steps(self, x: np.ndarray) -> np.ndarray:
        return self._filtering(x).log_prob

    def _filter(self, x: np.ndarray) -> np.ndarray:
        return self._filtering(x).m

    def _smooth(self, x: np.ndarray) -> np.ndarray:
        f = self._filtering(x)
        m = f.m.copy()
        for t in range(x.shape[1] - 2, -1, -1):
            # E[z_t | x_{1:T}] = m_t + P_t A' P_{t+1|t}^-1 (E[z_{t+1} | x_{1:T}] - m_{t+1|t}); the
            # pseudo-inverse, because without noise in some direction P_{t+1|t} is singular.
            back = f.P[:, t] @ self.A.T @ np.linalg.pinv(f.P_ahead[:, t + 1], hermitian=True)
            m[:, t] += (back @ (m[:, t + 1] - f.m_ahead[:, t + 1])[:, :, None])[:, :, 0]
        return m

    def _filtering(self, x: np.ndarray) -> _Filtering:
        N, T, D = x.shape
        Z = self.A.shape[0]
        m, P = np.tile(self.m0, (N, 1)), np.tile(self.P0, (N, 1, 1))
        shapes = ((N, T), (N, T, Z), (N, T, Z, Z), (N, T, Z), (N, T, Z, Z))
        out = _Filtering(*(np.empty(shape) for shape in shapes))
        for t in range(T):
            out.m_ahead[:, t], out.P_ahead[:, t] = m, P
            # A missing channel becomes one that sees nothing of z, has unit noise and no residual:
            # it then adds nothing to the gain K, nor to log |S|.
            seen = ~np.isnan(x[:, t])
            C = self.C * seen[:, :, None]
            R = np.where(seen[:, :, None] & seen[:, None, :], self.R, np.eye(D))
            v = np.where(seen, x[:, t] - m @ self.C.T, 0.0)[:, :, None]
            # Score: x_t | x_{<t} ~ N(C m, S).
            S = C @ P @ C.mT + R
            quadratic = (v * np.linalg.solve(S, v)).sum((1, 2))
            log_det = np.linalg.slogdet(S).logabsdet
            out.log_prob[:, t] = -0.5 * (quadratic + log_det + seen.sum(1) * math.log(2 * math.pi))
            # Update by x_t (Joseph's form keeps P symmetric and positive), then predict z_{t+1}.
            K = np.linalg.solve(S, C @ P).mT
            J = np.eye(Z) - K @ C
            m = m + (K @ v)[:, :, 0]
            P = J @ P @ J.mT + K @ R @ K.mT
            out.m[:, t], out.P[:, t] = m, P
            m, P = m @ self.A.T, self.A @ P @ self.A.T + self.Q
        return out


@dataclass(frozen=True)
class SlowTrend(StateProcess):
    """A slow trend under fast noise that is much larger from step to step, and all Gaussian.

        x_t = trend_t + fast_t + noise e_t
        trend_t = slow trend_{t-1} + N(0, 1 - slow^2)
        fast_t = quick fast_{t-1} + N(0, spread^2 (1 - quick^2))

    Both parts start from their stationary distributions N(0, 1) and N(0, spread^2). A value tells
    little of the trend; the mean of many does.
    """

    slow: float = 0.99
    quick: float = 0.3
    spread: float = 1.0
    noise: float = 0.1

    def __post_init__(self) -> None:
        for name in ("slow", "quick"):
            value = getattr(self, name)
            require(abs(value) < 1, f"SlowTrend: {name} must lie between -1 and 1, not {value}")
        require_scale("SlowTrend: spread", self.spread)
        require_scale("SlowTrend: noise", self.noise)

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("trend", "fast")

    @property
    def system(self) -> LinearGaussianProcess:
        """The same process with z = (trend, fast)."""
        rates, variances = np.array([self.slow, self.quick]), np.array([1.0, self.spread**2])
        return LinearGaussianProcess(
            A=np.diag(rates),
            C=np.ones((1, 2)),
            Q=np.diag((1 - rates**2) * variances),
            R=np.array([[self.noise**2]]),
            m0=np.zeros(2),
            P0=np.diag(variances),
        )

    def _sample_states(
        self, rng: np.random.Generator, N: int, T: int
    ) -> tuple[np.ndarray, np.ndarray]:
        return self.system._sample_states(rng, N, T)

    def _log_prob_steps(self, x: np.ndarray) -> np.ndarray:
        return self.system._log_prob_steps(x)

    def _filter(self, x: np.ndarray) -> np.ndarray:
        return self.system._filter(x)

    def _smooth(self, x: np.ndarray) -> np.ndarray:
        return self.system._smooth(x)
