"""Rows of streams: single rows of cells as the numbers that a model reads.

Steps are 64-bit integers with a kind: whole numbers, or timestamps as their nanoseconds.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from seqlatent.data.calendar import calendar_features, cycles_of, from_data
from seqlatent.data.columns import MAX_MAGNITUDE, id_text
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.grid import steps_after, stride_of
from seqlatent.data.sequence import Sequence as Series
from seqlatent.data.statics import SERIES
from seqlatent.data.steps import show_step
from seqlatent.errors import InputError
from seqlatent.models.base import SequenceModel
from seqlatent.tasks.prepare import check_values

MAX_GAP = 1000  # absent steps between two rows
FAR = pd.Timestamp("2200-01-01").value  # from here on, `steps_after` sees that timestamps end
NONE, WHOLE, TIME = 0, 1, 2  # kinds of steps; NONE before the first


class Before(NamedTuple):
    """What is known of N series before a row of each.

    Attributes:
        names: of the series.
        kind: (N,) of their steps.
        last: (N,) the last steps.
        static: (N, S) static features; NaN before the first row.
        lagged: (N, P) past covariates of the last step; NaN where missing.
    """

    names: Sequence[str]
    kind: np.ndarray
    last: np.ndarray
    static: np.ndarray
    lagged: np.ndarray


class Parsed(NamedTuple):
    """A row of each of N series.

    Attributes:
        x: (N, D) values, NaN where missing; of labels their codes.
        kind, step: (N,) the steps.
        own: (N, .) covariates that come with the rows.
        static: (N, S) static features.
        past: (N, P) past covariates, NaN where missing.
    """

    x: np.ndarray
    kind: np.ndarray
    step: np.ndarray
    own: np.ndarray
    static: np.ndarray
    past: np.ndarray


class RowReader:
    """Reads rows for a model.

    Args:
        model: fitted.
        several: whether messages name the series.
    """

    def __init__(self, model: SequenceModel, several: bool):
        self.model, self.several = model, several
        self.described = model.description
        self.own = from_data(self.described.covariate_names)
        self.needs_time = bool(cycles_of(self.described.covariate_names))
        self.bare = not (
            self.own or self.needs_time or self.described.static_names or self.described.past_names
        )
        frequency, self.stride, self.offset = self.described.frequency, None, None
        if frequency is not None:
            self.stride = stride_of(frequency)
        if isinstance(frequency, str):
            self.offset = to_offset(frequency)

    # -- rows -------------------------------------------------------------------------------------

    def parse(self, rows: Sequence[Any] | np.ndarray, before: Before) -> Parsed:
        """Rows as numbers.

        Args:
            rows: one for each series: a value or the values of the targets, or a mapping of column
                names to cells; or an array (N, D).
            before: what is known of the series.

        Raises:
            InputError: for a row that the model cannot read.
        """
        if isinstance(rows, np.ndarray) and rows.ndim == 2 and self.bare:
            parsed = self._of_array(rows, before)
        else:
            parsed = self._of_rows(rows, before)
        try:
            self._check(parsed.x, "row")
        except InputError:
            for name, x in zip(before.names, parsed.x, strict=True):
                self._check(x[None], f"series '{name}'" if self.several else "row")
            raise
        return parsed

    def _of_array(self, rows: np.ndarray, before: Before) -> Parsed:
        described = self.described
        if rows.shape[1] != described.num_channels or not np.issubdtype(rows.dtype, np.number):
            raise self._unequal(rows.shape[1])
        if (before.kind == TIME).any():
            raise InputError("a row has no step (ds), and the rows before it had one")
        x = rows.astype(np.float64)
        large = np.abs(x) > MAX_MAGNITUDE
        if large.any():
            i, d = (int(place) for place in np.argwhere(large)[0])
            with self._naming(before.names[i]):
                _number(described.targets[d], x[i, d])
        none = np.zeros((len(x), 0))
        step = np.where(before.kind == NONE, 0, before.last + 1)
        return Parsed(x, np.full(len(x), WHOLE), step, none, none, none)

    def _of_rows(self, rows: Sequence[Any] | np.ndarray, before: Before) -> Parsed:
        found = []
        for i, row in enumerate(rows):
            with self._naming(before.names[i]):
                found.append(self._of_row(row, i, before))
        parts = zip(*found, strict=True)
        x, kind, step, own, static, past = (np.array(part) for part in parts)
        return Parsed(x, kind, step, *(p.reshape(len(x), -1) for p in (own, static, past)))

    def _of_row(self, row: Any, i: int, before: Before) -> tuple[Any, ...]:
        described = self.described
        if isinstance(row, pd.Series):
            row = row.to_dict()
        if not isinstance(row, Mapping):
            cells = [row] if np.ndim(row) == 0 else list(row)
            if len(cells) != described.num_channels:
                raise self._unequal(len(cells))
            row = dict(zip(described.targets, cells, strict=True))
        for target in described.targets:
            if target not in row:
                raise InputError(f"a row has no '{target}', to which the model was fitted")
        x = [self._value(name, row[name]) for name in described.targets]
        kind, step = self.step_of(row, int(before.kind[i]), int(before.last[i]))
        return x, kind, step, self.own_covariates(row), *self._others(row, i, before)

    def _unequal(self, count: int) -> InputError:
        return InputError(
            f"a row has {count} values, and the model was fitted to "
            f"{', '.join(self.described.targets)}"
        )

    def _check(self, x: np.ndarray, name: str) -> None:
        """Refuse values (N, D) that the model cannot read."""
        d = self.described
        ds, none = np.arange(len(x)), np.zeros((len(x), 0))
        rows = SequenceDataset((Series(name, ds, x, none),), d.targets, (), d.categories, name=name)
        check_values(self.model, rows)

    def _naming(self, name: str) -> "_Naming":
        return _Naming(name if self.several else None)

    def _value(self, target: str, cell: Any) -> float:
        """A cell as a number, or the code of a label; NaN where missing."""
        if is_missing(cell):
            return np.nan
        labels = self.described.categories.get(target)
        if labels is not None:
            if str(cell) not in labels:
                raise InputError(
                    f"'{target}' is '{cell}', which the model did not see in training; it knows "
                    f"{', '.join(labels)}"
                )
            return float(labels.index(str(cell)))
        return _number(target, cell)

    # -- what is known of a step ------------------------------------------------------------------

    def own_covariates(self, row: Mapping[str, Any]) -> list[float]:
        """The covariates that come with a row."""
        for name in self.own:
            if name not in row or is_missing(row[name]):
                raise InputError(f"a row has no covariate '{name}', which the model needs")
        return [_number(name, row[name]) for name in self.own]

    def _others(
        self, row: Mapping[str, Any], i: int, before: Before
    ) -> tuple[list[float], list[float]]:
        """Static features, of the first row, and past covariates, NaN where missing."""
        described, static = self.described, []
        for place, name in enumerate(described.static_names):
            known = float(before.static[i, place])
            cell = before.names[i] if name == SERIES else row.get(name)
            if is_missing(cell):
                if np.isnan(known):
                    raise InputError(f"the first row has no static feature '{name}'")
                static.append(known)
                continue
            labels = described.static_labels.get(name)
            if labels is None:
                value = _number(name, cell)
            else:
                text = id_text(cell).strip()
                value = float(labels.index(text) + 1 if text in labels else 0)
            if not np.isnan(known) and value != known:
                raise InputError(
                    f"the static feature '{name}' is '{cell}' and was something else in an earlier "
                    "row; it has one value for each series"
                )
            static.append(value)
        past = []
        for name in described.past_names:
            if name not in row:
                raise InputError(f"a row has no past covariate '{name}', which the model needs")
            past.append(np.nan if is_missing(row[name]) else _number(name, row[name]))
        return static, past

    def known(
        self, kind: np.ndarray, step: np.ndarray, own: np.ndarray, static: np.ndarray,
        lagged: np.ndarray,
    ) -> np.ndarray:  # fmt: skip
        """(N, C + S + P) what is known of a step of each of N series, as in a batch.

        Args:
            kind, step: (N,) the steps.
            own: (N, .) covariates of the rows.
            static: (N, S).
            lagged: (N, P) past covariates of the steps before.
        """
        names, columns = self.described.covariate_names, np.zeros((len(step), 0))
        if names:
            if self.needs_time and (kind != TIME).any():
                raise InputError(
                    "the model was fitted with the calendar: a row needs its time (ds)"
                )
            calendar = [name for name in names if name not in self.own]
            waves = calendar_features(step.view("datetime64[ns]"), calendar) if calendar else None
            columns = np.empty((len(step), len(names)))
            for place, name in enumerate(names):
                source, found = (own, self.own) if name in self.own else (waves, calendar)
                columns[:, place] = source[:, found.index(name)]  # type: ignore[index]
        return np.concatenate([columns, static, lagged], 1)

    # -- steps ------------------------------------------------------------------------------------

    def step_of(self, row: Mapping[str, Any], kind: int, last: int) -> tuple[int, int]:
        """The kind and number of the row's step, which must come after the last one."""
        names = (self.described.time_column, "ds")
        name = next((n for n in names if n is not None and n in row), None)
        if name is None:
            if kind == TIME:
                raise InputError("a row has no step (ds), and the rows before it had one")
            return WHOLE, 0 if kind == NONE else last + 1
        new, step = _step(name, row[name])
        if kind not in (NONE, new):
            raise InputError("steps are timestamps in some rows and whole numbers in others")
        if kind != NONE and not step > last:
            raise InputError(
                f"step {show(new, step)} does not come after {show(kind, last)}, the step before"
            )
        return new, step

    def absent(self, parsed: Parsed, before: Before) -> list[np.ndarray]:
        """For each series the steps that the training data's frequency has between the last row
        and this one.

        Raises:
            InputError: where they are too many.
        """
        none = np.zeros(0, dtype=np.int64)
        found = [none] * len(parsed.step)
        frequency = self.described.frequency
        if frequency is None:
            return found
        own = TIME if isinstance(frequency, str) else WHOLE
        begun = (before.kind == own) & (parsed.kind == own)
        distance = parsed.step - before.last
        if self.stride is not None:
            begun &= (distance != self.stride) & (distance % self.stride == 0)
        for i in np.flatnonzero(begun).tolist():
            with self._naming(before.names[i]):
                found[i] = self._between(before.last[i], parsed.step[i], own)
        return found

    def _between(self, last: int, step: int, kind: int) -> np.ndarray:
        if self.stride is not None:
            if (step - last) // self.stride > MAX_GAP + 1:
                raise self._gap(last, step, kind)
            return np.arange(last + self.stride, step, self.stride)
        found = []
        following = self.following(last, kind)
        while following < step:
            found.append(following)
            if len(found) > MAX_GAP:
                raise self._gap(last, step, kind)
            following = self.following(following, kind)
        return np.array(found if following == step else [], dtype=np.int64)

    def following(self, last: int, kind: int) -> int:
        """The step after a step, by the frequency of the training data."""
        frequency = self.described.frequency
        if self.stride is not None and (kind == TIME) == isinstance(frequency, str):
            return int(last) + self.stride
        if kind == TIME and self.offset is not None:
            time = pd.Timestamp(int(last))
            assert isinstance(time, pd.Timestamp)
            # As `steps_after`, which takes many times as long for one step of the calendar.
            if last < FAR and self.offset.is_on_offset(time):
                return int((time + self.offset).as_unit("ns").value)
        ds = np.array([last], dtype=np.int64)
        ds = ds.view("datetime64[ns]") if kind == TIME else ds
        return int(steps_after(ds, 1, frequency).astype(ds.dtype).view(np.int64)[0])

    def _gap(self, last: int, step: int, kind: int) -> InputError:
        return InputError(
            f"more than {MAX_GAP} steps are missing between {show(kind, last)} and "
            f"{show(kind, step)}; begin a new stream"
        )


class _Naming:
    """Where several series are read, a message begins with the name of its own."""

    def __init__(self, name: str | None):
        self.name = name

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if self.name is not None and isinstance(error, InputError):
            raise InputError(f"series '{self.name}': {error}") from None


def is_missing(cell: Any) -> bool:
    """Whether a cell holds nothing."""
    return cell is None or cell is pd.NA or cell is pd.NaT or cell != cell


def as_step(kind: int, step: int) -> Any:
    """A step as users have it: a whole number or `datetime64[ns]`."""
    return np.int64(step).view("datetime64[ns]") if kind == TIME else int(step)


def show(kind: int, step: int) -> str:
    """A step as messages write it."""
    return show_step(as_step(kind, step))


def _number(name: str, cell: Any) -> float:
    try:
        value = float(cell)
    except (TypeError, ValueError):
        raise InputError(f"'{name}' is {str(cell)!r}, which is no number") from None
    if not abs(value) <= MAX_MAGNITUDE:
        raise InputError(f"'{name}' is {value}, which is no finite number up to {MAX_MAGNITUDE:g}")
    return value


def _step(name: str, cell: Any) -> tuple[int, int]:
    """A cell as a whole number or a timestamp, in UTC where it has a zone, as data sets have
    them."""
    if isinstance(cell, int | np.integer) and not isinstance(cell, bool):
        return WHOLE, int(cell)
    try:
        if isinstance(cell, float | bool):
            raise ValueError
        time = pd.Timestamp(cell)
        if time is pd.NaT:
            raise ValueError
        if time.tzinfo is not None:
            time = time.tz_convert("UTC").tz_localize(None)
        return TIME, int(time.as_unit("ns").value)
    except (TypeError, ValueError):
        raise InputError(
            f"'{name}' is {str(cell)!r}, which is neither a whole number nor a time"
        ) from None
