"""`SequenceDataset`: sequences with the names of what they hold.

Every way in (a file, a frame, arrays, a bundled name) ends here, and every model starts here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from seqlatent.data.columns import MAX_MAGNITUDE
from seqlatent.data.display import Facts, dataset_facts
from seqlatent.data.frames import sequences_from_frame
from seqlatent.data.grid import Frequency, steps_after
from seqlatent.data.lazy import LazySequences
from seqlatent.data.sequence import Sequence
from seqlatent.errors import InputError
from seqlatent.text import Summary


@dataclass(frozen=True, eq=False, repr=False)
class SequenceDataset(Summary):
    """Named sequences over the same target channels.

    Attributes:
        sequences: the data, one `Sequence` each; `LazySequences` where memory does not hold them.
        targets: names of the D channels.
        covariate_names: names of the C covariates.
        static_names: of the S static features.
        static_labels: for a static feature of categories, the label of each code 1, 2, ...
        past_names: of the P past covariates, which are known up to the present only.
        categories: for a channel of labels, the label of each code 0, 1, ...
        frequency: of the steps: a pandas offset alias for timestamps, the stride for integers, None
            where they are irregular. A series whose steps do not follow it has its own.
        name: what messages call this data set: a file, a bundled name, "data".
        id_column, time_column: what they were called in the table, if it was one.
    """

    sequences: tuple[Sequence, ...] | LazySequences
    targets: tuple[str, ...]
    covariate_names: tuple[str, ...] = ()
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    frequency: Frequency = None
    name: str = "data"
    id_column: str = "unique_id"
    time_column: str | None = None
    static_names: tuple[str, ...] = ()
    static_labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    past_names: tuple[str, ...] = ()

    def _facts(self) -> Facts:
        return dataset_facts(self)

    def __len__(self) -> int:
        return len(self.sequences)

    def __iter__(self) -> Iterator[Sequence]:
        return iter(self.sequences)

    def __getitem__(self, index: int | slice | Iterable[int]) -> "SequenceDataset":
        """The chosen sequences, as a data set: `data[0]`, `data[:10]`, `data[[3, 1]]`."""
        if isinstance(index, slice):
            chosen = self.sequences[index]
        elif isinstance(index, (int, np.integer)):
            chosen = (self.sequences[index],)
        elif isinstance(self.sequences, LazySequences):
            chosen = self.sequences.chosen(np.array(list(index), dtype=np.int64))
        else:
            chosen = tuple(self.sequences[int(i)] for i in index)
        return replace(self, sequences=chosen)

    @property
    def num_channels(self) -> int:
        return len(self.targets)

    @property
    def lengths(self) -> np.ndarray:
        """(N,) int64 number of steps of each sequence."""
        if isinstance(self.sequences, LazySequences):
            return self.sequences.lengths
        return np.array([len(s) for s in self.sequences], dtype=np.int64)

    @property
    def contexts(self) -> np.ndarray:
        """(N,) int64 steps of context of each sequence."""
        if isinstance(self.sequences, LazySequences):
            return self.sequences.contexts
        return np.array([s.context for s in self.sequences], dtype=np.int64)

    @property
    def lazy(self) -> bool:
        """Whether the sequences are read when they are asked for, and memory does not hold them."""
        return isinstance(self.sequences, LazySequences)

    def changed(
        self,
        change: Callable[[Sequence], Sequence],
        contexts: np.ndarray | None = None,
        **fields: Any,
    ) -> "SequenceDataset":
        """The data with every sequence changed, but not its number of steps, and other fields.

        Args:
            change: of one sequence.
            contexts: (N,) int64 their steps of context, if these change.
            fields: by name.
        """
        if isinstance(self.sequences, LazySequences):
            sequences = self.sequences.changed(change, contexts)
        else:
            sequences = tuple(map(change, self.sequences))
        return replace(self, sequences=sequences, **fields)

    def pieces(
        self, indices: Seq[int], starts: Seq[int], stops: Seq[int], contexts: Seq[int]
    ) -> "SequenceDataset":
        """Pieces of sequences: which, and from where to where; see `Sequence.slice`."""
        columns = [np.array(c, dtype=np.int64) for c in (indices, starts, stops, contexts)]
        if isinstance(self.sequences, LazySequences):
            return replace(self, sequences=self.sequences.pieces(*columns))
        rows = zip(*(c.tolist() for c in columns), strict=True)
        cut = tuple(self.sequences[i].slice(a, b, context) for i, a, b, context in rows)
        return replace(self, sequences=cut)

    def some(self, steps: int) -> "SequenceDataset":
        """About so many steps, in memory: series spread evenly over the data; all, if they have no
        more."""
        lengths = self.lengths
        if not self.lazy and lengths.sum() <= steps:
            return self
        share = min(1.0, steps / max(1, int(lengths.sum())))
        count = int(np.clip(round(share * len(self)), 1, len(self)))
        places = np.unique(np.linspace(0, len(self) - 1, count).astype(int))
        return replace(self, sequences=tuple(self.sequences[int(i)] for i in places))

    def future_steps(self, sequence: Sequence, prediction_length: int) -> np.ndarray:
        """(H,) the steps that follow a sequence's last one; see `steps_after`."""
        return steps_after(sequence.ds, prediction_length, self.frequency)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        targets: Seq[str] | None = None,
        covariates: Seq[str] = (),
        id_column: str = "unique_id",
        time_column: str | None = None,
        name: str = "data",
        static: Seq[str] = (),
        past_covariates: Seq[str] = (),
        regular: bool = True,
        part: bool = False,
    ) -> "SequenceDataset":
        """Read a long table (`unique_id, ds, y`, or several targets) or one wide table without ids.

        Args:
            frame: one row for each sequence and step, in any order.
            targets: the columns to model; by default `y`, or else every column that is neither
                id, time nor covariate.
            covariates: columns that are known in advance of every step.
            static: columns with one value for each series: numbers, or texts, which are categories.
                `unique_id` makes the series itself a category.
            past_covariates: columns that are known up to the present only.
            id_column: the sequence's name; without such a column the table is one sequence.
            time_column: timestamps or integers; by default `ds`, or else the one column with a
                usual name such as `date`; without any, rows are steps 0, 1, ...
            name: what messages call the data.
            regular: whether steps that are absent from a grid are filled in as missing.
            part: whether the frame is a part of a larger table, which may lack values that others
                have, of a target or of all of them.

        Raises:
            InputError: naming the column, series and row of what cannot be read.
        """
        parsed = sequences_from_frame(
            frame,
            targets,
            covariates,
            id_column,
            time_column,
            name,
            static,
            past_covariates,
            regular,
            part,
        )
        return cls(name=name, id_column=id_column, time_column=time_column, **parsed)

    @classmethod
    def from_arrays(
        cls, x: np.ndarray, targets: Seq[str] | None = None, name: str = "data"
    ) -> "SequenceDataset":
        """Read (N, T, D), (N, T) or, as one sequence, (T,) values, NaN where missing; steps are
        0..T-1."""
        x = np.asarray(x)
        if x.ndim == 1:
            x = x[None]
        if x.ndim == 2:
            x = x[:, :, None]
        if x.ndim != 3:
            raise InputError(
                f"{name}: an array of sequences has shape (N, T, D), (N, T) or (T,), not {x.shape}"
            )
        if x.size == 0:
            raise InputError(f"{name}: an array of shape {x.shape} holds no values")
        return cls.from_list(list(x), targets, name)

    @classmethod
    def from_list(
        cls, values: Seq[np.ndarray], targets: Seq[str] | None = None, name: str = "data"
    ) -> "SequenceDataset":
        """Read a list of (T_i, D) or (T_i,) values, NaN where missing; steps are 0..T_i-1."""
        if len(values) == 0:
            raise InputError(f"{name}: there are no sequences")
        sequences = []
        for i, value in enumerate(values):
            try:
                if getattr(value, "dtype", np.dtype(float)).kind in "cMmV":
                    raise TypeError("an imaginary part would be dropped; times are no numbers")
                x = np.array(value, dtype=np.float64)
                # Missing values that come from R are NaNs at which arithmetic warns.
                x[np.isnan(x)] = np.nan
            except (TypeError, ValueError, OverflowError):
                raise InputError(f"{name}: sequence {i} does not hold numbers") from None
            if x.ndim == 1:
                x = x[:, None]
            channels = sequences[0].x.shape[1] if sequences else None
            if x.ndim != 2 or 0 in x.shape or (channels and x.shape[1] != channels):
                raise InputError(
                    f"{name}: sequence {i} has shape {np.shape(value)}; each needs (T, D) with at "
                    "least one step and the same channels in all"
                )
            if np.isinf(x).any():
                step, channel = np.argwhere(np.isinf(x))[0]
                raise InputError(
                    f"{name}: sequence {i} has an infinite value at step {step}, channel {channel}"
                )
            if (np.abs(x) > MAX_MAGNITUDE).any():
                raise InputError(
                    f"{name}: sequence {i} has values beyond {MAX_MAGNITUDE:g}, too large to model"
                )
            sequences.append(Sequence(str(i), np.arange(len(x)), x, np.zeros((len(x), 0))))
        channels = sequences[0].x.shape[1]
        if targets is None:
            targets = ("y",) if channels == 1 else tuple(f"y{d + 1}" for d in range(channels))
        if isinstance(targets, str):
            targets = (targets,)
        if not all(isinstance(target, str) for target in targets):
            raise InputError(f"{name}: the target names {targets!r} are not all text")
        if len(set(targets)) < len(targets):
            raise InputError(f"{name}: a target is named twice in {', '.join(targets)}")
        if len(targets) != channels:
            raise InputError(f"{name}: {len(targets)} target names for {channels} channels")
        return cls(tuple(sequences), tuple(targets), frequency=1, name=name)

    def to_frame(self) -> pd.DataFrame:
        """The long table: `unique_id, ds`, the targets (labels for categories), the covariates,
        the static features and the past covariates."""
        parts = []
        for s in self.sequences:
            part = pd.DataFrame({"unique_id": s.unique_id, "ds": s.ds})
            for d, target in enumerate(self.targets):
                part[target] = self.decode(target, s.x[:, d])
            for c, covariate in enumerate(self.covariate_names):
                part[covariate] = s.covariates[:, c]
            for c, static in enumerate(self.static_names):
                labels, value = self.static_labels.get(static), s.static_values[c]
                if static != "unique_id":
                    known = labels is None or value > 0
                    part[static] = labels[int(value) - 1] if labels and known else value
            for c, past in enumerate(self.past_names):
                part[past] = s.lagged[1:, c] if s.lagged is not None else np.nan
            parts.append(part)
        return pd.concat(parts, ignore_index=True)

    def decode(self, target: str, values: np.ndarray) -> np.ndarray:
        """Values as a user would write them: category codes become labels again."""
        labels = self.categories.get(target)
        if labels is None:
            return values
        table = np.array([*labels, None], dtype=object)
        return table[np.where(np.isfinite(values), values, len(labels)).astype(int)]
