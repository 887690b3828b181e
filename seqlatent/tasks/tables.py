"""Samples as tables: mean and quantiles, or a row for each sample."""

import numpy as np
import pandas as pd

from seqlatent.data.dataset import SequenceDataset

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
