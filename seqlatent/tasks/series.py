"""What streams remember of their series besides the model's state."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from seqlatent.data.description import DataDescription
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.errors import InputError
from seqlatent.tasks.rows import NONE, Before, Parsed


class Series:
    """N series, in the order in which they joined.

    Args:
        description: of the training data.
        seed: of the noise.
        draws: whether reading needs noise.
        alpha: (2, L, D) of a new series, see `seqlatent.tasks.conformal`.

    Attributes:
        names: of the series.
        index: the number of each name.
        kind, last: (N,) the last step, see `seqlatent.tasks.rows`.
        age: (N,) how many steps were read, absent ones included.
        static: (N, S), NaN before the first row.
        lagged: (N, P) past covariates of the last step.
        alpha: (N, 2, L, D) where the ends of the next intervals are.
        generators: a stream of random numbers for each, if reading needs noise.
    """

    def __init__(self, description: DataDescription, seed: int, draws: bool, alpha: np.ndarray):
        self.names: list[str] = []
        self.index: dict[str, int] = {}
        self.kind = np.zeros(0, dtype=np.int64)
        self.last, self.age = self.kind.copy(), self.kind.copy()
        self.static = np.zeros((0, len(description.static_names)))
        self.lagged = np.zeros((0, len(description.past_names)))
        self.alpha = np.zeros((0, *alpha.shape))
        self.generators: list[np.random.Generator] = []
        self._seed, self._draws, self._alpha = seed, draws, alpha

    def join(self, names: Sequence[str]) -> None:
        """Add series.

        Raises:
            InputError: for one that is there already.
        """
        for name in names:
            if name in self.index:
                raise InputError(f"the series '{name}' is in the stream twice")
            self.index[name] = len(self.names)
            self.names.append(name)
        count = len(self.names) - len(self.kind)
        none = np.zeros(count, dtype=np.int64)
        self.kind = np.concatenate([self.kind, none + NONE])
        self.last, self.age = (np.concatenate([part, none]) for part in (self.last, self.age))
        self.static, self.lagged = (
            np.concatenate([part, np.full((count, part.shape[1]), np.nan)])
            for part in (self.static, self.lagged)
        )
        new = np.broadcast_to(self._alpha, (count, *self._alpha.shape))
        self.alpha = np.concatenate([self.alpha, new])
        if self._draws:
            self.generators += SequenceNoise(names, self._seed).streams

    def at(self, names: Sequence[str]) -> np.ndarray:
        """(n,) the numbers of some series."""
        if names is self.names:
            return np.arange(len(names))
        return np.array([self.index[name] for name in names], dtype=np.int64)

    def before(self, names: Sequence[str]) -> Before:
        """What is known of series before their next rows; of one that has not joined, nothing."""
        if names is self.names:
            return Before(names, self.kind, self.last, self.static, self.lagged)
        at = np.array([self.index.get(name, -1) for name in names], dtype=np.int64)
        new = at < 0
        if new.all():
            none = np.zeros(len(at), dtype=np.int64)
            nothing = (np.full((len(at), p.shape[1]), np.nan) for p in (self.static, self.lagged))
            return Before(names, none, none, *nothing)
        static, lagged = self.static[at], self.lagged[at]
        static[new] = lagged[new] = np.nan
        kind = np.where(new, NONE, self.kind[at])
        return Before(names, kind, np.where(new, 0, self.last[at]), static, lagged)

    def after(self, at: np.ndarray, parsed: Parsed) -> None:
        """Remember the rows that were read."""
        self.kind[at], self.last[at] = parsed.kind, parsed.step
        self.static[at], self.lagged[at] = parsed.static, parsed.past

    def streams(self, at: np.ndarray) -> list[np.random.Generator]:
        """The streams of random numbers of some series; none where reading needs no noise."""
        return [self.generators[i] for i in at] if self._draws else []

    def noise_state(self) -> list[Any]:
        """The states of the streams of random numbers, of whole numbers alone."""
        found = []
        for generator in self.generators:
            state: Any = generator.bit_generator.state
            inner = state["state"]
            found.append([inner["state"], inner["inc"], state["has_uint32"], state["uinteger"]])
        return found

    def set_noise_state(self, states: list[Any]) -> None:
        """Let the streams of random numbers go on from what `noise_state` returned."""
        for generator, (state, inc, has, last) in zip(self.generators, states, strict=True):
            generator.bit_generator.state = {
                "bit_generator": "PCG64",
                "state": {"state": state, "inc": inc},
                "has_uint32": has,
                "uinteger": last,
            }
