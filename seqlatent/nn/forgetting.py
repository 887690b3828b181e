"""Values that networks read as missing in training, as they will read gaps and wild values."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from seqlatent.data.sequence import Sequence as Series
from seqlatent.nn.prepared import prepare
from seqlatent.nn.scaling import Scaler

FORGOTTEN = 0.03  # of the values: enough for networks to learn what to do after one


def forget(
    sequences: Sequence[Series],
    rngs: Sequence[np.random.Generator],
    scaler: Scaler,
    share: float = FORGOTTEN,
    hide: float = 0.0,
) -> tuple[Series, ...]:
    """Sequences of which networks read a few values as missing, as they will read wild ones, and
    gaps in data to come.

    What comes after such a value is scaled and described as after a missing one: a network that has
    always seen the level of a series with all of its values is lost where one is missing. The
    values keep their densities: nothing is lost of them, unless they are hidden.

    Args:
        sequences: with their scaling, if it has been computed, which is then computed anew.
        rngs: a generator for each.
        scaler: of the model that is trained.
        share: of the values.
        hide: share of those that become missing, and have no density either.
    """
    can_be_wild = scaler.limit.isfinite().cpu().numpy()
    if not (share and can_be_wild.any()) and not hide:
        return tuple(sequences)
    changed = []
    for s, rng in zip(sequences, rngs, strict=True):
        unread = (rng.random(s.x.shape) < share) & can_be_wild
        unread[:1] = False
        x = np.where(rng.random(s.x.shape) < hide, np.nan, s.x) if hide else s.x
        changed.append(replace(s, x=x, unread=unread))
    if all(s.scaled is not None for s in sequences):
        return prepare(scaler, changed)
    return tuple(changed)
