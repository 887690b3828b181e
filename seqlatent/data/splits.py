"""Held-out data, and windows of long series.

A piece cut out of a series keeps the steps before it as *context*: they are conditioned on and not
scored, so every score is a part of the series' own log-likelihood.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.sequence import Sequence
from seqlatent.data.statics import SERIES
from seqlatent.errors import InputError

SPLITS = ("auto", "series", "time")


def split(
    data: SequenceDataset, fraction: float, by: str = "auto", seed: int = 0, context: int = 512
) -> tuple[SequenceDataset, SequenceDataset]:
    """Training and validation data.

    Args:
        data: at least one sequence.
        fraction: the share held out, in (0, 1).
        by: `series` holds out whole sequences, chosen at random; `time` each sequence's last steps,
            with at most `context` steps before them as context; `auto` is `series` from ten
            sequences on, unless the sequences themselves are a category, which none of those held
            out would have.
        seed: of that choice.

    Raises:
        InputError: when nothing would be left on one side.
    """
    if not 0 < fraction < 1:
        raise InputError(f"valid must lie between 0 and 1, not {fraction:g}")
    if by not in SPLITS:
        raise InputError(f"valid_by '{by}' is not one of {', '.join(SPLITS)}")
    if by == "auto":
        by = "series" if len(data) >= 10 and SERIES not in data.static_names else "time"
    if by == "series":
        held_out = max(1, round(fraction * len(data)))
        if held_out >= len(data):
            raise InputError(
                f"{data.name}: {len(data)} sequence(s) cannot be split by series; use valid_by=time"
            )
        order = np.random.default_rng(seed).permutation(len(data))
        return data[np.sort(order[held_out:])], data[np.sort(order[:held_out])]
    train, valid = [], []
    for s in data:
        cut = len(s) - max(1, round(fraction * len(s)))
        if cut <= s.context:
            continue
        train.append(s.slice(0, cut, s.context))
        start = max(0, cut - context) if s.context == 0 else 0
        valid.append(s.slice(start, len(s), cut - start))
    if not train:
        raise InputError(f"{data.name}: every sequence is too short to hold out its last steps")
    return replace(data, sequences=tuple(train)), replace(data, sequences=tuple(valid))


def with_context(data: SequenceDataset, length: int) -> SequenceDataset:
    """The same data with (at least) the first `length` steps of each sequence as context.

    Raises:
        InputError: for a sequence with no step left to score.
    """
    if length == 0:
        return data
    for s in data:
        begun = 0 if s.past is None else len(s.past)
        if len(s) + begun <= length:
            raise InputError(
                f"{data.name}: series {s.unique_id} has {len(s)} steps, too few for "
                f"context_length={length}"
            )
    sequences = tuple(
        replace(s, context=max(s.context, length - (0 if s.past is None else len(s.past))))
        for s in data
    )
    return replace(data, sequences=sequences)


def windows(s: Sequence, length: int, context: int, offset: int = 0) -> Iterator[Sequence]:
    """Cut a sequence into windows of `length` scored steps that cover every scored step once.

    Each window but the first begins with the `context` steps before it. `offset` shortens the first
    window, so that windows begin at other steps in every epoch.
    """
    stop = min(len(s), s.context + length - offset % length)
    yield (
        s.slice(0, stop, s.context)
        if s.context <= context
        else s.slice(s.context - context, stop, context)
    )
    while stop < len(s):
        start, stop = stop, min(len(s), stop + length)
        begin = max(0, start - context)
        yield s.slice(begin, stop, start - begin)
