"""A threshold that follows the surprise of a stream, so that the rate of alarms holds.

What surprises a model drifts with the data: a level that is wandering away, or noise that grows,
raises the surprise of every step, and a threshold from the past then sounds at all of them. With
the smoothed surprise s_t, the share q = 5 % that the tail has (more for higher rates r), and m
steps of memory:

    h_t = u_t + k_t w_t                                       the threshold; an alarm is s_t > h_t
    u  += (w / m q) (1[s > u] - q)                            the tail's level, a quantile
    w  += (1 / m q) (min(s - u, 6 w) - w)   where s > u       the mean excess above it
    k  += 0.3 (1[s > h] - r)                                  how far up the tail the threshold is

all after s_t was judged, so that an alarm depends on the past alone. The first two follow quantile
and mean by stochastic approximation (Robbins and Monro 1951). Where the tail is exponential, k is
log(q / r), with which it begins; the third line corrects it, whatever the tail, by the alarms
themselves (adaptive conformal inference, Gibbs and Candes 2021). Its sum over T steps is

    number of alarms = r T + (k_T - k_0) / 0.3,

hence the rate is r in the long run where k is bounded. For rates below q it stops at 0.3 k_0, below
which alarms of data without any surprise would begin: there are fewer then than were asked for.
"""

from typing import Generic, NamedTuple, TypeVar

import numpy as np

from seqlatent.tasks.alarms import HIGHEST, Calibration, smooth, weight_of

GAIN = 0.3  # of k
LEAST = 0.3  # of k_0, which k keeps
FARTHEST = 6.0  # mean excesses that one step may count for

V = TypeVar("V", float, np.ndarray)


class Followed(NamedTuple, Generic[V]):
    """Of one step, or of T of them as (T,) arrays, NaN where the surprise is missing.

    Attributes:
        smoothed: s, nats.
        threshold: h, nats.
        excess: (s - h) / w, above 0 in an alarm. With the threshold that does not follow, w is the
            mean excess of the calibration.
    """

    smoothed: V
    threshold: V
    excess: V


class Follower:
    """Judges one surprise after the other, from a calibration on."""

    def __init__(self, calibrated: Calibration):
        c = self.calibrated = calibrated
        self.smoothed = self.mean = c.mean
        self.level, self.scale = c.level, c.scale
        self.k = (c.threshold - c.level) / c.scale
        self._least = LEAST * self.k if self.k > 0 else -np.inf
        self._weight = weight_of(c.half_life)

    @property
    def threshold(self) -> float:
        """Of the next step, nats."""
        c = self.calibrated
        return self.level + self.k * self.scale if c.memory else c.threshold

    def update(self, surprise: float) -> Followed[float]:
        """Judge the next step; `surprise` is in nats, and missing ones are left out."""
        c, threshold = self.calibrated, self.threshold
        lift = HIGHEST * max(threshold - self.mean, self.scale) / self._weight
        highest = self.mean + lift if c.memory else c.highest
        seen = min(surprise, highest) if c.half_life else surprise
        self.smoothed += self._weight * (seen - self.smoothed)
        found = Followed(self.smoothed, threshold, (self.smoothed - threshold) / self.scale)
        if c.memory:
            self._follow(min(surprise, threshold), found.excess > 0)
        return found

    def _follow(self, surprise: float, alarm: bool) -> None:
        c = self.calibrated
        step, above = min(1.0, 1 / (c.memory * c.share)), self.smoothed - self.level
        self.k = max(self.k + GAIN * (alarm - c.false_alarms / 1000), self._least)
        self.mean += (surprise - self.mean) / max(1.0, c.memory)
        if above > 0:
            self.scale += step * (min(above, FARTHEST * self.scale) - self.scale)
            self.scale = max(self.scale, c.least_scale)
        self.level += step * self.scale * ((above > 0) - c.share)


def follow(calibrated: Calibration, surprise: np.ndarray) -> Followed[np.ndarray]:
    """Judge a series from its beginning.

    Args:
        surprise: (T,) nats, NaN where missing.
    """
    there, follower, c = ~np.isnan(surprise), Follower(calibrated), calibrated
    if not c.memory:
        smoothed = smooth(np.minimum(surprise, c.highest), c.half_life, c.mean)
        threshold = np.where(there, c.threshold, np.nan)
        return Followed(smoothed, threshold, (smoothed - threshold) / c.scale)
    found = np.full((3, len(surprise)), np.nan)
    steps = [follower.update(v) for v in surprise[there].tolist()]
    found[:, there] = np.array(steps).reshape(-1, 3).T
    return Followed(*found)
