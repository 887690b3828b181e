"""How rare a number is among the last ones of its stream.

With x_1..x_n the last n numbers, the next one, x, has

    p(x) = (1 + #{i : x_i >= x}) / (n + 1)                         where x <= max_i x_i
    p(x) = exp(-(x - max_i x_i) / w) / (n + 1)                     beyond

w the mean excess over the 98 % quantile of those above it. Where x is exchangeable with the numbers
before it, the first line is a conformal p-value (Vovk, Gammerman and Shafer 2005; of anomalies in
streams, Laxhammar and Falkman 2014): P(p(x) <= a) <= a. It cannot be below 1 / (n + 1), however far
out x is, and the second goes on from there by the exponential tail. -log p(x), the rarity in nats,
is then of one scale whatever the stream: exponential with mean 1 where nothing happens.
"""

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable
from math import log

FEWEST = 50  # numbers, below which nothing is rare
TAIL = 0.02  # share of them whose mean excess is that of the tail
FEWEST_EXCESSES = 5
SMALLEST = 1e-3, 1e-6  # mean excess, in distances between quartiles and in magnitudes
RAREST = 100.0  # nats


class Recent:
    """The last numbers of a stream.

    Args:
        memory: how many it keeps.
        numbers: to begin with, oldest first.
    """

    def __init__(self, memory: int, numbers: Iterable[float] = ()):
        self.memory = memory
        self._by_time = deque(numbers, maxlen=memory)
        self._by_size = sorted(self._by_time)

    def add(self, x: float) -> None:
        """Read the next number; the oldest one is forgotten."""
        if len(self._by_time) == self.memory:
            del self._by_size[bisect_left(self._by_size, self._by_time[0])]
        self._by_time.append(x)
        insort(self._by_size, x)

    def high(self, x: float) -> float:
        """-log p(x), nats, at most 100; 0 where there are fewer than 50 numbers."""
        known = self._by_size
        if len(known) < FEWEST:
            return 0.0
        if above := len(known) - bisect_left(known, x):
            return self._within(above)
        num = self._num_excesses()
        return self._beyond(x - known[-1], sum(known[-num:]) / num - known[-num - 1])

    def low(self, x: float) -> float:
        """The same of -x among the numbers' negatives."""
        known = self._by_size
        if len(known) < FEWEST:
            return 0.0
        if below := bisect_right(known, x):
            return self._within(below)
        num = self._num_excesses()
        return self._beyond(known[0] - x, known[num] - sum(known[:num]) / num)

    def _num_excesses(self) -> int:
        return max(int(TAIL * len(self._by_size)), FEWEST_EXCESSES)

    def _within(self, above: int) -> float:
        return log((len(self._by_size) + 1) / (above + 1))

    def _beyond(self, distance: float, excess: float) -> float:
        known = self._by_size
        n = len(known)
        middle, magnitude = known[3 * n // 4] - known[n // 4], max(abs(known[0]), abs(known[-1]))
        excess = max(excess, SMALLEST[0] * middle, SMALLEST[1] * magnitude)
        return min(log(n + 1) + distance / excess, RAREST) if excess > 0 else RAREST
