"""What is computed of a shard: the tables of each task, and numbers that add up over shards."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from seqlatent.api import Model
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.folders import BLOCK_ROWS
from seqlatent.errors import InputError
from seqlatent.tasks.detecting import detect
from seqlatent.tasks.forecasting import Forecast

MOST_VALUES = 2**22  # sampled values of a block, which bound its memory
Facts = dict[str, float]


class Found(NamedTuple):
    """What a task found in a block of series.

    Attributes:
        tables: by name, how each is made: only those that are wanted are.
        facts: numbers that add up over blocks.
    """

    tables: Mapping[str, Callable[[], pd.DataFrame]]
    facts: Facts


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
        device: of every worker: `auto`, `cpu` or `cuda`.
    """

    task: str
    run: str
    source: str
    folders: Mapping[str, str]
    options: Mapping[str, Any] = field(default_factory=dict)
    id_column: str = "unique_id"
    time_column: str | None = None
    device: str = "auto"

    @property
    def most_series(self) -> int:
        """Of a block, so that its samples fit into memory."""
        number = self.options.get("num_samples")
        steps = self.options.get("prediction_length", 100)
        if number is None:
            return BLOCK_ROWS
        return max(1, MOST_VALUES // max(1, number * steps))


def _score(model: Model, data: SequenceDataset, options: Mapping[str, Any]) -> Found:
    scores, steps = model.score(data, **options)
    nats, errors = (scores[name].to_numpy(dtype=float) for name in ("log_prob", "std_error"))
    facts: Facts = {
        "series": len(scores),
        "steps": len(steps),
        "nats": float(nats.sum()),
        "variance": float((errors**2).sum()),
    }
    return Found({"scores": lambda: scores, "steps": lambda: steps}, facts)


def _forecast(model: Model, data: SequenceDataset, options: Mapping[str, Any]) -> Found:
    found: Forecast = model.forecast(data, **options)
    tables = {"forecast": found.to_frame, "samples": found.samples_frame}
    return Found(tables, {"series": len(found)})


def _impute(model: Model, data: SequenceDataset, options: Mapping[str, Any]) -> Found:
    found = model.impute(data, **options)
    tables = {
        "imputed": found.to_frame,
        "filled": lambda: found.filled().to_frame(),
        "samples": found.samples_frame,
    }
    return Found(tables, {"series": len(data), "values": found.num_missing})


def _encode(model: Model, data: SequenceDataset, options: Mapping[str, Any]) -> Found:
    found = model.latents(data, **options)
    tables = {"latents": found.to_frame, "samples": found.samples_frame}
    return Found(tables, {"series": len(data)})


def _detect(model: Model, data: SequenceDataset, options: Mapping[str, Any]) -> Found:
    found = detect(model.module, data, **options)
    facts: Facts = {
        "series": len(data),
        "alarms": len(found.alarms),
        "alarmed": int(found.steps["alarm"].to_numpy().sum()),
        "steps": int(found.steps[found.measure].notna().to_numpy().sum()),
    }
    return Found({"alarms": lambda: found.alarms, "steps": lambda: found.steps}, facts)


class Task(NamedTuple):
    """A task over one block of series: of a fitted model, the block and the options.

    Attributes:
        run: does it.
        tables: that it can make.
    """

    run: Callable[[Model, SequenceDataset, Mapping[str, Any]], Found]
    tables: tuple[str, ...]


TASKS: Mapping[str, Task] = {
    "score": Task(_score, ("scores", "steps")),
    "forecast": Task(_forecast, ("forecast", "samples")),
    "impute": Task(_impute, ("imputed", "filled", "samples")),
    "encode": Task(_encode, ("latents", "samples")),
    "detect": Task(_detect, ("alarms", "steps")),
}


def check_job(job: Job) -> None:
    """Refuse a task or table that there is none of."""
    if job.task not in TASKS:
        raise InputError(f"'{job.task}' is not one of {', '.join(TASKS)}")
    unknown = set(job.folders) - set(TASKS[job.task].tables)
    if unknown or not job.folders:
        raise InputError(
            f"{job.task} writes {', '.join(TASKS[job.task].tables)}, and "
            f"{', '.join(sorted(unknown)) or 'none of these'} was asked for"
        )
