"""Paths of latents given the values so far, from which samples go on.

Where latents depend on earlier ones, a particle filter samples z_{1:T} given x_{1:T}
(inference/smc.py). Where the posterior factorises, what comes does not depend on past latents: only
the guide remembers them, and one path of it serves for all.
"""

import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch
from seqlatent.distributions.noise import Noise, SequenceNoise
from seqlatent.inference.bounds import Estimate
from seqlatent.inference.protocols import EstimatedDensity, ModelState
from seqlatent.inference.smc import Particles, even, particle_filter, systematic, take
from seqlatent.models.latent.parts import Reading
from seqlatent.nn.causal import State, join_particles, map_state, repeat_state

# Particles, at least, that filter the past before a forecast: of its last steps, and of those
# before. What the few are wrong about is forgotten by the last steps.
FILTER_PARTICLES, EARLY_PARTICLES = 64, 16
LAST_STEPS = 8
ROWS = 4_096  # particles of all sequences that move together: they fit in a processor's cache


def filter_reading(
    model: EstimatedDensity,
    r: Reading,
    size: int,
    uniforms: Tensor,
    noise: Noise,
    kl_weight: float = 1.0,
    begin: Particles | None = None,
) -> tuple[Estimate, Particles]:
    """A particle filter over a reading.

    Args:
        model: with `propose`.
        r: of B sequences and T steps.
        size: K particles.
        uniforms: (B, T) for resampling.
        noise: of the latents.
        kl_weight: of the densities of the latents, where they are annealed.
        begin: the particles before the reading, if it is not from the first step on.
    """
    shape = (len(r.y), size, 1, model.latent_dim)

    def propose(t: int, particles: State) -> tuple[Tensor, State]:
        now = r.steps(t, t + 1)
        eps = noise.normal(shape, r.y).movedim(0, 1)
        sample, particles = model.propose(now, eps, particles)
        return torch.where(now.inside, sample.annealed(kl_weight), 0.0)[..., 0], particles

    return particle_filter(propose, uniforms, size, begin=begin)


def filtered_paths(
    model: EstimatedDensity,
    batch: SequenceBatch,
    num_paths: int,
    noise: SequenceNoise,
    filling: bool,
) -> ModelState:
    """States of paths given the values of a batch; see `EstimatedDensity.filtered_paths`."""
    r = model.reading(batch)
    B, T, _ = r.y.shape
    if model.factorises:
        eps = noise.normal((B, 1, T, model.latent_dim), r.y).movedim(0, 1)
        particles = model.propose(r, eps)[1]
        chosen = torch.zeros(num_paths, B, dtype=torch.int64, device=r.y.device)
    else:
        size, early, begin = max(num_paths, FILTER_PARTICLES), max(0, T - LAST_STEPS), None
        if early:
            uniforms = noise.uniform((B, early), r.y)
            begin = filter_reading(model, r.steps(0, early), EARLY_PARTICLES, uniforms, noise)[1]
        found = []
        most = max(1, ROWS // size)
        for start in range(0, B, most):
            some = slice(start, start + most)
            found.append(
                _last_steps(model, r.sequences(some).steps(early, T), size, num_paths,
                            noise.sequences(some), begin and begin.sequences(some))
            )  # fmt: skip
        particles = join_particles([state for state, _ in found])
        chosen = torch.cat([each for _, each in found], 1)
    after = r.after._replace(memory=model.remember(batch))
    return chosen_paths(after, particles, chosen, filling)


def _last_steps(
    model: EstimatedDensity,
    r: Reading,
    size: int,
    num_paths: int,
    noise: SequenceNoise,
    begin: Particles | None,
) -> tuple[State, Tensor]:
    """States of `size` particles after a reading, (K, B, ...), and which of them num_paths paths of
    equal weight go on from, (S, B)."""
    B, T, _ = r.y.shape
    uniforms = noise.uniform((B, T + 2), r.y)
    if begin is not None:
        chosen = systematic(begin.log_weights, uniforms[:, -2], size)
        begin = even(size, B, r.y.device)._replace(state=take(begin.state, chosen))
    _, (particles, log_weights) = filter_reading(
        model, r, size, uniforms[:, :T], noise, begin=begin
    )
    return particles, systematic(log_weights, uniforms[:, -1], num_paths)


def chosen_paths(
    after: ModelState, particles: State, chosen: Tensor, filling: bool = False
) -> ModelState:
    """States of paths that go on from chosen particles; see `EstimatedDensity.paths`."""
    guide, prior = particles
    memory, last, network = repeat_state(after, len(chosen))

    def side_by_side(part: State) -> State:
        return map_state(lambda s: s.transpose(0, 1).flatten(0, 1), take(part, chosen))

    own = (network[0], side_by_side(prior))
    if not filling:
        return ModelState(memory, last, own)
    # A guide that corrects the prior has the prior's state.
    return ModelState(memory, last, (*own, own[1] if guide is None else side_by_side(guide)))
