"""The interface of every network over time.

A causal network maps inputs u_{1:T} to features h_{1:T}, where h_t depends on u_{1:t} alone, and
returns a *state* from which it can continue:

    h_{1:T} = net(u_{1:T})   equals   h_{1:s}, state = net(u_{1:s})
                                      h_{s+1:T}, _   = net(u_{s+1:T}, state)

Training reads whole sequences in parallel, sampling reads one step at a time, and scoring reads a
very long sequence in chunks. All three call the same function.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# A state is a tensor or a (named) tuple of states. The batch dimensions of every tensor come first.
State = Any

CACHED = 2048  # rows of a step


def map_state(function: Any, state: State) -> State:
    """Apply `function` to every tensor of a state."""
    if state is None:
        return None
    if isinstance(state, Tensor):
        return function(state)
    mapped = [map_state(function, part) for part in state]
    return type(state)(*mapped) if hasattr(state, "_fields") else tuple(mapped)


def expand_state(state: State, size: int) -> State:
    """The state of `size` sequences that all continue from one; nothing is copied."""
    return map_state(lambda s: s.expand(size, *s.shape[1:]), state)


def repeat_state(state: State, num_paths: int) -> State:
    """The state of N sequences as that of N * num_paths paths, those of a sequence side by side.

    Tensors whose first dimension is 1, because there is one sequence or because all share them, are
    expanded, not copied.
    """
    size = batch_size(state) * num_paths

    def repeat(s: Tensor) -> Tensor:
        if len(s) == 1:
            return s.expand(size, *s.shape[1:])
        return s.repeat_interleave(num_paths, 0)

    return map_state(repeat, state)


def join_states(states: list[State], sizes: list[int]) -> State:
    """Join the states of several batches, of `sizes` sequences; all have the same structure."""
    first = states[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        return torch.cat([s.expand(n, *s.shape[1:]) for s, n in zip(states, sizes, strict=True)])
    parts = [join_states(list(part), sizes) for part in zip(*states, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)


def join_particles(states: list[State]) -> State:
    """Join the states (K, B_i, ...) of the particles of several batches: (K, B, ...)."""
    first = states[0]
    if first is None or len(states) == 1:
        return first
    if isinstance(first, Tensor):
        return torch.cat(states, 1)
    parts = [join_particles(list(part)) for part in zip(*states, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else tuple(parts)


def in_parts(
    function: Callable[[Tensor, State], tuple[Tensor, State]], u: Tensor, state: State
) -> tuple[Tensor, State]:
    """`function(u, state)`, which computes each row by itself, of a step of many paths: faster in
    parts that fit the processor's cache."""
    if len(u) <= 2 * CACHED or u.shape[1] > 1 or u.is_cuda or torch.is_grad_enabled():
        return function(u, state)
    whole: State = None
    for start in range(0, len(u), CACHED):
        some = slice(start, start + CACHED)
        part = function(u[some], map_state(lambda s, some=some: s[some], state))
        if whole is None:
            whole = map_state(lambda s: s.new_empty(len(u), *s.shape[1:]), part)
        _put(part, whole, some)
    return whole


def _put(part: State, whole: State, some: slice) -> None:
    """Copy the state of some rows to its place, while it is in the cache."""
    if isinstance(part, Tensor):
        whole[some] = part
    elif part is not None:
        for own, place in zip(part, whole, strict=True):
            _put(own, place, some)


def batch_size(state: State) -> int:
    """N, the largest first dimension of any tensor."""
    sizes = [1]
    map_state(lambda s: sizes.append(len(s)), state)
    return max(sizes)


class CausalNetwork(nn.Module):
    """A network over time; a subclass defines `scan` over one batch dimension.

    Attributes:
        in_dim, out_dim: sizes of u_t and h_t.
        receptive_field: the number of steps, the current one included, that h_t can depend on; None
            if it can depend on all.
        small_state: whether a state is small and each row has its own, so that steps of many paths
            take less time in parts (`in_parts`).
    """

    in_dim: int
    out_dim: int
    receptive_field: int | None = None
    small_state: bool = False

    def scan(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        """(N, T, in_dim) and a state or None -> (N, T, out_dim) and the state after step T."""
        raise TypeError(f"{type(self).__name__} must define scan")

    def forward(self, u: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Read T more steps.

        Args:
            u: (..., T, in_dim), any leading dimensions, T >= 1.
            state: what an earlier call returned; None at the start of the sequence.

        Returns:
            h: (..., T, out_dim), and the state after the last step.
        """
        lead = u.shape[:-2]
        size = math.prod(lead)  # not -1, which is ambiguous for a state without elements
        flat = map_state(lambda s: s.reshape(size, *s.shape[len(lead) :]), state)
        h, after = self.scan(u.reshape(size, *u.shape[-2:]), flat)
        return h.reshape(*lead, *h.shape[-2:]), map_state(
            lambda s: s.reshape(*lead, *s.shape[1:]), after
        )

    def step(self, u: Tensor, state: State = None) -> tuple[Tensor, State]:
        """Read one step: (..., in_dim) -> (..., out_dim), state."""
        h, after = self(u.unsqueeze(-2), state)
        return h.squeeze(-2), after
