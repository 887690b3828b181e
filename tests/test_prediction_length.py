"""Validation on the last windows of every series, as forecasts of that length will meet them."""

from dataclasses import replace

import numpy as np
import pytest

import seqlatent as sl
from seqlatent.api import Model
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.splits import split
from seqlatent.errors import InputError
from seqlatent.processes import PROCESSES
from seqlatent.several.auto import Auto
from seqlatent.training.batches import TrainingBatches

H = 4


def counting(*lengths: int) -> SequenceDataset:
    """Series whose values are all different."""
    x = np.split(np.arange(sum(lengths), dtype=float), np.cumsum(lengths)[:-1])
    return SequenceDataset.from_list(x)


def values(data: SequenceDataset) -> set[float]:
    """All values that pieces of data hold, those that they remember of their past included."""
    parts = [s.x.ravel() for s in data] + [s.past.ravel() for s in data if s.past is not None]
    return set(np.concatenate(parts).tolist())


def scored(data: SequenceDataset) -> list[list[float]]:
    return [s.x[s.context :, 0].tolist() for s in data]


def windows_of(data: SequenceDataset, num: int, whole: int) -> list[SequenceDataset]:
    """The last `whole` windows of every series, each given all that came before: `num` of them."""
    pieces = []
    for back in range(whole, whole - num, -1):
        ends = [(s, len(s) - (back - 1) * H) for s in data]
        cut = tuple(s.slice(0, stop, stop - H) for s, stop in ends)
        pieces.append(replace(data, sequences=cut))
    return pieces


def test_whole_windows_at_the_end_of_every_series_are_held_out():
    data = counting(100, 30, 6, 4, 3)
    train, valid = split(data, 0.2, prediction_length=H)
    # 20 of 100 steps are five windows; of 30 steps 1.5 are nearest to two; 6 hold one at the least
    assert [len(s) for s in train] == [80, 22, 2, 4, 3]
    assert [len(s) - s.context for s in valid] == [20, 8, 4]
    for s, part in zip(data, scored(valid), strict=False):
        assert part == s.x[-len(part) :, 0].tolist()
    assert not values(train) & {v for part in scored(valid) for v in part}


def test_windows_leave_a_step_to_train_on_after_the_context():
    data = counting(30)
    train, valid = split(data, 0.95, prediction_length=7)
    assert (len(train.sequences[0]), len(scored(valid)[0])) == (2, 28)
    after = replace(data, sequences=(replace(data.sequences[0], context=20),))
    train, valid = split(after, 0.95, prediction_length=7)
    assert (len(train.sequences[0]), train.sequences[0].context) == (23, 20)
    with pytest.raises(InputError, match=r"has 10 steps after 20 of context; shorten"):
        split(after, 0.5, prediction_length=10)


def test_what_cannot_be_held_out_is_refused():
    with pytest.raises(InputError, match=r"prediction_length=12 .* '1', has 12 steps; shorten"):
        sl.RNN().fit(counting(3, 12, 7), prediction_length=12, max_steps=1)
    with pytest.raises(InputError, match="valid_by=series whole ones; leave one of them out"):
        sl.RNN().fit(counting(30, 30), prediction_length=4, valid_by="series")
    with pytest.raises(InputError, match=r"prediction_length=4 .*\(valid\); leave one"):
        sl.RNN().fit(counting(30), valid=counting(30), prediction_length=4)
    with pytest.raises(InputError, match="prediction_length=0 must be at least 1"):
        sl.RNN().fit(counting(30), prediction_length=0)


@pytest.mark.parametrize("window", [None, (8, 4)])
def test_training_pieces_never_hold_values_of_held_out_windows(window: tuple[int, int] | None):
    train, valid = split(counting(90, 41, 17, 4), 0.2, prediction_length=H)
    held_out = {v for part in scored(valid) for v in part}
    batches, seen = TrainingBatches(train, 3, window, seed=1), set()
    for step in range(40):
        pieces = replace(train, sequences=tuple(batches.sequences(step)))
        assert not values(pieces) & held_out
        seen |= values(pieces)
    assert seen == values(train)  # and all others train


def test_training_does_not_depend_on_held_out_values():
    data = PROCESSES["ar2"]().sample(12, 20, seed=0)
    other = replace(data, sequences=tuple(replace(s, x=s.x.copy()) for s in data))
    for s in other:
        s.x[-H:] += 5.0
    curves = []
    for given in (data, other):
        m = sl.RNN(hidden_dim=4, scaling="running", emission="normal")
        m.fit(given, prediction_length=H, max_steps=12, eval_every=4)
        assert m.result is not None
        curves.append(m.result.curve)
    for name, same in (("train_loss", True), ("valid_log_prob", False)):
        first, second = ([row[name] for row in curve] for curve in curves)
        assert (first == second) == same


def check_score(m: Model, data: SequenceDataset, share: float) -> None:
    """The held-out score is that of the windows given their past, window by window."""
    num = max(1, round(share * len(data.sequences[0]) / H))
    total = count = 0.0
    for part in windows_of(data, num, num):
        scores, steps = m.score(part)
        total, count = total + scores["log_prob"].sum(), count + len(steps)
    assert count == num * H * len(data)
    assert m.fitted["valid_nats_per_step"] == pytest.approx(total / count, abs=2e-5)


@pytest.mark.parametrize("name", ["rnn", "flow", "linear-gaussian", "members"])
def test_the_held_out_score_is_that_of_windows_given_their_past(name: str):
    data = PROCESSES["ar2"]().sample(15, 30, seed=0)
    options: dict = {"hidden_dim": 4} if name != "linear-gaussian" else {"latent_dim": 2}
    family = "rnn" if name == "members" else name
    m = sl.api.CLASSES[family](**options, scaling="global")
    more = {"members": 2, "weights": "equal"} if name == "members" else {}
    m.fit(data, valid=0.3, prediction_length=H, max_steps=20, eval_every=5, **more)
    assert m.fitted["num_sequences"] == {"train": 15, "valid": 15}
    assert m.fitted["training"]["prediction_length"] == H
    check_score(m, data, 0.3)
    assert "nats per step (exact) of the last windows of 4 steps" in repr(m)


def test_the_choice_of_scaling_and_the_race_hold_out_the_same_windows():
    """A step up in the last window alone: by other steps increments would not be preferred."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 60))
    x[:, -H:] += 200 + 0.01 * rng.normal(size=(12, H)).cumsum(1) - x[:, -H:]
    data = SequenceDataset.from_arrays(x)
    chosen = {}
    for length in (None, H):
        m = sl.RNN(hidden_dim=4).fit(data, prediction_length=length, max_steps=30)
        chosen[length] = {t["scaling"]: t["nats_per_step"] for t in m.fitted["tried"]}
    # whole series have 4 such steps of 60, windows nothing else
    assert chosen[H]["global"] < chosen[None]["global"] - 1
    auto = Auto([("rnn", {"hidden_dim": 4}), ("linear-gaussian", {"latent_dim": 2})])
    steady = PROCESSES["ar2"]().sample(12, 20, seed=0)
    best = auto.fit(steady, prediction_length=H, max_steps=60, members=1)
    assert best.fitted["training"]["prediction_length"] == H
    assert best.fitted["num_sequences"] == {"train": 12, "valid": 12}
    check_score(best, steady, 0.1)
