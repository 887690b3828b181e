"""Values that networks read as missing in training, as they will read gaps and wild values."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from seqlatent.data.sequence import Sequence as Series
from seqlatent.nn.prepared import prepare
from seqlatent.nn.scaling import Scaler

GAPS = 0.03  # of the values begin a gap: enough for networks to learn what to do after one
SINGLE = 2 / 3  # of the gaps are of one step for certain, as wild values are
LONGER = 4.0  # steps of the others, on average; a quarter of these have one too


def forget(
    sequences: Sequence[Series],
    rngs: Sequence[np.random.Generator],
    scaler: Scaler,
    gaps: float = GAPS,
    hide: float = 0.0,
) -> tuple[Series, ...]:
    """Sequences of which networks read a few values as missing, as they will read wild ones, and
    gaps in data to come. (Regimes and blocks of a diffusion still learn of these values.)

    What comes after such a value is scaled and described as after a missing one: a network that has
    always seen the level of a series with all of its values is lost where one is missing. The
    values keep their densities: nothing is lost of them, unless they are hidden.

    Seasonal differences meet a gap again one season later, where no flag tells of it. Such data are
    read as they are: with gaps, forecasts of m4_hourly before the test were worse.

    Args:
        sequences: with their scaling, if it has been computed, which is then computed anew.
        rngs: a generator for each.
        scaler: of the model that is trained.
        gaps: share of the values that begin a gap.
        hide: share of the values that become missing, and have no density either.
    """
    can_be_wild = learnt_channels(scaler)
    if not (gaps and can_be_wild.any()) and not hide:
        return tuple(sequences)
    changed = []
    for s, rng in zip(sequences, rngs, strict=True):
        unread = _gaps(s.x.shape, gaps, rng) & can_be_wild
        unread[:1] = False
        x = np.where(rng.random(s.x.shape) < hide, np.nan, s.x) if hide else s.x
        changed.append(replace(s, x=x, unread=unread if unread.any() else None))
    if all(s.scaled is not None for s in sequences):
        return prepare(scaler, changed)
    return tuple(changed)


def learnt_channels(scaler: Scaler) -> np.ndarray:
    """(D,) bool: the channels of which a network learns to read gaps."""
    return scaler.limit.isfinite().cpu().numpy() & ("seasonal" not in scaler.words)


def _gaps(shape: tuple[int, ...], share: float, rng: np.random.Generator) -> np.ndarray:
    """(T, D) bool: gaps, of one step or of geometric length. A gap in all channels begins as often
    as one in a given channel."""
    steps, channels = shape
    inside = np.zeros(shape, dtype=bool)
    for width in (1, channels):
        begins, places = np.nonzero(rng.random((steps, width)) < share / 2)
        longer = rng.random(len(begins)) >= SINGLE
        lengths = np.where(longer, rng.geometric(1 / LONGER, len(begins)), 1)
        ends = np.minimum(begins + lengths, steps)
        change = np.zeros((steps + 1, width), dtype=np.int64)
        np.add.at(change, (begins, places), 1)
        np.add.at(change, (ends, places), -1)
        inside |= change[:-1].cumsum(0) > 0
    return inside
