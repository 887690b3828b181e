"""Feather files that claim more than is read: refused before Arrow takes memory for it."""

import numpy as np
import pyarrow as pa
import pytest

from seqlatent.data.feather import claimed_bytes
from seqlatent.data.readers import load
from seqlatent.errors import InputError


def test_feather_that_unfolds_to_gigabytes(tmp_path):
    """2 GiB of zeros. (LZ4 makes no more than 255 bytes of one, which are within the limits.)"""
    column = pa.array(np.zeros(2**20, np.float64))
    path = tmp_path / "x.feather"
    with pa.OSFile(str(path), "wb") as sink:
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        schema = pa.schema([("y", pa.float64())])
        with pa.ipc.new_file(sink, schema, options=options) as file:
            for _ in range(256):
                file.write_batch(pa.record_batch([column], schema=schema))
    assert path.stat().st_size < 2**20
    most = pa.default_memory_pool().max_memory()
    with pytest.raises(InputError, match=r"unfolds to more than \d+ MiB, the most that is read"):
        load(path)
    assert pa.default_memory_pool().max_memory() == most


def test_feather_whose_columns_lie(tmp_path):
    """Each of its buffers, in a dictionary and in batches, in turn claims 3 GiB and less than 0."""
    words = pa.array(["up", "down"] * 500).dictionary_encode()
    table = pa.table({"ds": np.arange(1000), "y": np.arange(1000) % 7 / 4, "word": words})
    path = tmp_path / "x.arrow"
    with pa.OSFile(str(path), "wb") as sink:
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_file(sink, table.schema, options=options) as file:
            file.write_table(table, max_chunksize=500)
    content = path.read_bytes()
    sizes = list(claimed_bytes(memoryview(content)))
    assert sizes[:2] == [12, 6]  # of the dictionary: three offsets, and the letters of its words
    assert sizes[2:] == 2 * [4000, 4000, 500] or sizes[2:] == 2 * [4000, 4000, 2000]
    assert len(load(path, targets=["y"])) == 1
    claims = 0
    for size in {s for s in sizes if s > 12}:
        place = -1
        while (place := content.find(size.to_bytes(8, "little"), place + 1)) >= 0:
            lie = content[:place] + (3 * 2**30).to_bytes(8, "little") + content[place + 8 :]
            path.write_bytes(lie)
            try:
                claimed = sum(claimed_bytes(memoryview(lie)))
            except (OSError, ValueError):  # it was in the footer or a header
                continue
            if claimed > 2**31:
                claims += 1
                with pytest.raises(InputError, match="unfolds to more than"):
                    load(path, targets=["y"])
    assert claims == 6
    path.write_bytes(content[:-100])
    with pytest.raises(InputError, match="cannot be read"):
        load(path)
