"""Simulated processes of binary values, categories and counts."""

import itertools
import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from seqlatent.processes.base import Process, require, require_scale


def _couplings() -> np.ndarray:
    # Neighbours attract, opposites repel: no channel is independent of any other.
    attract, repel = 1.5, -1.5
    return np.array(
        [
            [0.0, attract, repel, 0.0],
            [attract, 0.0, 0.0, repel],
            [repel, 0.0, 0.0, attract],
            [0.0, repel, attract, 0.0],
        ]
    )


@dataclass(frozen=True, eq=False)
class CoupledBinary(Process):
    """Binary channels that depend on the step before and on one another within the step: a Markov
    chain whose steps are Boltzmann machines without hidden units (Ackley, Hinton and Sejnowski,
    1985).

        p(x_t | x_{t-1}) = exp(x_t' (bias + weights x_{t-1}) + x_t' couplings x_t / 2) / Z(x_{t-1})

    with x_0 = 0; Z sums over all 2^D states. With the defaults the channels are far from
    independent given the past. Shapes: bias (D,), weights and couplings (D, D), the latter
    symmetric with zeros on the diagonal.
    """

    bias: np.ndarray = field(default_factory=lambda: np.array([-0.5, -1.0, 0.0, -0.5]))
    weights: np.ndarray = field(
        default_factory=lambda: 2.0 * np.eye(4) - 1.5 * np.roll(np.eye(4), 1, axis=1)
    )
    couplings: np.ndarray = field(default_factory=_couplings)

    domain: ClassVar[str] = "the values 0 and 1, none of them missing"

    def __post_init__(self) -> None:
        D = np.size(self.bias)
        require(
            D <= 12, f"CoupledBinary: {D} channels have too many states; use at most 12 channels"
        )
        for name, shape in {"bias": (D,), "weights": (D, D), "couplings": (D, D)}.items():
            value = np.array(getattr(self, name), dtype=np.float64)
            require(
                value.shape == shape and bool(np.isfinite(value).all()),
                f"CoupledBinary: with {D} channels, {name} needs shape {shape} and finite "
                f"numbers, not shape {value.shape}",
            )
            object.__setattr__(self, name, value)
        require(
            bool(np.allclose(self.couplings, self.couplings.T))
            and not self.couplings.diagonal().any(),
            "CoupledBinary: couplings must be symmetric with zeros on the diagonal",
        )

    @property
    def num_channels(self) -> int:
        return len(self.bias)

    @property
    def _states(self) -> np.ndarray:
        return np.array(list(itertools.product([0.0, 1.0], repeat=self.num_channels)))

    def _log_transition(self) -> np.ndarray:
        """(S, S) log p(state k | state j) at row j, column k."""
        states = self._states
        within = np.einsum("sd,de,se->s", states, self.couplings, states) / 2
        energy = (self.bias + states @ self.weights.T) @ states.T + within
        return energy - np.logaddexp.reduce(energy, axis=1, keepdims=True)

    def _code(self, x: np.ndarray) -> np.ndarray:
        return (x @ 2.0 ** np.arange(self.num_channels - 1, -1, -1)).astype(np.int64)

    def _in_domain(self, x: np.ndarray) -> np.ndarray:
        return (x == 0) | (x == 1)

    def _sample(self, rng: np.random.Generator, N: int, T: int) -> np.ndarray:
        bounds = np.exp(self._log_transition()).cumsum(axis=1)[:, :-1]
        u = rng.random((N, T))
        code, state = np.empty((N, T), dtype=np.int64), np.zeros(N, dtype=np.int64)
        for t in range(T):
            code[:, t] = state = (u[:, t, None] >= bounds[state]).sum(axis=1)
        return self._states[code]

    def _log_prob_steps(self, x: np.ndarray) -> np.ndarray:
        code = self._code(x)
        before = np.pad(code, ((0, 0), (1, 0)))[:, :-1]
        return self._log_transition()[before, code]


@dataclass(frozen=True)
class OrderTwoChain(Process):
    """Labels that depend on the last two together, but not on either of them alone.

        x_t = x_{t-1} + x_{t-2} (mod K)   with probability follow,   else any of the K labels alike

    The first two steps are uniform. A model that sees only one step back can do no better
    than guess.
    """

    num_labels: int = 4
    follow: float = 0.8

    domain: ClassVar[str] = "codes of its labels, none of them missing"

    def __post_init__(self) -> None:
        require(
            2 <= self.num_labels <= 26,
            f"OrderTwoChain: num_labels must lie between 2 and 26, not {self.num_labels}",
        )
        require(
            0 <= self.follow < 1, f"OrderTwoChain: follow must lie in [0, 1), not {self.follow}"
        )

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple("abcdefghijklmnopqrstuvwxyz"[: self.num_labels])

    def _in_domain(self, x: np.ndarray) -> np.ndarray:
        return np.isin(x, np.arange(self.num_labels))

    def _sample(self, rng: np.random.Generator, N: int, T: int) -> np.ndarray:
        K = self.num_labels
        x, follows = rng.integers(K, size=(N, T)), rng.random((N, T)) < self.follow
        for t in range(2, T):
            x[:, t] = np.where(follows[:, t], (x[:, t - 1] + x[:, t - 2]) % K, x[:, t])
        return x[:, :, None].astype(np.float64)

    def _log_prob_steps(self, x: np.ndarray) -> np.ndarray:
        K, code = self.num_labels, x[:, :, 0].astype(np.int64)
        log_prob = np.full(code.shape, -math.log(K))
        guess = (1 - self.follow) / K
        follows = code[:, 2:] == (code[:, 1:-1] + code[:, :-2]) % K
        log_prob[:, 2:] = np.log(guess + self.follow * follows)
        return log_prob


@dataclass(frozen=True)
class PoissonCounts(Process):
    """Counts whose rate depends on past counts: INGARCH(1, 1) (Ferland, Latour and Oraichi, 2006).

        x_t ~ Poisson(rate_t),    rate_t = omega + alpha x_{t-1} + beta rate_{t-1}

    The first rate is the stationary mean omega / (1 - alpha - beta), so E x_t is constant.
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

    def _sample(self, rng: np.random.Generator, N: int, T: int) -> np.ndarray:
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
