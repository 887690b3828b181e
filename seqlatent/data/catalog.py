"""The bundled data sets: a folder each, with the data and a card that says what they are.

The cards are read without pandas, so that listing them is quick.
"""

import tomllib
from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from seqlatent.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from seqlatent.data.dataset import SequenceDataset

PARTS = ("train", "test")


@dataclass(frozen=True)
class Split:
    """How a data set is divided into a training and a test part.

    Attributes:
        description: the rule in words.
        by: `series`, where some whole series are the test part; or `time`, where the last steps
            of every series are, and the earlier ones go before them as context.
        last: the number of series, or of steps, at the end that are the test part.
        every: in its place, every n-th series is in the test part.
    """

    description: str
    by: str
    last: int = 0
    every: int = 0


@dataclass(frozen=True)
class Card:
    """What a bundled data set is.

    Attributes:
        name: the name to load it by.
        title: a few words.
        description: what was measured, how and by whom.
        source: where the numbers come from.
        licence: the terms they may be used under.
        citation: whom to cite.
        units: of the targets, in their order.
        frequency: of the steps, in words.
        targets: the columns to model.
        covariates: the columns known in advance.
        num_sequences: the number of sequences.
        num_steps: the steps of each sequence; all are equally long.
        file: the data, a file in `folder`.
        sha256: of that file.
        split: the default division.
        folder: where the card lies.
    """

    name: str
    title: str
    description: str
    source: str
    licence: str
    citation: str
    units: tuple[str, ...]
    frequency: str
    targets: tuple[str, ...]
    covariates: tuple[str, ...]
    num_sequences: int
    num_steps: int
    file: str
    sha256: str
    split: Split
    folder: Path

    @property
    def path(self) -> Path:
        """The data file."""
        return self.folder / self.file

    @property
    def anomalies(self) -> Path | None:
        """The file of labelled anomalies, where there is one."""
        path = self.folder / "anomalies.csv"
        return path if path.is_file() else None


def _root() -> Path:
    """`datasets` lies inside the installed package, and beside it in the source tree."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "datasets"
    return installed if installed.is_dir() else package.parent / "datasets"


def dataset_names() -> tuple[str, ...]:
    """The names of the bundled data sets, sorted."""
    return tuple(sorted(card_file.parent.name for card_file in _root().glob("*/card.toml")))


def card(name: str) -> Card:
    """The card of a bundled data set.

    Raises:
        InputError: there is no such data set.
    """
    if name not in dataset_names():
        raise InputError(f"no data set '{name}' is bundled{did_you_mean(name, dataset_names())}")
    folder = _root() / name
    fields = tomllib.loads((folder / "card.toml").read_text(encoding="utf-8"))
    lists = {key: tuple(fields.pop(key, ())) for key in ("units", "targets", "covariates")}
    split = Split(**fields.pop("split"))
    return Card(name=name, folder=folder, split=split, **lists, **fields)


def load_bundled(
    name: str,
    split: str | None = None,
    targets: Seq[str] | None = None,
    covariates: Seq[str] = (),
    static: Seq[str] = (),
    past_covariates: Seq[str] = (),
) -> "SequenceDataset":
    """Load a bundled data set, or a part of it.

    Args:
        name: as `dataset_names` lists it.
        split: `train` or `test`, as the card's split describes; by default everything.
        targets: the columns to model, by default the card's.
        covariates: columns known in advance, besides the card's.
        static, past_covariates: see `load`.

    Raises:
        InputError: an unknown name, part or column.
    """
    from seqlatent.data.dataset import SequenceDataset
    from seqlatent.data.tables import read_table

    found = card(name)
    if split is not None and split not in PARTS:
        raise InputError(f"{name} has no part '{split}'{did_you_mean(split, PARTS)}")
    data = SequenceDataset.from_frame(
        read_table(found.path, text_columns=("unique_id",)),
        targets=found.targets if targets is None else targets,
        covariates=tuple(dict.fromkeys((*found.covariates, *covariates))),
        name=name,
        static=static,
        past_covariates=past_covariates,
    )
    return data if split is None else _part(data, found.split, split)


def usual_parts(
    data: "SequenceDataset",
) -> "tuple[SequenceDataset, SequenceDataset, str] | None":
    """The training and the test part of a whole bundled data set and the rule in words; None for
    any other data."""
    if data.name not in dataset_names():
        return None
    found = card(data.name)
    if len(data) != found.num_sequences or set(data.lengths.tolist()) != {found.num_steps}:
        return None
    train, test = (_part(data, found.split, part) for part in PARTS)
    return train, test, " ".join(found.split.description.split())


def _part(data: "SequenceDataset", split: Split, part: str) -> "SequenceDataset":
    train = part == "train"
    if split.by == "time":
        sequences = tuple(
            s.slice(0, len(s) - split.last)
            if train
            else s.slice(0, len(s), context=len(s) - split.last)
            for s in data
        )
    else:
        first_of_last = len(data) - split.last
        sequences = tuple(
            s
            for i, s in enumerate(data)
            if train != (i % split.every == split.every - 1 if split.every else i >= first_of_last)
        )
    return replace(data, sequences=sequences, name=f"{data.name}:{part}")


def load_anomalies(name: str) -> "pd.DataFrame":
    """The labelled anomalies of a bundled data set, a row each, in order of time.

    Returns:
        Frame with the timestamps `start` and `end` (both inside) of the window around an anomaly,
        and `point`, the moment that was labelled.

    Raises:
        InputError: there is no such data set, or it has no labels.
    """
    import pandas as pd

    path = card(name).anomalies
    if path is None:
        raise InputError(f"{name} has no labelled anomalies")
    return pd.read_csv(path, parse_dates=["start", "end", "point"])
