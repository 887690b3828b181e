"""Data: tables, arrays and bundled data sets become sequences and batches.

    readers      load: any source of data becomes a `SequenceDataset`
    tables       files that hold tables, read and written
    frames       from a table to sequences; columns reads its cells, steps its time
    grid         frequencies, absent steps, and the steps that come next
    regular      data on the grid of a model's frequency
    dataset      `SequenceDataset`, of `Sequence`s; display shows them at the prompt
    batch        `SequenceBatch`, the padded tensors that models read
    share        the part of a training batch that one of several processes has
    calendar     covariates that are functions of the time
    statics      features of whole series; categories gives them the codes of training
    season       after how many steps the pattern of data repeats
    spread       how values vary within series and between them
    splits       held-out data, and windows of long series
    description  `DataDescription`, what a model knows about its training data
    catalog      the bundled data sets

Names are imported when first used: listing the bundled data sets does not import pandas.
"""

from importlib import import_module
from typing import TYPE_CHECKING

_HOMES = {
    "DataDescription": "description",
    "Sequence": "sequence",
    "SequenceBatch": "batch",
    "SequenceDataset": "dataset",
    "collate": "batch",
    "dataset_names": "catalog",
    "load": "readers",
    "load_bundled": "catalog",
    "load_future": "readers",
    "load_like": "readers",
    "read_table": "tables",
    "season_of": "season",
    "seasons_of": "season",
    "split": "splits",
    "write_table": "tables",
}
__all__ = [
    "DataDescription",
    "Sequence",
    "SequenceBatch",
    "SequenceDataset",
    "collate",
    "dataset_names",
    "load",
    "load_bundled",
    "load_future",
    "load_like",
    "read_table",
    "season_of",
    "seasons_of",
    "split",
    "write_table",
]

if TYPE_CHECKING:
    from seqlatent.data.batch import SequenceBatch, collate
    from seqlatent.data.catalog import dataset_names, load_bundled
    from seqlatent.data.dataset import SequenceDataset
    from seqlatent.data.description import DataDescription
    from seqlatent.data.readers import load, load_future, load_like
    from seqlatent.data.season import season_of, seasons_of
    from seqlatent.data.sequence import Sequence
    from seqlatent.data.splits import split
    from seqlatent.data.tables import read_table, write_table


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"seqlatent.data.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'seqlatent.data' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
