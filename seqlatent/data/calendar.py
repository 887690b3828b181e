"""Calendar covariates: where in the hour, day, week, month and year a step lies.

A cycle's phase p in [0, 1) enters as sin(2 pi p) and cos(2 pi p), so that its end meets its
beginning. The features are functions of the timestamp alone and hence known for future steps.
"""

import re
from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import replace

import numpy as np

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.grid import ONE_DAY
from seqlatent.data.sequence import Sequence
from seqlatent.errors import InputError, did_you_mean

PREFIX = "calendar"


def _day(ds: np.ndarray) -> np.ndarray:
    return ds.astype(np.int64) % ONE_DAY / ONE_DAY


def _week(ds: np.ndarray) -> np.ndarray:
    weekday = (ds.astype(np.int64) // ONE_DAY + 3) % 7  # 1970 began on a Thursday
    return (weekday + _day(ds)) / 7


def _within(ds: np.ndarray, unit: str) -> np.ndarray:
    """The share of its month (`M`) or year (`Y`) that has passed."""
    begun = ds.astype(f"datetime64[{unit}]")
    first, following = (d.astype("datetime64[D]").astype(np.int64) for d in (begun, begun + 1))
    return (ds.astype(np.int64) // ONE_DAY - first + _day(ds)) / (following - first)


# Of nanoseconds, with the arithmetic of integers: every batch of a large data set asks for them.
CYCLES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "hour": lambda ds: _day(ds) * 24 % 1,
    "day": _day,
    "week": _week,
    "month": lambda ds: _within(ds, "M"),
    "year": lambda ds: _within(ds, "Y"),
}
DAYS = {"day": 1.0, "week": 7.0, "year": 365.0}  # cycles that are looked for, and their lengths
PARTS = 24  # of a cycle, at most, that must have been seen
LOOKED_AT = 1000  # series, at most
WAVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"sin": np.sin, "cos": np.cos}


def calendar_features(ds: np.ndarray, names: Seq[str]) -> np.ndarray:
    """The calendar covariates of some steps.

    Args:
        ds: (T,) `datetime64`.
        names: C covariates such as `calendar:day:sin`, as `with_calendar` names them.

    Returns:
        (T, C) float64 in [-1, 1].

    Raises:
        InputError: the steps are integers, or a name is none of a calendar covariate.
    """
    if not np.issubdtype(ds.dtype, np.datetime64):
        raise InputError("calendar covariates need timestamps, and the steps are whole numbers")
    known = [f"{PREFIX}:{cycle}:{wave}" for cycle in CYCLES for wave in WAVES]
    ds = ds.astype("datetime64[ns]")
    features = np.empty((len(ds), len(names)))
    for i, name in enumerate(names):
        if name not in known:
            raise InputError(f"'{name}' is not a calendar covariate{did_you_mean(name, known)}")
        _, cycle, wave = name.split(":")
        features[:, i] = WAVES[wave](2 * np.pi * CYCLES[cycle](ds))
    return features


def from_data(names: Seq[str]) -> tuple[str, ...]:
    """Those of a data set's covariates that come with its table."""
    return tuple(name for name in names if not name.startswith(f"{PREFIX}:"))


def cycles_of(names: Seq[str]) -> tuple[str, ...]:
    """The cycles whose features are among a data set's covariates."""
    return tuple(name.split(":")[1] for name in names if re.fullmatch(f"{PREFIX}:.*:sin", name))


def has_timestamps(dataset: SequenceDataset) -> bool:
    """Whether the steps of all sequences are timestamps, and not whole numbers."""
    sequences = dataset.sequences[:1] if dataset.lazy else dataset.sequences  # all of one table
    return all(np.issubdtype(s.ds.dtype, np.datetime64) for s in sequences)


def usual_cycles(dataset: SequenceDataset) -> tuple[str, ...]:
    """The cycles that forecasts of such data usually need: those that are longer than a step, that
    the longest series spans, and that the series together have seen twice. None of steps without a
    frequency.

    A day is seen twice by one series of two days and by two series of a day each: both tell what
    belongs to the hour, and not to how long a series has been running. Of a cycle that no series
    spans, each series would know little more than which one it is.
    """
    if dataset.frequency is None or not has_timestamps(dataset):
        return ()
    every = -(-len(dataset) // LOOKED_AT)
    some = [dataset.sequences[i].ds for i in range(0, len(dataset), every)]
    gaps = np.concatenate([np.diff(ds) for ds in some])
    if not len(gaps):
        return ()
    step = float(np.median(gaps) / np.timedelta64(1, "D"))
    days = np.concatenate(some).astype("datetime64[ns]").astype(np.int64) / ONE_DAY
    span = dataset.lengths.max() * step
    found = [c for c, length in DAYS.items() if length <= span and _seen_twice(days, length, step)]
    if step == 1 and span >= 31 and days.max() - days.min() >= 365:
        found.insert(1, "month")
    return tuple(found)


def _seen_twice(days: np.ndarray, length: float, step: float) -> bool:
    """Whether nearly all parts of a cycle occur, and nearly all that occur do so in two cycles.

    Of business days, five sevenths of a week occur.
    """
    parts = min(round(length / step), PARTS)
    if parts < 2:
        return False
    met = np.unique(np.rint(days / length * parts).astype(np.int64))
    times = np.bincount(met % parts, minlength=parts)
    return bool((times >= 1).mean() >= 0.7 and (times[times >= 1] >= 2).mean() >= 0.9)


def choose_cycles(calendar: str | Seq[str], dataset: SequenceDataset) -> Seq[str]:
    """The cycles that are meant by a list of them or by `day,week`, `none` or `auto`, the usual
    ones of a data set."""
    if isinstance(calendar, str):
        if calendar == "auto":  # a choice of the user's own stands
            return () if cycles_of(dataset.covariate_names) else usual_cycles(dataset)
        return () if calendar == "none" else [name.strip() for name in calendar.split(",")]
    return calendar


def with_cycles(dataset: SequenceDataset, cycles: Seq[str]) -> SequenceDataset:
    """The data set with those cycles that it lacks; see `with_calendar`."""
    known = cycles_of(dataset.covariate_names)
    return with_calendar(dataset, [c for c in cycles if c not in known])


def with_calendar(dataset: SequenceDataset, cycles: Seq[str]) -> SequenceDataset:
    """The data set with a sine and a cosine covariate for each cycle.

    Args:
        dataset: sequences with timestamps.
        cycles: any of `hour` (the minute within it), `day`, `week` (from Monday), `month`, `year`.

    Raises:
        InputError: an unknown cycle, one that is there already, or integer steps.
    """
    for cycle in cycles:
        if cycle not in CYCLES:
            raise InputError(f"there is no calendar cycle '{cycle}'{did_you_mean(cycle, CYCLES)}")
    names = tuple(f"{PREFIX}:{cycle}:{wave}" for cycle in cycles for wave in WAVES)
    all_names = (*dataset.covariate_names, *names)
    for name in names:
        if all_names.count(name) > 1:
            raise InputError(f"{dataset.name}: the covariate '{name}' would be there twice")
    if not names:
        return dataset
    if not has_timestamps(dataset):
        raise InputError(
            f"{dataset.name}: calendar covariates need timestamps, and the steps are whole numbers"
        )

    def with_features(s: Sequence) -> Sequence:
        return replace(s, covariates=np.hstack([s.covariates, calendar_features(s.ds, names)]))

    return dataset.changed(with_features, covariate_names=all_names)
