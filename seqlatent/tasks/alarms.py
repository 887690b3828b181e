"""From the surprise of single steps to alarms: smoothing, a threshold by false alarms, intervals.

Smoothed surprise. A moving mean of v_t = -log p(x_t | x_{<t}) with weights that fall by half in
`half_life` steps:

    s_t = (1 - a) s_{t-1} + a v_t,    a = 1 - 2^(-1 / half_life)

and s_0 the mean of the calibration. A missing step is passed over. The default of 2 steps was
chosen on simulated N(0, 1) steps, at one false alarm per thousand: a single step of 3.5 standard
deviations is then found half of the time, where it takes 3.3 without smoothing, and twenty steps
that are shifted by 1.5 deviations are found in 83 % of cases in place of 53 %. A half-life of 5
finds few more of the latter (90 %) and loses single steps (3.9).

Threshold. The upper quantile of s over held-out steps: the empirical one down to a rate of 5 %, and
beyond it that of a generalised Pareto law of the excess over the 95 % quantile,

    P(s > u + y) = 0.05 (1 + xi y / sigma)^(-1 / xi),

fitted by probability-weighted moments in closed form (Hosking and Wallis 1987).

The rate is right on average where there is enough to calibrate on: for 1 alarmed step per thousand
of an AR(1), thresholds from 20,000 steps gave 1.05 on fresh steps (standard deviation 0.36 between
calibrations), thresholds from 2,000 steps 1.4 (1.5), because too low a threshold costs more alarms
than one that is as much too high saves. That holds for data like those of the calibration; where
surprise drifts, the threshold has to follow it (`seqlatent.tasks.following`), as by default.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from seqlatent.errors import InputError
from seqlatent.text import counted

HALF_LIFE = 2.0  # steps
MEMORY = 2000.0  # steps
TAIL = 0.05  # share of steps that the tail is fitted to
FEWEST = 50  # steps to calibrate on
FEWEST_EXCESSES = 20
# What is watched, and its unit: -log p(x_t | x_{<t}), or the error of a model without a density.
UNITS = {"surprise": "nats", "error": "standard deviations"}
SMALLEST = 1e-3  # mean excess, in nats and in standard deviations of the smoothed surprise
HIGHEST = 2.0  # thresholds, above the mean, that one step can lift the smoothed surprise to


@dataclass(frozen=True, eq=False)
class Tail:
    """The law of a sample, its upper tail a generalised Pareto law.

    Attributes:
        values: (n,) sorted sample.
        level: u, where the tail begins.
        share: of the sample that is above u.
        shape, scale: xi and sigma; both 0 where all that is above u is equal to it.
    """

    values: np.ndarray
    level: float
    share: float
    shape: float
    scale: float

    @classmethod
    def of(cls, values: np.ndarray) -> "Tail":
        """Fit a law to a sample of at least `FEWEST` finite values.

        Raises:
            InputError: for fewer.
        """
        values = np.sort(np.asarray(values, dtype=np.float64))
        n = len(values)
        if n < FEWEST:
            raise InputError(
                f"a threshold needs at least {FEWEST} held-out steps, and there are {n}; give more "
                "(calibrate, --calibrate FILE)"
            )
        num = max(round(TAIL * n), FEWEST_EXCESSES)
        level = float(values[n - num - 1])
        return cls(values, level, num / n, *generalised_pareto(values[n - num :] - level))

    def quantile(self, rate: float) -> float:
        """The value that is exceeded with probability `rate`."""
        if rate >= self.share:
            return float(np.quantile(self.values, 1 - rate))
        p = rate / self.share
        if abs(self.shape) < 1e-9:
            return self.level - self.scale * float(np.log(p))
        return self.level + self.scale * float(np.expm1(-self.shape * np.log(p))) / self.shape

    def rate(self, x: np.ndarray) -> np.ndarray:
        """The probability of more than x: of the sample below u, of the Pareto law above it."""
        x = np.asarray(x, dtype=np.float64)
        n = len(self.values)
        body = (n - np.searchsorted(self.values, x, "right")) / n
        y = np.maximum(x - self.level, 0.0)
        if self.scale <= 0:
            tail = np.zeros_like(y)
        elif abs(self.shape) < 1e-9:
            tail = np.exp(-y / self.scale)
        else:
            base = np.maximum(1 + self.shape * y / self.scale, 0.0)
            with np.errstate(divide="ignore"):
                tail = np.exp(-np.log(base) / self.shape)
        return np.where(x > self.level, self.share * tail, body)


def generalised_pareto(excess: np.ndarray) -> tuple[float, float]:
    """xi and sigma of the law that has the first two probability-weighted moments of a sample.

    With b_0 = E y and b_1 = E y (1 - F(y)), both unbiased estimates:

        xi = 2 - b_0 / (b_0 - 2 b_1),    sigma = 2 b_0 b_1 / (b_0 - 2 b_1)

    The moments exist, and the estimate is consistent, for xi < 1.

    Args:
        excess: (n,) values above 0, n of 2 or more.
    """
    y = np.sort(np.asarray(excess, dtype=np.float64))
    n = len(y)
    b0 = float(y.mean())
    b1 = float((np.arange(n - 1, -1, -1) / (n - 1) * y).mean())
    spread = b0 - 2 * b1
    if spread <= 1e-6 * abs(b0):  # all are equal: a law that ends there
        return -1e6, 1e6 * b0
    return 2 - b0 / spread, 2 * b0 * b1 / spread


@dataclass(frozen=True, eq=False)
class Calibration:
    """A threshold of smoothed surprise, and what it was found on.

    Attributes:
        false_alarms: alarmed steps per thousand that it stands for.
        half_life: of the smoothing, in steps; 0: none.
        memory: steps that the threshold remembers as it follows the surprise; 0: it stays.
        threshold: nats; the first one, where it follows.
        mean: of the surprise, nats: what smoothing begins with.
        highest: surprise that enters the smoothing is cut here, so that one step, however
            surprising, sounds the alarm for about a half-life and not for much longer; of a
            threshold that stays.
        num_steps: steps that it was found on.
        source: what these are, in words.
        share: of the steps that are above the level of the tail.
        level, scale: that level and the mean excess above it, nats.
        least_scale: below which the mean excess does not go, nats.
        measure: `surprise`, or `error`, whose unit then stands in the place of nats (`UNITS`).
    """

    false_alarms: float
    half_life: float
    memory: float
    threshold: float
    mean: float
    highest: float
    num_steps: int
    source: str
    share: float
    level: float
    scale: float
    least_scale: float
    measure: str = "surprise"

    def to_text(self) -> str:
        steps = counted(self.num_steps, "step")
        first = " at first" if self.memory else ""
        text = (
            f"threshold {self.threshold:.3f} {UNITS[self.measure]}{first}, for a rate of false "
            f"alarms of {self.false_alarms:g} per thousand steps; calibrated on {steps} of "
            f"{self.source}"
        )
        if self.num_steps * self.false_alarms < 1000:
            text += ", too few to hold such an alarm: the threshold is extrapolated"
        if self.memory:
            text += f"; it follows the {self.measure} of about the last {self.memory:g} steps"
        return text


def calibration(
    surprise: list[np.ndarray],
    false_alarms: float,
    half_life: float,
    source: str,
    memory: float = 0.0,
    measure: str = "surprise",
) -> Calibration:
    """The threshold above which the smoothed surprise of held-out series is at the given rate.

    One that stays has a Pareto tail. One that follows begins with an exponential tail, and corrects
    itself.

    Args:
        surprise: (T,) nats of every series, NaN where missing.
        false_alarms: alarmed steps per thousand, in (0, 1000).
        half_life: of the smoothing, steps.
        source: what the series are, for messages.
        memory: steps that the threshold remembers as it follows the surprise; 0: it stays.
        measure: one of `UNITS`.

    Raises:
        InputError: for too few steps.
    """
    seen = np.concatenate(surprise) if surprise else np.zeros(0)
    seen = seen[~np.isnan(seen)]
    mean = float(seen.mean()) if len(seen) else 0.0
    smoothed = np.concatenate([smooth(v, half_life, mean) for v in surprise] or [seen])
    try:
        tail = Tail.of(smoothed[~np.isnan(smoothed)])
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    rate = false_alarms / 1000
    share = max(TAIL, rate)
    level = float(np.quantile(tail.values, 1 - share))
    least = SMALLEST * (1 + float(tail.values.std()))
    excess = tail.values[tail.values > level] - level
    scale = max(float(excess.mean()) if len(excess) else 0.0, least)
    threshold = level + scale * float(np.log(share / rate)) if memory else tail.quantile(rate)
    above = HIGHEST * max(threshold - mean, 0.0) / weight_of(half_life)
    highest = max(mean + above, float(tail.values[-1])) if half_life else np.inf
    return Calibration(
        false_alarms, half_life, memory, threshold, mean, highest, len(seen), source, share, level,
        scale, least, measure,
    )  # fmt: skip


def weight_of(half_life: float) -> float:
    """a, the weight of the last step."""
    return 1.0 if half_life == 0 else 1 - 2 ** (-1 / half_life)


def smooth(surprise: np.ndarray, half_life: float, start: float) -> np.ndarray:
    """The moving mean of (T,) surprise from `start` on; NaN where that is, and passed over."""
    there = ~np.isnan(surprise)
    means = pd.Series(np.append(start, surprise[there])).ewm(
        alpha=weight_of(half_life), adjust=False
    )
    smoothed = np.full(len(surprise), np.nan)
    smoothed[there] = means.mean().to_numpy()[1:]
    return smoothed


def intervals(alarm: np.ndarray, seen: np.ndarray, gap: int) -> list[tuple[int, int]]:
    """Runs of alarmed steps, as pairs of the first and the last one's place.

    Args:
        alarm: (T,) bool.
        seen: (T,) bool, the steps that have a surprise; others do not end a run.
        gap: the most steps without alarm that one run may have side by side.
    """
    place = np.flatnonzero(alarm)
    if len(place) == 0:
        return []
    order = np.cumsum(seen)[place]
    ends = np.flatnonzero(np.diff(order) > gap + 1)
    first, last = np.append(0, ends + 1), np.append(ends, len(place) - 1)
    return [(int(place[i]), int(place[k])) for i, k in zip(first, last, strict=True)]
