"""Anomalies online: one row of a series after the other, with the state carried between them.

A `Detector` gives the surprise, the score and the alarm that `detect` gives when all rows have
come, and reads each row once.
"""

from typing import Any, NamedTuple

import numpy as np

from seqlatent.models.base import SequenceModel
from seqlatent.tasks.alarms import Calibration
from seqlatent.tasks.following import Follower
from seqlatent.tasks.single_stream import Stream
from seqlatent.tasks.streamed import Settings


class Watched(NamedTuple):
    """What a `Detector` says of one row.

    Attributes:
        ds: the step.
        surprise: -log p(x_t | x_{<t}), nats; NaN where nothing was scored.
        smoothed: the same, smoothed.
        score: the rarity of the step, nats; with a threshold that stays the smoothed surprise.
        threshold: nats.
        excess: of the score over it; NaN of a step that a rest keeps from an alarm.
        alarm: whether the excess is above 0.
    """

    ds: Any
    surprise: float
    smoothed: float
    score: float
    threshold: float
    excess: float
    alarm: bool


class Detector:
    """Watches one series; several series need a detector each.

    Args:
        model: fitted, with a likelihood of single steps given those before.
        calibrated: the threshold and whether it follows.
        settings: of the stream that it reads by.

    Raises:
        InputError: for a model without such a likelihood.
    """

    def __init__(
        self, model: SequenceModel, calibrated: Calibration, settings: Settings | None = None
    ):
        self.calibrated = calibrated
        self._stream, self._follower = Stream(model, settings), Follower(calibrated)

    @property
    def threshold(self) -> float:
        """Of the next step's score, nats."""
        return self._follower.threshold

    def update(self, row: Any) -> Watched:
        """Read the next row, as `seqlatent.tasks.single_stream.Stream.update` takes it.

        Raises:
            InputError: for a row that cannot be read; the detector has read nothing then.
        """
        found = self._stream.update(row)
        surprise = -found.log_prob
        if np.isnan(surprise):
            return Watched(found.ds, np.nan, np.nan, np.nan, np.nan, np.nan, False)
        judged = self._follower.update(surprise, found.values.tolist())
        smoothed, score, threshold, excess = map(float, judged)
        return Watched(found.ds, surprise, smoothed, score, threshold, excess, excess > 0)
