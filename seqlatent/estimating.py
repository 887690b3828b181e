"""Estimates of log p(x_{1:T}) for models with latents: which one, and its noise.

    per-step   where the posterior factorises over time: the tightest for its cost
    smc        where latents depend on earlier ones: particles are resampled as they go (by
               measurement, tighter than whole trajectories for guides that see the future too)
    joint      whole trajectories, on request

Every sequence draws its noise from a stream of its own, seeded by its name: the estimate does not
depend on its company, nor on how many steps are read at once.
"""

import hashlib
import math

import numpy as np
import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch
from seqlatent.errors import InputError
from seqlatent.inference.bounds import Estimate, average, joint_importance, per_step_importance
from seqlatent.inference.smc import smc
from seqlatent.models.base import LatentCode, SequenceModel
from seqlatent.nn.causal import State

CHUNK = 1024  # steps whose particles are held at once
FILTERS = 4  # independent particle filters, whose spread gives the standard error
ESTIMATORS = ("auto", "per-step", "joint", "smc")


def choose_estimator(model: SequenceModel, name: str = "auto") -> str:
    """The estimator of a model with latents, by its structure unless it is named.

    Raises:
        InputError: for an unknown name, or one that is wrong for the model.
    """
    if name not in ESTIMATORS:
        raise InputError(f"estimator '{name}' is not one of {', '.join(ESTIMATORS)}")
    assert isinstance(model, LatentCode)
    if name == "auto":
        return "per-step" if model.factorises else "smc"
    if name == "per-step" and not model.factorises:
        raise InputError(
            "estimator=per-step needs latents that are independent over time given the data, and "
            f"this {model.family}'s depend on one another; use smc or joint"
        )
    return name


def kind_of_estimate(estimator: str, num_particles: int) -> str:
    """`elbo` of one particle, else `smc` or `iwae`."""
    if num_particles == 1:
        return "elbo"
    return "smc" if estimator == "smc" else "iwae"


@torch.no_grad()
def estimate(
    model: LatentCode,
    batch: SequenceBatch,
    names: list[str],
    num_particles: int,
    estimator: str,
    seed: int,
    num_filters: int = FILTERS,
) -> Estimate:
    """Estimate log p of every sequence of a batch; every step up to its end weighs.

    Args:
        model: with latents, in evaluation mode.
        batch: B sequences.
        names: of the sequences, which seed their noise.
        num_particles: K.
        estimator: `per-step`, `joint` or `smc`.
        seed: of the noise.
        num_filters: for `smc`, independent filters of K particles each.
    """
    streams = [sequence_stream(name, seed) for name in names]
    reading = model.reading(batch)
    if estimator == "smc":
        return average(
            [_filter(model, batch, reading, streams, num_particles) for _ in range(num_filters)]
        )
    branched, weights, particles = estimator == "per-step", [], None
    for start in range(0, batch.x.shape[1], CHUNK):
        chunk, part = batch.steps(start, start + CHUNK), reading.steps(start, start + CHUNK)
        eps = sequence_noise(chunk, streams, num_particles, model.latent_dim).to(batch.x.device)
        draw, particles = model.propose(part, eps, particles, branched)
        weights.append(torch.where(part.inside, draw.log_weight, 0.0))
    fold = per_step_importance if branched else joint_importance
    return fold(torch.cat(weights, -1))


def _filter(
    model: LatentCode,
    batch: SequenceBatch,
    reading,
    streams: list[np.random.Generator],
    num_particles: int,
) -> Estimate:
    num_sequences, num_steps = batch.x.shape[:2]
    block = max(1, CHUNK // num_particles)  # steps whose noise is drawn at once
    uniforms = torch.zeros(num_sequences, num_steps)
    for i, stream in enumerate(streams):
        length = int(batch.lengths[i])
        uniforms[i, :length] = torch.from_numpy(stream.random(length))
    eps = torch.zeros(0)

    def propose(t: int, particles: State) -> tuple[Tensor, State]:
        nonlocal eps
        if t % block == 0:
            chunk = batch.steps(t, t + block)
            eps = sequence_noise(chunk, streams, num_particles, model.latent_dim)
            eps = eps.to(batch.x.device)
        now = reading.steps(t, t + 1)
        at = t % block
        draw, particles = model.propose(now, eps[:, :, at : at + 1], particles)
        return torch.where(now.inside, draw.log_weight, 0.0)[..., 0], particles

    return smc(propose, uniforms.to(batch.x.device), num_particles)[0]


def spread_over_scored(log_prob: Tensor, scored: Tensor, context: Tensor) -> Tensor:
    """(B, T) what every step adds -> (B, T) what every *scored* step adds, 0 elsewhere.

    A step without a value may add noise of its own, as its latents are weighed too: it goes to the
    next scored step, and is dropped after the last one. What the context adds is not counted.
    """
    running = log_prob.cumsum(-1)
    step = torch.arange(log_prob.shape[1], device=log_prob.device)
    start = torch.where(step < context[:, None], log_prob, 0.0).sum(-1)
    done, parts = start, []
    for t in range(log_prob.shape[1]):
        parts.append(torch.where(scored[:, t], running[:, t] - done, 0.0))
        done = torch.where(scored[:, t], running[:, t], done)
    return torch.stack(parts, -1)


def _sequence_seed(unique_id: str, seed: int) -> int:
    """A number that depends on the seed and the sequence's name alone."""
    digest = hashlib.blake2b(f"{seed}/{unique_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def sequence_generator(
    unique_id: str, seed: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A generator of the sequence's own, for torch's draws on a device."""
    return torch.Generator(device).manual_seed(_sequence_seed(unique_id, seed))


def sequence_stream(unique_id: str, seed: int) -> np.random.Generator:
    """A stream of numbers of the sequence's own. (Torch's normal numbers depend on how many are
    asked for at once; these do not.)"""
    return np.random.default_rng(_sequence_seed(unique_id, seed))


def sequence_noise(
    batch: SequenceBatch, streams: list[np.random.Generator], num_particles: int, dim: int
) -> Tensor:
    """(K, B, T, Z) standard normal noise, each sequence's from its own stream, 0 at padding."""
    eps = np.zeros((len(streams), batch.x.shape[1], num_particles, dim), dtype=np.float32)
    for i, stream in enumerate(streams):
        length = int(batch.lengths[i])
        stream.standard_normal(out=eps[i, :length], dtype=np.float32)
    return torch.from_numpy(eps).to(torch.get_default_dtype()).permute(2, 0, 1, 3)


def more_particles(num_particles: int, error: float, target: float) -> int:
    """The next number to try: the error falls as one over the root of their number."""
    factor = 2 ** math.ceil(2 * math.log2(max(error / target, 1.01)))
    return num_particles * int(min(max(factor, 2), 64))
