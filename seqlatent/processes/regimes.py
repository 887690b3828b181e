"""Simulated processes with hidden regimes, scored by the forward algorithm."""

import math
from dataclasses import dataclass, field

import numpy as np

from seqlatent.processes.base import Process, lag, normal_log_prob, require, require_scale


@dataclass(frozen=True)
class SwitchingAutoregressive(Process):
    """Autoregression pushed up or down by a hidden two-state chain, hence with two modes.

        x_t = phi x_{t-1} + s_t shift + sigma e_t,    x_0 = 0,    e_t ~ N(0, 1)
        s_t in {-1, +1},   p(s_t = s_{t-1}) = stay,   p(s_1 = +1) = 1/2

    Scored by the forward algorithm in log space (the filter of Hamilton, 1989). With shift well
    above sigma, as by default, p(x_t | x_{<t}) has two modes, which no normal distribution fits.
    """

    phi: float = 0.6
    shift: float = 1.0
    sigma: float = 0.3
    stay: float = 0.7

    def __post_init__(self) -> None:
        name = "SwitchingAutoregressive"
        require(abs(self.phi) < 1, f"{name}: phi must lie between -1 and 1, not {self.phi}")
        require(math.isfinite(self.shift), f"{name}: shift must be finite, not {self.shift}")
        require_scale(f"{name}: sigma", self.sigma)
        require(0 < self.stay < 1, f"{name}: stay must lie between 0 and 1, not {self.stay}")

    def _sample(self, rng: np.random.Generator, N: int, T: int) -> np.ndarray:
        # A fair first sign, then for each step a factor: stay (+1) or turn (-1).
        turns = np.where(rng.random((N, T)) < self.stay, 1.0, -1.0)
        turns[:, 0] = rng.choice([-1.0, 1.0], size=N)
        u = np.cumprod(turns, axis=1) * self.shift + self.sigma * rng.standard_normal((N, T))
        x, last = np.empty((N, T)), np.zeros(N)
        for t in range(T):
            x[:, t] = last = self.phi * last + u[:, t]
        return x[:, :, None]

    def _log_prob_steps(self, x: np.ndarray) -> np.ndarray:
        s = np.array([-1.0, 1.0])
        loc = self.phi * lag(x[:, :, 0], 1)[:, :, None] + s * self.shift
        log_emission = normal_log_prob(x, loc, self.sigma)  # (N, T, 2): log p(x_t | x_{t-1}, s_t)
        log_transition = np.log([[self.stay, 1 - self.stay], [1 - self.stay, self.stay]])
        return _forward(log_emission, np.log([0.5, 0.5]), log_transition)


@dataclass(frozen=True, eq=False)
class HiddenMarkov(Process):
    """A hidden Markov chain of regimes, each with its own level and spread.

        p(s_1 = k) = 1/K,   p(s_t = k | s_{t-1} = j) = transition[j, k]
        x_t | s_t = k ~ N(loc[k], scale[k]^2)

    Scored by the forward algorithm in log space (Baum, Petrie, Soules and Weiss, 1970). The three
    default regimes overlap, last ten steps on average and mostly follow one another in a circle:
    it takes several steps to infer which one it is and which comes next. Shapes: loc and scale
    (K,), transition (K, K).
    """

    loc: np.ndarray = field(default_factory=lambda: np.array([-1.0, 0.0, 1.5]))
    scale: np.ndarray = field(default_factory=lambda: np.array([0.4, 1.0, 0.3]))
    transition: np.ndarray = field(
        default_factory=lambda: np.array([[0.9, 0.08, 0.02], [0.02, 0.9, 0.08], [0.08, 0.02, 0.9]])
    )

    def __post_init__(self) -> None:
        K = np.size(self.loc)
        for name, shape in {"loc": (K,), "scale": (K,), "transition": (K, K)}.items():
            value = np.array(getattr(self, name), dtype=np.float64)
            require(
                value.shape == shape and bool(np.isfinite(value).all()),
                f"HiddenMarkov: with {K} regimes, {name} needs shape {shape} and finite numbers, "
                f"not shape {value.shape}",
            )
            object.__setattr__(self, name, value)
        for scale in self.scale:
            require_scale("HiddenMarkov: scale", scale)
        require(
            bool((self.transition > 0).all() and np.allclose(self.transition.sum(1), 1)),
            "HiddenMarkov: every row of transition must hold positive probabilities that sum to 1",
        )

    def _sample(self, rng: np.random.Generator, N: int, T: int) -> np.ndarray:
        K = len(self.loc)
        u, noise = rng.random((N, T)), rng.standard_normal((N, T))
        # The regime is the number of boundaries of its cumulative distribution that u has passed.
        bounds = np.cumsum(self.transition, axis=1)[:, :-1]
        s = np.empty((N, T), dtype=np.int64)
        s[:, 0] = (u[:, 0] * K).astype(np.int64)
        for t in range(1, T):
            s[:, t] = (u[:, t, None] >= bounds[s[:, t - 1]]).sum(axis=1)
        return (self.loc[s] + self.scale[s] * noise)[:, :, None]

    def _log_prob_steps(self, x: np.ndarray) -> np.ndarray:
        log_emission = normal_log_prob(x, self.loc, self.scale)  # (N, T, K): log p(x_t | s_t)
        log_start = np.full(len(self.loc), -math.log(len(self.loc)))
        return _forward(log_emission, log_start, np.log(self.transition))


def _forward(
    log_emission: np.ndarray, log_start: np.ndarray, log_transition: np.ndarray
) -> np.ndarray:
    """(N, T) log p(x_t | x_{<t}) of a hidden chain, from (N, T, K) log p(x_t | ., s_t)."""
    log_prob = np.empty(log_emission.shape[:2])
    log_state = np.broadcast_to(log_start, log_emission[:, 0].shape)  # log p(s_t | x_{<t})
    for t in range(log_emission.shape[1]):
        log_joint = log_state + log_emission[:, t]
        log_prob[:, t] = np.logaddexp.reduce(log_joint, axis=1)
        log_filter = log_joint - log_prob[:, t, None]  # log p(s_t | x_{<=t})
        log_state = np.logaddexp.reduce(log_filter[:, :, None] + log_transition, axis=1)
    return log_prob
