"""Simulated processes of real values, without hidden states."""

import math
from dataclasses import dataclass

import numpy as np

from seqlatent.processes.base import Process, lag, normal_log_prob, require, require_scale


@dataclass(frozen=True)
class AutoregressiveTwo(Process):
    """Gaussian autoregression of order two, started from its stationary distribution (Box and
    Jenkins, 1970).

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

    def _sample(self, rng: np.random.Generator, N: int, T: int) -> np.ndarray:
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


@dataclass(frozen=True)
class Garch(Process):
    """Clustered volatility with heavy tails: GARCH(1, 1) with Student-t noise (Bollerslev, 1987).

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
        require(2 < self.df < math.inf, f"Garch: df must be above 2 and finite, not {self.df}")

    def _first_variance(self, N: int) -> np.ndarray:
        return np.full(N, self.omega / (1 - self.alpha - self.beta))

    def _sample(self, rng: np.random.Generator, N: int, T: int) -> np.ndarray:
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
    """Autoregression with skewed noise, steep on the left and long on the right: minus the
    logarithm of a gamma variable (Johnson, Kotz and Balakrishnan, 1994).

        x_t = phi x_{t-1} + scale u_t,    exp(-u_t) ~ Gamma(shape, 1),    x_0 = 0

    The smaller the shape, the more skewed is u_t; in the limit it has the skewness of an
    exponential variable, 2. The default has 1.9. The density is positive everywhere.
    """

    phi: float = 0.7
    scale: float = 0.3
    shape: float = 0.3

    def __post_init__(self) -> None:
        name = "SkewedAutoregressive"
        require(abs(self.phi) < 1, f"{name}: phi must lie between -1 and 1, not {self.phi}")
        require_scale(f"{name}: scale", self.scale)
        require_scale(f"{name}: shape", self.shape)

    def _sample(self, rng: np.random.Generator, N: int, T: int) -> np.ndarray:
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
    """Two channels, the second bent around the first within each step (the curved distribution of
    Haario, Saksman and Tamminen, 1999).

        a_t = phi a_{t-1} + wide e_t                   e_t, f_t ~ N(0, 1)
        b_t = phi b_{t-1} + bend (a_t^2 - level) + narrow f_t

    with x_t = (a_t, b_t), a_0 = b_0 = 0 and level = wide^2 / (1 - phi^2), the stationary mean of
    a_t^2. With the defaults p(x_t | x_{<t}) is a crescent that linear correlation does not see.
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

    def _sample(self, rng: np.random.Generator, N: int, T: int) -> np.ndarray:
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
