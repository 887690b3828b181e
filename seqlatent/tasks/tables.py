"""Samples as tables: mean and quantiles, or a row for each sample."""

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from seqlatent.data.dataset import SequenceDataset

BATCH = 100_000  # rows of samples that are made at once, but at least those of one series
QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


def summary_rows(
    data: SequenceDataset, unique_id: str, ds: np.ndarray, target: str, samples: np.ndarray
) -> pd.DataFrame:
    """`unique_id, ds, target, mean, q0.05, ..., q0.95` from (S, n) samples of n values; for labels
    the share of each."""
    part = pd.DataFrame({"unique_id": unique_id, "ds": ds, "target": target})
    labels = data.categories.get(target)
    if labels is None:
        part["mean"] = samples.mean(0)
        for level, values in zip(QUANTILES, np.quantile(samples, QUANTILES, axis=0), strict=True):
            part[f"q{level:g}"] = values
    else:
        for code, label in enumerate(labels):
            part[f"p({label})"] = (samples == code).mean(0)
    return part


def samples_rows(
    data: SequenceDataset, unique_id: str, ds: np.ndarray, samples: np.ndarray
) -> pd.DataFrame:
    """`unique_id, ds, sample_id` and the target columns, from (S, n, D) samples of n steps."""
    num_samples = len(samples)
    part = pd.DataFrame(
        {
            "unique_id": unique_id,
            "ds": np.tile(ds, num_samples),
            "sample_id": np.repeat(np.arange(num_samples), len(ds)),
        }
    )
    for d, target in enumerate(data.targets):
        part[target] = data.decode(target, samples[..., d].ravel())
    return part


def batches(
    data: SequenceDataset, paths: Iterable[tuple[str, np.ndarray, np.ndarray]]
) -> Iterator[pd.DataFrame]:
    """`samples_rows` of one series after another, in tables of at least `BATCH` rows.

    Args:
        data: with the names of the targets.
        paths: (unique_id, (n,) steps, (S, n, D) samples) of each series.
    """
    waiting: list[pd.DataFrame] = []
    for unique_id, ds, samples in paths:
        waiting.append(samples_rows(data, unique_id, ds, samples))
        if sum(len(part) for part in waiting) >= BATCH:
            yield pd.concat(waiting, ignore_index=True)
            waiting = []
    if waiting:
        yield pd.concat(waiting, ignore_index=True)


def date_format(steps: Iterable[np.ndarray]) -> str | None:
    """How to write all steps of a table alike, whichever part of it they are in: dates, or dates
    with times. None for whole numbers, and for parts of seconds, which pandas writes as they are.
    """
    whole = np.concatenate(list(steps))
    if whole.dtype.kind != "M":
        return None
    for unit, form in (("D", "%Y-%m-%d"), ("s", "%Y-%m-%d %H:%M:%S")):
        if (whole == whole.astype(f"datetime64[{unit}]")).all():
            return form
    return None
