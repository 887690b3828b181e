"""Forecasts and samples: joint paths, step by step.

    x_{T+1} ~ p(. | x_{1:T}),  x_{T+2} ~ p(. | x_{1:T}, x_{T+1}),  ...

Every model reads the history once and continues from the state after it
(`seqlatent.inference.paths`). Each series has its own stream of noise, seeded by its name: its
paths do not depend on which other series are forecast with it.
"""

import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from seqlatent.data.calendar import from_data
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.grid import steps_after
from seqlatent.data.sequence import Sequence
from seqlatent.data.steps import show_step
from seqlatent.data.tables import write_table
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.errors import InputError
from seqlatent.inference.paths import forecast_paths, sample_paths
from seqlatent.models.base import SequenceModel
from seqlatent.options import check_count, check_seed
from seqlatent.plots import plot_forecast
from seqlatent.tasks.ahead import (
    calendar_ahead,
    given_ahead,
    known_ahead,
    paths_given,
    warn_of_few,
)
from seqlatent.tasks.prepare import check_data
from seqlatent.tasks.sums import INDEPENDENT, members_of, summed_history
from seqlatent.tasks.tables import batches, date_format, summary_rows
from seqlatent.text import Summary, counted, shortened

logger = logging.getLogger("seqlatent")


@dataclass(frozen=True, eq=False, repr=False)
class SeriesForecast(Summary):
    """Sample paths of one series.

    Attributes:
        unique_id: the series.
        ds: (H,) the steps ahead.
        samples: (S, H, D) paths in data units.
        given: (H, D) bool, the values that were given, which all paths share; None if there are
            none.
        ess: effective number of paths given these values, at the step where it is least, of the
            1024 or more that were weighed and the samples taken from; NaN where paths have no
            weights.
    """

    unique_id: str
    ds: np.ndarray
    samples: np.ndarray
    given: np.ndarray | None = None
    ess: float = float("nan")

    @property
    def mean(self) -> np.ndarray:
        """(H, D) mean over the paths."""
        return self.samples.mean(0)

    def quantile(self, level: float | np.ndarray) -> np.ndarray:
        """(H, D) quantile over the paths at a level in [0, 1]; (Q, H, D) for several levels.

        Raises:
            InputError: for a level outside [0, 1].
        """
        try:
            return np.quantile(self.samples, level, axis=0)
        except (ValueError, TypeError):
            raise InputError(f"quantile level {level!r} is no number from 0 to 1") from None

    def _facts(self) -> tuple[str, list[tuple[str, str]]]:
        num_samples, num_steps, num_channels = self.samples.shape
        facts = [
            ("steps", f"{num_steps}, from {show_step(self.ds[0])} to {show_step(self.ds[-1])}"),
            ("samples", str(num_samples)),
            ("channels", str(num_channels)),
        ]
        if self.given is not None:
            facts.append(("given", counted(int(self.given.sum()), "value")))
        if np.isfinite(self.ess):
            facts.append(("effective samples", f"{self.ess:.1f} at the worst step"))
        return f"Forecast of series '{self.unique_id}'", facts


@dataclass(frozen=True, eq=False, repr=False)
class Forecast(Summary):
    """Forecasts of a data set's series; `fc[0]` or `fc["name"]` is that of one series.

    Attributes:
        data: the history that was forecast from.
        series: a `SeriesForecast` for each sequence, in the data's order.
    """

    data: SequenceDataset
    series: tuple[SeriesForecast, ...]

    def __len__(self) -> int:
        return len(self.series)

    def __iter__(self) -> Iterator[SeriesForecast]:
        return iter(self.series)

    def __getitem__(self, unique_id: int | str) -> SeriesForecast:
        """A series by its place or its name."""
        if isinstance(unique_id, str):
            found = next((f for f in self.series if f.unique_id == unique_id), None)
            if found is None:
                raise InputError(f"there is no forecast of a series '{unique_id}'")
            return found
        return self.series[unique_id]

    @property
    def samples(self) -> np.ndarray:
        """(N, S, H, D) paths of N series in data units."""
        return np.stack([f.samples for f in self.series])

    @property
    def mean(self) -> np.ndarray:
        """(N, H, D) mean over the paths."""
        return np.stack([f.mean for f in self.series])

    def quantile(self, level: float | np.ndarray) -> np.ndarray:
        """(N, H, D) quantile over the paths at a level in [0, 1]; (N, Q, H, D) for several levels.

        Raises:
            InputError: for a level outside [0, 1].
        """
        return np.stack([f.quantile(level) for f in self.series])

    def _facts(self) -> tuple[str, list[tuple[str, str]]]:
        num_samples, num_steps, _ = self.series[0].samples.shape
        facts = [
            ("series", shortened([f.unique_id for f in self.series])),
            ("steps", str(num_steps)),
            ("samples", str(num_samples)),
            ("targets", shortened(self.data.targets)),
        ]
        given = [f.given for f in self.series if f.given is not None]
        if given:
            number = counted(sum(int(g.sum()) for g in given), "value")
            facts.append(("given", f"{number} in {len(given)} series"))
        sizes = [f.ess for f in self.series if np.isfinite(f.ess)]
        if sizes:
            facts.append(("effective samples", f"{min(sizes):.1f} at the worst step"))
        return f"Forecast of {self.data.name}", facts

    def to_frame(self) -> pd.DataFrame:
        """`unique_id, ds, target, mean, q0.05, ..., q0.95`, a row per step and channel.

        Labels have neither mean nor quantiles: their columns hold each label's share instead.
        """
        return pd.concat([self._rows(f) for f in self.series], ignore_index=True)

    def _rows(self, f: SeriesForecast) -> pd.DataFrame:
        parts = [
            summary_rows(self.data, f.unique_id, f.ds, target, f.samples[..., d])
            for d, target in enumerate(self.data.targets)
        ]
        return pd.concat(parts, ignore_index=True)

    def samples_frame(self) -> pd.DataFrame:
        """`unique_id, ds, sample_id` and the target columns, a row per path and step."""
        return pd.concat(batches(self.data, self._paths()), ignore_index=True)

    def write_samples(self, path: str | os.PathLike[str], spreadsheet_safe: bool = False) -> None:
        """Write `samples_frame()` to a file, some series at a time: the table of all is never in
        memory.

        Args:
            path: `.csv`, `.csv.gz` or `.parquet`.
            spreadsheet_safe: as of `seqlatent.data.tables.write_table`.

        Raises:
            InputError: as `seqlatent.data.tables.write_table` does.
        """
        form = date_format(f.ds for f in self.series)
        write_table(batches(self.data, self._paths()), path, spreadsheet_safe, form)

    def aggregate(self, groups: Any) -> "Forecast":
        """Forecasts of sums over series, channel by channel.

        Path s of a group is the sum of path s of each of its series. The model takes series as
        independent given their own pasts: the intervals of sums are too narrow where series move
        together for reasons that their pasts do not show. Steps of a path are joint, and so are
        the channels of a series: their sums, as `f.samples.sum(-1)`, have no such limit. Forecasts
        of several levels are coherent: paths of the groups of one sum to those of the total.

        Args:
            groups: `"total"`, of all series; a mapping from each `unique_id` to its group, or to a
                list of its groups; or a frame with the columns `unique_id` and `group`, where a
                series may have several rows.

        Returns:
            forecasts with the names of the groups. The history of a group has a value at the steps
            where all of its series have one.

        Raises:
            InputError: for labels, a series without a group or without a forecast, and series of a
                group whose steps ahead differ.
        """
        members = members_of(self.data, groups, [f.ds for f in self.series])
        if any(len(places) > 1 for places in members.values()):
            logger.info(INDEPENDENT)
        sums = []
        for group, places in members.items():
            parts = [self.series[i] for i in places]
            samples = np.sum([f.samples for f in parts], axis=0)
            sizes = [f.ess for f in parts if np.isfinite(f.ess)]
            known = [f.given for f in parts if f.given is not None]
            given = np.all(known, axis=0) if len(known) == len(parts) else None
            ess = min(sizes, default=float("nan"))
            sums.append(SeriesForecast(group, parts[0].ds, samples, given, ess))
        return Forecast(summed_history(self.data, members), tuple(sums))

    def plot(self, path: str | None = None, series: int = 6):
        """Draw fans with their history, or rolls of many channels; see
        `seqlatent.plots.series.plot_forecast`."""
        series = check_count("series", series)
        return plot_forecast(self.data, self._paths(), path, series)

    def _paths(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        return [(f.unique_id, f.ds, f.samples) for f in self.series]


def forecast(
    model: SequenceModel,
    data: SequenceDataset,
    prediction_length: int,
    *,
    num_samples: int = 500,
    seed: int = 0,
    future: SequenceDataset | None = None,
    progress: Callable[[int], None] | None = None,
) -> Forecast:
    """Sample joint paths of the steps after each sequence.

    Args:
        model: a fitted model.
        data: histories with the training data's channels.
        prediction_length: H, steps ahead.
        num_samples: S, paths of each series.
        seed: of the samples.
        future: what is known of the H steps ahead of every series: covariates, needed unless all
            are computed from the calendar; and values of targets, NaN where they are not known. All
            paths then have the known values, and the others are sampled given them
            (`seqlatent.tasks.ahead`). Static features and past covariates come with the data: the
            latter are missing after the first step ahead, as they would be.
        progress: called with 1 for every finished series.

    Raises:
        InputError: when an argument is out of range, the data do not fit the model, future
            covariates are missing, or known values do not fit the model or the steps ahead.
    """
    prediction_length = check_count("prediction_length", prediction_length)
    num_samples, seed = check_count("num_samples", num_samples), check_seed(seed)
    data = check_data(model, data)
    steps = [data.future_steps(s, prediction_length) for s in data]
    covariates = np.stack(
        [known_ahead(data, s, ds, future) for s, ds in zip(data, steps, strict=True)]
    )
    given = given_ahead(model, data, steps, future)
    results: dict[int, SeriesForecast] = {}
    plain = [i for i, known in enumerate(given) if known is None]
    chosen = [data.sequences[i] for i in plain]
    paths = forecast_paths(model, chosen, covariates[plain], num_samples, seed, progress)
    for i, x in zip(plain, paths, strict=True):
        results[i] = SeriesForecast(data.sequences[i].unique_id, steps[i], x)
    for i, (s, ds, known) in enumerate(zip(data, steps, given, strict=True)):
        if known is not None:
            x, ess = paths_given(model, s, ds, known, covariates[i], num_samples, seed)
            results[i] = SeriesForecast(s.unique_id, ds, x, np.isfinite(known), ess)
            if progress:
                progress(1)
    series = tuple(results[i] for i in range(len(data)))
    weighed = [f for f in series if np.isfinite(f.ess)]
    warn_of_few([f.unique_id for f in weighed], [f.ess for f in weighed])
    return Forecast(data, series)


def sample(
    model: SequenceModel,
    num_samples: int,
    length: int,
    *,
    seed: int = 0,
    start: str | None = None,
) -> SequenceDataset:
    """Sample whole sequences, without a history.

    Args:
        model: a fitted model.
        num_samples: N, the number of sequences.
        length: T, the number of steps of each.
        seed: of the samples.
        start: the first step, a timestamp or an integer; by default that of the training data.

    Raises:
        InputError: when an argument is out of range, and for a model whose covariates or scaling
            are not known without data.
    """
    num_samples, length = check_count("num_samples", num_samples), check_count("length", length)
    seed = check_seed(seed)
    description = model.description
    named = [*from_data(description.covariate_names), *description.static_names]
    if named:
        what = "static feature" if named[0] in description.static_names else "covariate"
        raise InputError(
            f"the model was fitted with the {what} '{named[0]}', which a sample without a "
            "history does not have; use forecast"
        )
    ds = _sample_steps(start, length, description)
    none = np.full((length, len(description.past_names)), np.nan)
    covariates = np.hstack([calendar_ahead(ds, description.covariate_names), none])
    noise = SequenceNoise(["samples"], seed)
    paths = sample_paths(model, model.begin(None), covariates[None], num_samples, noise)[0]
    empty = np.zeros((length, 0))
    sequences = tuple(Sequence(str(i), ds, x, empty) for i, x in enumerate(paths))
    return SequenceDataset(
        sequences,
        description.targets,
        categories=description.categories,
        frequency=description.frequency,
        name="samples",
    )


def _sample_steps(start: str | None, length: int, description: DataDescription) -> np.ndarray:
    """The steps of a sample: timestamps or integers, as in the training data."""
    usual = description.start or "0"
    start = usual if start is None else str(start)
    integers = re.fullmatch(r"-?\d+", usual) is not None
    try:
        if integers:
            first = np.array([int(start)], dtype=np.int64)
        else:
            first = pd.to_datetime([start], utc=True).tz_localize(None).to_numpy("datetime64[ns]")
        if pd.isna(first).any():
            raise ValueError(start)
    except (ValueError, OverflowError):
        wanted = "an integer" if integers else "a timestamp"
        raise InputError(
            f"start '{start}' is not {wanted}, as the training data's first step is"
        ) from None
    return np.concatenate([first, steps_after(first, length - 1, description.frequency)])[:length]
