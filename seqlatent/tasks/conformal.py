"""Intervals of the next step, and how they are recalibrated as truth arrives.

The central interval of level l ends at two quantiles q of the model's prediction, of delta =
(1 - l) / 2 and 1 - delta. Where the model is wrong, too many values are beyond these ends, or too
few. Adaptive conformal inference (Gibbs and Candes 2021) moves each end by its own misses. With the
median m of the prediction, an end is

    b_t = m_t + cot(pi alpha_t) (q_t - m_t),                alpha_1 = 1/4, where b = q
    alpha_{t+1} = alpha_t + gamma (delta - e_t),            e_t = 1[x_t is beyond b_t]

Distances from the median are measured by those of the quantiles, as Kivaranovic, Johnson and Leeb
(2020) do; the cotangent, a quantile of the Cauchy law, lets an end go to many times its distance in
small steps. Where alpha_t <= 0, b_t is infinite and e_t = 0; where alpha_t >= 1, everything is
beyond it and e_t = 1. alpha_t therefore stays between -gamma and 1 + gamma, and the second line,
summed over T steps, says

    |1/T sum_t e_t - delta| = |alpha_{T+1} - alpha_1| / (gamma T) <= (3/4 + gamma) / (gamma T),

whatever the values are and however wrong the model is. Lower and upper end are moved apart, and so
are levels: ends that are near each other may cross for a while.

A count shares its probability with no neighbour, so that no end has exactly delta beyond it. Counts
are therefore spread, x + v with v uniform in (0, 1), and e_t is the probability that x_t + v is
beyond b_t. The interval holds the whole numbers that are not entirely beyond: its misses are at
most e_t, and its coverage in the long run is at least l.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from seqlatent.distributions.choice import KINDS
from seqlatent.errors import InputError
from seqlatent.models.base import SequenceModel
from seqlatent.models.emission_model import EmissionModel
from seqlatent.options import is_number

GAMMA = 0.01  # a memory of some hundred steps
FIRST = 0.25  # alpha_1
OUTWARD = np.array([-np.inf, np.inf])[:, None, None]


class Intervals(NamedTuple):
    """Central intervals of one step, in data units; NaN in the context.

    Attributes:
        levels: the L levels, such as 0.8.
        targets: the D channels of real values and counts.
        lower, upper: (N, L, D) their ends, of a single series (L, D). Both belong to the interval.
            Infinite where recalibration has no bound to offer.
    """

    levels: tuple[float, ...]
    targets: tuple[str, ...]
    lower: np.ndarray
    upper: np.ndarray

    def columns(self) -> dict[str, np.ndarray]:
        """`y_lower80, y_upper80, ...`, level by level and channel by channel."""
        columns = {}
        for d, target in enumerate(self.targets):
            for i, level in enumerate(self.levels):
                columns[f"{target}_lower{percent(level)}"] = self.lower[..., i, d]
                columns[f"{target}_upper{percent(level)}"] = self.upper[..., i, d]
        return columns

    def of(self, row: int) -> "Intervals":
        """Those of one of the N series."""
        return self._replace(lower=self.lower[row], upper=self.upper[row])


class IntervalMaker:
    """Makes the intervals of a model, and moves their ends.

    Args:
        model: whose predictions are drawn.
        levels: L of them.
        gamma: the step of the recalibration; 0: none.
        num_draws: S of a prediction.

    Attributes:
        first: (2, L, D) alpha_1 of lower and upper ends.

    Raises:
        InputError: for a model of labels alone, recalibration without a level, or a level whose
            quantiles are beyond S draws.
    """

    def __init__(
        self, model: SequenceModel, levels: tuple[float, ...], gamma: float, num_draws: int
    ):
        self.levels, self.gamma, self.num_draws = levels, gamma, num_draws
        if gamma and not levels:
            raise InputError("conformal needs intervals to recalibrate: give their levels")
        counts = _counts(model) if levels else {}
        if levels and not counts:
            raise InputError(
                "intervals are of real values and counts, and the model has labels or 0 and 1 only"
            )
        widest = max(levels, default=0.0)
        needed = int(np.ceil(2 / (1 - widest) - 1 - 1e-6))  # less what rounding adds
        if num_draws < needed:
            raise InputError(
                f"an interval of {percent(widest)} % needs interval_draws={needed} or more, not "
                f"{num_draws}"
            )
        self._channels, self._spread = list(counts), np.array(list(counts.values()), dtype=bool)
        self._targets = tuple(model.description.targets[d] for d in counts)
        self._delta = (1 - np.array(levels)[None, :, None]) / 2
        self.first = np.full((2, len(levels), len(counts)), FIRST)

    def ends(self, draws: np.ndarray, alpha: np.ndarray) -> np.ndarray:
        """(N, S, .) draws of all channels and (N, 2, L, D) alpha_t -> (N, 2, L, D) ends b_t."""
        x = draws[..., self._channels]
        x[..., self._spread] = spread_ties(x[..., self._spread])
        below = self._delta[0, :, 0]
        wanted = np.concatenate([[0.5], below, 1 - below])
        median, *quantiles = np.quantile(x, wanted, axis=1, method="weibull")
        middle = median[:, None, None]
        plain = np.stack(quantiles, 1).reshape(alpha.shape)
        if not self.gamma:
            return plain
        inside = np.clip(alpha, 1e-9, 1 - 1e-9)
        moved = middle + (plain - middle) / np.tan(np.pi * inside)
        return np.where(alpha <= 0, OUTWARD, np.where(alpha >= 1, -OUTWARD, moved))

    def misses(self, ends: np.ndarray, x: np.ndarray) -> np.ndarray:
        """(N, 2, L, D) e_t of (N, .) values of all channels, NaN where they are missing."""
        x = x[:, self._channels][:, None]
        beyond = [ends[:, 0] - x, x - ends[:, 1]]  # above 0 for a miss
        found = np.stack([(b > 0).astype(float) for b in beyond], 1)
        counted = np.stack([np.clip(b, 0.0, 1.0) for b in (beyond[0], beyond[1] + 1)], 1)
        found = np.where(self._spread, counted, found)
        return np.where(np.isnan(x)[:, None] | np.isnan(ends), np.nan, found)

    def after(self, alpha: np.ndarray, ends: np.ndarray, x: np.ndarray) -> np.ndarray:
        """alpha_{t+1}: where a value is missing, that of before."""
        moved = alpha + self.gamma * (self._delta - self.misses(ends, x))
        return np.where(np.isnan(moved), alpha, moved)

    def intervals(self, ends: np.ndarray) -> Intervals:
        """What users see: of counts whole numbers."""
        lower, upper = ends[:, 0], ends[:, 1]
        lower = np.where(self._spread, np.maximum(np.floor(lower), 0.0), lower)
        upper = np.where(self._spread, np.ceil(upper) - 1, upper)
        return Intervals(self.levels, self._targets, lower, upper)


def spread_ties(x: np.ndarray) -> np.ndarray:
    """(N, S, D) whole numbers, sorted along S and each with a number in (0, 1) added, so that equal
    ones are spread evenly."""
    x = np.sort(x, axis=1)
    place = np.arange(x.shape[1])[:, None]
    new = np.diff(x, axis=1, prepend=np.nan) != 0
    first = np.maximum.accumulate(np.where(new, place, 0), axis=1)
    ends = np.where(np.diff(x, axis=1, append=np.nan) != 0, place, x.shape[1])
    last = np.minimum.accumulate(ends[:, ::-1], axis=1)[:, ::-1]
    return x + (place - first + 0.5) / (last - first + 1)


def check_levels(levels: Sequence[float]) -> tuple[float, ...]:
    """Levels of intervals as plain numbers.

    Raises:
        InputError: when one is no number between 0 and 1, or there twice.
    """
    given: list[Any] = list(levels) if isinstance(levels, Sequence | np.ndarray) else [None]
    if not all(is_number(each) and 0 < each < 1 for each in given):
        raise InputError(
            f"intervals must be levels between 0 and 1, such as (0.8, 0.95), not {levels!r}"
        )
    if len({percent(each) for each in given}) < len(given):
        raise InputError(f"intervals={levels!r} has a level twice")
    return tuple(float(each) for each in given)


def check_gamma(conformal: Any) -> float:
    """The step of the recalibration: 0 for False, `GAMMA` for True.

    Raises:
        InputError: when it is neither of them nor a number from 0 to 1.
    """
    if isinstance(conformal, bool):
        return GAMMA if conformal else 0.0
    if not is_number(conformal) or not 0 <= conformal <= 1:
        raise InputError(f"conformal must be true, false or a step from 0 to 1, not {conformal!r}")
    return float(conformal)


def percent(level: float) -> str:
    """0.95 -> `95`."""
    return f"{level * 100:g}"


def _counts(model: SequenceModel) -> dict[int, bool]:
    """The channels of real values and counts; whether each is of counts."""
    part = model
    while part.parts:
        part = part.parts[0]
    described = model.description
    size = described.num_channels
    discrete, labels = (False,) * size, tuple(t in described.categories for t in described.targets)
    if isinstance(part, EmissionModel):
        family = part.value_distribution
        discrete, labels = family.discrete_channels(size), family.label_channels(size)
    return {
        d: discrete[d]
        for d, channel in enumerate(described.channels)
        if not labels[d] and not (discrete[d] and KINDS["binary"].holds(channel))
    }
