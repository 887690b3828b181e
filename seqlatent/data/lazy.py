"""Sequences that are read when they are asked for: data sets larger than memory.

`LazySequences` take the place of a data set's tuple. Choosing some of them, cutting them and
changing them costs nothing until they are read, and then only what is read.
"""

from collections.abc import Callable, Iterator
from collections.abc import Sequence as Seq
from typing import overload

import numpy as np

from seqlatent.data.sequence import Sequence

Change = Callable[[Sequence], Sequence]


class LazySequences(Seq[Sequence]):
    """N sequences, the i-th being `read(places[i])`.

    Args:
        read: a sequence by its place; of the same place always the same.
        lengths: (M,) int64 steps of the sequence of every place.
        contexts: (M,) int64 its steps of context.
        places: (N,) int64; by default all.
    """

    def __init__(
        self,
        read: Callable[[int], Sequence],
        lengths: np.ndarray,
        contexts: np.ndarray,
        places: np.ndarray | None = None,
    ):
        self._read, self._lengths, self._contexts = read, lengths, contexts
        self._places = np.arange(len(lengths)) if places is None else places

    @property
    def lengths(self) -> np.ndarray:
        """(N,) int64 steps."""
        return self._lengths[self._places]

    @property
    def contexts(self) -> np.ndarray:
        """(N,) int64 steps of context."""
        return self._contexts[self._places]

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Sequence: ...
    @overload
    def __getitem__(self, index: slice) -> "LazySequences": ...
    def __getitem__(self, index: int | slice) -> "Sequence | LazySequences":
        if isinstance(index, slice):
            return self._at(self._places[index])
        return self._read(int(self._places[index]))

    def __iter__(self) -> Iterator[Sequence]:
        for place in self._places:
            yield self._read(int(place))

    def chosen(self, indices: np.ndarray) -> "LazySequences":
        """Those of some indices, in that order."""
        return self._at(self._places[indices])

    def changed(self, change: Change, contexts: np.ndarray | None = None) -> "LazySequences":
        """Each sequence as `change` makes it, with the same number of steps.

        Args:
            change: of one sequence.
            contexts: (N,) int64 their steps of context, if these change.
        """
        if contexts is None:
            return self._at(self._places, lambda place: change(self._read(place)))
        return LazySequences(lambda i: change(self[i]), self.lengths, contexts)

    def pieces(
        self, indices: np.ndarray, starts: np.ndarray, stops: np.ndarray, contexts: np.ndarray
    ) -> "LazySequences":
        """Pieces of sequences: (P,) which, and from where to where; see `Sequence.slice`."""

        def read(i: int) -> Sequence:
            return self[int(indices[i])].slice(int(starts[i]), int(stops[i]), int(contexts[i]))

        return LazySequences(read, stops - starts, contexts)

    def _at(
        self, places: np.ndarray, read: Callable[[int], Sequence] | None = None
    ) -> "LazySequences":
        return LazySequences(read or self._read, self._lengths, self._contexts, places)
