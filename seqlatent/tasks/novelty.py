"""The score of a step by which alarms are found: how rare its surprise and its values are.

One step's surprise is a poor score. It misses what the model takes for ordinary as it goes along: a
level that is left step by step, or noise that has grown for good. It has no common scale between
series, and what surprises a model drifts with the data. The score therefore adds up two rarities
(`seqlatent.tasks.recent`), nats both, among the last m numbers:

    e_t = -log p(s_t) - log p(x_t)

of the smoothed surprise s_t, a moving mean of -log p(x_t | x_{<t}), high ones alone, and of the
values themselves: -log p(x_t) = max(0, max_d r_td - log 2D), with r_td the rarity of the value of
channel d, one of D, in either direction. The first says that the model did not expect the step, the
second that the series has hardly been there. The sum is that of Fisher (1932) for p-values, whose
law is

    P(e > k) = (1 + k) e^-k

where the two are independent and exponential. Surprise depends on values, so that this is where a
threshold's calibration begins and not where it ends.
"""

from collections.abc import Iterable, Sequence
from math import log, log1p

from seqlatent.tasks.recent import Recent


class Novelty:
    """Scores one step after the other of a series.

    Args:
        weight: of the last step in the moving mean of surprise.
        mean: nats, what that begins with.
        memory: m, in steps.
        channels: those whose values count.
        recent: smoothed surprise of steps before the first, oldest first.
    """

    def __init__(
        self,
        weight: float,
        mean: float,
        memory: float,
        channels: Sequence[int],
        recent: Iterable[float] = (),
    ):
        self.smoothed, self.channels = mean, channels
        self._weight, self._memory = weight, int(memory)
        self._surprise = Recent(self._memory, recent)
        self.begin()

    def begin(self) -> None:
        """Go on with another series: its values have not been seen."""
        self._values = [Recent(self._memory) for _ in self.channels]

    def update(self, surprise: float, x: Sequence[float]) -> float:
        """e_t, nats.

        Args:
            surprise: nats.
            x: the D values, NaN where missing.
        """
        rarity = self._surprise.high(self.smooth(surprise))
        self._surprise.add(self.smoothed)
        return rarity + self._rarest(x)

    def smooth(self, surprise: float) -> float:
        """s_t, nats."""
        self.smoothed += self._weight * (surprise - self.smoothed)
        return self.smoothed

    def _rarest(self, x: Sequence[float]) -> float:
        rarest = 0.0
        for d, recent in zip(self.channels, self._values, strict=True):
            value = x[d]
            if value == value:  # not NaN
                rarest = max(rarest, recent.high(value), recent.low(value))
                recent.add(value)
        return max(0.0, rarest - log(2 * len(self._values))) if rarest else 0.0


def novelty_quantile(rate: float, two: bool) -> float:
    """k that one exponential rarity of mean 1, or the sum of two, exceeds at a rate."""
    k = -log(rate)
    for _ in range(100 if two else 0):  # contracts, by 1 / (1 + k)
        k = log1p(k) - log(rate)
    return k
