"""Held-out data, windows and batches: every value is scored once, and none leaks."""

import numpy as np
import pytest
from cases import dataset

from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription, resolution
from seqlatent.data.sequence import Sequence
from seqlatent.data.splits import split, windows, with_context
from seqlatent.errors import InputError
from seqlatent.training.batches import TrainingBatches
from seqlatent.training.options import TrainingOptions, choose_batch_size, choose_window


def series(length: int, context: int = 0) -> Sequence:
    x = np.arange(length, dtype=float)[:, None]
    return Sequence("a", np.arange(length), x, np.zeros((length, 0)), context)


def test_split_by_series_holds_out_whole_sequences():
    data = dataset(num=20)
    train, valid = split(data, 0.25, "series", seed=1)
    assert (len(train), len(valid)) == (15, 5)
    names = [s.unique_id for s in train] + [s.unique_id for s in valid]
    assert sorted(names) == sorted(s.unique_id for s in data)
    again = split(data, 0.25, "series", seed=1)[1]
    assert [s.unique_id for s in again] == [s.unique_id for s in valid]
    assert [s.unique_id for s in split(data, 0.25, seed=2)[1]] != [s.unique_id for s in valid]


def test_split_by_time_holds_out_last_steps_with_context():
    data = SequenceDataset((series(100), series(7)), ("y",))
    train, valid = split(data, 0.2, "time", context=30)
    assert [len(s) for s in train] == [80, 6]
    assert [(len(s), s.context) for s in valid] == [(50, 30), (7, 6)]
    np.testing.assert_array_equal(valid.sequences[0].ds[30:], np.arange(80, 100))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_split_refuses_shares_out_of_range(fraction: float):
    with pytest.raises(InputError, match="between 0 and 1"):
        split(dataset(), fraction)


@pytest.mark.parametrize("offset", [0, 1, 7, 31])
@pytest.mark.parametrize("own_context", [0, 5, 20])
def test_windows_score_every_step_once(offset: int, own_context: int):
    s = series(103, own_context)
    scored = []
    for start, stop, context in windows(len(s), s.context, 16, 9, offset):
        w = s.slice(start, stop, context)
        assert len(w) - w.context <= 16
        assert w.context <= max(9, 0) or w.ds[0] == 0
        np.testing.assert_array_equal(w.x[:, 0], w.ds)
        scored += w.ds[w.context :].tolist()
        if w.ds[w.context] > own_context:
            assert w.context == min(9, w.ds[w.context])
    assert scored == list(range(own_context, 103))


def test_training_batches_are_a_function_of_seed_and_step():
    data = SequenceDataset(tuple(series(n) for n in (40, 90, 55)), ("y",))
    batches = TrainingBatches(data, 4, (16, 8), seed=3)
    first = [[tuple(s.ds) for s in batches.sequences(k)] for k in range(12)]
    again = TrainingBatches(data, 4, (16, 8), seed=3)
    assert [tuple(s.ds) for s in again.sequences(11)] == first[11]
    assert [tuple(s.ds) for s in again.sequences(2)] == first[2]
    other = TrainingBatches(data, 4, (16, 8), seed=4)
    assert [[tuple(s.ds) for s in other.sequences(k)] for k in range(12)] != first


@pytest.mark.parametrize(
    ("long", "short"),
    [
        ((3, 10_000), (500, 20)),
        ((3, 10_000), (20, 20)),
        ((1, 3000), (8, 20)),
        ((2, 500), (500, 20)),
    ],
)
def test_neither_long_nor_short_series_starve(long: tuple[int, int], short: tuple[int, int]):
    """The weight of the long series in the gradients of an epoch lies between their shares of all
    series and of all steps: a loss is a mean over the scored steps of its batch."""
    (num, length), (others, steps) = long, short
    data = SequenceDataset.from_list([np.zeros(length)] * num + [np.zeros(steps)] * others)
    options = TrainingOptions()
    window = choose_window(data, options)
    batches = TrainingBatches(data, choose_batch_size(data, options, window), window)
    weight, scored, step = 0.0, 0, 0
    while batches.epoch(step) == 0:
        pieces = batches.sequences(step)
        counts = np.array([len(s) - s.context for s in pieces])
        of_long = np.array([int(s.unique_id) < num for s in pieces])
        weight += counts[of_long].sum() / counts.sum()
        scored, step = scored + counts.sum(), step + 1
    total = num * length + others * steps
    assert scored == total
    assert 2 * num / (num + others) < weight / step < num * length / total
    if num * length > others * steps:  # most of the steps: of the weight they have a fifth or more
        assert 0.2 < weight / step < 0.9


def test_an_epoch_holds_every_sequence_once():
    data = dataset(num=11, steps=9)
    batches = TrainingBatches(data, 4, None, seed=0)
    for epoch in range(2):
        steps = [k for k in range(6) if batches.epoch(k) == epoch]
        seen = [s.unique_id for k in steps for s in batches.sequences(k)]
        assert sorted(seen, key=int) == [str(i) for i in range(11)]


def test_with_context_names_the_series_that_is_too_short():
    with pytest.raises(InputError, match="series a has 7 steps, too few for context_length=7"):
        with_context(SequenceDataset((series(7),), ("y",)), 7)


def test_collate_pads_with_zeros_and_marks_what_was_observed():
    a, b = series(3), series(5, context=2)
    a.x[1] = np.nan
    batch = collate([a, b])
    assert batch.x[0, 1:, 0].tolist() == [0, 2, 0, 0]
    assert batch.observed[0, :, 0].tolist() == [True, False, True, False, False]
    assert batch.scored.tolist() == [[True, False, True, False, False], [False, False] + [True] * 3]
    part = batch.steps(2, 4)
    assert part.lengths.tolist() == [1, 2]
    assert part.scored.tolist() == [[True, False], [True, True]]


@pytest.mark.parametrize("factor", [1.0, 2.54, 1e-3])
def test_resolution_finds_a_grid_in_any_unit(factor: float):
    rng = np.random.default_rng(0)
    gridded = np.round(rng.normal(20, 3, 500), 1)
    assert resolution(gridded * factor - 4 * factor) == pytest.approx(0.1 * factor, rel=1e-6)
    assert resolution(rng.normal(20, 3, 500) * factor) == 0
    assert resolution(np.full(10, 3.0)) == 0


def test_description_survives_json():
    import json

    description = DataDescription.of(dataset(num=3, channels=2))
    assert DataDescription.from_json(json.loads(json.dumps(description.to_json()))) == description


def test_batches_are_of_like_size():
    """A last batch of two sequences would weigh as much as the others."""
    data = SequenceDataset.from_list([np.zeros(5)] * 18)
    batches = TrainingBatches(data, 8)
    assert sorted(len(batches.sequences(step)) for step in range(3)) == [6, 6, 6]
    assert batches.epoch(3) == 1
