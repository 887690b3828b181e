"""Measures of anomaly scores: NAB's, and areas under the curves of ROC and of precision and recall.

NAB (Lavin and Ahmad 2015, standard profile). An alarm in a labelled window earns the more the
earlier it comes, and only the earliest counts; a missed window costs 1; every alarmed row outside
costs up to 0.11, less shortly after a window:

    sigma(y) = 2 / (1 + e^{5 y}) - 1
    in a window of w rows, k rows before its end:  sigma(-(k + 1) / w) / sigma(-1)
    k rows after a window of w rows:               0.11 sigma(min(k / (w - 1), 3))
    before any window:                             -0.11

The score is 0 for a detector that is silent and 100 for one that finds the first row of every
window and raises no other alarm. The first 15 % of the rows, at most 750, are not scored.
"""

from dataclasses import dataclass

import numpy as np

FALSE_ALARM, MISSED = 0.11, 1.0  # the standard profile


@dataclass(frozen=True, eq=False)
class Labels:
    """What the rows of a file are worth.

    Attributes:
        window: (T,) the window that a row is in; -1 outside.
        worth: (T,) what an alarm at the row earns, or costs where below 0.
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
    window, worth = np.full(num_rows, -1), np.full(num_rows, -FALSE_ALARM)
    rows = np.arange(num_rows)
    for i, (first, last) in enumerate(windows):
        inside, after, width = slice(first, last + 1), slice(last + 1, None), last - first + 1
        past = np.minimum((rows[after] - last) / max(1, width - 1), 3.0)
        worth[after] = FALSE_ALARM * sigma(past)
        window[inside] = i
        worth[inside] = sigma(-(last - rows[inside] + 1) / width) / sigma(-1.0)
    return Labels(window, worth, rows >= probation(num_rows))


def sigma(y: np.ndarray | float) -> np.ndarray | float:
    return 2 / (1 + np.exp(5 * np.asarray(y))) - 1


def nab_score(files: list[tuple[Labels, np.ndarray]], threshold: float | None) -> float:
    """NAB's score of all files together, 100 at best.

    Args:
        files: the labels of each, and the (T,) scores of its rows; no alarm where NaN.
        threshold: that alarms exceed; None: the one that gives the highest score, as NAB has it.
    """
    scores, gains, total = [], [], 0
    for known, score in files:
        score = np.where(np.isnan(score), -np.inf, score)
        total += known.num_windows
        outside = known.scored & ~known.anomalous
        scores.append(score[outside])
        gains.append(known.worth[outside])
        for i in range(known.num_windows):
            rows = np.flatnonzero(known.scored & (known.window == i))
            rows = rows[np.argsort(-score[rows], kind="stable")]
            best = np.maximum.accumulate(known.worth[rows])
            scores.append(score[rows])
            gains.append(np.diff(best, prepend=-MISSED))
    score, gain = np.concatenate(scores), np.concatenate(gains)
    if threshold is not None:
        raw = -MISSED * total + gain[score > threshold].sum()
    else:
        order = np.argsort(-score, kind="stable")
        ends = last_of_equals(score[order])
        ends = ends[np.isfinite(score[order][ends])]
        raw = -MISSED * total + gain[order].cumsum()[ends].max(initial=0.0)
    return float(100 * (raw + MISSED * total) / ((1 + MISSED) * total))


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
