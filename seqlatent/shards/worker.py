"""One process that works through shards: the model is loaded once, memory holds one block.

The tables of a shard appear whole or not at all, and the facts about it stand in their metadata, so
that a later run knows what is finished.
"""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from seqlatent.api import Model, load_model
from seqlatent.data.folders import ParquetFolder, Shard
from seqlatent.data.notices import notices
from seqlatent.data.readers import load_like
from seqlatent.data.writing import replacing
from seqlatent.shards.jobs import TASKS, Facts, Job

FACTS = b"seqlatent"  # the key of a shard's facts in the metadata of its files


@dataclass(frozen=True)
class Done:
    """What became of a shard: its facts, and the notices about it (`Notices.rows`)."""

    number: int
    facts: Facts
    notices: tuple[tuple[str, str, int], ...] = ()


class Worker:
    """The model and the table of a job.

    Args:
        job: what is to be done.
        threads: of torch; None as it is.
    """

    def __init__(self, job: Job, threads: int | None = None):
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        self.job = job
        self.model: Model = load_model(job.run, device=job.device)
        self.table = ParquetFolder(job.source, job.id_column)

    def __call__(self, shard: Shard) -> Done:
        """Write the tables of a shard.

        Raises:
            InputError: when the data do not fit the model, or cannot be read.
        """
        job, total = self.job, {}
        described = self.model.module.description
        with ExitStack() as stack:
            told = stack.enter_context(notices())
            tables = {
                name: stack.enter_context(_Table(part_of(folder, shard.number)))
                for name, folder in job.folders.items()
            }
            for name, frame in self.table.blocks(shard, series=job.most_series):
                data = load_like(frame, described, job.id_column, job.time_column, name=name)
                if not len(data):  # none of its series has a value
                    continue
                found = TASKS[job.task].run(self.model, data, job.options)
                for key, table in tables.items():
                    table.add(found.tables[key]())
                for key, value in found.facts.items():
                    total[key] = total.get(key, 0) + value
            for table in tables.values():
                table.facts = total
        return Done(shard.number, total, tuple(told.rows()))


def part_of(folder: str, number: int) -> Path:
    return Path(folder) / f"part-{number:05d}.parquet"


def facts_of_part(job: Job, number: int) -> Facts | None:
    """The facts about a finished shard; None of one that is not."""
    from pyarrow import parquet

    facts = None
    for folder in job.folders.values():
        path = part_of(folder, number)
        if not path.is_file():
            return None
        try:
            with parquet.ParquetFile(path) as file:
                facts = json.loads((file.metadata.metadata or {})[FACTS])
        except (OSError, ValueError, KeyError):
            return None
    return facts


class _Table:
    """A Parquet file that is written in parts; without any there is no file."""

    def __init__(self, path: Path):
        self.facts: Facts = {}
        self._path, self._files, self._writer = path, ExitStack(), None

    def __enter__(self) -> "_Table":
        return self

    def add(self, frame: pd.DataFrame) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        schema = None if self._writer is None else self._writer.schema
        table = pa.Table.from_pandas(frame, schema, preserve_index=False)
        if self._writer is None:
            unfinished = self._files.enter_context(replacing(self._path))
            self._writer: Any = parquet.ParquetWriter(unfinished, table.schema)
        self._writer.write_table(table)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool | None:
        if self._writer is not None:
            self._writer.add_key_value_metadata({FACTS: json.dumps(self.facts).encode()})
            self._writer.close()
        return self._files.__exit__(kind, error, trace)
