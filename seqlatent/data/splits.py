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
from seqlatent.text import counted

SPLITS = ("auto", "series", "time")


def split(
    data: SequenceDataset,
    fraction: float,
    by: str = "auto",
    seed: int = 0,
    context: int = 512,
    prediction_length: int | None = None,
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
        prediction_length: H; the split is then by time, in whole windows of H steps: of each
            sequence as many as are nearest to `fraction`, at least one, and no more than leave a
            step to train on. A sequence too short for that is for training alone.

    Raises:
        InputError: when nothing would be left on one side, and for windows of whole series.
    """
    if not 0 < fraction < 1:
        raise InputError(f"valid must lie between 0 and 1, not {fraction:g}")
    if by not in SPLITS:
        raise InputError(f"valid_by '{by}' is not one of {', '.join(SPLITS)}")
    if prediction_length is not None and by == "series":
        raise InputError(
            f"prediction_length={prediction_length} holds out the last steps of every series, and "
            "valid_by=series whole ones; leave one of them out"
        )
    if by == "auto":
        whole = prediction_length is None and SERIES not in data.static_names
        by = "series" if whole and len(data) >= 10 else "time"
    if by == "series":
        held_out = max(1, round(fraction * len(data)))
        if held_out >= len(data):
            raise InputError(
                f"{data.name}: {len(data)} sequence(s) cannot be split by series; use valid_by=time"
            )
        order = np.random.default_rng(seed).permutation(len(data))
        return data[np.sort(order[held_out:])], data[np.sort(order[:held_out])]
    train, valid = [], []  # pieces: which, from where to where, context
    for i, (length, begun) in enumerate(zip(data.lengths, data.contexts, strict=True)):
        if prediction_length is None:
            held_out = max(1, round(fraction * int(length)))
        else:
            num = max(1, round(fraction * int(length) / prediction_length))
            most = (length - begun - 1) // prediction_length
            held_out = min(num, most) * prediction_length
        cut = length - held_out
        if held_out == 0:
            train.append((i, 0, length, begun))
        elif cut > begun:
            train.append((i, 0, cut, begun))
            start = max(0, cut - context) if begun == 0 else 0
            valid.append((i, start, length, cut - start))
    if valid:
        return data.pieces(*zip(*train, strict=True)), data.pieces(*zip(*valid, strict=True))
    if prediction_length is None:
        raise InputError(f"{data.name}: every sequence is too short to hold out its last steps")
    longest = max(data, key=lambda s: len(s) - s.context)
    after = f" after {longest.context} of context" if longest.context else ""
    raise InputError(
        f"{data.name}: no series has more than prediction_length={prediction_length} steps, and so "
        f"no window to hold out; the longest, series '{longest.unique_id}', has "
        f"{counted(len(longest) - longest.context, 'step')}{after}; shorten the prediction length, "
        "or leave it out"
    )


def with_context(data: SequenceDataset, length: int) -> SequenceDataset:
    """The same data with (at least) the first `length` steps of each sequence as context.

    Raises:
        InputError: for a sequence with no step left to score.
    """
    if length == 0:
        return data
    for i in np.flatnonzero(data.lengths <= length):
        s = data.sequences[int(i)]
        begun = 0 if s.past is None else len(s.past)
        if len(s) + begun <= length:
            raise InputError(
                f"{data.name}: series {s.unique_id} has {len(s)} steps, too few for "
                f"context_length={length}"
            )

    def with_length(s: Sequence) -> Sequence:
        begun = 0 if s.past is None else len(s.past)
        return replace(s, context=max(s.context, length - begun))

    return data.changed(with_length, np.maximum(data.contexts, length))


def windows(
    steps: int, begun: int, length: int, context: int, offset: int = 0
) -> Iterator[tuple[int, int, int]]:
    """Cut a sequence into windows of `length` scored steps that cover every scored step once.

    Each window but the first begins with the `context` steps before it. `offset` shortens the first
    window, so that windows begin at other steps in every epoch.

    Args:
        steps, begun: of the sequence, and how many of them are context.
        length, context: of a window.
        offset: any number of steps.

    Returns:
        where each begins and stops, and its context, as for `Sequence.slice`.
    """
    stop = min(steps, begun + length - offset % length)
    yield (0, stop, begun) if begun <= context else (begun - context, stop, context)
    while stop < steps:
        start, stop = stop, min(steps, stop + length)
        begin = max(0, start - context)
        yield begin, stop, start - begin
