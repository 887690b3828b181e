"""Alarms of a stream that hold their rate though it drifts: a threshold that follows the alarms,
and a rest after each.

With e_t the score of a step (`seqlatent.tasks.novelty`) and r the rate of false alarms, the
threshold follows by adaptive conformal inference (Gibbs and Candes 2021):

    k_t+1 = k_t + 0.5 (1[alarm] - r),    alarm: e_t > k_t; in the rest after one of score e, where
                                         e_t > e + k_t

so that, whatever comes, the number of alarms in T steps is

    r T + (k_T - k_0) / 0.5.

It stops at half of k_0, so that data without any surprise give fewer than were asked for. The rest,
a tenth of the mean time between false alarms and at most 100 steps, makes one alarm of one event,
which would otherwise go on for as long as the moving mean is lifted; published detectors of streams
have the like (KNN-CAD, Burnaev and Ishimtsev 2016). What is rarer than the last alarm by another
threshold is more than what follows from it, and ends the rest.

k_0 is found on held-out data (`first_threshold`): the one at which they have as many alarms as the
rate asks for. Ten are the least to count; where fewer are asked for, k is found for ten, and what
is missing added by the law of two independent rarities.
"""

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from seqlatent.tasks.alarms import Calibration, rest_of, smooth, weight_of
from seqlatent.tasks.novelty import Novelty

GAIN = 0.5  # nats
LEAST = 0.5  # of k_0, which k keeps

V = TypeVar("V", float, np.ndarray)


class Followed(NamedTuple, Generic[V]):
    """Of one step, or of T of them as (T,) arrays, NaN where the surprise is missing.

    Attributes:
        smoothed: s, nats.
        score: e, nats; with the threshold that does not follow, s.
        threshold: k, nats.
        excess: score less threshold, above 0 in an alarm; NaN of a step that a rest keeps from one.
    """

    smoothed: V
    score: V
    threshold: V
    excess: V


class Follower:
    """Judges one step after the other of a series, from a calibration on."""

    def __init__(self, calibrated: Calibration):
        c = self.calibrated = calibrated
        self.threshold, self._least = c.threshold, LEAST * c.threshold
        self._rate, self._left, self._last = c.false_alarms / 1000, 0, 0.0
        self._rest = rest_of(self._rate)
        self._novelty = Novelty(
            weight_of(c.half_life), c.mean, c.memory, c.channels, c.recent.tolist()
        )

    def update(self, surprise: float, x: Sequence[float]) -> Followed[float]:
        """Judge the next step; steps without a surprise are left out.

        Args:
            surprise: nats.
            x: the D values, NaN where missing.
        """
        if not self.calibrated.memory:
            return self._stays(surprise)
        score = self._novelty.update(surprise, x)
        resting = self._left > 0 and score <= self._last + self.threshold
        excess = np.nan if resting else score - self.threshold
        found = Followed(self._novelty.smoothed, score, self.threshold, excess)
        alarm = excess > 0
        if alarm:
            self._left, self._last = self._rest, score
        else:
            self._left = max(self._left - 1, 0)
        self.threshold = max(self.threshold + GAIN * (alarm - self._rate), self._least)
        return found

    def _stays(self, surprise: float) -> Followed[float]:
        s = self._novelty.smooth(min(surprise, self.calibrated.highest))
        return Followed(s, s, self.threshold, s - self.threshold)


def follow(calibrated: Calibration, surprise: np.ndarray, x: np.ndarray) -> Followed[np.ndarray]:
    """Judge a series from its beginning.

    Args:
        surprise: (T,) nats, NaN where missing.
        x: (T, D) values, NaN where missing.
    """
    there, c = ~np.isnan(surprise), calibrated
    if not c.memory:
        smoothed = smooth(np.minimum(surprise, c.highest), c.half_life, c.mean)
        threshold = np.where(there, c.threshold, np.nan)
        return Followed(smoothed, smoothed, threshold, smoothed - threshold)
    follower, found = Follower(calibrated), np.full((4, len(surprise)), np.nan)
    rows = zip(surprise[there].tolist(), x[there].tolist(), strict=True)
    found[:, there] = np.array([follower.update(*row) for row in rows]).reshape(-1, 4).T
    return Followed(*found)
