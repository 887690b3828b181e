"""From the surprise of single steps to alarms: smoothing, calibration, intervals.

Smoothed surprise. A moving mean of v_t = -log p(x_t | x_{<t}) with weights that fall by half in
`half_life` steps:

    s_t = (1 - a) s_{t-1} + a v_t,    a = 1 - 2^(-1 / half_life)

and s_0 the mean of the calibration. A missing step is passed over. A longer half-life finds shifts
and stronger noise, a shorter one single steps: of simulated N(0, 1) steps, at one false alarm per
thousand and a threshold that stays, half of all single steps of 3.3 standard deviations are found
without smoothing, of 3.5 with a half-life of 2 and of 3.9 with 5; twenty steps that are shifted by
1.5 deviations in 53, 83 and 90 % of cases. The default of 8 serves the score that follows
(`seqlatent.tasks.following`), which finds single steps by their values as well.

A threshold that stays (memory 0). The upper quantile of s over held-out steps: the empirical one
down to a rate of 5 %, and beyond it that of a generalised Pareto law of the excess over the 95 %
quantile,

    P(s > u + y) = 0.05 (1 + xi y / sigma)^(-1 / xi),

fitted by probability-weighted moments in closed form (Hosking and Wallis 1987).

Smoothed values depend on those before. n of them tell as much of a mean as n a / (2 - a) that do
not: of half-life 8, 180 steps as eight. Where these hold fewer than 5 alarms, the threshold is at
least that of streams of independent draws from the unsmoothed surprise, of which all n tell, each
stream with random weights of its own that stand for what n draws leave open (the Bayesian
bootstrap, Rubin 1981). That is right on average for a surprise without memory; for one whose steps
depend on each other a short calibration is too low however it is done, and `Calibration.to_text`
says so.

The rate is right on average where there is enough to calibrate on: for 1 alarmed step per thousand
of an AR(1), thresholds from 20,000 steps gave 1.05 on fresh steps (standard deviation 0.36 between
calibrations), thresholds from 2,000 steps 1.4 (1.5), because too low a threshold costs more alarms
than one that is as much too high saves. That holds for data like those of the calibration; where
surprise drifts, score and threshold have to follow it, as by default.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from seqlatent.errors import InputError
from seqlatent.tasks.novelty import Novelty, novelty_quantile
from seqlatent.text import counted

HALF_LIFE = 8.0  # steps
MEMORY = 2000.0  # steps
TAIL = 0.05  # share of steps that the tail is fitted to
FEWEST = 50  # steps to calibrate on
FEWEST_EXCESSES = 20
FEWEST_ALARMS = 10
FEWEST_INDEPENDENT = 5.0  # alarms on held-out data, that a threshold may rest on these alone
STREAMS, STREAM = 200, 500  # of draws, and their steps
LONGEST_REST = 100  # steps
# What is watched, and its unit: -log p(x_t | x_{<t}), or the error of a model without a density.
UNITS = {"surprise": "nats", "error": "standard deviations"}
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
    """What alarms begin with, and the data that it was found on.

    Attributes:
        false_alarms: alarms per thousand steps that it stands for; of a threshold that stays,
            alarmed steps.
        half_life: of the smoothing, in steps; 0: none.
        memory: steps that the score looks back on; 0: it is the smoothed surprise, and the
            threshold stays.
        threshold: nats; the first one, where it follows.
        mean: of the surprise, nats: what smoothing begins with.
        highest: surprise that enters the smoothing is cut here, so that one step, however
            surprising, sounds the alarm for about a half-life and not for much longer; of a
            threshold that stays.
        num_steps: steps that it was found on.
        source: what these are, in words.
        recent: (n,) smoothed surprise of these, at most `memory` of them; of a score that follows.
        channels: those whose values the score looks at; labels have no order to be far out in.
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
    recent: np.ndarray
    channels: tuple[int, ...]
    measure: str = "surprise"

    def to_text(self) -> str:
        steps = counted(self.num_steps, "step")
        if self.memory:
            return (
                f"threshold {self.threshold:.3f} nats of rarity at first, for "
                f"{self.false_alarms:g} false alarms per thousand steps; begun on {steps} of "
                f"{self.source}, and follows the last {self.memory:g} steps of each series"
            )
        text = (
            f"threshold {self.threshold:.3f} {UNITS[self.measure]}, for a rate of false alarms of "
            f"{self.false_alarms:g} per thousand steps; calibrated on {steps} of {self.source}"
        )
        needed = np.ceil(1000 / self.false_alarms / independent_share(self.half_life))
        if self.num_steps < needed:
            text += (
                ", too few to calibrate that rate: if surprise comes in clusters, alarms may come "
                f"many times as often; give {needed:,.0f} steps (calibrate, --calibrate FILE)"
            )
        return text


def calibration(
    surprise: list[np.ndarray],
    false_alarms: float,
    half_life: float,
    source: str,
    memory: float = 0.0,
    values: list[np.ndarray] | None = None,
    channels: tuple[int, ...] = (),
    measure: str = "surprise",
) -> Calibration:
    """What the alarms of series begin with, by held-out ones.

    A threshold that stays is exceeded there at the given rate. One that follows begins where they
    have alarms at that rate, and surprise is ranked among theirs first.

    Args:
        surprise: (T,) nats of every series, NaN where missing.
        false_alarms: alarms per thousand steps, in (0, 1000).
        half_life: of the smoothing, steps.
        source: what the series are, for messages.
        memory: steps that the score looks back on; 0: the threshold stays.
        values: (T, D) of every series, NaN where missing; needed for channels.
        channels: whose values the score looks at.
        measure: one of `UNITS`.

    Raises:
        InputError: for too few steps.
    """
    seen = np.concatenate(surprise) if surprise else np.zeros(0)
    seen = seen[~np.isnan(seen)]
    mean = float(seen.mean()) if len(seen) else 0.0
    smoothed = np.concatenate([smooth(v, half_life, mean) for v in surprise] or [seen])
    smoothed = smoothed[~np.isnan(smoothed)]
    try:
        tail = Tail.of(smoothed)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    rate = false_alarms / 1000
    if memory:
        kept = np.linspace(0, len(smoothed) - 1, min(len(smoothed), int(memory))).astype(int)
        highest, recent = np.inf, smoothed[kept]
        novelty = Novelty(weight_of(half_life), mean, memory, channels)
        score = np.concatenate(scores(novelty, surprise, values))
        threshold = first_threshold(score, rate, bool(channels))
    else:
        threshold, recent = tail.quantile(rate), np.zeros(0)
        if half_life and len(seen) * rate * independent_share(half_life) < FEWEST_INDEPENDENT:
            threshold = max(threshold, drawn_tail(seen, half_life).quantile(rate))
        above = HIGHEST * max(threshold - mean, 0.0) / weight_of(half_life)
        highest = max(mean + above, float(tail.values[-1])) if half_life else np.inf
    return Calibration(
        false_alarms, half_life, memory, threshold, mean, highest, len(seen), source, recent,
        channels, measure,
    )  # fmt: skip


def independent_share(half_life: float) -> float:
    """How many independent values tell as much of a mean as one smoothed value of many."""
    return weight_of(half_life) / (2 - weight_of(half_life))


def drawn_tail(surprise: np.ndarray, half_life: float) -> Tail:
    """The law of smoothed surprise by streams of independent draws from (n,) unsmoothed values,
    with Dirichlet weights for each stream."""
    rng = np.random.default_rng(0)
    begun = int(np.ceil(5 * half_life))  # steps, after which the first one weighs a thirtieth
    values = np.sort(surprise)
    weights = rng.dirichlet(np.ones(len(values)), STREAMS).cumsum(1)
    places = [np.searchsorted(w, rng.random(begun + STREAM)) for w in weights]
    drawn = values[np.minimum(places, len(values) - 1).T]
    means = pd.DataFrame(drawn).ewm(alpha=weight_of(half_life), adjust=False).mean()
    return Tail.of(means.to_numpy()[begun:].ravel())


def scores(
    novelty: Novelty, surprise: list[np.ndarray], values: list[np.ndarray] | None
) -> list[np.ndarray]:
    """Of the steps of every series that have a surprise."""
    found = []
    for i, v in enumerate(surprise):
        novelty.begin()
        there = ~np.isnan(v)
        rows = values[i][there].tolist() if values else [()] * int(there.sum())
        found.append(
            np.array([novelty.update(*one) for one in zip(v[there].tolist(), rows, strict=True)])
        )
    return found


def first_threshold(score: np.ndarray, rate: float, two: bool) -> float:
    """k_0 of `seqlatent.tasks.following`, nats: (n,) scores of held-out steps give as many alarms
    by it as n times the rate asks for."""
    score = score[FEWEST:]  # before, nothing is rare
    expected = novelty_quantile(rate, two)
    if len(score) < FEWEST:
        return expected
    counted_rate = max(rate, FEWEST_ALARMS / len(score))
    low, high = 0.0, float(score.max())
    for _ in range(40):
        k = (low + high) / 2
        enough = num_alarms(score, k, rest_of(counted_rate)) >= counted_rate * len(score)
        low, high = (k, high) if enough else (low, k)
    return high + expected - novelty_quantile(counted_rate, two)


def num_alarms(score: np.ndarray, threshold: float, rest: int) -> int:
    """Alarms by a threshold that stays, with a rest after each."""
    num, end, last = 0, 0, 0.0
    for t in np.flatnonzero(score > threshold).tolist():
        if t >= end or score[t] > last + threshold:
            num, end, last = num + 1, t + rest + 1, float(score[t])
    return num


def rest_of(rate: float) -> int:
    """Steps without another alarm after one."""
    return min(LONGEST_REST, round(0.1 / rate))


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
