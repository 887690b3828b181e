"""What is computed of a shard: the tables of each task, and numbers that add up over shards."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import pandas as pd

from seqlatent.api import Model
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.folders import BLOCK_ROWS
from seqlatent.errors import InputError
from seqlatent.tasks.detecting import detect
from seqlatent.tasks.forecasting import Forecast

MOST_VALUES = 2**22  # sampled values of a block, which bound its memory
Tables = dict[str, pd.DataFrame]
Facts = dict[str, float]


class Task(Protocol):
    """A task over one block of series.

    Args:
        model: fitted.
        data: the block.
        wanted: names of the tables that are asked for.
        options: of the task.

    Returns:
        the tables by name, and numbers that add up over blocks.
    """

    def __call__(
        self,
        model: Model,
        data: SequenceDataset,
        wanted: frozenset[str],
        options: Mapping[str, Any],
        /,
    ) -> tuple[Tables, Facts]: ...


@dataclass(frozen=True)
class Job:
    """A task over the shards of a table.

    Attributes:
        task: `score`, `forecast`, `impute`, `encode` or `detect`.
        run: folder of the model.
        source: a folder of Parquet files, a pattern, or a file.
        folders: where the tables go, by their names; see `TASKS`.
        options: of the task.
        id_column, time_column: of the source.
    """

    task: str
    run: str
    source: str
    folders: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)
    id_column: str = "unique_id"
    time_column: str | None = None

    @property
    def wanted(self) -> frozenset[str]:
        return frozenset(self.folders)

    @property
    def most_series(self) -> int:
        """Of a block, so that its samples fit into memory."""
        number = self.options.get("num_samples")
        steps = self.options.get("prediction_length", 100)
        if number is None:
            return BLOCK_ROWS
        return max(1, MOST_VALUES // max(1, number * steps))


def _score(
    model: Model, data: SequenceDataset, wanted: frozenset[str], options: Mapping[str, Any]
) -> tuple[Tables, Facts]:
    scores, steps = model.score(data, **options)
    errors = scores["std_error"].to_numpy(dtype=float)
    facts: Facts = {
        "series": len(scores),
        "steps": len(steps),
        "nats": float(scores["log_prob"].to_numpy().sum()),
        "variance": float((errors**2).sum()),
    }
    return {"scores": scores, "steps": steps}, facts


def _forecast(
    model: Model, data: SequenceDataset, wanted: frozenset[str], options: Mapping[str, Any]
) -> tuple[Tables, Facts]:
    found: Forecast = model.forecast(data, **options)
    tables = {"forecast": found.to_frame()}
    if "samples" in wanted:
        tables["samples"] = found.samples_frame()
    return tables, {"series": len(found)}


def _impute(
    model: Model, data: SequenceDataset, wanted: frozenset[str], options: Mapping[str, Any]
) -> tuple[Tables, Facts]:
    found = model.impute(data, **options)
    tables = {"imputed": found.to_frame()}
    if "filled" in wanted:
        tables["filled"] = found.filled().to_frame()
    if "samples" in wanted:
        tables["samples"] = found.samples_frame()
    return tables, {"series": len(data), "values": found.num_missing}


def _encode(
    model: Model, data: SequenceDataset, wanted: frozenset[str], options: Mapping[str, Any]
) -> tuple[Tables, Facts]:
    found = model.latents(data, **options)
    tables = {"latents": found.to_frame()}
    if "samples" in wanted:
        tables["samples"] = found.samples_frame()
    return tables, {"series": len(data)}


def _detect(
    model: Model, data: SequenceDataset, wanted: frozenset[str], options: Mapping[str, Any]
) -> tuple[Tables, Facts]:
    found = detect(model.module, data, **options)
    facts: Facts = {
        "series": len(data),
        "alarms": len(found.alarms),
        "alarmed": int(found.steps["alarm"].to_numpy().sum()),
        "steps": int(found.steps["surprise"].notna().to_numpy().sum()),
    }
    return {"alarms": found.alarms, "steps": found.steps}, facts


@dataclass(frozen=True)
class Kind:
    """A task, and the tables that it can make."""

    run: Task
    tables: tuple[str, ...]


TASKS: Mapping[str, Kind] = {
    "score": Kind(_score, ("scores", "steps")),
    "forecast": Kind(_forecast, ("forecast", "samples")),
    "impute": Kind(_impute, ("imputed", "filled", "samples")),
    "encode": Kind(_encode, ("latents", "samples")),
    "detect": Kind(_detect, ("alarms", "steps")),
}


def check_job(job: Job) -> None:
    """Refuse a task or table that there is none of."""
    if job.task not in TASKS:
        raise InputError(f"'{job.task}' is not one of {', '.join(TASKS)}")
    unknown = job.wanted - set(TASKS[job.task].tables)
    if unknown or not job.wanted:
        raise InputError(
            f"{job.task} writes {', '.join(TASKS[job.task].tables)}, and "
            f"{', '.join(sorted(unknown)) or 'none of these'} was asked for"
        )
