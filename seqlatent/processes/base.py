"""The base class of simulated processes, and what they share."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence as Seq
from dataclasses import replace
from typing import ClassVar

import numpy as np

from seqlatent.data.dataset import SequenceDataset
from seqlatent.errors import InputError


class Process(ABC):
    """A distribution over sequences that can be sampled and scored.

    Attributes:
        kind: of `log_prob`: `exact`, or `smc`, an estimate by particles of the process itself.
        domain: the values that it scores, in words.
    """

    kind: ClassVar[str] = "exact"
    domain: ClassVar[str] = "finite values, none of them missing"

    @property
    def num_channels(self) -> int:
        """D, the number of values at each step."""
        return 1

    @property
    def labels(self) -> tuple[str, ...]:
        """What the codes 0, 1, ... stand for; empty where values are numbers."""
        return ()

    def sample(self, num_sequences: int, length: int, seed: int) -> SequenceDataset:
        """Sample N independent sequences of T steps; the same seed gives the same sequences.

        Raises:
            InputError: if there is no sequence or no step to sample.
        """
        require(
            num_sequences >= 1 and length >= 1,
            f"a sample needs at least one sequence and at least one step, not "
            f"num_sequences={num_sequences}, length={length}",
        )
        x = self._sample(np.random.default_rng(seed), num_sequences, length)
        data = SequenceDataset.from_arrays(x, name=f"{type(self).__name__} sample")
        return replace(data, categories={t: self.labels for t in data.targets if self.labels})

    def log_prob_steps(self, x: np.ndarray) -> np.ndarray:
        """(N, T) log p(x_t | x_{<t}) in nats, of values (N, T, D).

        Raises:
            InputError: for another shape, or values outside the domain.
        """
        x = np.asarray(x, dtype=np.float64)
        return self._checked_log_prob_steps(x, [str(i) for i in range(len(x))])

    def log_prob(self, dataset: SequenceDataset) -> np.ndarray:
        """(N,) log-likelihoods in nats: of each sequence after its context, given the context.

        Raises:
            InputError: for another number of channels, or values outside the domain.
        """
        lengths = dataset.lengths
        # Steps past a sequence's end may hold any number: a causal process never looks ahead.
        x = np.zeros((len(dataset), lengths.max(initial=0), dataset.num_channels))
        for row, sequence in zip(x, dataset, strict=True):
            row[: len(sequence)] = sequence.x
        steps = self._checked_log_prob_steps(x, [s.unique_id for s in dataset])
        return np.array(
            [row[s.context : len(s)].sum() for row, s in zip(steps, dataset, strict=True)]
        )

    def _checked_log_prob_steps(self, x: np.ndarray, names: Seq[str]) -> np.ndarray:
        self._check(x, names)
        return self._log_prob_steps(x)

    def _check(self, x: np.ndarray, names: Seq[str]) -> None:
        process = type(self).__name__
        require(
            x.ndim == 3 and x.shape[2] == self.num_channels,
            f"{process} scores values of shape (N, T, {self.num_channels}), not {x.shape}",
        )
        outside = np.argwhere(~self._in_domain(x))
        if len(outside):
            n, t, d = outside[0]
            raise InputError(
                f"sequence '{names[n]}' has the value {x[n, t, d]} at step {t}; {process} scores "
                f"only {self.domain}"
            )

    def _in_domain(self, x: np.ndarray) -> np.ndarray:
        return np.isfinite(x)

    @abstractmethod
    def _sample(self, rng: np.random.Generator, N: int, T: int) -> np.ndarray:
        """Sample values (N, T, D)."""

    @abstractmethod
    def _log_prob_steps(self, x: np.ndarray) -> np.ndarray:
        """(N, T) log p(x_t | x_{<t}), of values (N, T, D) that lie in the domain."""


def require(condition: bool, sentence: str) -> None:
    if not condition:
        raise InputError(sentence)


def require_scale(name: str, value: float) -> None:
    require(0 < value < math.inf, f"{name} must be positive and finite, not {value}")


def lag(x: np.ndarray, steps: int) -> np.ndarray:
    """(N, T) x_{t-steps}, with zeros before the first step."""
    return np.pad(x, ((0, 0), (steps, 0)))[:, : x.shape[1]]


def normal_log_prob(x: np.ndarray, loc: np.ndarray, scale: np.ndarray | float) -> np.ndarray:
    return -0.5 * ((x - loc) / scale) ** 2 - np.log(scale) - 0.5 * math.log(2 * math.pi)
