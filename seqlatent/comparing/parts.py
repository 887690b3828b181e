"""The data of a comparison: what trains, what is held out for choices, and what tests at the end.

    whole series     |---- train ----|- held out -|--- test ---|     some series each
    a few long ones  |---- train ---------|- held out -|--- test ---|     of every series in time

The test part is touched by no fit: neither parameters nor scaling, options or the end of training
depend on it.
"""

from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from seqlatent.data.calendar import choose_cycles, with_cycles
from seqlatent.data.catalog import usual_parts
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.readers import load, load_like
from seqlatent.data.season import season_of
from seqlatent.data.sequence import Sequence
from seqlatent.data.splits import split
from seqlatent.data.steps import show_step
from seqlatent.errors import InputError
from seqlatent.options import check_count, is_number
from seqlatent.training.dividing import Division, divide

FROM = " from "  # between the name of a series and the first step of its window
SHARE = 0.2  # of the test part, where nothing else says what it is
CONTEXT = 512  # steps before a test part, or a window of it, that models are given at the most
MAX_STEPS = 24  # ahead, where there is no season
MAX_WINDOWS = 100  # that are forecast
DRAWN_LENGTH, FEW_PIECES, MAX_PIECES = 128, 30, 300  # steps and numbers of drawn sequences


@dataclass(frozen=True)
class Parts:
    """The data of all fits and of all tests.

    Attributes:
        division: what trains, and what is held out for choices.
        test: what tests, with earlier steps as context where it continues series.
        rule: how the test part was chosen, in words.
    """

    division: Division
    test: SequenceDataset
    rule: str

    @property
    def continues(self) -> bool:
        """Whether the test part is the later steps of series."""
        return any(s.context for s in self.test)


def divide_in_three(
    data: Any, test: Any, valid: Any, training: dict[str, Any], *, calendar: str, seed: int
) -> Parts:
    """Divide data for a comparison.

    Args:
        data: whatever `seqlatent.load` reads.
        test: the share that tests, or data of its own; None: the test part of a bundled set, and
            of other data a fifth.
        valid: of what is left, the share that is held out for choices, or data of its own.
        training: options of training by name.
        calendar: as of a fit.
        seed: of the choice of whole series.

    Raises:
        InputError: for data or options that cannot be used.
    """
    data = load(data)
    data = with_cycles(data, choose_cycles(calendar, data))
    usual = usual_parts(data) if test is None else None
    if usual is not None:
        rest, tested, rule = usual
    elif test is None or is_number(test):
        share = SHARE if test is None else float(test)
        if not 0 < share < 1:
            raise InputError(f"test={share:g} must lie between 0 and 1, or be data (--test)")
        rest, tested = split(data, share, seed=seed)
        what = "the last steps of every series" if tested.sequences[0].context else "whole series"
        rule = f"{share:.0%} of the data, {what}, are the test part"
    else:
        rest, tested, rule = data, load_like(test, data), "the test part was given"
    division = divide(rest, valid, training, calendar="none", seed=seed)
    return Parts(division, replace(tested, sequences=tuple(map(_shortened, tested))), rule)


def steps_ahead(parts: Parts, prediction_length: int | None) -> tuple[int, int, int]:
    """(H, W, step) of the forecasts: steps ahead, windows of each series, and steps from one window
    to the next.

    By default H is a season, if the test part holds two, else a quarter of it and at most 24.

    Raises:
        InputError: for a prediction length that is no count.
    """
    room = int(np.median([len(s) - s.context for s in parts.test]))
    if prediction_length is None:
        season = season_of(parts.division.whole)
        usual = season if season > 1 and 2 * season <= room else min(MAX_STEPS, room // 4)
        length = max(1, usual)
    else:
        length = check_count("prediction_length", prediction_length)
    fits = room // length if parts.continues else room // 2 // length
    windows = max(1, min(fits, MAX_WINDOWS // len(parts.test)))
    return length, windows, max(length, room // windows if parts.continues else length)


def spread_out(data: SequenceDataset, most: int) -> SequenceDataset:
    """At most so many of the sequences, at equal distances."""
    if len(data) <= most:
        return data
    return data[np.linspace(0, len(data) - 1, most).round().astype(int).tolist()]


def pieces_to_draw(parts: Parts, length: int) -> SequenceDataset:
    """What each model draws once more: pieces of equal length, without gaps, whose steps before are
    their context.

    Whole series are drawn from nothing, their first steps. Of continued series there are windows,
    each given its past: of H steps, or shorter ones where there would be fewer than thirty.

    Returns:
        pieces, maybe none where there are gaps everywhere.
    """
    test = parts.test
    lengths = [len(s) - s.context for s in test]
    if parts.continues:
        size = max(2, min(length, DRAWN_LENGTH, sum(lengths) // FEW_PIECES))
        cut = [p for s in test for p in _windows(s, s.context, size)]
    else:
        size = min(int(np.median(lengths)), DRAWN_LENGTH)
        cut = [s.slice(0, size) for s in test if len(s) >= size]
    whole = [p for p in cut if np.isfinite(p.x[p.context :]).all()]
    return spread_out(replace(test, sequences=tuple(whole)), MAX_PIECES)


def training_windows(parts: Parts, size: int) -> np.ndarray:
    """(L, size, D) windows of the training data without gaps, as real ones are cut."""
    cut: Seq[Sequence] = [
        p
        for s in parts.division.train
        for p in (_windows(s, 0, size) if parts.continues else [s.slice(0, min(size, len(s)))])
    ]
    kept = [p.x[p.context :] for p in cut if len(p) - p.context == size]
    kept = [x for x in kept if np.isfinite(x).all()]
    return np.stack(kept) if kept else np.zeros((0, size, parts.test.num_channels))


def _windows(s: Sequence, first: int, size: int) -> list[Sequence]:
    """Windows side by side from step `first` on, each with the steps before it as context."""
    starts = range(first, len(s) - size + 1, size)
    pieces = [_shortened(s.slice(0, start + size, start)) for start in starts]
    return [
        replace(p, unique_id=f"{s.unique_id}{FROM}{_short(s.ds[start])}")
        for p, start in zip(pieces, starts, strict=True)
    ]


def _short(step: np.generic) -> str:
    """A step as text: a date alone where all is midnight."""
    return show_step(step).removesuffix(" 00:00:00")


def _shortened(s: Sequence) -> Sequence:
    """With no more context than models are given; scaling still knows all values before."""
    first = max(0, s.context - CONTEXT)
    return s.slice(first, len(s), s.context - first) if first else s
