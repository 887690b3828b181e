"""A folder of Parquet files as a data set for training: series are read at random, in any order.

Parquet is read from its beginning, training at random. One pass over the folder therefore writes
the values of every series, one after the other, to plain files in a temporary folder, from which
any series is a few short reads away. Memory holds the names and lengths of the series alone.
"""

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Seq
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.folders import ParquetFolder
from seqlatent.data.lazy import LazySequences
from seqlatent.data.notices import notices
from seqlatent.data.regular import with_frequency
from seqlatent.data.sequence import Sequence
from seqlatent.data.statics import SERIES
from seqlatent.errors import InputError

PARTS = ("ds", "x", "covariates", "lagged", "absent")


class Store:
    """Series in plain files, a file for each part of a `Sequence`; deleted with the object.

    Args:
        single: whether values and covariates are kept in single precision.
    """

    def __init__(self, single: bool = False):
        # Where TMPDIR says; a file system in memory would defeat the purpose.
        self.folder = Path(tempfile.mkdtemp(prefix="seqlatent-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self.kind = np.dtype(np.float32 if single else np.float64)
        self._files: dict[str, int] = {}
        self._names: list[str] = []
        self._static: list[np.ndarray | None] = []
        self._ends = [0]  # steps before each series, and in all
        self._times = np.dtype(np.int64)
        self._widths: dict[str, int] = {}

    def add(self, sequences: Iterable[Sequence]) -> None:
        """Append series."""
        parts: dict[str, list[np.ndarray]] = {part: [] for part in PARTS}
        for s in sequences:
            self._names.append(s.unique_id)
            self._static.append(s.static)
            self._ends.append(self._ends[-1] + len(s))
            parts["ds"].append(s.ds)
            parts["x"].append(s.x.astype(self.kind))
            parts["covariates"].append(s.covariates.astype(self.kind))
            absent = np.zeros(len(s), dtype=bool) if s.absent is None else s.absent
            parts["absent"].append(absent)
            if s.lagged is not None:  # of T + 1 rows the first is always missing
                parts["lagged"].append(s.lagged[1:].astype(self.kind))
            self._times = s.ds.dtype
        for part, arrays in parts.items():
            if not arrays:
                continue
            self._widths[part] = arrays[0].shape[1] if arrays[0].ndim == 2 else 1
            if part not in self._files:
                path = self.folder / part
                self._files[part] = os.open(path, os.O_RDWR | os.O_CREAT)
                weakref.finalize(self, os.close, self._files[part])
            content = np.ascontiguousarray(np.concatenate(arrays)).tobytes()
            try:
                written = 0
                while written < len(content):
                    written += os.write(self._files[part], content[written:])
            except OSError as error:
                raise InputError(
                    f"{self.folder}: the series cannot be kept there while training reads them "
                    f"({error.strerror}); set TMPDIR to a folder with more room"
                ) from None

    def __len__(self) -> int:
        return len(self._names)

    def sequences(self) -> LazySequences:
        lengths = np.diff(self._ends)
        return LazySequences(self.read, lengths, np.zeros_like(lengths))

    def read(self, place: int) -> Sequence:
        """The series of a place."""
        a, b = self._ends[place], self._ends[place + 1]
        lagged = None
        if "lagged" in self._files:
            lagged = np.pad(
                self._part("lagged", a, b, self.kind).astype(np.float64),
                ((1, 0), (0, 0)),
                constant_values=np.nan,
            )
        absent = self._part("absent", a, b, np.dtype(bool))[:, 0]
        return Sequence(
            self._names[place],
            self._part("ds", a, b, self._times)[:, 0],
            self._part("x", a, b, self.kind).astype(np.float64, copy=False),
            self._part("covariates", a, b, self.kind).astype(np.float64, copy=False),
            absent=absent if absent.any() else None,
            static=self._static[place],
            lagged=lagged,
        )

    def _part(self, part: str, start: int, stop: int, kind: np.dtype[Any]) -> np.ndarray:
        """(T, .) rows of a part. They are not mapped, so that pages do not pile up in memory."""
        width = self._widths[part]
        size = width * kind.itemsize
        content = os.pread(self._files[part], (stop - start) * size, start * size)
        return np.frombuffer(content, kind).reshape(stop - start, width)


class _Labels:
    """Codes of labels that come block by block: in the order in which they came, and then sorted,
    as those of a table in memory are.

    Args:
        first: the code of the first label; 0 of a target, 1 of a static feature.
    """

    def __init__(self, first: int):
        self.first, self.codes = first, {}

    def add(self, labels: Seq[str]) -> np.ndarray:
        """(L,) the codes of some labels."""
        for label in labels:
            self.codes.setdefault(label, len(self.codes) + self.first)
        return np.array([float(self.codes[label]) for label in labels])

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(sorted(self.codes))

    def sorted_codes(self) -> np.ndarray:
        """The final code of each code as it came."""
        places = {label: i + self.first for i, label in enumerate(self.labels)}
        return np.array([float(places[label]) for label in self.codes])

    def recoded(self, values: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """Values, NaN where missing, by new codes in place of first, first + 1, ..."""
        if not len(codes):
            return values
        seen = np.isfinite(values)
        return np.where(seen, codes[np.where(seen, values - self.first, 0).astype(int)], np.nan)


def load_stored(folder: ParquetFolder, table: dict[str, Any]) -> SequenceDataset:
    """The series of a folder as a data set that memory need not hold.

    Args:
        folder: with the rows of each series together.
        table: arguments of `SequenceDataset.from_frame`; the first block decides what is None.

    Raises:
        InputError: as `SequenceDataset.from_frame` does; where a column holds numbers in one part
            and text in another; or for the series themselves as a category.
    """
    store, first, table = Store(folder.single_precision), None, dict(table)
    targets: dict[int, _Labels] = {}
    statics: dict[int, _Labels] = {}
    with notices() as told:
        for name, frame in folder.blocks():
            part = SequenceDataset.from_frame(frame, **table, name=name, part=True)
            if SERIES in part.static_labels:
                raise InputError(
                    f"{folder.source}: the series themselves cannot be a category (static "
                    f"{SERIES}) where there are more of them than memory holds; leave it out"
                )
            if first is None:
                first = replace(part, sequences=())
                table["targets"] = part.targets
                targets = {part.targets.index(t): _Labels(0) for t in part.categories}
                statics = {part.static_names.index(t): _Labels(1) for t in part.static_labels}
            for mine, theirs in (
                (first.categories, part.categories),
                (first.static_labels, part.static_labels),
            ):
                for column in set(mine) ^ set(theirs):
                    raise InputError(
                        f"{name}: column '{column}' holds numbers, and text elsewhere; make it one "
                        "of them"
                    )
            if not len(part):
                continue
            part = with_frequency(part, first.frequency)
            codes = {d: k.add(part.categories[part.targets[d]]) for d, k in targets.items()}
            own = {i: k.add(part.static_labels[part.static_names[i]]) for i, k in statics.items()}
            change = partial(_recoded, targets=targets, codes=codes, statics=statics, own=own)
            store.add(tuple(map(change, part)) if codes or own else tuple(part))
    told.tell()
    if first is None:
        raise InputError(f"{folder.source} has a header but no rows")
    if not len(store):
        raise InputError(f"{folder.source}: no series has an observed value")
    sequences = store.sequences()
    if targets or statics:
        codes = {d: k.sorted_codes() for d, k in targets.items()}
        own = {i: k.sorted_codes() for i, k in statics.items()}
        change = partial(_recoded, targets=targets, codes=codes, statics=statics, own=own)
        sequences = sequences.changed(change)
    return replace(
        first,
        sequences=sequences,
        name=folder.source.name,
        categories={first.targets[d]: k.labels for d, k in targets.items()},
        static_labels={first.static_names[i]: k.labels for i, k in statics.items()},
    )


def _recoded(
    s: Sequence,
    targets: Mapping[int, _Labels],
    codes: Mapping[int, np.ndarray],
    statics: Mapping[int, _Labels],
    own: Mapping[int, np.ndarray],
) -> Sequence:
    """A series with other codes of its labels."""
    x, static = s.x.copy(), s.static_values.copy()
    for d, new in codes.items():
        x[:, d] = targets[d].recoded(x[:, d], new)
    for i, new in own.items():
        static[i] = statics[i].recoded(static[i : i + 1], new)[0]
    return replace(s, x=x, static=None if s.static is None else static)
