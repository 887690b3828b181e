"""A simulated linear-Gaussian state space, scored by a Kalman filter."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from seqlatent.processes.base import Process, require


def _damped_rotation() -> np.ndarray:
    angle = 2 * math.pi / 20
    cos, sin = math.cos(angle), math.sin(angle)
    return 0.95 * np.array([[cos, -sin], [sin, cos]])


@dataclass(frozen=True, eq=False)
class LinearGaussianProcess(Process):
    """Linear-Gaussian state space, scored by the Kalman filter (Kalman, 1960).

        z_1 ~ N(m0, P0),   z_t = A z_{t-1} + N(0, Q),   x_t = C z_t + N(0, R)

    With the defaults z turns by a 20th of a circle at each step, damped by 0.95; it starts from the
    stationary distribution N(0, I), and x shows one of its coordinates with noise. Values may be
    missing (NaN): they are integrated out. Shapes: A, Q, P0 (Z, Z), m0 (Z,), C (D, Z), R (D, D).
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

    def _sample(self, rng: np.random.Generator, N: int, T: int) -> np.ndarray:
        Z, D = self.A.shape[0], self.num_channels
        z_noise = rng.multivariate_normal(np.zeros(Z), self.Q, size=(T, N))
        x_noise = rng.multivariate_normal(np.zeros(D), self.R, size=(T, N))
        z = rng.multivariate_normal(self.m0, self.P0, size=N)
        x = np.empty((N, T, D))
        for t in range(T):
            if t > 0:
                z = z @ self.A.T + z_noise[t]
            x[:, t] = z @ self.C.T + x_noise[t]
        return x

    def _log_prob_steps(self, x: np.ndarray) -> np.ndarray:
        N, T, D = x.shape
        Z = self.A.shape[0]
        m, P = np.tile(self.m0, (N, 1)), np.tile(self.P0, (N, 1, 1))
        log_prob = np.empty((N, T))
        for t in range(T):
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
            log_prob[:, t] = -0.5 * (quadratic + log_det + seen.sum(1) * math.log(2 * math.pi))
            # Update by x_t (Joseph's form keeps P symmetric and positive), then predict z_{t+1}.
            K = np.linalg.solve(S, C @ P).mT
            J = np.eye(Z) - K @ C
            m = m + (K @ v)[:, :, 0]
            P = J @ P @ J.mT + K @ R @ K.mT
            m, P = m @ self.A.T, self.A @ P @ self.A.T + self.Q
        return log_prob
