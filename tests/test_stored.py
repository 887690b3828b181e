"""Data that memory need not hold: they are what a table in memory is, and fits to them too."""

import gc
import logging
import tempfile

import numpy as np
import pandas as pd
import pytest
import torch
from folders import write

import seqlatent as sl
from seqlatent.data import description, readers
from seqlatent.data.calendar import with_cycles
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.folders import ParquetFolder
from seqlatent.data.splits import split, with_context
from seqlatent.data.stored import load_stored
from seqlatent.errors import InputError
from seqlatent.training import dividing
from seqlatent.training.batches import TrainingBatches
from seqlatent.training.checkpoint import fingerprint

NAMES = {"targets": ["y", "kind"], "covariates": ["price"], "static": ["shop", "size"],
         "past_covariates": ["rain"]}  # fmt: skip
LENGTHS = [20, 33, 5, 60, 41, 18, 25, 70, 31, 12, 44, 9]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Series of values, labels, covariates and static features, with missing values."""
    rng = np.random.default_rng(0)
    n = sum(LENGTHS)
    ids = np.repeat([f"s{i:02d}" for i in range(len(LENGTHS))], LENGTHS)
    steps = np.concatenate([np.arange(k) for k in LENGTHS])
    table = pd.DataFrame(
        {
            "unique_id": ids,
            "ds": pd.Timestamp("2024-02-25") + pd.to_timedelta(steps, "D"),
            "y": rng.normal(size=n).cumsum(),
            "kind": rng.choice(["warm", "cold", "mild"], n),
            "price": rng.normal(size=n),
            "shop": np.repeat(rng.choice(["north", "south", "east"], len(LENGTHS)), LENGTHS),
            "size": np.repeat(rng.normal(size=len(LENGTHS)), LENGTHS),
            "rain": rng.normal(size=n),
        }
    )
    table.loc[rng.random(n) < 0.1, "y"] = np.nan
    table.loc[rng.random(n) < 0.1, "rain"] = np.nan
    # The first label is in the last series only, so that codes are not known before it is read.
    table.loc[ids == "s11", "kind"] = "arctic"
    return table


@pytest.fixture
def folder(table, tmp_path) -> ParquetFolder:
    folder = write(table, tmp_path / "d", [30, 200], group=40)
    return ParquetFolder(folder, "unique_id")


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(ParquetFolder.blocks, "__defaults__", (None, 60, 1000))


def stored(folder: ParquetFolder) -> SequenceDataset:
    return load_stored(folder, {**NAMES, "id_column": "unique_id", "time_column": None})


def alike(a: SequenceDataset, b: SequenceDataset) -> None:
    for name in ("targets", "covariate_names", "static_names", "past_names", "frequency"):
        assert getattr(a, name) == getattr(b, name)
    assert dict(a.categories) == dict(b.categories)
    assert dict(a.static_labels) == dict(b.static_labels)
    np.testing.assert_array_equal(a.lengths, b.lengths)
    np.testing.assert_array_equal(a.contexts, b.contexts)
    assert len(a) == len(b)
    for s, t in zip(a, b, strict=True):
        assert s.unique_id == t.unique_id
        assert len(s) == len(t)
        assert s.context == t.context
        for name in ("ds", "x", "known", "recorded", "static_values", "lagged"):
            np.testing.assert_array_equal(getattr(s, name), getattr(t, name))
        assert (s.past is None) == (t.past is None)
        if s.past is not None:
            np.testing.assert_array_equal(s.past, t.past)


@pytest.mark.usefixtures("small_blocks")
def test_they_are_what_a_table_in_memory_is(table, folder):
    whole, lazy = SequenceDataset.from_frame(table, **NAMES), stored(folder)
    assert lazy.lazy
    assert not whole.lazy
    assert lazy.categories["kind"] == ("arctic", "cold", "mild", "warm")
    alike(lazy, whole)
    alike(lazy[2:7], whole[2:7])
    alike(lazy[[5, 1, 8]], whole[[5, 1, 8]])
    alike(lazy[[5, 1, 8]][1:], whole[[5, 1, 8]][1:])
    alike(lazy[3], whole[3])
    first, second = (with_context(with_cycles(d, ["week"]), 3) for d in (lazy, whole))
    alike(first, second)
    assert first.lazy
    for kind in ({"by": "series"}, {"by": "time"}, {"prediction_length": 4}):
        for a, b in zip(split(first, 0.3, **kind), split(second, 0.3, **kind), strict=True):
            assert a.lazy
            alike(a, b)


@pytest.mark.usefixtures("small_blocks")
def test_gaps_in_the_steps_are_filled_in(table, tmp_path):
    names = {"targets": ["y"]}
    holes = table.drop(index=[25, 60, 61, 130])[["unique_id", "ds", "y"]]
    folder = ParquetFolder(write(holes, tmp_path / "d", [100]), "unique_id")
    lazy = load_stored(folder, {**names, "id_column": "unique_id"})
    whole = SequenceDataset.from_frame(holes, **names)
    assert sum((~s.recorded).sum() for s in whole) == 4
    alike(lazy, whole)


@pytest.mark.usefixtures("small_blocks")
def test_blocks_may_lack_a_channel_or_all_values(table, tmp_path):
    """What is missing of whole blocks is there in others."""
    gone = table.assign(y2=table["y"] + 1)
    first, last = gone["unique_id"] < "s04", gone["unique_id"] > "s09"
    gone.loc[first, "y2"] = np.nan
    gone.loc[last, ["y", "y2"]] = np.nan
    names = {"targets": ["y", "y2"]}
    path = write(gone[["unique_id", "ds", "y", "y2"]], tmp_path / "d", [])
    lazy = load_stored(ParquetFolder(path, "unique_id"), {**names, "id_column": "unique_id"})
    alike(lazy, SequenceDataset.from_frame(gone, **names))
    assert len(lazy) == 10
    empty = write(gone.loc[last, ["unique_id", "ds", "y", "y2"]], tmp_path / "e", [])
    with pytest.raises(InputError, match="no series has an observed value"):
        load_stored(ParquetFolder(empty, "unique_id"), {**names, "id_column": "unique_id"})


def test_single_precision_is_kept_as_such(table, tmp_path):
    narrow = table[["unique_id", "ds", "y"]].astype({"y": "float32"})
    folder = ParquetFolder(write(narrow, tmp_path / "d", []), "unique_id")
    assert folder.single_precision
    alike(load_stored(folder, {}), SequenceDataset.from_frame(narrow))


def test_its_files_go_with_it(folder, tmp_path, monkeypatch):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    part = with_context(stored(folder), 3)[2:4]
    assert len(part.sequences[0].x) == LENGTHS[2]
    assert len(list((tmp_path / "scratch").iterdir())) == 1
    del part
    gc.collect()
    assert not list((tmp_path / "scratch").iterdir())


def test_batches_are_those_of_data_in_memory(table, folder):
    whole, lazy = SequenceDataset.from_frame(table, **NAMES), stored(folder)
    for window in (None, (16, 8)):
        mine, theirs = (TrainingBatches(d, 4, window, seed=1) for d in (lazy, whole))
        for step in (0, 1, 2, 7, 8, 9, 3):  # resumed, and gone back
            for s, t in zip(mine.sequences(step), theirs.sequences(step), strict=True):
                np.testing.assert_array_equal(s.x, t.x)
                np.testing.assert_array_equal(s.ds, t.ds)
                assert s.context == t.context
            assert mine.epoch(step) == theirs.epoch(step)


def test_descriptions_of_much_data_have_the_ranges_of_all(table, folder, monkeypatch):
    whole, lazy = SequenceDataset.from_frame(table, **NAMES), stored(folder)
    exact = DataDescription.of(whole)
    assert DataDescription.of(lazy) == exact  # few enough that all are looked at
    monkeypatch.setattr(description, "MOST_STEPS", sum(LENGTHS) // 2)
    for data in (lazy, whole):
        sampled = DataDescription.of(data)
        assert sampled.num_series == len(LENGTHS)
        assert sampled.had_gaps
        for a, b in zip(sampled.channels, exact.channels, strict=True):
            for name in ("minimum", "maximum", "integer", "num_observed", "num_missing"):
                assert getattr(a, name) == getattr(b, name)
        assert sampled.channels[0].loc != exact.channels[0].loc
    assert [c.maximum for c in DataDescription.ranges_of(lazy).channels] == [
        c.maximum for c in exact.channels
    ]


def test_digests_tell_data_apart(table, folder):
    lazy = stored(folder)
    assert fingerprint(lazy) == fingerprint(stored(folder))
    assert fingerprint(lazy) != fingerprint(lazy[:-1])


@pytest.fixture
def never_in_memory(monkeypatch):
    monkeypatch.setattr(readers, "IN_MEMORY", 0)


@pytest.mark.parametrize("options", [{}, {"prediction_length": 4}, {"window_length": 16}])
def test_a_fit_is_that_of_data_in_memory(options, table, tmp_path, monkeypatch):
    path = write(table, tmp_path / "d", [30, 200], group=40)
    data = sl.load(path, **NAMES)
    assert not data.lazy
    common = {"max_steps": 6, "progress": False, **options}
    first = sl.RNN(hidden_dim=4, scaling="running").fit(data, **common)
    monkeypatch.setattr(readers, "IN_MEMORY", 0)
    data = sl.load(path, **NAMES)
    assert data.lazy
    second = sl.RNN(hidden_dim=4, scaling="running").fit(data, **common)
    assert second.fitted["data"] == "d"
    pairs = zip(first.module.parameters(), second.module.parameters(), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert first.result.valid_score == pytest.approx(second.result.valid_score, abs=1e-4)


@pytest.mark.usefixtures("never_in_memory")
def test_a_fit_that_chooses_and_is_resumed(table, tmp_path, monkeypatch, caplog):
    path = write(table, tmp_path / "d", [30, 200], group=40)
    monkeypatch.setattr(dividing, "VALIDATED", 30)
    with caplog.at_level(logging.INFO, "seqlatent"):
        data = sl.load(path, targets=["y"])
        model = sl.RNN(hidden_dim=4).fit(data, max_steps=6, valid=0.4, run=tmp_path / "run")
    assert "of 5 held-out sequences" in caplog.text
    assert "scaling=" in caplog.text
    # Of a saved model the scores are those of the same values in memory.
    again = sl.load_model(tmp_path / "run")
    scores = again.log_prob(table[["unique_id", "ds", "y"]])
    np.testing.assert_allclose(model.log_prob(data)["log_prob"], scores["log_prob"], rtol=1e-5)


@pytest.mark.usefixtures("never_in_memory")
@pytest.mark.parametrize(
    ("change", "names", "words"),
    [
        ({}, {"targets": ["y"], "static": ["unique_id"]}, "cannot be a category"),
        ({"y": "text"}, {"targets": ["y"]}, "holds numbers, and text elsewhere"),
        ({}, {"targets": ["z"]}, "no target column 'z'"),
        ({"price": np.nan}, {"targets": ["y"], "covariates": ["price"]}, "from row"),
    ],
)
@pytest.mark.usefixtures("small_blocks")
def test_refused_in_one_sentence(change, names, words, table, tmp_path):
    bad = table.astype({c: object for c in change})
    for column, value in change.items():
        bad.loc[bad["unique_id"] > "s03", column] = value
    if "y" in change:
        bad["y"] = bad["y"].map(lambda v: None if v is None or v != v else str(v))
    path = write(bad, tmp_path / "d", [])
    with pytest.raises(InputError, match=words):
        sl.load(path, **names)
