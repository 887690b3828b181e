"""Evaluation of forecasts at rolling origins, beside two simple ones.

The last steps of every series are forecast from what came before them, in windows of H steps, and
compared with what came:

    series    |------------------------------|------|------|------|
    window 1   history ----------------------> H steps
    window 2   history -----------------------------> H steps
    window 3   history ------------------------------------> H steps

The measures are those of `seqlatent.tasks.metrics`, the simple forecasts those of
`seqlatent.tasks.baselines`. `crps_growth` says how the error grows along the horizon: the CRPS at
step H over that at step 1, summed over windows and channels. A series' windows do not depend on the
other series.
"""

import logging
from collections.abc import Callable, Iterator
from collections.abc import Sequence as Seq
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np

from seqlatent.data.calendar import from_data
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.season import season_of
from seqlatent.data.sequence import Sequence
from seqlatent.data.steps import show_step
from seqlatent.errors import InputError
from seqlatent.inference.protocols import Density, EstimatedDensity
from seqlatent.models.base import SequenceModel
from seqlatent.options import check_count, check_seed
from seqlatent.tasks import baselines
from seqlatent.tasks.evaluation import MODEL, NAIVE, WALK, Evaluation, Window
from seqlatent.tasks.forecasting import forecast
from seqlatent.tasks.measuring import measure
from seqlatent.tasks.prepare import check_data
from seqlatent.tasks.scoring import score
from seqlatent.text import counted, shortened

logger = logging.getLogger("seqlatent")

MAX_NUMBERS = 2**26  # in the paths that are in memory at once


@dataclass(frozen=True)
class _Cut:
    """A window to forecast.

    Attributes:
        s: the whole series.
        origin: which of the windows it is; 0 is the first.
        start: steps of history.
    """

    s: Sequence
    origin: int
    start: int

    @property
    def name(self) -> str:
        """It seeds the noise: each window of a series has its own."""
        return f"{self.s.unique_id} (from {show_step(self.s.ds[self.start])})"


def evaluate(
    model: SequenceModel,
    data: SequenceDataset,
    prediction_length: int,
    *,
    windows: int = 1,
    step: int | None = None,
    num_samples: int = 500,
    season: int | None = None,
    seed: int = 0,
    refit: Callable[[SequenceDataset], SequenceModel] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Forecast the last steps of every series at rolling origins, and compare with what came.

    Args:
        model: a fitted model. Give it data that it was not fitted to, or `refit`.
        data: series with the training data's channels. Steps that are context of a part of bundled
            data, as those before `nyc-taxi:test`, are never forecast.
        prediction_length: H, steps of a window.
        windows: W, the number of windows of each series; the last one ends where the series does.
            Of a shorter series those are forecast that have a history of at least one step (of
            `context_length`, where the model has one); a message says how many are left out.
        step: steps from one window to the next; by default H, so that none overlap.
        num_samples: S, paths of each window; the 95 % interval needs 39.
        season: of the simple forecasts and of the scaled error; by default the data's shortest
            (`seqlatent.data.season`), 1 where there is none. A history that does not hold two
            seasons has 1.
        seed: of the paths.
        refit: makes a model of the histories before an origin; by default `model` forecasts all.
        progress: called with 1 for every finished window.

    Raises:
        InputError: when an argument is out of range, the data do not fit the model, or every
            series is too short.
    """
    length = check_count("prediction_length", prediction_length)
    windows = check_count("windows", windows)
    step = length if step is None else check_count("step", step)
    num_samples, seed = check_count("num_samples", num_samples, 2), check_seed(seed)
    data = check_data(model, data, reads_gaps=False)
    cuts, left_out = _cuts(data, length, windows, step)
    if season is None:
        season = season_of(_histories(data, [c for c in cuts if c.origin == cuts[0].origin]))
    season = check_count("season", season)
    done: dict[tuple[str, int], Window] = {}
    kind, band = None, {}
    for some in _groups(cuts, length * num_samples * data.num_channels, refit is not None):
        histories = _histories(data, some)
        if refit is not None:
            logger.info("window %d of %d: fitting again", some[0].origin + 1, windows)
            model = refit(_named(histories, [c.s.unique_id for c in some]))
        future = _future(data, histories, some, length)
        result = forecast(
            model, histories, length, num_samples=num_samples, seed=seed, future=future
        )
        log_probs, kind = _log_probs(model, data, some, length, seed)
        for cut, f, log_prob in zip(some, result, log_probs, strict=True):
            window = _window(data, cut, f.samples, log_prob, season, seed, band)
            done[cut.s.unique_id, cut.origin] = window
            if progress:
                progress(1)
    keys = ((s.unique_id, origin) for s in data for origin in range(windows))
    ordered = [done[key] for key in keys if key in done]
    return Evaluation(
        data, tuple(ordered), length, step, season, num_samples, kind, left_out, band,
        refit is not None,
    )  # fmt: skip


def _cuts(
    data: SequenceDataset, length: int, windows: int, step: int
) -> tuple[list[_Cut], dict[str, int]]:
    """The windows in the order of their origins, and of each series how many do not fit."""
    cuts, left_out = [], {}
    for s in data:
        starts = len(s) - length - step * np.arange(windows)[::-1]
        fits = starts >= max(1, s.context)
        cuts += [_Cut(s, int(i), int(starts[i])) for i in np.flatnonzero(fits)]
        if not fits.all():
            left_out[s.unique_id] = int((~fits).sum())
    if not cuts:
        longest = max(data, key=lambda s: len(s) - s.context)
        context = f" after {longest.context} of context" if longest.context else ""
        raise InputError(
            f"{data.name}: every series is too short for a window of {length} steps and a history; "
            f"the longest, series '{longest.unique_id}', has {len(longest) - longest.context} "
            f"steps{context}; shorten the prediction length"
        )
    if left_out:
        logger.warning(
            "%d of %d series are too short for %s: %s; the windows that fit are used",
            len(left_out),
            len(data),
            counted(windows, "window"),
            shortened([f"{name} lacks {n}" for name, n in left_out.items()]),
        )
    return sorted(cuts, key=lambda c: c.origin), left_out


def _groups(cuts: list[_Cut], numbers: int, by_origin: bool) -> Iterator[list[_Cut]]:
    """Windows whose paths fit in memory, or, to fit a model for each, those of an origin."""
    most = max(1, MAX_NUMBERS // numbers)
    if by_origin:
        for origin in dict.fromkeys(c.origin for c in cuts):
            yield [c for c in cuts if c.origin == origin]
        return
    for start in range(0, len(cuts), most):
        yield cuts[start : start + most]


def _histories(data: SequenceDataset, cuts: Seq[_Cut]) -> SequenceDataset:
    pieces = [c.s.slice(0, c.start, min(c.s.context, c.start - 1)) for c in cuts]
    return _named(replace(data, sequences=tuple(pieces)), [c.name for c in cuts])


def _named(data: SequenceDataset, names: list[str]) -> SequenceDataset:
    sequences = (replace(s, unique_id=name) for s, name in zip(data, names, strict=True))
    return replace(data, sequences=tuple(sequences))


def _future(
    data: SequenceDataset, histories: SequenceDataset, cuts: list[_Cut], length: int
) -> SequenceDataset | None:
    """The covariates of the steps of the windows. Where steps are irregular they are given to the
    steps that the forecast expects."""
    if not from_data(data.covariate_names):
        return None
    pieces = []
    for history, c in zip(histories, cuts, strict=True):
        piece = c.s.slice(c.start, c.start + length)
        ds = data.future_steps(history, length)
        unknown = np.full_like(piece.x, np.nan)  # or the forecast would be given what came
        pieces.append(replace(piece, unique_id=c.name, ds=ds, x=unknown))
    return replace(data, sequences=tuple(pieces))


def _log_probs(
    model: SequenceModel, data: SequenceDataset, cuts: list[_Cut], length: int, seed: int
) -> tuple[list[tuple[float, float]], str | None]:
    """Of each window log p(future | history) in nats and its number of scored steps, and the kind
    of likelihood; NaN and None for a model without one."""
    if not isinstance(model, Density | EstimatedDensity):
        return [(np.nan, 0.0)] * len(cuts), None
    pieces = [c.s.slice(0, c.start + length, c.start).as_of(c.start) for c in cuts]
    whole = _named(replace(data, sequences=tuple(pieces)), [c.name for c in cuts])
    scores, steps = score(model, whole, seed=seed)
    counts = steps["unique_id"].value_counts().reindex(scores["unique_id"], fill_value=0)
    totals = scores["log_prob"].to_numpy(dtype=np.float64)
    values = list(zip(totals.tolist(), counts.to_numpy(dtype=np.float64).tolist(), strict=True))
    return values, str(scores["kind"].iloc[0])


def _window(
    data: SequenceDataset,
    cut: _Cut,
    samples: np.ndarray,
    log_prob: tuple[float, float],
    season: int,
    seed: int,
    band: dict[str, np.ndarray],
) -> Window:
    """A window with all forecasts and their measures; adds to the counts of `band`."""
    history, num_samples, length = cut.s.x[: cut.start], len(samples), samples.shape[1]
    stop = cut.start + length
    truth = cut.s.x[cut.start : stop]
    labels = [d for d, name in enumerate(data.targets) if name in data.categories]
    rng = np.random.default_rng([seed, crc32(cut.name.encode())])
    season = baselines.usable_season(len(history), season)
    steps = float(np.isfinite(truth).any(1).sum())
    naive = baselines.seasonal_naive_log_prob(history, truth, season, labels)
    paths = {
        MODEL: (samples, log_prob),
        NAIVE: (
            baselines.seasonal_naive(history, length, season, num_samples, rng, labels),
            (naive, steps),
        ),
        WALK: (baselines.random_walk(history, length, num_samples, rng, labels), (np.nan, 0.0)),
    }
    forecasts = {}
    for method, (x, log_p) in paths.items():
        result, counts = measure(x, truth, history, season, labels, rng)
        result.measures["log_score"] = log_p if log_p[1] > 0 else (np.nan, np.nan)
        forecasts[method] = result
        band[method] = band.get(method, 0) + counts
    ds = cut.s.ds
    return Window(
        cut.s.unique_id, cut.origin, cut.start, ds[cut.start - 1], ds[cut.start : stop], truth,
        forecasts,
    )  # fmt: skip
