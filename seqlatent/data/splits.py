"""Held-out data, and windows of long series.

A piece cut out of a series keeps the steps before it as *context*: they are conditioned on and not
scored, so every score is a part of the series' own log-likelihood.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.sequences import Sequence
from seqlatent.errors import InputError

SPLITS = ("auto", "series", "time")


def split(
    data: SequenceDataset, fraction: float, by: str = "auto", seed: int = 0, context: int = 512
) -> tuple[SequenceDataset, SequenceDataset]:
    """Training and validation data.

    Args:
        data: at least one sequence.
        fraction: the share held out, in (0, 1).
        by: `series` holds out whole sequences, drawn at random; `time` each sequence's last steps,
            with at most `context` steps before them as context; `auto` is `series` from ten
            sequences on.
        seed: of the draw.

    Raises:
        InputError: when nothing would be left on one side.
    """
    if not 0 < fraction < 1:
        raise InputError(f"valid must lie between 0 and 1, not {fraction:g}")
    if by not in SPLITS:
        raise InputError(f"valid_by '{by}' is not one of {', '.join(SPLITS)}")
    if by == "auto":
        by = "series" if len(data) >= 10 else "time"
    if by == "series":
        held_out = max(1, round(fraction * len(data)))
        if held_out >= len(data):
            raise InputError(
                f"{data.name}: {len(data)} sequence(s) cannot be split by series; use valid_by=time"
            )
        order = np.random.default_rng(seed).permutation(len(data))
        return data[np.sort(order[held_out:])], data[np.sort(order[:held_out])]
    train, valid = [], []
    for s in data:
        cut = len(s) - max(1, round(fraction * len(s)))
        if cut <= s.context:
            continue
        train.append(s.slice(0, cut, s.context))
        start = max(0, cut - context) if s.context == 0 else 0
        valid.append(s.slice(start, len(s), cut - start))
    if not train:
        raise InputError(f"{data.name}: every sequence is too short to hold out its last steps")
    return replace(data, sequences=tuple(train)), replace(data, sequences=tuple(valid))


def with_context(data: SequenceDataset, length: int) -> SequenceDataset:
    """The same data with (at least) the first `length` steps of each sequence as context, and as
    the prefix that it may be scaled by.

    Raises:
        InputError: for a sequence with no step left to score.
    """
    if length == 0:
        return data
    if all(s.prefix is not None and len(s.prefix) == length for s in data):
        return data  # done before the data was split
    for s in data:
        if len(s) <= length:
            raise InputError(
                f"{data.name}: series {s.unique_id} has {len(s)} steps, too few for "
                f"context_length={length}"
            )
    sequences = tuple(replace(s, context=max(s.context, length), prefix=s.x[:length]) for s in data)
    return replace(data, sequences=sequences)


def windows(s: Sequence, length: int, context: int, offset: int = 0) -> Iterator[Sequence]:
    """Cut a sequence into windows of `length` scored steps that cover every scored step once.

    Each window but the first begins with the `context` steps before it. `offset` shortens the first
    window, so that windows begin at other steps in every epoch.
    """
    stop = min(len(s), s.context + length - offset % length)
    yield (
        s.slice(0, stop, s.context)
        if s.context <= context
        else s.slice(s.context - context, stop, context)
    )
    while stop < len(s):
        start, stop = stop, min(len(s), stop + length)
        begin = max(0, start - context)
        yield s.slice(begin, stop, start - begin)


class TrainingBatches:
    """The batches of training: a function of the seed and the step alone.

    Nothing has to be remembered to go on after an interruption. Each epoch cuts long sequences into
    windows at new places, shuffles, and groups sequences of like length, to pad little.

    Args:
        data: training data.
        batch_size: sequences or windows in a batch.
        window: (scored steps, context steps) of a window, or None to take sequences whole.
        seed: of cuts and order.
    """

    def __init__(
        self,
        data: SequenceDataset,
        batch_size: int,
        window: tuple[int, int] | None = None,
        seed: int = 0,
    ):
        self.data, self.batch_size, self.window, self.seed = data, batch_size, window, seed
        self._epoch: tuple[int, int, list[list[Sequence]]] = (-1, 0, [])

    def _batches_of(self, epoch: int) -> list[list[Sequence]]:
        rng = np.random.default_rng([self.seed, epoch])
        pieces: list[Sequence] = []
        for s in self.data:
            if self.window is None:
                pieces.append(s)
            else:
                length, context = self.window
                pieces.extend(windows(s, length, context, int(rng.integers(length))))
        pieces = [pieces[i] for i in rng.permutation(len(pieces))]
        pool = 16 * self.batch_size
        batches = []
        for start in range(0, len(pieces), pool):
            part = sorted(pieces[start : start + pool], key=len)
            num = -(-len(part) // self.batch_size)  # of like size: a batch of the last two would
            cuts = np.linspace(0, len(part), num + 1).astype(int)  # weigh as much as a full one
            batches += [part[a:b] for a, b in itertools.pairwise(cuts)]
        return [batches[i] for i in rng.permutation(len(batches))]

    def sequences(self, step: int) -> list[Sequence]:
        """The sequences of training step `step` = 0, 1, ...; steps are asked for in order."""
        epoch, first, batches = self._epoch
        if step < first or epoch < 0:
            epoch, first, batches = 0, 0, self._batches_of(0)
        while step >= first + len(batches):
            epoch, first = epoch + 1, first + len(batches)
            batches = self._batches_of(epoch)
        self._epoch = (epoch, first, batches)
        return batches[step - first]

    def epoch(self, step: int) -> int:
        """The epoch that a step belongs to."""
        self.sequences(step)
        return self._epoch[0]
