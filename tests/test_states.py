"""States of many series: whatever is read together, each has its own, and little memory is held."""

import numpy as np
import torch

from seqlatent.tasks.states import States


def test_series_keep_their_own_states_however_they_are_grouped():
    """A counter for each of 40 series, and a cache that grows by steps and is cut: series of
    different ages differ in structure. One tensor is shared by all."""
    rng, states, ages = np.random.default_rng(0), States(), np.zeros(40, dtype=int)
    names = torch.arange(40.0)[:, None]
    states.add(40, (names, torch.zeros(40, 0), None, torch.ones(1, 2)))
    for _ in range(200):
        some = np.flatnonzero(rng.random(40) < rng.choice([0.02, 0.5, 1.0]))
        if not len(some):
            continue
        seen = []
        for places, (own, cache, nothing, shared) in states.groups(rng.permutation(some)):
            numbers = own[:, 0].int().numpy()
            assert len(own) == len(places) == len(cache)
            assert nothing is None
            assert (shared == 1).all()
            for number, row in zip(numbers, cache, strict=True):
                last = torch.arange(ages[number], dtype=row.dtype)[-3:]
                assert row.tolist() == (100 * number + last).tolist()
            step = 100 * own + torch.from_numpy(ages[numbers])[:, None]
            states.put(numbers, (own, torch.cat([cache, step], 1)[:, -3:], nothing, shared))
            ages[numbers] += 1
            seen += numbers.tolist()
        assert sorted(seen) == some.tolist()
        held = {id(b): len(b.members) for b in states._block}
        assert sum(held.values()) <= 2 * 40
    again = States.of(states.blocks())
    for number in range(40):
        (found,) = again.groups(np.array([number]))
        assert found.state[0].item() == number
    assert len(again) == 40
