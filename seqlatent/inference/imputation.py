"""Missing values given all observed ones, by particles."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch, collate
from seqlatent.data.sequence import Sequence
from seqlatent.distributions.noise import Noise, SequenceNoise
from seqlatent.errors import InputError
from seqlatent.inference.estimating import CHUNK
from seqlatent.inference.paths import MAX_NUMBERS, MAX_ROWS
from seqlatent.inference.protocols import (
    EstimatedDensity,
    ExactDensity,
    ExactPosterior,
    Fillable,
    ModelState,
    StepModel,
)
from seqlatent.inference.smc import systematic
from seqlatent.nn.causal import expand_state, map_state

PARTICLES = 1024  # at least
IMPROBABLE = "the model rules the given values out: no sampled path gives them a probability"
FEW = 100.0  # effective paths; with fewer, means are off by a tenth of the spread or more
LAG = 32  # observed steps after which a missing value's samples are final


class Filled(NamedTuple):
    """Samples of the steps of one sequence.

    Attributes:
        values: (S, T, D) in data units; the observed ones are as they are.
        ess: (T,) effective number of distinct samples of each step with a missing value, of the K
            that were weighed; NaN elsewhere, and where samples have no weights.
    """

    values: Tensor
    ess: Tensor


@torch.no_grad()
def by_particles(
    model: Fillable,
    batch: SequenceBatch,
    num_samples: int,
    noise: Noise,
    lag: int = LAG,
) -> Tensor:
    """Sample the missing values of one sequence given its observed ones.

    Args:
        model: in evaluation mode.
        batch: of one sequence.
        num_samples: S.
        noise: with a stream for the sequence.
        lag: observed steps after a missing value at which its samples are final.

    Returns:
        (S, T, D) values in data units; the observed ones are as they are.
    """
    num_steps = batch.x.shape[1]
    first = int((~batch.observed[0]).any(-1).nonzero()[0, 0])
    first = first if isinstance(model, ExactDensity) else 0  # latents depend on earlier values
    before = batch.x[:, :first].expand(num_samples, -1, -1)
    state = _read(model, batch, first)
    size = max(num_samples, PARTICLES)
    ahead = _fill(model, state, batch.steps(first, num_steps), num_samples, size, noise, lag)
    return torch.cat([before, ahead.values], 1)


@torch.no_grad()
def given_some(
    model: ExactPosterior | Fillable,
    history: Sequence,
    ahead: Sequence,
    num_samples: int,
    noise: SequenceNoise,
) -> Filled:
    """Sample the missing values of the steps after a sequence, given its values and those of these
    steps that are known.

    The history is read as for a forecast, gaps and all. Where fewer than `FEW` paths are effective,
    it is done again with four times as many, as far as memory allows.

    Args:
        model: in evaluation mode; the posterior of one with `ExactPosterior` is sampled exactly,
            which asks for a scaling that does not depend on the past.
        history: with T steps.
        ahead: the H steps after it, with their covariates.
        num_samples: S.
        noise: with a stream for the sequence.

    Returns:
        the values of the H steps.

    Raises:
        InputError: where the known values are so improbable that no path has a weight.
    """
    batch, later = (collate([s]).to(model.device) for s in (history, ahead))
    if isinstance(model, ExactPosterior):
        state = _read(model, batch, len(history))
        values = model.sample_missing(later, num_samples, noise, state)[:, 0]
        return Filled(values, torch.full_like(values[0, :, 0], torch.nan))
    size = max(num_samples, PARTICLES)
    while True:
        if isinstance(model, EstimatedDensity):
            state = model.filtered_paths(batch, size, noise, filling=True)
        else:
            state = _read(model, batch, len(history))
        filled = _fill(model, state, later, num_samples, size, noise, len(ahead))
        enough = not bool((filled.ess < FEW).any())
        numbers: list[int] = []
        map_state(lambda s, numbers=numbers: numbers.append(s[0].numel()), state)
        size = 4 * size
        if enough or size > MAX_ROWS or size * sum(numbers) > MAX_NUMBERS:
            return filled


def _fill(
    model: Fillable,
    state: ModelState,
    batch: SequenceBatch,
    num_samples: int,
    size: int,
    noise: Noise,
    lag: int,
) -> Filled:
    """Sample the missing values of the steps after a state by `size` particles; other arguments as
    in `by_particles`."""
    observed = batch.observed[0]
    result = batch.x.expand(num_samples, -1, -1).clone()
    sizes = torch.full_like(result[0, :, 0], torch.nan)
    gaps = (~observed).any(-1).nonzero()[:, 0].tolist()
    state = expand_state(state, size)
    log_w = torch.full((size,), -math.log(size), dtype=batch.x.dtype, device=batch.x.device)
    # Of each step its values (K, D), which of the first K each particle has, and the observed
    # steps so far.
    open_steps: dict[int, tuple[Tensor, Tensor, int]] = {}
    num_seen = 0

    def uniform() -> Tensor:
        return noise.uniform((1,), batch.x)

    def finish(steps: list[int]) -> None:
        if steps:
            chosen = systematic(log_w[:, None], uniform(), num_samples)[:, 0]
            for t in steps:
                values, own, _ = open_steps.pop(t)
                result[:, t] = values[chosen]
                shares = torch.zeros_like(log_w).index_add(0, own, log_w.exp())
                sizes[t] = 1 / shares.square().sum()

    for t in range(batch.x.shape[1]):
        x = batch.x[:, t : t + 1].expand(size, -1, -1)
        covariates = batch.covariates[:, t : t + 1].expand(size, -1, -1)
        scaled = model.scaler.next(state.memory)
        y = model.scaler.scale_values(x, scaled, torch.double)
        y, log_weight, state = model.fill_step(state, y, observed[t], covariates, noise)
        sampled = model.scaler.inverse(y, state.memory, bounded=True)[0]
        filled = torch.where(observed[t], x, sampled)
        # Densities of the observed values in data units: paths scale them in different ways.
        log_weight = log_weight - (scaled.scale.log() * observed[t]).sum(-1)[:, 0]
        state = state._replace(memory=model.scaler.after(state.memory, filled))
        num_seen += int(observed[t].any())
        if t in gaps[:1]:
            gaps.pop(0)
            open_steps[t] = filled[:, 0], torch.arange(size, device=log_w.device), num_seen
        log_w = log_w + log_weight
        total = log_w.logsumexp(0)
        if not total.isfinite():
            raise InputError(IMPROBABLE)
        log_w = log_w - total
        finish([s for s, (_, _, since) in open_steps.items() if num_seen - since >= lag])
        if not gaps and not open_steps:
            break
        if (2 * log_w).logsumexp(0) > math.log(2 / size):  # effective sample size under K/2
            chosen = systematic(log_w[:, None], uniform())[:, 0]
            state = map_state(lambda s, chosen=chosen: s[chosen], state)
            open_steps = {
                s: (v[chosen], own[chosen], since) for s, (v, own, since) in open_steps.items()
            }
            log_w = torch.full_like(log_w, -math.log(size))
    finish(list(open_steps))
    return Filled(result, sizes)


def _read(model: StepModel, batch: SequenceBatch, num_steps: int) -> ModelState:
    """The state after the first `num_steps` steps."""
    state = model.begin(batch)
    for start in range(0, num_steps, CHUNK):
        state = model.read(batch.steps(start, min(start + CHUNK, num_steps)), state)
    return state._replace(memory=model.remember(batch.steps(0, num_steps)))
