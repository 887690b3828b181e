"""Processes inferred by particles, against the Kalman filter, quadrature and more particles."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from process_checks import assert_mean, values
from scipy.integrate import solve_ivp, trapezoid
from scipy.stats import norm

from seqlatent.errors import InputError
from seqlatent.processes import LinearGaussianProcess, Lorenz, Pendulum
from seqlatent.processes.particles import ParticleProcess

EXACT = LinearGaussianProcess()


@dataclass(frozen=True)
class LinearParticles(ParticleProcess):
    """The default linear-Gaussian process, as particles."""

    num_particles: int = 400
    particle_seed: int = 0

    @property
    def state_names(self) -> tuple[str, ...]:
        return EXACT.state_names

    @property
    def _scale(self) -> np.ndarray:
        return np.sqrt(np.diag(EXACT.Q))

    def _start(self, e: np.ndarray) -> np.ndarray:
        return e

    def _move(self, z: np.ndarray) -> np.ndarray:
        return z @ EXACT.A.T

    def _emit(self, z: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return z @ EXACT.C.T + np.sqrt(EXACT.R[0, 0]) * rng.standard_normal((*z.shape[:-1], 1))

    def _log_emission(self, x: np.ndarray, z: np.ndarray) -> np.ndarray:
        return norm.logpdf(x, z[..., 0], np.sqrt(EXACT.R[0, 0]))


def test_particles_agree_with_the_kalman_filter():
    # 20 seeds: the likelihood is unbiased; means are, but for terms of order 1/K.
    x = values(EXACT.sample(3, 12, seed=2))
    runs = [LinearParticles(particle_seed=s) for s in range(20)]
    ratio = np.exp([p.log_prob_steps(x).sum(1) - EXACT.log_prob_steps(x).sum(1) for p in runs])
    assert_mean(ratio, 1.0)
    assert 0.05 < ratio.std() < 1  # what remains is Monte Carlo error, and it is there
    for infer in ("filter", "smooth"):
        errors = np.stack([getattr(p, infer)(x) - getattr(EXACT, infer)(x) for p in runs])
        bound = 4.5 * errors.std(0) / math.sqrt(len(runs)) + 0.01
        np.testing.assert_array_less(np.abs(errors.mean(0)), bound)
        assert errors.std(0).mean() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("process", [Pendulum(), Lorenz()], ids=["pendulum", "lorenz"])
def test_more_particles_agree(process):
    data = process.sample(16, 25, seed=3)
    x = values(data)
    few = [replace(process, num_particles=1000, particle_seed=s) for s in range(5)]
    many = replace(process, num_particles=8000)
    log_prob = np.stack([p.log_prob(data) for p in few])
    spread = log_prob.std(0, ddof=1)
    assert np.median(spread) < 0.6
    # log p^ is below log p by about half its variance; its error with 8 times the particles is
    # less by sqrt(8).
    off = log_prob.mean(0) + spread**2 / 2 - many.log_prob(data)
    assert (np.abs(off) < 4 * spread * math.sqrt(1 / len(few) + 1 / 8)).mean() > 0.9
    assert abs(np.median(off)) < 0.15
    scale = process.sample_with_states(100, 25, seed=4)[1].std((0, 1))
    means = np.stack([p.filter(x) for p in few])
    off = np.abs(means.mean(0) - many.filter(x)).mean((0, 1)) / scale
    assert (off < 0.03).all(), off


def test_first_steps_of_the_pendulum_are_the_quadrature():
    # p(x_1, x_2) over the angles: a_2 | a_1 is normal, because v_1 is and is not seen by itself.
    p = Pendulum(num_particles=40_000)
    x = values(p.sample(3, 2, seed=5))
    speed = p.push / math.sqrt(2 * p.damping)
    grid = np.linspace(-8, 8, 1601)
    places = 2 * math.pi / 6 * np.arange(6)
    shown = np.exp(p.kappa * (np.cos(grid[:, None] - places) - 1))
    start = norm.pdf(grid, 0, speed / math.sqrt(p.gravity))
    move = norm.pdf(grid[None], grid[:, None], math.hypot(speed, p.shake))
    for i in range(3):
        first, second = (norm.pdf(x[i, t], shown, p.noise).prod(1) for t in (0, 1))
        whole = trapezoid(start * first * trapezoid(move * second, grid), grid)
        expected = math.log(trapezoid(start * first, grid)), math.log(whole)
        got = np.cumsum(p.log_prob_steps(x)[i])
        np.testing.assert_allclose(got, expected, atol=0.05)


def test_the_pendulum_swings_in_twenty_steps():
    p = Pendulum(damping=1e-6, push=1e-9, shake=1e-9)
    z, angles = np.array([0.1, 0.0]), []
    for _ in range(200):
        z = p._move(z)
        angles.append(z[0])
    turns = (np.diff(np.sign(angles)) != 0).sum()
    assert turns == pytest.approx(200 * math.sqrt(p.gravity) / math.pi, abs=1.5)
    assert max(np.abs(angles)) < 0.11


def test_lorenz_follows_its_differential_equation():
    def rates(_t: float, z: np.ndarray) -> list[float]:
        a, b, c = z
        return [10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c]

    z = np.array([[3.0, 4.0, 20.0], [-8.0, -2.0, 30.0]])
    for step, atol in ((0.05, 0.05), (0.01, 3e-5)):
        moved = Lorenz(step=step)._move(z)
        for row, after in zip(z, moved, strict=True):
            exact = solve_ivp(rates, (0, step), row, rtol=1e-11, atol=1e-11).y[:, -1]
            np.testing.assert_allclose(after, exact, rtol=0, atol=atol)
    x = values(Lorenz().sample(4, 1, seed=0))
    got = Lorenz(num_particles=40_000).log_prob_steps(x)
    expected = norm.logpdf(x[:, :, 0], 0, math.hypot(8, 2))
    np.testing.assert_allclose(got, expected, atol=0.05)


@pytest.mark.parametrize(
    ("process", "parameters", "message"),
    [
        (Pendulum, {"damping": 0.0}, "damping must lie between 0 and 1"),
        (Pendulum, {"kappa": -1.0}, "kappa must be positive"),
        (Pendulum, {"num_sensors": 0}, "num_sensors must be at least 1"),
        (Pendulum, {"num_particles": 1}, "num_particles must be at least 2"),
        (Lorenz, {"step": 0.2}, "step must lie in"),
        (Lorenz, {"shake": 0.0}, "shake must be positive"),
    ],
)
def test_wrong_parameters_are_refused(process, parameters, message):
    with pytest.raises(InputError, match=message):
        process(**parameters)
