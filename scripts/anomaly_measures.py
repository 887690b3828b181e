"""Measures of anomaly scores: NAB's, and areas under the curves of ROC and of precision and recall.

NAB (Lavin and Ahmad 2015; its `sweeper.py`, `optimizer.py` and `runner.py`). An alarm in a
labelled window earns the more the earlier it comes, and only the best counts; a missed window costs
A_FN; every alarmed row outside costs up to A_FP, less shortly after a window:

    sigma(y) = 2 / (1 + e^{5 y}) - 1,  and -1 for y > 3
    in a window of w rows, k rows before its end:  sigma(-(k + 1) / w) / sigma(-1)
    k rows after a window of w rows:               A_FP sigma(k / (w - 1))
    before any window:                             -A_FP

A row is alarmed where its score is at least a threshold: one for all files, the one that gives the
highest sum. The sum is scaled so that silence has 0 and the first row of every window, without any
other alarm, 100. The first 15 % of the rows, at most 750, are not scored.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Profile(NamedTuple):
    """A_FP and A_FN; A_TP is 1."""

    false_alarm: float
    missed: float


STANDARD = Profile(0.11, 1.0)
PROFILES = {"NAB": STANDARD, "low FP": Profile(0.22, 1.0), "low FN": Profile(0.11, 2.0)}


@dataclass(frozen=True, eq=False)
class Labels:
    """What the rows of a file are worth.

    Attributes:
        window: (T,) the window that a row is in; -1 outside.
        worth: (T,) what an alarm at the row earns in a window; sigma, to be weighted, outside.
        scored: (T,) bool, the rows after the probationary period.
    """

    window: np.ndarray
    worth: np.ndarray
    scored: np.ndarray

    @property
    def num_windows(self) -> int:
        return int(self.window.max(initial=-1)) + 1

    @property
    def anomalous(self) -> np.ndarray:
        """(T,) bool, the rows in windows."""
        return self.window >= 0


def probation(num_rows: int) -> int:
    """Rows at the beginning that a detector may learn from."""
    return int(min(0.15 * num_rows, 0.15 * 5000))


def labels(num_rows: int, windows: list[tuple[int, int]]) -> Labels:
    """Of a file with windows from one row to another, both within them, in order."""
    window, worth = np.full(num_rows, -1), np.full(num_rows, -1.0)
    rows = np.arange(num_rows)
    for i, (first, last) in enumerate(windows):
        inside, after, width = slice(first, last + 1), slice(last + 1, None), last - first + 1
        worth[after] = sigma((rows[after] - last) / max(1, width - 1))
        window[inside] = i
        worth[inside] = sigma(-(last - rows[inside] + 1) / width) / sigma(-1.0)
    return Labels(window, worth, rows >= probation(num_rows))


def sigma(y: np.ndarray | float) -> np.ndarray | float:
    y = np.asarray(y, dtype=float)
    return np.where(y > 3, -1.0, 2 / (1 + np.exp(5 * np.minimum(y, 3.0))) - 1)


def nab_score(
    files: list[tuple[Labels, np.ndarray]],
    threshold: float | None = None,
    profile: Profile = STANDARD,
) -> float:
    """NAB's score of all files together, 100 at best; NaN of files without windows.

    Args:
        files: the labels of each, and the (T,) scores of its rows; no alarm where NaN or -inf.
        threshold: of alarms; None: the one that gives the highest score, as NAB has it.
        profile: what alarms and their absence cost.
    """
    scores, gains, total = [], [], 0
    for known, score in files:
        score = np.where(np.isnan(score), -np.inf, score)
        total += known.num_windows
        outside = known.scored & ~known.anomalous
        scores.append(score[outside])
        gains.append(profile.false_alarm * known.worth[outside])
        for i in range(known.num_windows):
            rows = np.flatnonzero(known.scored & (known.window == i))
            rows = rows[np.argsort(-score[rows], kind="stable")]
            best = np.maximum.accumulate(known.worth[rows])
            scores.append(score[rows])
            gains.append(np.diff(best, prepend=-profile.missed))
    score, gain = np.concatenate(scores), np.concatenate(gains)
    if threshold is not None:
        earned = gain[score >= threshold].sum()
    else:
        order = np.argsort(-score, kind="stable")
        ends = last_of_equals(score[order])
        ends = ends[np.isfinite(score[order][ends])]
        earned = gain[order].cumsum()[ends].max(initial=0.0)
    return float(100 * earned / ((1 + profile.missed) * total)) if total else np.nan


def areas(anomalous: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    """The areas under the ROC curve and under precision over recall (average precision); rows of
    equal scores are taken together.

    Args:
        anomalous: (T,) bool.
        score: (T,) without NaN.
    """
    order = np.argsort(-score, kind="stable")
    ends = last_of_equals(score[order])
    hits = anomalous[order].cumsum()[ends]
    alarms = ends + 1
    recall = np.append(0.0, hits / hits[-1])
    false = np.append(0.0, (alarms - hits) / max(1, alarms[-1] - hits[-1]))
    roc = float((np.diff(false) * (recall[1:] + recall[:-1]) / 2).sum())
    return roc, float((np.diff(recall) * hits / alarms).sum())


def last_of_equals(ordered: np.ndarray) -> np.ndarray:
    """The places at which runs of equal scores end."""
    return np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
