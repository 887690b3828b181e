"""All measures of what was drawn, beside the same measures of references."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from seqlatent.errors import InputError, did_you_mean
from seqlatent.measures.distances import correlation, energy, mmd, sliced_wasserstein, wasserstein
from seqlatent.measures.neighbours import nearest
from seqlatent.measures.references import bootstrap, copula
from seqlatent.measures.windows import FEWEST, checked, some


class Measure(NamedTuple):
    """What a measure is.

    Attributes:
        function: of real (N, T, D), drawn (M, T, D) and a seed; a number.
        meaning: one sentence.
        better: `lower`, or `near 1`.
    """

    function: Callable[..., float]
    meaning: str
    better: str


MEASURES = {
    "wasserstein": Measure(
        wasserstein,
        "distance between the distributions of single values, in standard deviations",
        "lower",
    ),
    "sliced": Measure(
        sliced_wasserstein,
        "distance between the distributions of random projections of the window",
        "lower",
    ),
    "mmd": Measure(mmd, "squared maximum mean discrepancy of whole windows", "lower"),
    "energy": Measure(energy, "energy distance of whole windows", "lower"),
    "correlation": Measure(
        correlation, "sum of errors of the correlations between channels, over 10", "lower"
    ),
    "nearest": Measure(
        nearest,
        "distance to the nearest training window, over that of real windows; 0: copies",
        "near 1",
    ),
}
CHEAP = ("wasserstein", "sliced", "mmd", "energy", "correlation", "nearest")
ALL = tuple(MEASURES)
REFERENCES = ("half", "bootstrap", "copula")


def measure_drawn(
    real: np.ndarray,
    drawn: np.ndarray,
    *,
    train: np.ndarray | None = None,
    measures: Sequence[str] = CHEAP,
    references: Sequence[str] = REFERENCES,
    repeats: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """How far drawn windows are from real ones, beside what other ways to draw would reach.

    In each repeat the real windows are halved at random, and all are compared with the first half by
    as many windows as it holds (fewer, for all alike, where fewer were drawn): what depends on the
    number of windows then does so alike for the model and its references.

    - `model`: the windows that were drawn.
    - `half`: the second half of the real windows, the floor.
    - `bootstrap`: training windows again, a perfect copy.
    - `copula`: a Gaussian copula of the flattened training window.

    Args:
        real: (N, T, D) windows to compare with, held out from training; data units, no gaps.
        drawn: (M, T, D) windows drawn from the model.
        train: (L, T, D) windows that the model was fitted to; None: `real` are those.
        measures: names of `MEASURES`; default: `CHEAP`, those that take seconds.
        references: of `half`, `bootstrap` and `copula`.
        repeats: how often; each has its own halves, projections and trained networks.
        seed: of all that is random.

    Returns:
        A row for each way to draw and each measure: `drawn_by`, `measure`, `value` (mean over the
        repeats) and `std_error` over the repeats, NaN for one. It holds the randomness of halves and
        of measures, not that of a fit or of the data.

    Raises:
        InputError: for windows with gaps or of different shapes, or an unknown measure or reference.
    """
    _check_names(measures, "measure", MEASURES)
    _check_names(references, "reference", REFERENCES)
    if repeats < 1:
        raise InputError(f"repeats is {repeats}; give 1 or more")
    real, drawn = checked(real, "real"), checked(drawn, "drawn")
    known = real if train is None else checked(train, "training")
    for what, windows in (("drawn", drawn), ("training", known)):
        if windows.shape[1:] != real.shape[1:]:
            raise InputError(
                f"the {what} windows have the steps and channels {windows.shape[1:]}, the real ones "
                f"{real.shape[1:]}; give windows of one shape"
            )
    if len(real) < 2 * FEWEST:
        raise InputError(f"{len(real)} real windows cannot be halved; give at least {2 * FEWEST}")
    values: dict[tuple[str, str], list[float]] = {}
    for number in np.random.SeedSequence(seed).generate_state(repeats):
        here, sets = _sets(real, drawn, known, references, int(number))
        for name in measures:
            for drawn_by, windows in sets.items():
                extra: dict[str, Any] = {}
                target = here
                if name == "nearest" and train is not None:
                    extra["train"] = train
                elif name == "nearest" and drawn_by != "half":
                    target = real  # all are the training, of which a half is no copy
                value = MEASURES[name].function(target, windows, int(number), **extra)
                values.setdefault((drawn_by, name), []).append(value)
    rows = [(*key, float(np.mean(found)), _std_error(found)) for key, found in values.items()]
    table = pd.DataFrame(rows, columns=["drawn_by", "measure", "value", "std_error"])
    return table.sort_values(
        "drawn_by", key=lambda c: c.map(["model", *REFERENCES].index), kind="stable"
    ).reset_index(drop=True)


def _sets(
    real: np.ndarray, drawn: np.ndarray, train: np.ndarray, references: Sequence[str], seed: int
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The real windows of one repeat, and as many by the model and each reference."""
    rng = np.random.default_rng(seed)
    order, number = rng.permutation(len(real)), min(len(real) // 2, len(drawn))
    here, there = real[order[:number]], real[order[number : 2 * number]]
    sets = {"model": some(drawn, number, rng)}
    for name in references:
        if name == "half":
            sets[name] = there
        else:
            draw = bootstrap if name == "bootstrap" else copula
            sets[name] = draw(train, number, seed)
    return here, sets


def _std_error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else np.nan


def _check_names(names: Sequence[str], what: str, known: Sequence[str] | dict[str, Measure]):
    if isinstance(names, str):
        raise InputError(f"{what}s is the text '{names}'; give a list of names: ['{names}']")
    for name in names:
        if name not in known:
            raise InputError(f"unknown {what} '{name}'{did_you_mean(name, known)}")
