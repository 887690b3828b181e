"""States of many series, kept in blocks that are read together.

Series whose states have the same structure (as many steps in a cache, say) can be read in one call.
A block holds some of them side by side. Where all of a block is read, nothing is copied; where some
are, they are taken out and become a block of their own.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from seqlatent.nn.causal import State, join_states, map_state


class Block:
    """Series side by side.

    Attributes:
        members: (n,) numbers of the series when they were put here.
        state: of the n series; tensors of one row are those of all.
        live: how many are still here.
    """

    def __init__(self, members: np.ndarray, state: State):
        self.members, self.state, self.live = members, state, len(members)

    def rows(self, rows: np.ndarray) -> State:
        """The state of some rows."""
        size = len(self.members)
        if size == 1 or (len(rows) == size and bool((rows == np.arange(size)).all())):
            return self.state
        chosen = torch.from_numpy(rows)
        return map_state(lambda s: s if len(s) == 1 else s[chosen.to(s.device)], self.state)


class Group(NamedTuple):
    """Series that are read together: their places among those asked for, and their state."""

    places: np.ndarray
    state: State


class States:
    """The states of series 0, 1, ..., N - 1."""

    def __init__(self) -> None:
        self._block: list[Block] = []
        self._row: list[int] = []

    def __len__(self) -> int:
        return len(self._block)

    def add(self, count: int, state: State) -> None:
        """Add series, with the state of all of them."""
        self._settle(Block(np.arange(len(self), len(self) + count), state), new=True)

    def groups(self, numbers: np.ndarray) -> Iterator[Group]:
        """The states of some series, those that can be read together in one group."""
        first = self._block[numbers[0]]
        if first.live == len(first.members) and np.array_equal(first.members, numbers):
            yield Group(np.arange(len(numbers)), first.state)
            return
        parts: dict[Block, list[int]] = {}
        for place, number in enumerate(numbers):
            parts.setdefault(self._block[number], []).append(place)
        joined: dict[Any, list[Group]] = {}
        for block, places in parts.items():
            rows = np.array([self._row[numbers[place]] for place in places])
            state = block.rows(rows)
            joined.setdefault(form(state), []).append(Group(np.array(places), state))
        for same in joined.values():
            if len(same) == 1:
                yield same[0]
                continue
            sizes = [len(g.places) for g in same]
            state = join_states([g.state for g in same], sizes)
            yield Group(np.concatenate([g.places for g in same]), state)

    def put(self, numbers: np.ndarray, state: State) -> None:
        """Set the states of some series, which were read together."""
        block = self._block[numbers[0]]
        if block.live == len(block.members) and np.array_equal(block.members, numbers):
            block.state = state
            return
        self._settle(Block(numbers.copy(), state))

    def _settle(self, block: Block, new: bool = False) -> None:
        left: set[Block] = set()
        for row, number in enumerate(block.members):
            if new:
                self._block.append(block)
                self._row.append(row)
                continue
            old = self._block[number]
            old.live -= 1
            left.add(old)
            self._block[number], self._row[number] = block, row
        for old in left:
            if 0 < old.live <= len(old.members) // 2:  # what nobody needs any more takes memory
                self._compact(old)

    def _compact(self, block: Block) -> None:
        rows = np.array([r for r, number in enumerate(block.members) if
                         self._block[number] is block and self._row[number] == r])  # fmt: skip
        block.state, block.members = block.rows(rows), block.members[rows]
        for row, number in enumerate(block.members):
            self._row[number] = row

    def blocks(self) -> list[tuple[np.ndarray, State]]:
        """All series, in blocks: their numbers and their state."""
        found = []
        for block in dict.fromkeys(self._block):
            self._compact(block)
            found.append((block.members, block.state))
        return found

    @classmethod
    def of(cls, blocks: list[tuple[np.ndarray, State]]) -> "States":
        """What `blocks` returned."""
        found: dict[int, tuple[Block, int]] = {}
        for members, state in blocks:
            block = Block(members, state)
            found |= {int(number): (block, row) for row, number in enumerate(members)}
        made = cls()
        made._block = [found[number][0] for number in range(len(found))]
        made._row = [found[number][1] for number in range(len(found))]
        return made


def form(state: State) -> Any:
    """The structure of a state, which must be equal for states to be joined."""
    if state is None:
        return None
    if isinstance(state, torch.Tensor):
        return (state.shape[1:], state.dtype)
    return tuple(form(part) for part in state)
