"""A stream of one series: `Streams` of a single one, without its name in every call."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from seqlatent.errors import InputError
from seqlatent.models.base import SequenceModel
from seqlatent.tasks.conformal import Intervals
from seqlatent.tasks.streamed import Settings, Streamed
from seqlatent.tasks.streaming import Streams

NAME = "series"  # as a table without a column of names has it


class Stream:
    """Reads the rows of one series.

    Args:
        model, settings: see `Streams`.
        name: of the series; it seeds the noise, as in `score`.
    """

    def __init__(self, model: SequenceModel, settings: Settings | None = None, name: str = NAME):
        self._all = Streams(model, [name], settings)
        self._all._rows.several = False
        self.name = name

    @classmethod
    def load(cls, model: SequenceModel, path: str | os.PathLike[str], **given: Any) -> "Stream":
        """What `save` wrote; see `Streams.load`."""
        streams = Streams.load(model, path, **given)
        if len(streams.ids) != 1:
            raise InputError(
                f"{os.fspath(path)}: holds {len(streams.ids)} series; restore it with many=True"
            )
        made = cls.__new__(cls)
        made._all, made.name = streams, streams.ids[0]
        made._all._rows.several = False
        return made

    def update(self, row: Any) -> Streamed:
        """Read the next row.

        Args:
            row: the value or the values of the targets, NaN or None where missing; or a mapping of
                column names to values (a dict, a row of a frame), with the step under `ds` or the
                name that it had in training, covariates, and static features in the first row. Rows
                without a step are steps 0, 1, ...; a model of the calendar needs it. Where steps of
                the training data's frequency are left out, these are read as missing first.

        Raises:
            InputError: for a value that the model cannot read, a step that does not come after the
                last one, or a covariate that is missing; the stream has read nothing then.
        """
        r = self._all._update(self._all._series.names, [row])
        return Streamed(
            r.ds[0],
            float(r.log_prob[0]),
            r.kind,
            float(r.tail_probability[0]),
            None if r.latents is None else r.latents[0],
            None if r.scales is None else r.scales[0],
            r.values[0],
            None if r.intervals is None else r.intervals.of(0),
        )

    def predict(
        self, num_samples: int = 500, seed: int = 0, known: Mapping[str, Any] | None = None
    ) -> np.ndarray:
        """(S, D) samples of the next step, in data units; `known` has what is known of it. See
        `Streams.predict`."""
        given = None if known is None else {self.name: known}
        return self._all.predict([self.name], num_samples, seed, given)[0]

    def predict_intervals(self, known: Mapping[str, Any] | None = None) -> Intervals:
        """Intervals of the next step; see `Streams.predict_intervals`."""
        given = None if known is None else {self.name: known}
        return self._all.predict_intervals([self.name], given).of(0)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to a file; see `Streams.save`."""
        self._all.save(path)
