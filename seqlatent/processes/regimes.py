"""Simulated processes with hidden regimes, scored by the forward algorithm."""

import math
from dataclasses import dataclass, field

import numpy as np

from seqlatent.processes.base import lag, normal_log_prob, require, require_scale
from seqlatent.processes.chains import Chain, ChainProcess, sample_chain


@dataclass(frozen=True)
class SwitchingAutoregressive(ChainProcess):
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

    @property
    def num_regimes(self) -> int:
        return 2

    def __post_init__(self) -> None:
        name = "SwitchingAutoregressive"
        require(abs(self.phi) < 1, f"{name}: phi must lie between -1 and 1, not {self.phi}")
        require(math.isfinite(self.shift), f"{name}: shift must be finite, not {self.shift}")
        require_scale(f"{name}: sigma", self.sigma)
        require(0 < self.stay < 1, f"{name}: stay must lie between 0 and 1, not {self.stay}")

    def _sample_states(
        self, rng: np.random.Generator, N: int, T: int
    ) -> tuple[np.ndarray, np.ndarray]:
        # A fair first sign, then for each step a factor: stay (+1) or turn (-1).
        turns = np.where(rng.random((N, T)) < self.stay, 1.0, -1.0)
        turns[:, 0] = rng.choice([-1.0, 1.0], size=N)
        s = np.cumprod(turns, axis=1)
        u = s * self.shift + self.sigma * rng.standard_normal((N, T))
        x, last = np.empty((N, T)), np.zeros(N)
        for t in range(T):
            x[:, t] = last = self.phi * last + u[:, t]
        return x[:, :, None], (s > 0).astype(np.int64)

    def _chain(self, x: np.ndarray) -> Chain:
        s = np.array([-1.0, 1.0])
        loc = self.phi * lag(x[:, :, 0], 1)[:, :, None] + s * self.shift
        log_transition = np.log([[self.stay, 1 - self.stay], [1 - self.stay, self.stay]])
        return Chain(normal_log_prob(x, loc, self.sigma), np.log([0.5, 0.5]), log_transition)


@dataclass(frozen=True, eq=False)
class HiddenMarkov(ChainProcess):
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
            values = regime_values("HiddenMarkov", name, getattr(self, name), shape)
            object.__setattr__(self, name, values)
        for scale in self.scale:
            require_scale("HiddenMarkov: scale", scale)
        require(
            bool((self.transition > 0).all() and np.allclose(self.transition.sum(1), 1)),
            "HiddenMarkov: every row of transition must hold positive probabilities that sum to 1",
        )

    @property
    def num_regimes(self) -> int:
        return len(self.loc)

    def _sample_states(
        self, rng: np.random.Generator, N: int, T: int
    ) -> tuple[np.ndarray, np.ndarray]:
        K = self.num_regimes
        s = sample_chain(rng, N, T, np.full(K, 1 / K), self.transition)
        x = self.loc[s] + self.scale[s] * rng.standard_normal((N, T))
        return x[:, :, None], s

    def _chain(self, x: np.ndarray) -> Chain:
        log_start = np.full(self.num_regimes, -math.log(self.num_regimes))
        return Chain(normal_log_prob(x, self.loc, self.scale), log_start, np.log(self.transition))


@dataclass(frozen=True, eq=False)
class SwitchingRegimes(ChainProcess):
    """Autoregression whose level, persistence and noise are those of a hidden regime (Hamilton,
    1989).

        x_t = level_k + phi_k (x_{t-1} - level_k) + sigma_k e_t,    k = s_t,    e_t ~ N(0, 1)
        p(s_1 = k) = 1/K,   p(s_t = s_{t-1}) = stay,   else any other regime alike;   x_0 = 0

    The three default regimes last 20 steps on average: a calm one that persists, one that flips
    its sign from step to step, and one of wide swings. Single values tell little of them, a few in
    turn tell most. Shapes: level, phi and sigma (K,).
    """

    level: np.ndarray = field(default_factory=lambda: np.array([1.0, 0.0, -1.0]))
    phi: np.ndarray = field(default_factory=lambda: np.array([0.9, -0.8, 0.5]))
    sigma: np.ndarray = field(default_factory=lambda: np.array([0.2, 0.4, 0.8]))
    stay: float = 0.95

    def __post_init__(self) -> None:
        name = "SwitchingRegimes"
        K = np.size(self.level)
        require(K >= 2, f"{name}: at least two regimes are needed, not {K}")
        for key in ("level", "phi", "sigma"):
            object.__setattr__(self, key, regime_values(name, key, getattr(self, key), (K,)))
        for phi in self.phi:
            require(abs(phi) < 1, f"{name}: phi must lie between -1 and 1, not {phi}")
        for sigma in self.sigma:
            require_scale(f"{name}: sigma", sigma)
        require(0 < self.stay < 1, f"{name}: stay must lie between 0 and 1, not {self.stay}")

    @property
    def num_regimes(self) -> int:
        return len(self.level)

    @property
    def _transition(self) -> np.ndarray:
        K = self.num_regimes
        turn = (1 - self.stay) / (K - 1)
        return np.where(np.eye(K, dtype=bool), self.stay, turn)

    def _sample_states(
        self, rng: np.random.Generator, N: int, T: int
    ) -> tuple[np.ndarray, np.ndarray]:
        K = self.num_regimes
        s = sample_chain(rng, N, T, np.full(K, 1 / K), self._transition)
        noise = self.sigma[s] * rng.standard_normal((N, T))
        x, last = np.empty((N, T)), np.zeros(N)
        for t in range(T):
            level = self.level[s[:, t]]
            x[:, t] = last = level + self.phi[s[:, t]] * (last - level) + noise[:, t]
        return x[:, :, None], s

    def _chain(self, x: np.ndarray) -> Chain:
        loc = self.level + self.phi * (lag(x[:, :, 0], 1)[:, :, None] - self.level)
        log_start = np.full(self.num_regimes, -math.log(self.num_regimes))
        return Chain(normal_log_prob(x, loc, self.sigma), log_start, np.log(self._transition))


def regime_values(process: str, name: str, value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A parameter of the regimes as an array of this shape, checked."""
    array = np.array(value, dtype=np.float64)
    require(
        array.shape == shape and bool(np.isfinite(array).all()),
        f"{process}: with {shape[0]} regimes, {name} needs shape {shape} and finite numbers, "
        f"not shape {array.shape}",
    )
    return array
