"""A folder of Parquet files: series that need not fit into memory together.

The rows of a series follow each other, in one file or in files that follow each other by name;
their order within the series does not matter. A pass over the ids alone finds where each series
begins. Then the table is read in *blocks* of whole series, and cut into *shards*, runs of whole
series about as long as a row group, each of which can be read without the others.

Folders such as `unique_id=A/` (Hive's way) are columns too.
"""

import glob
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seqlatent.data.limits import MAX_COLUMNS
from seqlatent.errors import InputError

ENDING = ".parquet"
SHARD_ROWS = 2**18  # of a shard at the least, if there are as many
BLOCK_ROWS = 2**16  # of a block about
BATCH_ROWS = 2**15  # that Arrow decodes together
MOST_ROWS = 2**24  # of one series, which must fit into memory


@dataclass(frozen=True, eq=False)
class Shard:
    """A run of N whole series.

    Attributes:
        number: its place among the shards.
        starts: (N + 1,) int64 rows of the whole table at which its series begin, and its end.
    """

    number: int
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1


def is_folder(source: Any) -> bool:
    """Whether a source names a folder, or files by a pattern such as `sales/*.parquet`."""
    if not isinstance(source, (str, os.PathLike)) or os.path.isfile(source):
        return False
    text = os.fspath(source)
    return os.path.isdir(text) or (glob.has_magic(text) and text.lower().endswith(ENDING))


def parquet_files(source: str | os.PathLike[str]) -> list[Path]:
    """The Parquet files of a folder and those below it, or of a pattern, or the file, by name.

    Files and folders whose names begin with `.` or `_` are left out.

    Raises:
        InputError: when there are none.
    """
    text = os.fspath(source)
    if os.path.isfile(text):
        return [Path(text)]
    if os.path.isdir(text):
        root = Path(text)
        found = [p for p in root.rglob("*") if p.name.lower().endswith(ENDING)]
        hidden = [any(n[0] in "._" for n in p.relative_to(root).parts) for p in found]
        files = [p for p, h in zip(found, hidden, strict=True) if not h and p.is_file()]
        if not files:
            raise InputError(
                f"{text} is a folder without Parquet files (*{ENDING}); write other tables as "
                "Parquet first (seqlatent partition)"
            )
    else:
        files = [Path(p) for p in glob.glob(text, recursive=True) if os.path.isfile(p)]
        if not files:
            raise InputError(f"there is no file {text}")
    return sorted(files)


class ParquetFolder:
    """The table in a folder's Parquet files, by row groups.

    Args:
        source: a folder, a pattern or a Parquet file.
        id_column: the column that names the series.

    Raises:
        InputError: naming the file that cannot be read, whose columns are not those of the others,
            or that has no id column.
    """

    def __init__(self, source: str | os.PathLike[str], id_column: str):
        import pyarrow as pa
        import pyarrow.dataset as ds
        from pyarrow import parquet

        self.source, self.id_column = Path(source), id_column
        self.files = parquet_files(source)
        root = self.source if self.source.is_dir() else None
        keys = [] if root is None else _partition_keys(self.files[0].relative_to(root).parent)
        schemas = []
        for path in self.files:
            try:
                schemas.append(parquet.read_schema(path))
            except (OSError, ValueError) as error:
                raise InputError(f"{path} is no Parquet file: {_reason(error)}") from None
            names = set(schemas[-1].names)
            if names != set(schemas[0].names):
                column = sorted(names ^ set(schemas[0].names))[0]
                raise InputError(
                    f"{path} and {self.files[0]} have other columns ('{column}' is in one of them "
                    "only); the files of a folder are one table"
                )
        partition = pa.schema([(key, pa.string()) for key in keys])
        try:
            schema = pa.unify_schemas([*schemas, partition], promote_options="permissive")
            # What pandas keeps beside a table is of its index, which is left out.
            self._dataset: Any = ds.dataset(
                [str(p) for p in self.files],
                schema=schema.remove_metadata(),
                format="parquet",
                partitioning=ds.partitioning(partition, flavor="hive") if keys else None,
                partition_base_dir=None if root is None else str(root),
            )
            fragments: Any = list(self._dataset.get_fragments())
            self._groups = [
                (fragment, group.id, group.num_rows)
                for fragment in fragments
                for group in fragment.row_groups
            ]
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InputError(f"{source} cannot be read as one table: {_reason(error)}") from None
        self.columns: list[str] = list(self._dataset.schema.names)
        if len(self.columns) > MAX_COLUMNS:
            raise InputError(
                f"{source} has {len(self.columns)} columns, more than the {MAX_COLUMNS} that are "
                "read; leave some out"
            )
        if id_column not in self.columns:
            raise InputError(
                f"{source} has no id column '{id_column}'; name the column of series' names "
                "(--id-column), or load a single series from a file of its own"
            )
        self._first_rows = np.concatenate([[0], np.cumsum([rows for *_, rows in self._groups])])

    @property
    def num_rows(self) -> int:
        return int(self._first_rows[-1])

    @property
    def single_precision(self) -> bool:
        """Whether no column needs more than 24 bits for a number."""
        import pyarrow as pa

        wide = {pa.float64(), pa.int32(), pa.int64(), pa.uint32(), pa.uint64()}
        numbers = [f.type for f in self._dataset.schema if f.name != self.id_column]
        return not any(kind in wide or pa.types.is_decimal(kind) for kind in numbers)

    def identity(self) -> list[list[Any]]:
        """What tells this table from another: each file's name, size and time of change."""
        found = [(p, p.stat()) for p in self.files]
        return [[str(p.absolute()), stat.st_size, stat.st_mtime_ns] for p, stat in found]

    @cached_property
    def starts(self) -> np.ndarray:
        """(N + 1,) int64 the row at which each series begins, and the number of rows.

        Raises:
            InputError: when the rows of a series do not follow each other, or it is too long.
        """
        starts: list[int] = []
        seen: set[Any] = set()
        last, row = object(), 0
        for batch in self._batches(0, self.num_rows, [self.id_column]):
            for value, begins in _runs(batch.column(0)):
                if value != last:
                    if value in seen:
                        raise InputError(
                            f"{self.source}: the rows of series '{value}' do not follow each other "
                            f"(row {row + begins + 1} is one of them, after rows of others); sort "
                            f"them with: seqlatent partition {self.source} --out FOLDER"
                        )
                    seen.add(value)
                    starts.append(row + begins)
                    last = value
            row += batch.num_rows
        if not starts:
            raise InputError(f"{self.source} has a header but no rows")
        found = np.array([*starts, row], dtype=np.int64)
        longest = int(np.diff(found).max())
        if longest > MOST_ROWS:
            raise InputError(
                f"{self.source}: a series has {longest} rows, more than the {MOST_ROWS} that one "
                "series may have; cut it into several"
            )
        return found

    def shards(self, rows: int = SHARD_ROWS) -> list[Shard]:
        """The table as runs of whole series that begin near row groups, of about `rows` rows or as
        many as a row group has, whichever is more."""
        cuts, starts = [0], self.starts
        for first in self._first_rows[1:-1]:
            place = int(np.searchsorted(starts, first))
            if starts[place] - starts[cuts[-1]] >= rows:
                cuts.append(place)
        cuts = sorted({*cuts, len(starts) - 1})
        pairs = enumerate(itertools.pairwise(cuts))
        return [Shard(i, starts[a : b + 1]) for i, (a, b) in pairs]

    def read(self) -> Iterator[pd.DataFrame]:
        """The rows in parts, in any order of series."""
        for batch in self._batches(0, self.num_rows, self.columns):
            yield batch.to_pandas()

    def blocks(
        self, shard: Shard | None = None, rows: int = BLOCK_ROWS, series: int = BLOCK_ROWS
    ) -> Iterator[tuple[str, pd.DataFrame]]:
        """Blocks of whole series of a shard, or of all, each with a name for messages.

        Args:
            shard: of this table.
            rows: of a block about; more where one series has more.
            series: of a block at the most.
        """
        starts = self.starts if shard is None else shard.starts
        ends, last = [], 0
        for place in range(1, len(starts)):
            if starts[place] - starts[last] >= rows or place - last >= series:
                ends.append(int(starts[place]))
                last = place
        if last < len(starts) - 1:
            ends.append(int(starts[-1]))
        batches = self._batches(int(starts[0]), int(starts[-1]), self.columns)
        held: list[pd.DataFrame] = []
        row = int(starts[0])
        for end in ends:
            count = end - row
            while sum(len(part) for part in held) < count:
                held.append(next(batches).to_pandas())
            frame = held[0] if len(held) == 1 else pd.concat(held, ignore_index=True)
            yield f"{self.source} from row {row + 1} on", frame.iloc[:count].reset_index(drop=True)
            held, row = [frame.iloc[count:]], end

    def _batches(self, start: int, stop: int, columns: list[str]) -> Iterator[Any]:
        """The rows start..stop-1 as Arrow's batches."""
        import pyarrow as pa

        first = int(np.searchsorted(self._first_rows, start, side="right")) - 1
        row = int(self._first_rows[first])
        for fragment, group, num_rows in self._groups[first:]:
            if row >= stop:
                return
            part = fragment.subset(row_group_ids=[group])
            path, end = fragment.path, row + num_rows
            try:
                for batch in part.to_batches(
                    schema=self._dataset.schema, columns=columns, batch_size=BATCH_ROWS,
                    batch_readahead=1, fragment_readahead=1, use_threads=False,
                ):  # fmt: skip
                    low, high = max(0, start - row), min(batch.num_rows, stop - row)
                    if high > low:
                        yield batch.slice(low, high - low)
                    row += batch.num_rows
                    if row >= stop:
                        return
            except (OSError, ValueError, MemoryError, pa.ArrowException) as error:
                raise InputError(f"{path} cannot be read: {_reason(error)}") from None
            if row != end:
                raise InputError(f"{path} is damaged: a row group has other rows than it claims")


def _partition_keys(folders: Path) -> list[str]:
    return [part.split("=", 1)[0] for part in folders.parts if "=" in part]


def _runs(column: Any) -> Iterator[tuple[Any, int]]:
    """Each run of equal values of an Arrow array: the value and the place where it begins."""
    if not len(column):
        return
    encoded = column if hasattr(column, "dictionary") else column.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    begins = np.concatenate([[0], np.flatnonzero(np.diff(codes)) + 1])
    labels = encoded.dictionary.to_pylist()
    for place in begins.tolist():
        yield (labels[codes[place]] if codes[place] >= 0 else None), place


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
