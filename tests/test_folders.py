"""Folders of Parquet files: blocks and shards of whole series, and tables sorted into folders."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from folders import write

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.folders import ParquetFolder, is_folder, parquet_files
from seqlatent.data.partition import partition
from seqlatent.errors import InputError

LENGTHS = [30, 1, 200, 7, 90, 45, 3, 120]


@pytest.fixture
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    ids = np.repeat([f"s{i}" for i in range(len(LENGTHS))], LENGTHS)
    steps = np.concatenate([np.arange(n) for n in LENGTHS])
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(steps, "D")
    return pd.DataFrame({"unique_id": ids, "ds": days, "y": rng.normal(size=len(ids))})


def test_blocks_and_shards_are_the_table_in_whole_series(table, tmp_path):
    folder = ParquetFolder(write(table, tmp_path / "d", [40, 41, 300]), "unique_id")
    assert folder.num_rows == len(table)
    assert list(np.diff(folder.starts)) == LENGTHS
    for rows in (1, 60, 10_000):
        shards = folder.shards(rows)
        assert [s.number for s in shards] == list(range(len(shards)))
        assert sum(len(s) for s in shards) == len(LENGTHS)
        for size, series in ((1, 100), (100, 2), (10_000, 10_000)):
            found = [b for s in shards for _, b in folder.blocks(s, size, series)]
            pd.testing.assert_frame_equal(pd.concat(found, ignore_index=True), table)
            names = [set(b["unique_id"]) for b in found]
            assert sum(len(n) for n in names) == len(LENGTHS)  # none is in two
            assert max(len(n) for n in names) <= series
    assert len(folder.shards(1)) > 3
    assert len(folder.shards(10_000)) == 1
    # Blocks of the whole have at least the rows asked for, but for the last.
    sizes = [len(b) for _, b in folder.blocks(rows=100)]
    assert min(sizes[:-1]) >= 100
    assert max(sizes) < 100 + max(LENGTHS)


def test_folders_named_as_hive_does_are_a_column(table, tmp_path):
    for name, part in table.groupby("unique_id"):
        (tmp_path / "d" / f"unique_id={name}").mkdir(parents=True)
        part.drop(columns="unique_id").to_parquet(
            tmp_path / "d" / f"unique_id={name}" / "a.parquet"
        )
    (tmp_path / "d" / "_not.parquet").write_bytes(b"no table")
    folder = ParquetFolder(tmp_path / "d", "unique_id")
    found = pd.concat([b for _, b in folder.blocks()], ignore_index=True)
    pd.testing.assert_frame_equal(found[list(table)], table)


def test_codes_of_ids_and_kinds_of_numbers_may_differ_between_files(table, tmp_path):
    first, rest = table[:30], table[30:]
    (tmp_path / "d").mkdir()
    first = first.astype({"unique_id": "category", "y": "float32"})
    first.to_parquet(tmp_path / "d" / "a.parquet")
    rest.astype({"unique_id": "category"}).to_parquet(tmp_path / "d" / "b.parquet")
    folder = ParquetFolder(tmp_path / "d", "unique_id")
    assert list(np.diff(folder.starts)) == LENGTHS
    found = pd.concat([b for _, b in folder.blocks()], ignore_index=True)
    np.testing.assert_allclose(found["y"], table["y"], rtol=1e-6)
    np.testing.assert_array_equal(found["y"][30:], table["y"][30:])


def test_a_folder_is_told_from_a_file_and_a_name(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(table, Path("d"), [40, 300])
    assert is_folder("d")
    assert is_folder("d/0[01].parquet")
    assert is_folder(Path("d"))
    assert not is_folder("d/00.parquet")
    assert not is_folder("sunspots")
    assert not is_folder(table)
    assert [p.name for p in parquet_files("d/0[01].parquet")] == ["00.parquet", "01.parquet"]


def test_rows_in_any_order_are_refused_with_the_command_that_sorts_them(table, tmp_path):
    mixed = table.sample(frac=1, random_state=0)
    folder = ParquetFolder(write(mixed, tmp_path / "d", [100]), "unique_id")
    with pytest.raises(InputError, match=r"do not follow each other.*seqlatent partition \S+ --"):
        _ = folder.starts
    files = partition(tmp_path / "d", tmp_path / "sorted", rows=100)
    assert len(files) > 1
    assert sorted(p.name for p in (tmp_path / "sorted").iterdir()) == [p.name for p in files]
    found = ParquetFolder(tmp_path / "sorted", "unique_id")
    assert sorted(np.diff(found.starts)) == sorted(LENGTHS)
    frame = pd.concat([b for _, b in found.blocks()], ignore_index=True)
    whole = frame.sort_values(["unique_id", "ds"], ignore_index=True)
    pd.testing.assert_frame_equal(whole, table)
    assert frame.groupby("unique_id")["ds"].is_monotonic_increasing.all()


def test_without_a_time_the_rows_of_a_series_keep_their_order(table, tmp_path):
    alternating = table.iloc[np.argsort(np.arange(len(table)) % 3, kind="stable")]
    alternating = alternating.drop(columns="ds").assign(place=np.arange(len(table)))
    alternating.to_csv(tmp_path / "d.csv", index=False)
    partition(tmp_path / "d.csv", tmp_path / "sorted", rows=100)
    frame = pd.concat([b for _, b in ParquetFolder(tmp_path / "sorted", "unique_id").blocks()])
    assert len(frame) == len(table)
    assert frame.groupby("unique_id")["place"].is_monotonic_increasing.all()


def test_blocks_are_read_as_the_whole_table_is(table, tmp_path):
    folder = ParquetFolder(write(table, tmp_path / "d", [40, 300]), "unique_id")
    whole = SequenceDataset.from_frame(table)
    series = [s for name, b in folder.blocks(rows=50) for s in SequenceDataset.from_frame(b)]
    for a, b in zip(whole, series, strict=True):
        assert a.unique_id == b.unique_id
        np.testing.assert_array_equal(a.ds, b.ds)
        np.testing.assert_array_equal(a.x, b.x)


def test_what_cannot_be_read_is_named(table, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="without Parquet files"):
        ParquetFolder(tmp_path / "empty", "unique_id")
    with pytest.raises(InputError, match="there is no file"):
        ParquetFolder(tmp_path / "none*.parquet", "unique_id")
    write(table, tmp_path / "d", [40])
    with pytest.raises(InputError, match="no id column 'shop'"):
        ParquetFolder(tmp_path / "d", "shop")
    (tmp_path / "d" / "02.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match=r"02\.parquet is no Parquet file"):
        ParquetFolder(tmp_path / "d", "unique_id")
    table.assign(z=1.0).to_parquet(tmp_path / "d" / "02.parquet")
    with pytest.raises(InputError, match=r"02\.parquet and .*00\.parquet have other columns \('z'"):
        ParquetFolder(tmp_path / "d", "unique_id")
    table.assign(y="text").to_parquet(tmp_path / "d" / "02.parquet")
    with pytest.raises(InputError, match="cannot be read as one table"):
        ParquetFolder(tmp_path / "d", "unique_id")
    with pytest.raises(InputError, match="is not an empty folder"):
        partition(tmp_path / "d", tmp_path / "d")
    with pytest.raises(InputError, match="no time column 'when'"):
        partition(tmp_path / "d" / "00.parquet", tmp_path / "e", time_column="when")
    assert not (tmp_path / "e").exists()


def test_a_damaged_row_group_is_named(table, tmp_path):
    path = write(table, tmp_path / "d", []) / "00.parquet"
    content = bytearray(path.read_bytes())
    content[200:1200] = bytes(1000)
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match=r"00\.parquet"):
        list(ParquetFolder(tmp_path / "d", "unique_id").blocks())
