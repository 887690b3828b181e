"""Values that networks read as missing in training: they keep their densities, and what comes after
is as after a gap."""

import logging
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from seqlatent.api import RNN
from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.sequence import Sequence
from seqlatent.inference.protocols import Density
from seqlatent.models.registry import MODELS, build_model
from seqlatent.nn.forgetting import GAPS, LONGER, SINGLE, forget
from seqlatent.nn.prepared import prepare
from seqlatent.nn.scaling import Scaler
from seqlatent.options import make
from seqlatent.training.batches import TrainingBatches

EXACT = ("rnn", "cnn", "transformer", "flow")
MEAN_LENGTH = SINGLE + (1 - SINGLE) * LONGER
CHAINS = ("global", "running", "increments", "log+running+increments")


def series(num: int = 20, steps: int = 60, channels: int = 2) -> SequenceDataset:
    rng = np.random.default_rng(0)
    season = 3 * np.sin(2 * np.pi * np.arange(steps) / 12)
    return SequenceDataset.from_list(
        list(season[None, :, None] + rng.normal(size=(num, steps, channels)).cumsum(1))
    )


def scaler_of(data: SequenceDataset, chain: str) -> Scaler:
    return Scaler(DataDescription.of(data, 12), chain, lags=(12,))


def unread_as_missing(s: Sequence) -> np.ndarray:
    return s.x if s.unread is None else np.where(s.unread, np.nan, s.x)


def rngs(data: SequenceDataset, seed: int = 0) -> list[np.random.Generator]:
    return [np.random.default_rng([seed, i]) for i in range(len(data))]


@pytest.mark.parametrize("chain", CHAINS)
def test_later_steps_are_scaled_as_after_a_missing_value(chain: str):
    data = series()
    scaler = scaler_of(data, chain)
    prepared = prepare(scaler, data.sequences)
    forgotten = forget(prepared, rngs(data), scaler)
    gappy = [replace(s, x=unread_as_missing(s), unread=None) for s in forgotten]
    for s, gap, before in zip(forgotten, prepare(scaler, gappy), prepared, strict=True):
        assert s.scaled is not None and gap.scaled is not None
        assert (s.x == before.x).all(), "no value is lost"
        for mine, theirs in zip(s.scaled, gap.scaled, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-12)


def test_a_share_of_the_values_is_unread_and_hidden_ones_are_missing():
    data = series(2000)
    scaler = scaler_of(data, "running")
    forgotten = forget(data.sequences, rngs(data), scaler, hide=0.2)
    batch, before = collate(forgotten), collate(data)
    assert batch.unread is not None and not batch.unread[:, 0].any()
    share = batch.unread[:, 10:].double().mean()  # where gaps have had time to begin
    assert share == pytest.approx(GAPS * MEAN_LENGTH, rel=0.15)
    both = batch.unread.all(-1).double().mean()
    assert both == pytest.approx(GAPS * MEAN_LENGTH / 2, rel=0.25), "half of the gaps are in all"
    begun = (batch.unread[:, 1:] & ~batch.unread[:, :-1]).double().mean()
    assert begun == pytest.approx(GAPS, rel=0.15)
    num = batch.observed.numel()
    assert abs((~batch.observed).double().mean() - 0.2) < 4 * (0.2 * 0.8 / num) ** 0.5
    assert torch.equal(batch.x[batch.observed], before.x[batch.observed])
    assert torch.equal(batch.read, batch.observed & ~batch.unread)
    later = collate([s.slice(20, 40) for s in forgotten])
    assert later.unread is not None and torch.equal(later.unread, batch.unread[:, 20:40])


@pytest.mark.parametrize("chain", ["none", "seasonal"])
def test_labels_and_seasonal_differences_are_read_unless_they_are_hidden(chain: str):
    data = SequenceDataset.from_list([np.arange(30.0) % 3] * 5)
    scaler = Scaler(DataDescription.of(data, 3), chain)
    assert forget(data.sequences, rngs(data), scaler) == data.sequences
    hidden = forget(data.sequences, rngs(data), scaler, hide=0.5)
    assert np.isnan(np.stack([s.x for s in hidden])).mean() == pytest.approx(0.5, abs=0.2)


@pytest.mark.parametrize("window", [None, (16, 8)])
def test_what_is_unread_is_new_in_each_epoch_and_known_by_the_step(
    window: tuple[int, int] | None,
):
    data = series(6, channels=4)
    data = replace(data, sequences=[s.slice(0, 60 - 7 * i) for i, s in enumerate(data)])
    scaler = scaler_of(data, "running+increments")
    data = replace(data, sequences=prepare(scaler, data.sequences))

    def batches() -> TrainingBatches:
        return TrainingBatches(data, 3, window, seed=1, change=partial(forget, scaler=scaler))

    first = batches()
    steps = next(step for step in range(100) if first.epoch(step) == 2)
    seen: list[dict[tuple[str, int], np.ndarray]] = [{}, {}]
    for step in range(steps):
        for s in first.sequences(step):
            unread = np.zeros(s.x.shape, dtype=bool) if s.unread is None else s.unread
            for place, row in zip(s.ds[s.context :], unread[s.context :], strict=True):
                seen[first.epoch(step)][s.unique_id, int(place)] = row
    both = [np.stack([part[key] for key in sorted(seen[0])]) for part in seen]
    assert (both[0] != both[1]).any()
    again = batches().sequences(steps - 1)  # as after an interruption
    for mine, theirs in zip(first.sequences(steps - 1), again, strict=True):
        assert mine.scaled is not None and theirs.scaled is not None
        for a, b in zip((mine.unread, *mine.scaled), (theirs.unread, *theirs.scaled), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("chain", ["global", "running+increments"])
def test_other_steps_have_the_densities_that_they_have_after_a_gap(name: str, chain: str):
    data = series(4, 30, channels=1)
    description = DataDescription.of(data)
    options, _ = MODELS[name].complete(make(MODELS[name].Options, {"scaling": chain}), description)
    torch.manual_seed(0)
    m = build_model(name, options, description).eval()
    assert isinstance(m, Density)
    forgotten = forget(prepare(m.scaler, data.sequences), rngs(data), m.scaler)
    gappy = [replace(s, x=unread_as_missing(s), unread=None) for s in forgotten]
    with torch.no_grad():
        mine, theirs = (m.log_prob(collate(d))[0] for d in (forgotten, prepare(m.scaler, gappy)))
    unread = collate(forgotten).unread
    assert unread is not None and unread.any()
    read = ~unread.any(-1)
    torch.testing.assert_close(mine[read], theirs[read], rtol=1e-5, atol=1e-5)
    assert (mine[~read] != theirs[~read]).all()


@pytest.mark.slow
def test_a_gap_costs_little_where_training_had_none(caplog: pytest.LogCaptureFixture):
    """Smooth series, whose later steps a network that had always seen all values lost track of."""
    rng = np.random.default_rng(0)
    time = np.arange(24)

    def days(num: int) -> list[np.ndarray]:
        height, place = rng.uniform(2, 5, (num, 1)), rng.uniform(10, 16, (num, 1))
        x = height * np.exp(-(((time - place) / 6) ** 2)) + rng.normal(0, 10, (num, 1))
        return list(x + rng.normal(0, 0.02, x.shape))

    train, test = (SequenceDataset.from_list(days(n)) for n in (200, 100))
    gap = SequenceDataset.from_list([np.where(time == 11, np.nan, s.x[:, 0]) for s in test])
    model = RNN(scaling="running+increments", hidden_dim=32).fit(
        train, max_steps=600, seed=0, progress=False
    )
    with caplog.at_level(logging.ERROR, "seqlatent"):
        whole, missing = (model.score(d)[1].set_index(["unique_id", "ds"]) for d in (test, gap))
    lost = (whole["log_prob"] - missing["log_prob"]).drop([11, 12], level="ds", errors="ignore")
    assert lost.groupby("unique_id").sum().mean() < 2  # was 7.6; of step 12 none knows more
