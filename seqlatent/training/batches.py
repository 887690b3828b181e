"""The batches of training."""

import itertools
from collections.abc import Callable
from collections.abc import Sequence as Seq
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.sequence import Sequence
from seqlatent.data.splits import windows

# Which sequence, from which step to which, and how many of them are context.
Piece = tuple[int, int, int, int]
Change = Callable[[Seq[Sequence], Seq[np.random.Generator]], Seq[Sequence]]


class TrainingBatches:
    """The batches of training, as a function of the seed and the step only.

    Resuming therefore needs no state. Each epoch cuts long sequences into windows at new random
    places, shuffles them, and groups sequences of similar length to reduce padding.

    Every scored step is in one batch of an epoch, and batches count alike, those of short pieces as
    much as those of long ones. A group of series therefore has a weight between its share of all
    steps, by which a few long series would leave little to many short ones, and its share of all
    series, by which they would have next to none themselves. (Three series of 10,000 steps and 500
    of 20: by steps 75 % for the long ones, by series 0.6 %, here 22 %.)

    Args:
        data: training data.
        batch_size: sequences or windows in a batch.
        window: (scored steps, context steps) of a window, or None for whole sequences.
        seed: of cuts and order.
        change: of sequences, each by a generator of random numbers of its own, new in every epoch;
            their numbers of steps stay.
    """

    def __init__(
        self,
        data: SequenceDataset,
        batch_size: int,
        window: tuple[int, int] | None = None,
        seed: int = 0,
        change: Change | None = None,
    ):
        self.data, self.batch_size, self.window, self.seed = data, batch_size, window, seed
        self._change = change
        self._changed: tuple[int, dict[int, Sequence]] = (-1, {})  # of one epoch
        self._lengths, self._contexts = data.lengths.tolist(), data.contexts.tolist()
        self._epoch: tuple[int, int, list[list[Piece]]] = (-1, 0, [])
        # Sequences that are not in memory are read while the step before is taken.
        self._reader = ThreadPoolExecutor(1) if data.lazy else None
        self._ahead: tuple[int, Future[list[Sequence]]] | None = None

    def _batches_of(self, epoch: int) -> list[list[Piece]]:
        rng = np.random.default_rng([self.seed, epoch])
        pieces: list[Piece] = []
        for i, (steps, begun) in enumerate(zip(self._lengths, self._contexts, strict=True)):
            if self.window is None:
                pieces.append((i, 0, steps, begun))
            else:
                length, context = self.window
                cuts = windows(steps, begun, length, context, int(rng.integers(length)))
                pieces.extend((i, *cut) for cut in cuts)
        pieces = [pieces[i] for i in rng.permutation(len(pieces))]
        pool = 16 * self.batch_size
        batches = []
        for start in range(0, len(pieces), pool):
            part = sorted(pieces[start : start + pool], key=lambda piece: piece[2] - piece[1])
            # Batches of similar size: a last batch of two would have the weight of a full one.
            num = -(-len(part) // self.batch_size)
            cuts = np.linspace(0, len(part), num + 1).astype(int)
            batches += [part[a:b] for a, b in itertools.pairwise(cuts)]
        return [batches[i] for i in rng.permutation(len(batches))]

    def sequences(self, step: int) -> list[Sequence]:
        """The sequences of training step `step` = 0, 1, ...; fast if called in order."""
        if self._reader is None:
            return self._read(self._pieces(step), self.epoch(step))
        if self._ahead is None or self._ahead[0] != step:
            found = self._read(self._pieces(step), self.epoch(step))
        else:
            found = self._ahead[1].result()
        after = step + 1
        pieces = self._pieces(after)
        self._ahead = (after, self._reader.submit(self._read, pieces, self.epoch(after)))
        return found

    def _read(self, pieces: list[Piece], epoch: int) -> list[Sequence]:
        if self._change is None:
            return [_cut(self.data.sequences[i], *cut) for i, *cut in pieces]
        # All windows of an epoch are cut from the same changed series, which is kept if it is in
        # memory anyway; whole sequences come once.
        if self.window is None or self.data.lazy or self._changed[0] != epoch:
            self._changed = (epoch, {})
        known = self._changed[1]
        new = sorted({i for i, *_ in pieces} - set(known))
        # Of windows one by one: which of them are new depends on where a fit has resumed.
        for some in [new] if self.window is None else [[i] for i in new]:
            rngs = [np.random.default_rng([self.seed, epoch, 1, i]) for i in some]
            changed = self._change([self.data.sequences[i] for i in some], rngs)
            known.update(zip(some, changed, strict=True))
        return [_cut(known[i], *cut) for i, *cut in pieces]

    def _pieces(self, step: int) -> list[Piece]:
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
        self._pieces(step)
        return self._epoch[0]


def _cut(s: Sequence, start: int, stop: int, context: int) -> Sequence:
    whole = (start, stop, context) == (0, len(s), s.context)
    return s if whole else s.slice(start, stop, context)
