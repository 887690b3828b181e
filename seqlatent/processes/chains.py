"""Hidden Markov chains of regimes: the forward and the backward algorithm (Baum, Petrie, Soules and
Weiss, 1970), in log space.

The values may depend on their own past too (Hamilton, 1989): all that is asked for is
log p(x_t | x_{<t}, s_t) for each regime.
"""

from abc import abstractmethod
from typing import NamedTuple

import numpy as np

from seqlatent.processes.hidden import StateProcess


class Chain(NamedTuple):
    """Values (N, T, D) seen by a chain of K regimes: log_emission (N, T, K) log p(x_t | x_{<t},
    s_t), log_start (K,) log p(s_1), log_transition (K, K) log p(s_t = k | s_{t-1} = j)."""

    log_emission: np.ndarray
    log_start: np.ndarray
    log_transition: np.ndarray


class ChainProcess(StateProcess):
    """A process with hidden regimes s_t; its states are computed exactly."""

    @property
    def state_names(self) -> tuple[str, ...]:
        return ("regime",)

    @abstractmethod
    def _chain(self, x: np.ndarray) -> Chain:
        """What the chain sees of values (N, T, D)."""

    def _log_prob_steps(self, x: np.ndarray) -> np.ndarray:
        return forward(self._chain(x))[0]

    def _filter(self, x: np.ndarray) -> np.ndarray:
        return np.exp(forward(self._chain(x))[1])

    def _smooth(self, x: np.ndarray) -> np.ndarray:
        chain = self._chain(x)
        log_smooth = forward(chain)[1] + backward(chain)
        return np.exp(log_smooth - np.logaddexp.reduce(log_smooth, axis=-1, keepdims=True))


def forward(chain: Chain) -> tuple[np.ndarray, np.ndarray]:
    """(N, T) log p(x_t | x_{<t}) and (N, T, K) log p(s_t | x_{<=t})."""
    log_emission = chain.log_emission
    N, T, K = log_emission.shape
    log_prob, log_filter = np.empty((N, T)), np.empty((N, T, K))
    log_state = np.broadcast_to(chain.log_start, (N, K))  # log p(s_t | x_{<t})
    for t in range(T):
        log_joint = log_state + log_emission[:, t]
        log_prob[:, t] = np.logaddexp.reduce(log_joint, axis=1)
        log_filter[:, t] = log_joint - log_prob[:, t, None]
        log_moves = log_filter[:, t, :, None] + chain.log_transition
        log_state = np.logaddexp.reduce(log_moves, axis=1)
    return log_prob, log_filter


def backward(chain: Chain) -> np.ndarray:
    """(N, T, K) log p(x_{t+1:T} | x_{<=t}, s_t)."""
    N, T, K = chain.log_emission.shape
    log_future = np.zeros((N, T, K))
    for t in range(T - 2, -1, -1):
        log_ahead = chain.log_emission[:, t + 1] + log_future[:, t + 1]
        log_future[:, t] = np.logaddexp.reduce(chain.log_transition + log_ahead[:, None], axis=2)
    return log_future


def sample_chain(
    rng: np.random.Generator, N: int, T: int, start: np.ndarray, transition: np.ndarray
) -> np.ndarray:
    """(N, T) regimes of N chains with the start (K,) and the transition (K, K)."""
    # The regime is the number of boundaries of its cumulative distribution that u has passed.
    u = rng.random((N, T))
    first, bounds = np.cumsum(start)[:-1], np.cumsum(transition, axis=1)[:, :-1]
    s = np.empty((N, T), dtype=np.int64)
    s[:, 0] = (u[:, 0, None] >= first).sum(axis=1)
    for t in range(1, T):
        s[:, t] = (u[:, t, None] >= bounds[s[:, t - 1]]).sum(axis=1)
    return s
