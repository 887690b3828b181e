"""What tests of folders of Parquet files share: writing and reading them, and a job over shards."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from seqlatent.shards import Job

N, T = 24, 40  # series and steps of the fixture `series_folder`


def write(frame: pd.DataFrame, folder: Path, cuts: list[int], group: int = 25) -> Path:
    """The frame in files that are cut wherever, in row groups of some rows."""
    folder.mkdir()
    for i, part in enumerate(np.split(np.arange(len(frame)), cuts)):
        own = pa.Table.from_pandas(frame.iloc[part], preserve_index=False)
        parquet.write_table(own, folder / f"{i:02d}.parquet", row_group_size=group)
    return folder


def read(folder: Path) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(p) for p in sorted(folder.glob("part-*"))], ignore_index=True)


def job(series_folder: Path, out: Path, model: str = "rnn", **options) -> Job:
    """Scores of the fixture `series_folder` by one of its models."""
    return Job(
        "score", str(series_folder / model), str(series_folder / "d"), {"scores": str(out)}, options
    )
