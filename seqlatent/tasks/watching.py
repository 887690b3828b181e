"""Anomalies online: one row of a series after the other, with the state carried between them.

A `Detector` gives the surprise, the smoothed surprise and the alarm that `detect` gives when all
rows have come, and reads each row once.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from seqlatent.data.batch import SequenceBatch
from seqlatent.data.calendar import calendar_features, cycles_of, from_data
from seqlatent.data.columns import MAX_MAGNITUDE
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.grid import steps_after
from seqlatent.data.sequence import Sequence
from seqlatent.data.steps import show_step
from seqlatent.errors import InputError
from seqlatent.inference.protocols import ExactDensity, OdeDensity
from seqlatent.models.base import SequenceModel
from seqlatent.models.mixture import MixtureModel
from seqlatent.tasks.alarms import Calibration
from seqlatent.tasks.following import Follower
from seqlatent.tasks.prepare import check_values

MAX_GAP = 1000  # absent steps between two rows


class Watched(NamedTuple):
    """What a `Detector` says of one row.

    Attributes:
        ds: the step.
        surprise: -log p(x_t | x_{<t}), nats; NaN where nothing was scored.
        smoothed: the same, smoothed.
        threshold: nats.
        excess: of the smoothed surprise over it, in mean excesses of the tail.
        alarm: whether it is above the threshold.
    """

    ds: Any
    surprise: float
    smoothed: float
    threshold: float
    excess: float
    alarm: bool


class Detector:
    """Watches one series; several series need a detector each.

    Args:
        model: fitted, with a likelihood that is computed and not a bound.
        calibrated: the threshold and whether it follows.

    Raises:
        InputError: for a model that cannot score one step after the other.
    """

    def __init__(self, model: SequenceModel, calibrated: Calibration):
        if not isinstance(model, ExactDensity | OdeDensity) or isinstance(model, MixtureModel):
            raise InputError(
                f"model '{model.family}' carries no state from one row to the next to score by; "
                "fit rnn, cnn, transformer, flow, diffusion or linear-gaussian, or use detect "
                "on whole series"
            )
        described = model.description
        if described.static_names or described.past_names:
            names = ", ".join([*described.static_names, *described.past_names])
            raise InputError(
                f"the model was fitted with static features or past covariates ({names}), which "
                "a detector of single rows does not read; use detect on whole series"
            )
        self.model, self.calibrated = model.eval(), calibrated
        self._state = model.begin(None)
        self._follower = Follower(calibrated)
        self._num_steps = 0
        self._last: np.ndarray | None = None  # (1,) the step before

    @property
    def threshold(self) -> float:
        """Of the next step's smoothed surprise, nats."""
        return self._follower.threshold

    def update(self, row: Any) -> Watched:
        """Read the next row.

        Args:
            row: the value or the values of the targets, NaN or None where missing; or a mapping of
                column names to values (a dict, a row of a frame), with the step under `ds` or the
                name that it had in training, and covariates. Rows without a step are steps 0, 1,
                ...; a model of the calendar needs it. Where steps of the training data's frequency
                are left out, these are read as missing first.

        Raises:
            InputError: for a value that the model cannot read, a step that does not come after the
                last one, or a covariate that is missing; the detector has read nothing then.
        """
        x, ds, covariates = self._parsed(row)
        for absent in self._absent(ds):
            self._read(np.full_like(x, np.nan), self._calendar(absent, {}))
        surprise = self._read(x, covariates)
        self._last = ds
        if np.isnan(surprise):
            return Watched(ds[0], np.nan, np.nan, np.nan, np.nan, False)
        smoothed, threshold, excess = map(float, self._follower.update(surprise))
        return Watched(ds[0], surprise, smoothed, threshold, excess, excess > 0)

    # -- reading ----------------------------------------------------------------------------------

    @torch.no_grad()
    def _read(self, x: np.ndarray, covariates: np.ndarray) -> float:
        """The surprise of one step of (D,) values and (C,) covariates; NaN where not scored."""
        model, state = self.model, self._state
        values = torch.from_numpy(x)[None, None].to(model.device)
        observed = ~values.isnan()
        one = torch.ones(1, dtype=torch.int64, device=model.device)
        context = max(0, model.options.context_length - self._num_steps)
        scaler, nothing = model.scaler, values[:, :0]
        batch = SequenceBatch(
            values.nan_to_num(0.0),
            observed,
            one,
            one * context,
            torch.from_numpy(covariates)[None, None].to(model.device),
            nothing,
            one * 0,
            tuple(scaler.next(state.memory)) if scaler.moving or scaler.num_features else None,
        )
        assert isinstance(model, ExactDensity | OdeDensity)
        log_prob, after = model.log_prob(batch, state)
        self._state = after._replace(memory=scaler.after(state.memory, values))
        self._num_steps += 1
        return -float(log_prob[0, 0]) if bool(batch.scored[0, 0]) else np.nan

    def _absent(self, ds: np.ndarray) -> list[np.ndarray]:
        """The steps that the training data's frequency has between the last row and this one."""
        frequency, found = self.model.description.frequency, []
        if self._last is None or frequency is None:
            return found
        if isinstance(frequency, str) != (ds.dtype.kind == "M"):
            return found
        following = steps_after(self._last, 1, frequency)
        while following[0] < ds[0]:
            found.append(following)
            if len(found) > MAX_GAP:
                raise InputError(
                    f"more than {MAX_GAP} steps are missing between {show_step(self._last[0])} and "
                    f"{show_step(ds[0])}; begin with a new detector"
                )
            following = steps_after(following, 1, frequency)
        return found if following[0] == ds[0] else []

    def _parsed(self, row: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(D,) values, (1,) step and (C,) covariates of a row."""
        described = self.model.description
        if isinstance(row, pd.Series):
            row = row.to_dict()
        if not isinstance(row, Mapping):
            cells = [row] if np.ndim(row) == 0 else list(row)
            if len(cells) != described.num_channels:
                raise InputError(
                    f"a row has {len(cells)} values, and the model was fitted to "
                    f"{', '.join(described.targets)}"
                )
            row = dict(zip(described.targets, cells, strict=True))
        for target in described.targets:
            if target not in row:
                raise InputError(f"a row has no '{target}', to which the model was fitted")
        x = np.array([self._value(name, row[name]) for name in described.targets])
        ds = self._step(row)
        covariates = self._calendar(ds, row)
        sequence = Sequence("row", ds, x[None], covariates[None])
        labels, names = described.categories, described.covariate_names
        one = SequenceDataset((sequence,), described.targets, names, labels, name="row")
        check_values(self.model, one)
        return x, ds, covariates

    def _value(self, target: str, cell: Any) -> float:
        """A cell as a number, or the code of a label; NaN where missing."""
        if cell is None or cell is pd.NA or cell is pd.NaT or cell != cell:
            return np.nan
        labels = self.model.description.categories.get(target)
        if labels is not None:
            if str(cell) not in labels:
                raise InputError(
                    f"'{target}' is '{cell}', which the model did not see in training; it knows "
                    f"{', '.join(labels)}"
                )
            return float(labels.index(str(cell)))
        return _number(target, cell)

    def _step(self, row: Mapping[str, Any]) -> np.ndarray:
        """(1,) the row's step, which must come after the last one."""
        described, last = self.model.description, self._last
        name = next((n for n in (described.time_column, "ds") if n is not None and n in row), None)
        if name is None:
            if last is not None and (last.dtype.kind == "M"):
                raise InputError("a row has no step (ds), and the rows before it had one")
            ds = np.array([0 if last is None else int(last[0]) + 1])
        else:
            ds = _step(name, row[name])
        if last is not None and last.dtype.kind != ds.dtype.kind:
            raise InputError("steps are timestamps in some rows and whole numbers in others")
        if last is not None and not ds[0] > last[0]:
            raise InputError(
                f"step {show_step(ds[0])} does not come after {show_step(last[0])}, the step before"
            )
        return ds

    def _calendar(self, ds: np.ndarray, row: Mapping[str, Any]) -> np.ndarray:
        """(C,) covariates: those of the row, 0 for a step that is absent, and the calendar's."""
        names = self.model.description.covariate_names
        own = from_data(names)
        if cycles_of(names) and ds.dtype.kind != "M":
            raise InputError("the model was fitted with the calendar: a row needs its time (ds)")
        if row:
            for name in own:
                if name not in row:
                    raise InputError(f"a row has no covariate '{name}', which the model needs")
        given = {name: _number(name, row[name]) if row else 0.0 for name in own}
        calendar = [name for name in names if name not in own]
        if calendar:
            given |= dict(zip(calendar, calendar_features(ds, calendar)[0], strict=True))
        return np.array([given[name] for name in names], dtype=np.float64)


def _number(name: str, cell: Any) -> float:
    try:
        value = float(cell)
    except (TypeError, ValueError):
        raise InputError(f"'{name}' is {str(cell)!r}, which is no number") from None
    if not abs(value) <= MAX_MAGNITUDE:
        raise InputError(f"'{name}' is {value}, which is no finite number up to {MAX_MAGNITUDE:g}")
    return value


def _step(name: str, cell: Any) -> np.ndarray:
    """(1,) a whole number or a timestamp, as data sets have them."""
    if isinstance(cell, int | np.integer) and not isinstance(cell, bool):
        return np.array([int(cell)])
    try:
        time = pd.Timestamp(cell)
        if time is pd.NaT or time.tzinfo is not None:
            raise ValueError
        return np.array([time.as_unit("ns").to_datetime64()])
    except (TypeError, ValueError):
        raise InputError(
            f"'{name}' is {str(cell)!r}, which is neither a whole number nor a time without a zone"
        ) from None
