"""What latents are worth to the prediction of values: the loss when theirs are replaced.

From a step t the model goes on with K particles of z_t given x_{1:t}. Each next step's latents are
drawn from the prior, with the true values of x where prior and emission see past ones, and are not
weighted by them:

    kept       log (1/K) sum_k p(x_{t+h} | history, z_{t+h}^k),   z_t^k ~ p(z_t | x_{1:t})
    replaced   the same from other z_t^k: latents of another sequence, at a random step
    loss       kept - replaced, nats per step at the horizon h, the mean over steps t

h = 0 is how much z_t says of its own step; a loss at h > 0 is what it carries over. If the prior
sees no latents the two paths are the same after h = 0, and the loss is 0. Both paths share their
random numbers, so that a latent that nothing reads costs exactly nothing. One latent is replaced
alone, with the others as they are, or all of them at once. What a recurrent transition keeps of
z_{<t} is left alone: only z_t is replaced. (Permutation importance: Breiman 2001.)

The particles are those of a filter or, where the posterior factorises, weighted step by step; they
know nothing of later values, even if the guide does. The logarithm of a mean of K is too low in
expectation, by var / (2 K) where weights relative to their mean have a small variance var: more so
for the replaced ones, so that large losses are overestimated. With one sequence the other step is
of the same sequence.

Standard errors are over sequences; fewer than 8 sequences are cut into stretches, 8 in all, whose
means are taken as independent.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from seqlatent.data.batch import SequenceBatch
from seqlatent.distributions.noise import Noise, TorchNoise
from seqlatent.inference.smc import particle_filter, systematic, take
from seqlatent.models.latent.model import LatentModel
from seqlatent.models.latent.parts import Reading
from seqlatent.nn.causal import State, join_states, map_state

HORIZONS = (0, 1, 2, 4, 8, 16)
PARTICLES = 32
MIN_GROUPS = 8  # of which standard errors are
ROWS = 32768  # particles that go on at once


class Losses(NamedTuple):
    """The loss of nats per step when latents are replaced.

    Attributes:
        horizons: (H,) steps ahead, as far as the sequences reach.
        each, each_error: (Z, H) loss and standard error of each latent, replaced alone.
        joint, joint_error: (H,) those of all latents together. Errors are NaN where there are too
            few steps to tell.
    """

    horizons: tuple[int, ...]
    each: np.ndarray
    each_error: np.ndarray
    joint: np.ndarray
    joint_error: np.ndarray


class Origins(NamedTuple):
    """N steps with K particles each, and what the R steps from there on are given.

    Attributes:
        z: (N, K, 1, Z) latents of the step, given the values so far.
        before: the prior's state before the step; its tensors lead with (N, K).
        inside: (N,) bool, whether the step's latents count.
        sequence, stretch: (N,) of which sequence it is, and of which stretch for standard errors.
        y, observed, emission, prior: (N, R, .) as in a `Reading`; `scored` (N, R).
        loc, scale: (N, 1, D) how the values of the step are scaled.
    """

    z: Tensor
    before: State
    inside: Tensor
    sequence: Tensor
    stretch: Tensor
    y: Tensor
    observed: Tensor
    emission: Tensor
    prior: Tensor
    scored: Tensor
    loc: Tensor
    scale: Tensor

    def some(self, rows: slice) -> "Origins":
        return map_state(lambda part: part[rows], self)


@torch.no_grad()
def origins(
    model: LatentModel,
    batches: Iterable[SequenceBatch],
    *,
    number: int,
    seed: int,
    reach: int = HORIZONS[-1],
    num_particles: int = PARTICLES,
) -> Origins:
    """Steps to go on from, evenly spread over every sequence.

    Args:
        model: in evaluation mode.
        batches: of sequences.
        number: of steps in all, about; at least one of each sequence.
        seed: of the particles.
        reach: the furthest horizon.
        num_particles: K.
    """
    batches = list(batches)
    size = sum(len(batch.x) for batch in batches)
    pieces, first = [], 0
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for batch in batches:
            r = model.reading(batch)
            steps = _spread(r, max(1, number // size))
            found = _latents(model, r, steps, num_particles, TorchNoise())
            cuts = max(1, -(-MIN_GROUPS // size))
            sequence = torch.arange(first, first + len(r.y), device=r.y.device)
            for i, (t, (before, z)) in enumerate(zip(steps, found, strict=True)):
                own = dict(
                    z=z.transpose(0, 1),
                    before=map_state(lambda s: s.transpose(0, 1), before),
                    sequence=sequence,
                    stretch=cuts * sequence + i * cuts // len(steps),
                )
                pieces.append((t, _cut(r, batch.scored, t, reach + 1)._replace(**own)))
            first += len(r.y)
    later = [piece for t, piece in pieces if t] or [piece for _, piece in pieces]
    return join_states(later, [len(piece.z) for piece in later])


def _spread(r: Reading, number: int) -> list[int]:
    """Steps that count in some sequence: not the first, if there are others, as it has no past."""
    steps = r.counted.any(0).nonzero()[:, 0].tolist() or [0]
    steps = [t for t in steps if t] or steps
    number = min(number, len(steps))
    return [steps[int((i + 0.5) * len(steps) / number)] for i in range(number)]


def _latents(
    model: LatentModel, r: Reading, steps: list[int], size: int, noise: Noise
) -> list[tuple[State, Tensor]]:
    """The prior's state before each of the steps, and (K, B, 1, Z) latents given x_{1:t}."""
    B, T, _ = r.y.shape
    uniforms = noise.uniform((2, B, T), r.y)
    if model.factorises:
        eps = noise.normal((size, B, T, model.latent_dim), r.y)
        sample, _ = model.propose(r, eps, branched=True)
        weights = torch.where(r.inside, sample.log_weight, 0.0).log_softmax(0)
        chosen = [systematic(weights[..., t], uniforms[0, :, t]) for t in steps]
        return [
            (None, take(sample.z[:, :, t : t + 1], i)) for t, i in zip(steps, chosen, strict=True)
        ]
    wanted, found, now = set(steps), [], [None, r.y]

    def propose(t: int, particles: State) -> tuple[Tensor, State]:
        part = r.steps(t, t + 1)
        eps = noise.normal((size, B, 1, model.latent_dim), r.y)
        sample, after = model.propose(part, eps, particles)
        before = particles[1] if particles else model.prior.start(sample.z.shape[:-1])  # type: ignore[operator]
        now[:] = [t, before, sample.z]
        return torch.where(part.inside, sample.log_weight, 0.0)[..., 0], after

    def record(weights: Tensor, ancestors: Tensor | None) -> None:
        t, before, z = now
        if t in wanted:
            found.append(take((before, z), systematic(weights, uniforms[1, :, t])))

    particle_filter(propose, uniforms[0], size, record)
    return found


def _cut(r: Reading, scored: Tensor, t: int, width: int) -> Origins:
    """The steps from t on of every sequence, padded to `width`; the rest is yet to be filled in."""

    def ahead(part: Tensor) -> Tensor:
        part = part[:, t : t + width]
        return F.pad(part, (0, 0, 0, width - part.shape[1]))

    none, now = torch.empty(0), slice(t, t + 1)
    return Origins(
        none, None, r.counted[:, t], none, none, ahead(r.y), ahead(r.observed), ahead(r.emission),
        ahead(r.prior), ahead(scored[..., None])[..., 0], r.loc[:, now], r.scale[:, now],
    )  # fmt: skip


@torch.no_grad()
def replace_latents(model: LatentModel, o: Origins, seed: int, alone: bool = True) -> Losses:
    """The losses; without those of each latent alone (Z = 0) unless `alone`."""
    reach = o.y.shape[1] - 1
    horizons = [h for h in HORIZONS if h <= reach]
    others = _others(o, seed)
    kept = _follow(model, o, o.z, horizons, seed)
    changes = [kept - _follow(model, o, others, horizons, seed)]
    if alone and model.latent_dim == 1:
        changes = 2 * changes
    for k in range(model.latent_dim if alone and model.latent_dim > 1 else 0):
        z = o.z.clone()
        z[..., k] = others[..., k]
        changes.append(kept - _follow(model, o, z, horizons, seed))
    valid = torch.stack([o.inside & o.scored[:, h] for h in horizons])  # (H, N)
    told = [i for i, v in enumerate(valid) if i == 0 or len(o.stretch[v].unique()) > 1]
    mean, error = _means(torch.stack(changes)[:, told], valid[told], o.stretch)
    return Losses(tuple(horizons[i] for i in told), mean[1:], error[1:], mean[0], error[0])


def _others(o: Origins, seed: int) -> Tensor:
    """(N, K, 1, Z) for each particle the latents of one of another sequence or, if there is none,
    of another step."""
    rng = np.random.default_rng(seed)
    sequence, inside = o.sequence.cpu().numpy(), o.inside.cpu().numpy()
    rows, (size, width) = np.arange(len(sequence)), o.z.shape[:2]
    from_step = np.empty((size, width), dtype=np.int64)
    for n in rows:
        choices = rows[inside & (sequence != sequence[n])]
        if not len(choices):
            choices = rows[inside & (rows != n)]
        from_step[n] = rng.choice(choices if len(choices) else rows[n : n + 1], width)
    particle = rng.integers(0, width, from_step.shape)
    return o.z[torch.from_numpy(from_step), torch.from_numpy(particle)]


def _follow(model: LatentModel, o: Origins, z: Tensor, horizons: list[int], seed: int) -> Tensor:
    """(H, N) log (1/K) sum_k p(x_{t+h} | .) from latents z (N, K, 1, Z) of step t, scaled units."""
    chunk = max(1, ROWS // z.shape[1])
    parts = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for start in range(0, len(z), chunk):
            rows = slice(start, start + chunk)
            parts.append(_paths(model, o.some(rows), z[rows].transpose(0, 1), horizons))
    return torch.cat(parts, 1)


def _paths(model: LatentModel, o: Origins, z: Tensor, horizons: list[int]) -> Tensor:
    size, noise, found = len(z), TorchNoise(), []
    before = map_state(lambda s: s.transpose(0, 1), o.before)
    _, past, state = model.prior(z, o.prior[:, :1], before)
    for h in range(horizons[-1] + 1):
        now = slice(h, h + 1)
        if h:
            context = o.prior[:, now].expand(size, -1, -1, -1)
            z, past, state = model.prior.sample(context, state, noise)
        if h in horizons:
            emission = model._emission(o.emission[:, now], z, past, o.observed[:, now])
            log_x = emission.log_prob(o.y[:, now].expand(size, -1, -1, -1))[..., 0]
            found.append(log_x.double().logsumexp(0) - math.log(size))
    return torch.stack(found)


def _means(values: Tensor, valid: Tensor, group: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(V, H, N) values, of which (H, N) are valid, in (N,) groups -> their means (V, H), and
    standard errors from the groups' sums; NaN with fewer than two."""
    count = valid.sum(-1).clamp(min=1)
    mean = torch.where(valid, values, 0.0).sum(-1) / count
    off = torch.where(valid, values - mean[..., None], 0.0)
    groups, place = group.unique(return_inverse=True)
    sums = off.new_zeros(*off.shape[:-1], len(groups)).index_add(-1, place, off)
    filled = valid.new_zeros((len(valid), len(groups)), dtype=torch.int64)
    filled = (filled.index_add(-1, place, valid.long()) > 0).sum(-1).double()
    error = sums.square().sum(-1).sqrt() / count * (filled / (filled - 1)).sqrt()
    return mean.cpu().numpy(), torch.where(filled > 1, error, torch.nan).cpu().numpy()


@torch.no_grad()
def draw_at(model: LatentModel, o: Origins, z: Tensor, seed: int, num_samples: int) -> Tensor:
    """(V, D) means, data units, of what the model draws at latents z (V, Z), over all origins: each
    with its own history, `num_samples` samples."""
    means = []
    shape = (num_samples, len(o.z), 1, -1)
    before = map_state(lambda s: s[:, 0].expand(num_samples, *s[:, 0].shape), o.before)
    for value in z:
        with torch.random.fork_rng():
            torch.manual_seed(seed)  # the same for every value: differences come from z alone
            at = value.expand(shape)
            _, past, _ = model.prior(at, o.prior[:, :1], before)
            y = model._emission(o.emission[:, :1], at, past, None).sample(noise=TorchNoise())
        x = model.scaler.from_scale(o.loc + y.to(o.loc) * o.scale)
        means.append(x.double().mean((0, 1, 2)))
    return torch.stack(means)
