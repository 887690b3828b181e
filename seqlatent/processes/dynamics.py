"""Simulated processes with nonlinear hidden dynamics, inferred by particles."""

from dataclasses import dataclass

import numpy as np

from seqlatent.processes.base import normal_log_prob, require, require_scale
from seqlatent.processes.particles import ParticleProcess


@dataclass(frozen=True)
class Pendulum(ParticleProcess):
    """A noisy pendulum, seen by sensors around it that fire when it is near.

        a_t = a_{t-1} + v_{t-1} + shake e_t
        v_t = (1 - damping) v_{t-1} - gravity sin(a_{t-1} + v_{t-1}) + push f_t
        x_td = exp(kappa (cos(a_t - c_d) - 1)) + noise g_td,    c_d = 2 pi d / D

    with the angle a, the velocity v, in radians and radians a step, and independent standard
    normal e, f and g. The D sensors are nonlinear functions of the angle; the velocity shows only
    in how they follow one another. With the defaults small swings take 20 steps, and the pendulum
    seldom goes over the top. States: the angle's sine and cosine, and the velocity.
    """

    gravity: float = 0.1
    damping: float = 0.05
    push: float = 0.09
    shake: float = 0.03
    kappa: float = 2.0
    noise: float = 0.2
    num_sensors: int = 6
    num_particles: int = 2000
    particle_seed: int = 0

    def __post_init__(self) -> None:
        self._check_particles()
        for name in ("gravity", "push", "shake", "kappa", "noise"):
            require_scale(f"Pendulum: {name}", getattr(self, name))
        require(
            0 < self.damping < 1, f"Pendulum: damping must lie between 0 and 1, not {self.damping}"
        )
        require(
            self.num_sensors >= 1,
            f"Pendulum: num_sensors must be at least 1, not {self.num_sensors}",
        )

    @property
    def num_channels(self) -> int:
        return self.num_sensors

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("sine", "cosine", "velocity")

    @property
    def _scale(self) -> np.ndarray:
        return np.array([self.shake, self.push])

    def _start(self, e: np.ndarray) -> np.ndarray:
        # About where the pendulum dwells in the long run, which has no closed form.
        speed = self.push / np.sqrt(2 * self.damping)
        return e * np.array([speed / np.sqrt(self.gravity), speed])

    def _move(self, z: np.ndarray) -> np.ndarray:
        angle = z[..., 0] + z[..., 1]
        return np.stack([angle, (1 - self.damping) * z[..., 1] - self.gravity * np.sin(angle)], -1)

    def _sensors(self, z: np.ndarray) -> np.ndarray:
        """(..., D) what the sensors show of z (..., 2), but for their noise."""
        places = 2 * np.pi * np.arange(self.num_sensors) / self.num_sensors
        return np.exp(self.kappa * (np.cos(z[..., :1] - places) - 1))

    def _emit(self, z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        shown = self._sensors(z)
        return shown + self.noise * rng.standard_normal(shown.shape)

    def _log_emission(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        return normal_log_prob(x[:, None], self._sensors(z), self.noise).sum(-1)

    def _states(self, z: np.ndarray) -> np.ndarray:
        return np.stack([np.sin(z[..., 0]), np.cos(z[..., 0]), z[..., 1]], -1)


@dataclass(frozen=True)
class Lorenz(ParticleProcess):
    """The chaotic system of Lorenz (1963), of which one coordinate is seen, with noise.

        da/dt = 10 (b - a),    db/dt = a (28 - c) - b,    dc/dt = a b - 8/3 c
        x_t = a_t + noise e_t

    A move is one step of Runge and Kutta's fourth-order rule over the time `step`, then noise with
    the scale `shake` in every coordinate. It starts near the attractor, which it reaches within a
    few steps. The sign of b is much like that of a; c shows only in time. States: a, b and c.
    """

    step: float = 0.05
    shake: float = 0.3
    noise: float = 2.0
    num_particles: int = 2000
    particle_seed: int = 0

    def __post_init__(self) -> None:
        self._check_particles()
        require(
            0 < self.step <= 0.1,
            f"Lorenz: step must lie in (0, 0.1], where the rule is stable, not {self.step}",
        )
        require_scale("Lorenz: shake", self.shake)
        require_scale("Lorenz: noise", self.noise)

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("a", "b", "c")

    @property
    def _scale(self) -> np.ndarray:
        return np.full(3, self.shake)

    def _start(self, e: np.ndarray) -> np.ndarray:
        # About the mean and the spread of the attractor, a and b close to each other.
        a = 8 * e[..., 0]
        return np.stack([a, a + 4 * e[..., 1], 24 + 6 * e[..., 2]], -1)

    def _move(self, z: np.ndarray) -> np.ndarray:
        h = self.step
        k1 = _lorenz(z)
        k2 = _lorenz(z + h / 2 * k1)
        k3 = _lorenz(z + h / 2 * k2)
        return z + h / 6 * (k1 + 2 * k2 + 2 * k3 + _lorenz(z + h * k3))

    def _emit(self, z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return z[..., :1] + self.noise * rng.standard_normal((*z.shape[:-1], 1))

    def _log_emission(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        return normal_log_prob(x, z[..., 0], self.noise)


def _lorenz(z: np.ndarray) -> np.ndarray:
    """dz/dt of z (..., 3)."""
    a, b, c = z[..., 0], z[..., 1], z[..., 2]
    return np.stack([10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c], -1)
