"""The base class of processes with hidden states: what was hidden, and the best guess of it."""

from abc import abstractmethod
from collections.abc import Callable

import numpy as np

from seqlatent.data.dataset import SequenceDataset
from seqlatent.processes.base import Process


class StateProcess(Process):
    """A process whose values depend on hidden states, and which can infer them.

    The states of a step are S numbers or, where `num_regimes` is K > 0, one of K regimes. No
    function of the values recovers numbers with a smaller mean square error than `filter` and
    `smooth`, their posterior means; none recovers regimes more often than the most probable one.
    """

    @property
    def num_regimes(self) -> int:
        """K, or 0 where states are numbers."""
        return 0

    @property
    @abstractmethod
    def state_names(self) -> tuple[str, ...]:
        """A word for each of the S states, or `("regime",)`."""

    def sample_with_states(
        self, num_sequences: int, length: int, seed: int
    ) -> tuple[SequenceDataset, np.ndarray]:
        """The data set that `sample` gives for this seed, and its states: (N, T, S) numbers, or
        (N, T) regimes 0, ..., K - 1.

        Raises:
            InputError: if there is no sequence or no step to sample.
        """
        data = self.sample(num_sequences, length, seed)
        _, states = self._sample_states(np.random.default_rng(seed), num_sequences, length)
        return data, states

    def filter(self, x: np.ndarray) -> np.ndarray:
        """E[states_t | x_{<=t}] of values (N, T, D): (N, T, S), or (N, T, K) probabilities.

        Raises:
            InputError: for another shape, or values outside the domain.
        """
        return self._inferred(self._filter, x)

    def smooth(self, x: np.ndarray) -> np.ndarray:
        """E[states_t | x_{1:T}] of values (N, T, D): (N, T, S), or (N, T, K) probabilities.

        Raises:
            InputError: for another shape, or values outside the domain.
        """
        return self._inferred(self._smooth, x)

    def _inferred(self, infer: Callable[[np.ndarray], np.ndarray], x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, dtype=np.float64)
        self._check(x, [str(i) for i in range(len(x))])
        return infer(x)

    def _sample(self, rng: np.random.Generator, N: int, T: int) -> np.ndarray:
        return self._sample_states(rng, N, T)[0]

    @abstractmethod
    def _sample_states(
        self, rng: np.random.Generator, N: int, T: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Sample values (N, T, D) and their states, (N, T, S) or (N, T)."""

    @abstractmethod
    def _filter(self, x: np.ndarray) -> np.ndarray:
        """`filter` of values that lie in the domain."""

    @abstractmethod
    def _smooth(self, x: np.ndarray) -> np.ndarray:
        """`smooth` of values that lie in the domain."""
