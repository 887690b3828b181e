"""Simulated processes whose log-likelihood is known exactly: the floor under every model.

A process is the truth: it draws sequences, and it knows the log-likelihood of each. No model can
beat it in expectation, so the distance to it, the *regret*, says how much a fitted model has left
to learn, on a scale where zero is perfect:

    regret = [ sum_n log p_truth(x^n_{1:T}) - sum_n log p_model(x^n_{1:T}) ] / number of steps

in nats per step, over held-out sequences. In expectation it is KL(truth || model) per step. To
measure it, fit on one seed and score on another:

    truth = PROCESSES["switching-ar"]()
    train, test = truth.sample(500, 100, seed=0), truth.sample(500, 100, seed=1)
    difference = truth.log_prob(test) - model_log_prob          # (N,), one for each test sequence
    regret = difference.sum() / test.lengths.sum()

The differences are paired, so the standard error of the regret comes from their spread, not from
that of the log-likelihoods themselves. A model that reports a lower bound has its regret
overstated by the bound's gap.

Every process here is causal: it gives log p(x_t | x_{<t}) for each step, and these add up to
log p(x_{1:T}). A new process is one subclass of `Process` with `_draw` and `_log_prob_steps`, and
one line in `PROCESSES`.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from seqlatent.processes.base import Process, lag, normal_log_prob, require, require_scale
from seqlatent.processes.discrete import CoupledBinary, OrderTwoChain
from seqlatent.processes.regimes import HiddenMarkov, SwitchingAutoregressive


@dataclass(frozen=True)
class AutoregressiveTwo(Process):
    """Gaussian autoregression of order two, from its stationary distribution (Box and Jenkins,
    1970).

        x_t = a1 x_{t-1} + a2 x_{t-2} + sigma e_t,    e_t ~ N(0, 1)

    The defaults give a damped oscillation with a period of nine steps, so both lags matter.
    """

    a1: float = 1.4
    a2: float = -0.8
    sigma: float = 0.5

    def __post_init__(self) -> None:
        require_scale("AutoregressiveTwo: sigma", self.sigma)
        require(
            abs(self.a2) < 1 and self.a2 + self.a1 < 1 and self.a2 - self.a1 < 1,
            "AutoregressiveTwo: a stationary process needs |a2| < 1, a2 + a1 < 1 and a2 - a1 < 1, "
            f"not a1={self.a1}, a2={self.a2}",
        )

    def _coefficients(self, T: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weights of x_{t-1} and of x_{t-2}, and the scale, of each step: three of shape (T,)."""
        # rho = corr(x_1, x_2) and var = var(x_1) solve the Yule-Walker equations; the first two
        # steps are x_1 ~ N(0, var) and x_2 | x_1 ~ N(rho x_1, var (1 - rho^2)).
        rho = self.a1 / (1 - self.a2)
        var = self.sigma**2 / (1 - self.a1 * rho - self.a2 * (self.a1 * rho + self.a2))
        first, second = np.full(T, self.a1), np.full(T, self.a2)
        scale = np.full(T, self.sigma)
        first[:2], second[:2] = [0.0, rho][:T], 0.0
        scale[:2] = np.sqrt([var, var * (1 - rho**2)])[:T]
        return first, second, scale

    def _draw(self, rng: np.random.Generator, N: int, T: int) -> np.ndarray:
        first, second, scale = self._coefficients(T)
        x = np.zeros((N, T + 2))  # two zeros stand before the first step, with weight zero
        e = rng.standard_normal((N, T))
        for t in range(T):
            x[:, t + 2] = first[t] * x[:, t + 1] + second[t] * x[:, t] + scale[t] * e[:, t]
        return x[:, 2:, None]

    def _log_prob_steps(self, x: np.ndarray) -> np.ndarray:
        first, second, scale = self._coefficients(x.shape[1])
        loc = first * lag(x[:, :, 0], 1) + second * lag(x[:, :, 0], 2)
        return normal_log_prob(x[:, :, 0], loc, scale)


def _damped_rotation() -> np.ndarray:
    angle = 2 * math.pi / 20
    cos, sin = math.cos(angle), math.sin(angle)
    return 0.95 * np.array([[cos, -sin], [sin, cos]])


@dataclass(frozen=True, eq=False)
class LinearGaussianProcess(Process):
    """Linear-Gaussian state space, scored by the Kalman filter (Kalman, 1960).

        z_1 ~ N(m0, P0),   z_t = A z_{t-1} + N(0, Q),   x_t = C z_t + N(0, R)

    The defaults turn a plane by a 20th of a circle at each step with a damping of 0.95, start from
    the stationary distribution N(0, I) and show one coordinate. Values may be missing (NaN): they
    are integrated out. Shapes: A, Q, P0 (Z, Z), m0 (Z,), C (D, Z), R (D, D).
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
            # A direction of x without noise would give a density without bound.
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

    def _draw(self, rng: np.random.Generator, N: int, T: int) -> np.ndarray:
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
            # A missing channel becomes one that sees nothing of z, has unit noise and no surprise:
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


@dataclass(frozen=True)
class PoissonCounts(Process):
    """Counts whose rate follows past counts: INGARCH(1, 1) (Ferland, Latour and Oraichi, 2006).

        x_t ~ Poisson(rate_t),    rate_t = omega + alpha x_{t-1} + beta rate_{t-1}

    The first rate is the stationary mean omega / (1 - alpha - beta), so E x_t is the same always.
    """

    omega: float = 0.6
    alpha: float = 0.5
    beta: float = 0.3

    domain: ClassVar[str] = "counts 0, 1, 2, ..., none of them missing"

    def __post_init__(self) -> None:
        require_scale("PoissonCounts: omega", self.omega)
        require(
            self.alpha >= 0 and self.beta >= 0 and self.alpha + self.beta < 1,
            "PoissonCounts: a stationary process needs alpha >= 0, beta >= 0 and alpha + beta < 1, "
            f"not alpha={self.alpha}, beta={self.beta}",
        )

    def _in_domain(self, x: np.ndarray) -> np.ndarray:
        return np.isfinite(x) & (x >= 0) & (x == np.floor(x))

    def _first_rate(self, N: int) -> np.ndarray:
        return np.full(N, self.omega / (1 - self.alpha - self.beta))

    def _draw(self, rng: np.random.Generator, N: int, T: int) -> np.ndarray:
        x, rate = np.empty((N, T)), self._first_rate(N)
        for t in range(T):
            x[:, t] = rng.poisson(rate)
            rate = self.omega + self.alpha * x[:, t] + self.beta * rate
        return x[:, :, None]

    def _log_prob_steps(self, x: np.ndarray) -> np.ndarray:
        N, T, _ = x.shape
        log_factorial = np.vectorize(math.lgamma, otypes=[np.float64])(x[:, :, 0] + 1)
        log_prob, rate = np.empty((N, T)), self._first_rate(N)
        for t in range(T):
            log_prob[:, t] = x[:, t, 0] * np.log(rate) - rate - log_factorial[:, t]
            rate = self.omega + self.alpha * x[:, t, 0] + self.beta * rate
        return log_prob


@dataclass(frozen=True)
class Garch(Process):
    """Volatility that comes in clusters, with heavy tails: GARCH(1, 1) with Student noise
    (Bollerslev, 1987).

        x_t = scale_t e_t,    scale_t^2 = omega + alpha x_{t-1}^2 + beta scale_{t-1}^2
        e_t ~ Student's t with df degrees of freedom, scaled to variance 1

    The first variance is the stationary one, omega / (1 - alpha - beta).
    """

    omega: float = 0.1
    alpha: float = 0.2
    beta: float = 0.7
    df: float = 5.0

    def __post_init__(self) -> None:
        require_scale("Garch: omega", self.omega)
        require(
            self.alpha >= 0 and self.beta >= 0 and self.alpha + self.beta < 1,
            "Garch: a stationary process needs alpha >= 0, beta >= 0 and alpha + beta < 1, "
            f"not alpha={self.alpha}, beta={self.beta}",
        )
        require(2 < self.df < math.inf, f"Garch: a variance needs df above 2, not {self.df}")

    def _first_variance(self, N: int) -> np.ndarray:
        return np.full(N, self.omega / (1 - self.alpha - self.beta))

    def _draw(self, rng: np.random.Generator, N: int, T: int) -> np.ndarray:
        e = rng.standard_t(self.df, (N, T)) * math.sqrt((self.df - 2) / self.df)
        x, variance = np.empty((N, T)), self._first_variance(N)
        for t in range(T):
            x[:, t] = np.sqrt(variance) * e[:, t]
            variance = self.omega + self.alpha * x[:, t] ** 2 + self.beta * variance
        return x[:, :, None]

    def _log_prob_steps(self, x: np.ndarray) -> np.ndarray:
        N, T, _ = x.shape
        nu = self.df
        constant = math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2) - 0.5 * math.log(nu * math.pi)
        log_prob, variance = np.empty((N, T)), self._first_variance(N)
        for t in range(T):
            square = variance * (nu - 2) / nu  # of the scale of Student's t, which has variance > 1
            ratio = x[:, t, 0] ** 2 / square
            log_prob[:, t] = constant - 0.5 * np.log(square) - (nu + 1) / 2 * np.log1p(ratio / nu)
            variance = self.omega + self.alpha * x[:, t, 0] ** 2 + self.beta * variance
        return log_prob


@dataclass(frozen=True)
class SkewedAutoregressive(Process):
    """Autoregression whose noise has a steep left and a long right side: minus the logarithm of a
    gamma variable (Johnson, Kotz and Balakrishnan, 1994).

        x_t = phi x_{t-1} + scale u_t,    exp(-u_t) ~ Gamma(shape, 1),    x_0 = 0

    A small shape skews u_t more, to that of an exponential variable in the end; with the default
    its skewness is 1.9. Its density is positive everywhere.
    """

    phi: float = 0.7
    scale: float = 0.3
    shape: float = 0.3

    def __post_init__(self) -> None:
        name = "SkewedAutoregressive"
        require(abs(self.phi) < 1, f"{name}: phi must lie between -1 and 1, not {self.phi}")
        require_scale(f"{name}: scale", self.scale)
        require_scale(f"{name}: shape", self.shape)

    def _draw(self, rng: np.random.Generator, N: int, T: int) -> np.ndarray:
        u = -np.log(rng.gamma(self.shape, size=(N, T)))
        x, last = np.empty((N, T)), np.zeros(N)
        for t in range(T):
            last = self.phi * last + self.scale * u[:, t]
            x[:, t] = last
        return x[:, :, None]

    def _log_prob_steps(self, x: np.ndarray) -> np.ndarray:
        u = (x[:, :, 0] - self.phi * lag(x[:, :, 0], 1)) / self.scale
        return -self.shape * u - np.exp(-u) - math.lgamma(self.shape) - math.log(self.scale)


@dataclass(frozen=True)
class Banana(Process):
    """Two channels, the second bent around the first within each step (the curved distribution is
    that of Haario, Saksman and Tamminen, 1999).

        a_t = phi a_{t-1} + wide e_t                   e_t, f_t ~ N(0, 1)
        b_t = phi b_{t-1} + bend (a_t^2 - level) + narrow f_t

    with x_t = (a_t, b_t), a_0 = b_0 = 0 and level = wide^2 / (1 - phi^2), the stationary mean of
    a_t^2. With the defaults p(x_t | x_{<t}) is a crescent: linear correlation says nothing of it.
    """

    phi: float = 0.5
    bend: float = 0.7
    wide: float = 1.0
    narrow: float = 0.3

    def __post_init__(self) -> None:
        require(abs(self.phi) < 1, f"Banana: phi must lie between -1 and 1, not {self.phi}")
        require(math.isfinite(self.bend), f"Banana: bend must be finite, not {self.bend}")
        require_scale("Banana: wide", self.wide)
        require_scale("Banana: narrow", self.narrow)

    @property
    def num_channels(self) -> int:
        return 2

    def _curve(self, a: np.ndarray) -> np.ndarray:
        return self.bend * (a**2 - self.wide**2 / (1 - self.phi**2))

    def _draw(self, rng: np.random.Generator, N: int, T: int) -> np.ndarray:
        noise = rng.standard_normal((N, T, 2)) * [self.wide, self.narrow]
        x, last = np.empty((N, T, 2)), np.zeros((N, 2))
        for t in range(T):
            a, b = (self.phi * last + noise[:, t]).T
            x[:, t, 0], x[:, t, 1] = a, b + self._curve(a)
            last = x[:, t]
        return x

    def _log_prob_steps(self, x: np.ndarray) -> np.ndarray:
        a, b = x[..., 0], x[..., 1]
        b_loc = self.phi * lag(b, 1) + self._curve(a)
        return normal_log_prob(a, self.phi * lag(a, 1), self.wide) + normal_log_prob(
            b, b_loc, self.narrow
        )


PROCESSES: dict[str, type[Process]] = {
    "ar2": AutoregressiveTwo,
    "linear-gaussian": LinearGaussianProcess,
    "switching-ar": SwitchingAutoregressive,
    "counts": PoissonCounts,
    "hmm": HiddenMarkov,
    "coupled-binary": CoupledBinary,
    "order-two-chain": OrderTwoChain,
    "garch": Garch,
    "skewed-ar": SkewedAutoregressive,
    "banana": Banana,
}
