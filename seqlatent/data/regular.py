"""Data on the grid of a model's frequency, whatever table they came from."""

import logging
from dataclasses import replace

import numpy as np

from seqlatent.data.calendar import calendar_features, from_data
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.grid import Frequency, absent_step, grid_of
from seqlatent.data.sequence import Sequence

logger = logging.getLogger("seqlatent")


def with_frequency(data: SequenceDataset, frequency: Frequency) -> SequenceDataset:
    """The data as if they had been loaded from a table of this frequency.

    The recorded steps of a series and the frequency alone decide its grid. Steps that were filled
    in for the frequency of the series' own table are left out again.

    Args:
        data: of any frequency.
        frequency: a pandas alias, a stride, or None where each series goes by its own.

    Raises:
        InputError: naming a step that would have to be filled in but has no covariates.
    """
    if data.frequency == frequency:
        return data
    sequences = tuple(_on_grid(s, data, frequency) for s in data)
    changed = [s for s, old in zip(sequences, data, strict=True) if s is not old]
    if changed:
        logger.info(
            "%s: the steps of %d of %d series were set as for the model's frequency (%s)",
            data.name,
            len(changed),
            len(data),
            frequency or "none",
        )
    return replace(data, sequences=sequences, frequency=frequency)


def _on_grid(s: Sequence, data: SequenceDataset, frequency: Frequency) -> Sequence:
    recorded = s.ds[s.recorded]
    # A piece may hold nothing but a gap.
    moved = s.on_steps(grid_of(recorded, frequency)) if len(recorded) else s
    if moved is s or moved.absent is None or not data.covariate_names:
        return moved
    named = from_data(data.covariate_names)
    if named:
        step = moved.ds[int(np.argmax(moved.absent))]
        raise absent_step(data.name, s.unique_id, step, named[0])
    return replace(moved, covariates=calendar_features(moved.ds, data.covariate_names))
