"""Latent-variable models that are linear and Gaussian, by parameters set by hand, so that there are
exact answers to compare their estimates with."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from cases import model

from seqlatent.data.dataset import SequenceDataset
from seqlatent.models.autoregressive import Autoregressive
from seqlatent.models.base import SequenceModel
from seqlatent.models.latent.model import LatentModel
from seqlatent.models.latent.network_guide import NetworkGuide
from seqlatent.models.latent.prior_guide import MAX_GAIN, PriorGuide
from seqlatent.models.latent.transitions import FLOOR, GatedTransition
from seqlatent.nn.causal import CausalNetwork, State
from seqlatent.nn.layers import SOFTPLUS_ONE
from seqlatent.processes import LinearGaussianProcess as Process

SLOPE, LOADING, NOISE, STEP = 0.7, 0.8, 0.5, 0.6  # of x_{t-1}, of z_t, of x_t, of a chain of z
UNIT = SequenceDataset.from_arrays(np.random.default_rng(0).normal(size=(20, 7, 1)))
CHAIN = Process(
    A=np.array([[SLOPE]]),
    C=np.array([[LOADING]]),
    Q=np.array([[STEP**2]]),
    R=np.array([[NOISE**2]]),
    m0=np.zeros(1),
    P0=np.array([[STEP**2]]),
)


def put(values: torch.Tensor | torch.nn.Module, place: tuple[int, ...] | int, value: float) -> None:
    """Set one number of a parameter."""
    assert isinstance(values, torch.Tensor)
    values.data[place] = value


def latent_model(name: str, **options) -> LatentModel:
    """A latent-variable case on `UNIT`, with one latent and a normal emission."""
    m = model(name, "normal", UNIT, latent_dim=1, scaling="none", **options)
    assert isinstance(m, LatentModel)
    return m


def scale_floor(m: SequenceModel) -> float:
    floor = m.value_distribution.floor
    assert isinstance(floor, torch.Tensor)
    return float(floor[0])


def softplus_inverse(value: float) -> float:
    return math.log(math.expm1(value))


def linear_emission(m: LatentModel, slope: float) -> None:
    """p(x_t | .) = N(slope x_{t-1} + LOADING z_t, NOISE^2)."""
    for p in (*m.from_latents.parameters(), *m.decoder.parameters(), *m.head.parameters()):
        p.data.zero_()
    m.head.family.bends = False  # exact answers are those of normal tails
    m.from_latents.weight.data[0, 0] = 1
    put(m.head.linear.weight, (0, 0), LOADING)
    floor = scale_floor(m)
    put(m.head.linear.bias, 1, softplus_inverse(NOISE - floor))
    if m.from_context is not None:
        for p in m.from_context.parameters():
            p.data.zero_()
        m.from_context.weight.data[1, 0] = 1
        put(m.head.linear.weight, (0, 1), slope)


def rough_guide(m: LatentModel) -> None:
    """A guide near the prior, which is not the posterior but close enough to weight it."""
    for p in m.guide_network.out.parameters():
        p.data.mul_(0.3)


def last_value(slope: float = SLOPE, **options) -> LatentModel:
    """x_t = slope x_{t-1} + LOADING z_t + NOISE e_t, z_t ~ N(0, 1): the posterior factorises."""
    m = latent_model("latent-last", **options)
    linear_emission(m, slope)
    rough_guide(m)
    return m


def chain(**options) -> LatentModel:
    """x_t = LOADING z_t + NOISE e_t, z_t = SLOPE z_{t-1} + STEP e'_t: the process `CHAIN`."""
    m = latent_model("dmm", **options)
    linear_emission(m, 0.0)
    rough_guide(m)
    transition = m.prior.transition
    assert isinstance(transition, GatedTransition)
    for p in m.prior.parameters():
        p.data.zero_()
    gate, _, raw = transition.out.bias.data  # of one latent
    gate.fill_(-40.0)
    raw.fill_(softplus_inverse(STEP - FLOOR))
    transition.linear.weight.data.fill_(SLOPE)
    return m


def linear_latents(A: np.ndarray, scales: Sequence[float], loading: Sequence[float]) -> LatentModel:
    """z_t = A z_{t-1} + scales e'_t from z_0 = 0, x_t = loading z_t + NOISE e_t; the guide is the
    prior."""
    size = len(A)
    options = {"latent_dim": size, "guide_conditioning": "prior", "smoothing": False}
    m = model("dmm", "normal", UNIT, scaling="none", **options)
    assert isinstance(m, LatentModel)
    linear_emission(m, 0.0)
    m.from_latents.weight.data[0] = torch.tensor(loading) / LOADING
    transition = m.prior.transition
    assert isinstance(transition, GatedTransition)
    for p in (*m.prior.parameters(), *m.guide_network.out.parameters()):
        p.data.zero_()
    gate, _, raw = transition.out.bias.data.chunk(3)
    gate.fill_(-40.0)
    raw.copy_(torch.tensor([softplus_inverse(s - FLOOR) for s in scales]))
    transition.linear.weight.data.copy_(torch.from_numpy(A))
    for k in range(size):
        put(m.guide_network.out.bias, size + k, -40.0)  # the gain
    return m


def sample_linear(
    A: np.ndarray, scales: Sequence[float], loading: Sequence[float], num: int, steps: int, seed=0
) -> SequenceDataset:
    """Sequences from a model of `linear_latents`."""
    rng = np.random.default_rng(seed)
    z, x = np.zeros((num, len(A))), []
    for _ in range(steps):
        z = z @ A.T + rng.normal(size=z.shape) * scales
        x.append(z @ np.asarray(loading) + NOISE * rng.normal(size=num))
    return SequenceDataset.from_arrays(np.stack(x, 1)[..., None])


def autoregression() -> Autoregressive:
    """x_t = SLOPE x_{t-1} + NOISE e_t, as an rnn whose head sees the last value alone."""
    m = model("rnn", "normal", UNIT, scaling="none")
    assert isinstance(m, Autoregressive)
    for p in m.head.parameters():
        p.data.zero_()
    m.head.family.bends = False  # exact answers are those of normal tails
    put(m.head.linear.weight, (0, m.network.out_dim), SLOPE)
    put(m.head.linear.bias, 1, softplus_inverse(NOISE - scale_floor(m)))
    return m


def autoregressive_covariance(steps: int, variance: float) -> np.ndarray:
    """The covariance of x_t = SLOPE x_{t-1} + noise of this variance, with x_0 = 0."""
    L = np.tril(SLOPE ** np.subtract.outer(np.arange(steps), np.arange(steps)).clip(0))
    return variance * L @ L.T


class Identity(CausalNetwork):
    """Returns its inputs as features, as a linear guide needs."""

    def __init__(self, in_dim: int):
        super().__init__()
        self.in_dim = self.out_dim = in_dim

    def scan(self, u: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        return u, None


def linear_guide(m: LatentModel, now: float, before: float, bias: float, scale: float) -> None:
    """q(z_t | .) = N(now x_t + before x_{t-1} + bias, scale^2), for a model of `last_value`."""
    guide = m.guide_network
    assert isinstance(guide, NetworkGuide)
    guide.network = Identity(guide.network.in_dim)
    guide.out = torch.nn.Linear(2 * guide.network.in_dim, 2)  # features and inputs, here the same
    for p in guide.out.parameters():
        p.data.zero_()
    guide.out.weight.data[0, 0], guide.out.weight.data[0, 2] = now, before
    guide.out.bias.data[0] = bias
    guide.out.bias.data[1] = softplus_inverse(scale - 1e-4) - SOFTPLUS_ONE


def kalman_guide(m: LatentModel) -> None:
    """q(z_t | .) = p(z_t | z_{t-1}, x_t), for a model of `chain` whose guide corrects the prior:
    the innovation is x_t / LOADING - m_t, and the gain Kalman's."""
    guide = m.guide_network
    assert isinstance(guide, PriorGuide)
    for p in guide.parameters():
        p.data.zero_()
    # silu(a) - silu(-a) = a: two hidden units of opposite signs pass a number through.
    for unit, sign in ((0, 1.0), (1, -1.0)):
        put(guide.read.weight, (unit, 0), sign)
        put(guide.evidence.weight, (unit, 0), sign / LOADING)
        put(guide.evidence.weight, (unit, 1), -sign / LOADING)
        put(guide.from_loc.weight, (unit, 0), -sign)
        put(guide.out.weight, (0, unit), sign)
    gain = (LOADING * STEP) ** 2 / ((LOADING * STEP) ** 2 + NOISE**2) / MAX_GAIN
    put(guide.out.bias, 1, math.log(gain / (1 - gain)))


# -- models with a guide that is as far from the posterior as one likes ---------------------------

Sample = Callable[[int, int, int], np.ndarray]  # sequences, steps, seed -> (N, T) values
LogProb = Callable[[np.ndarray], np.ndarray]  # (N, T) values -> (N,) log p(x)


def guided_last_value(shift: float, width: float) -> tuple[LatentModel, Sample, LogProb]:
    """`last_value` with the guide N(mean + shift * sd, (width * sd)^2), where mean and sd are those
    of p(z_t | x_t, x_{t-1}); how to sample from the model, and its log p(x)."""
    m = last_value()
    sd = (1 + LOADING**2 / NOISE**2) ** -0.5
    gain = sd**2 * LOADING / NOISE**2
    linear_guide(m, gain, -gain * SLOPE, shift * sd, width * sd)
    variance = LOADING**2 + NOISE**2

    def sample(number: int, steps: int, seed: int) -> np.ndarray:
        noise = np.random.default_rng(seed).normal(size=(number, steps)) * variance**0.5
        return noise @ np.linalg.cholesky(autoregressive_covariance(steps, 1.0)).T

    def log_prob(x: np.ndarray) -> np.ndarray:
        past = np.pad(x, ((0, 0), (1, 0)))[:, :-1]
        off = (x - SLOPE * past) ** 2 / variance
        return -0.5 * (off + math.log(2 * math.pi * variance)).sum(-1)

    return m, sample, log_prob


def guided_chain(shift: float, width: float) -> tuple[LatentModel, Sample, LogProb]:
    """`chain` with the guide N(mean + shift * sd, (width * sd)^2), where mean and sd are those of
    p(z_t | z_{t-1}, x_t); how to sample from the model, and its log p(x)."""
    m = chain(smoothing=False, guide_conditioning="latents")
    sd = (STEP**-2 + LOADING**2 / NOISE**2) ** -0.5
    guide = m.guide_network
    assert isinstance(guide, NetworkGuide)
    linear_guide(m, sd**2 * LOADING / NOISE**2, 0.0, shift * sd, width * sd)
    guide.out.weight.data[0, guide.network.in_dim - 1] = sd**2 * SLOPE / STEP**2

    def sample(number: int, steps: int, seed: int) -> np.ndarray:
        return np.stack([s.x[:, 0] for s in CHAIN.sample(number, steps, seed)])

    def log_prob(x: np.ndarray) -> np.ndarray:
        return CHAIN.log_prob_steps(x[..., None]).sum(-1)

    return m, sample, log_prob
