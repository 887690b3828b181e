"""Sample paths that continue what a model has read, of many sequences at once."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from seqlatent.data.batch import collate
from seqlatent.data.sequence import Sequence as Series
from seqlatent.distributions.noise import Noise, SequenceNoise
from seqlatent.inference.estimating import CHUNK
from seqlatent.inference.protocols import EstimatedDensity, ModelState, StepModel
from seqlatent.nn.causal import batch_size, join_states, map_state, repeat_state

MAX_ROWS = 16_384  # paths that are sampled together
MAX_NUMBERS = 2**24  # in the states of these paths


class _Read(NamedTuple):
    """Sequences that the model has read.

    Attributes:
        places: (n,) indices of the sequences in the caller's order.
        state: of each sequence, or of each path if `per_path`.
        noise: with a stream for each sequence.
        per_path: whether paths have states of their own already.
    """

    places: np.ndarray
    state: ModelState
    noise: SequenceNoise
    per_path: bool

    def form(self) -> list[Any]:
        """The structure of the state, which must be equal for states to be joined."""
        shapes: list[Any] = [self.per_path]
        map_state(lambda s: shapes.append((s.shape[1:], s.dtype)), self.state)
        return shapes

    def cost(self, num_samples: int) -> int:
        """Numbers in the states of all paths of one sequence."""
        sizes: list[int] = []
        map_state(lambda s: sizes.append(s[0].numel()), self.state)
        return num_samples * sum(sizes)


@torch.no_grad()
def forecast_paths(
    model: StepModel,
    sequences: Sequence[Series],
    covariates: np.ndarray,
    num_samples: int,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> list[np.ndarray]:
    """Sample paths that continue each sequence from its end.

    Sequences of equal length are read together, and those whose states have the same structure are
    continued together, as far as memory allows. A sequence's paths do not depend on the others.

    Args:
        model: any; its dropout is off meanwhile.
        sequences: N sequences.
        covariates: (N, H, C) of the steps ahead.
        num_samples: S, paths of each sequence.
        seed: of the noise.
        progress: called with the number of sequences of every finished batch.

    Returns:
        for each sequence its (S, H, D) paths in data units.
    """
    paths: list[np.ndarray] = [np.empty(0)] * len(sequences)
    training = model.training
    model.eval()
    try:
        for r in _joined(_read_all(model, sequences, num_samples, seed), num_samples):
            samples = sample_paths(
                model, r.state, covariates[r.places], num_samples, r.noise, r.per_path
            )
            for place, x in zip(r.places, samples, strict=True):
                paths[place] = x
            if progress:
                progress(len(samples))
    finally:
        model.train(training)
    return paths


def sample_paths(
    model: StepModel,
    state: ModelState,
    covariates: np.ndarray,
    num_samples: int,
    noise: Noise,
    per_path: bool = False,
) -> np.ndarray:
    """Sample paths that continue from states.

    Args:
        model: any; its dropout is off meanwhile.
        state: of N sequences, or of their N S paths if `per_path`.
        covariates: (N, H, C) of the steps ahead.
        num_samples: S.
        noise: with a stream for each sequence.
        per_path: whether `state` has an entry for each path.

    Returns:
        (N, S, H, D) paths in data units.
    """
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            ahead = torch.from_numpy(covariates).to(model.device)
            ahead = ahead.repeat_interleave(num_samples, 0)
            state = state if per_path else repeat_state(state, num_samples)
            x, _ = model.sample_steps(state, ahead, noise)
    finally:
        model.train(training)
    return x.double().cpu().numpy().reshape(len(covariates), num_samples, *x.shape[1:])


def _read_all(
    model: StepModel, sequences: Sequence[Series], num_samples: int, seed: int
) -> Iterator[_Read]:
    """Read the sequences in batches of equal length, which need no padding."""
    lengths = np.array([len(s) for s in sequences])
    most = max(1, MAX_ROWS // num_samples)
    for length in np.unique(lengths):
        places = np.flatnonzero(lengths == length)
        for start in range(0, len(places), most):
            some = places[start : start + most]
            part = [sequences[i] for i in some]
            noise = SequenceNoise([s.unique_id for s in part], seed)
            batch = collate(part).to(model.device)
            if isinstance(model, EstimatedDensity) and not model.factorises:
                # Latents that depend on earlier ones are sampled given the past, for each path.
                state = model.filtered_paths(batch, num_samples, noise)
                yield _Read(some, state, noise, True)
                continue
            state = model.begin(batch)
            for step in range(0, batch.x.shape[1], CHUNK):
                state = model.read(batch.steps(step, step + CHUNK), state)
            yield _Read(some, state._replace(memory=model.remember(batch)), noise, False)


def _joined(reads: Iterator[_Read], num_samples: int) -> Iterator[_Read]:
    """Batches of as many sequences as fit in memory together. (The paths of a single sequence
    share its state, which is not copied.)"""
    waiting: list[_Read] = []
    for read in reads:
        for r in _cut(read, num_samples):
            count = len(r.places) + sum(len(w.places) for w in waiting)
            full = count * num_samples > MAX_ROWS or count * r.cost(num_samples) > MAX_NUMBERS
            if waiting and (full or r.form() != waiting[0].form()):
                yield _join(waiting)
                waiting = []
            waiting.append(r)
    if waiting:
        yield _join(waiting)


def _cut(r: _Read, num_samples: int) -> Iterator[_Read]:
    """Parts of a batch whose paths' states fit in memory."""
    most = max(1, MAX_NUMBERS // max(1, r.cost(num_samples)))
    if r.per_path or len(r.places) <= most:  # paths have their states already
        yield r
        return
    for start in range(0, len(r.places), most):
        some = slice(start, min(start + most, len(r.places)))
        state = map_state(lambda s, some=some: s if len(s) == 1 else s[some], r.state)
        yield _Read(r.places[some], state, r.noise.sequences(some), False)


def _join(reads: list[_Read]) -> _Read:
    if len(reads) == 1:
        return reads[0]
    sizes = [batch_size(r.state) for r in reads]
    state = join_states([r.state for r in reads], sizes)
    places = np.concatenate([r.places for r in reads])
    return _Read(places, state, SequenceNoise.joined([r.noise for r in reads]), reads[0].per_path)
