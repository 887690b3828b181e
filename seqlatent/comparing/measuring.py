"""What the test data say of one fitted model: likelihood, forecasts, drawn sequences."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import pandas as pd

from seqlatent.choosing.comparing import Parts as Nats
from seqlatent.choosing.comparing import pieces
from seqlatent.comparing.families import Family
from seqlatent.comparing.fitting import Fit, sentence_of
from seqlatent.comparing.parts import MAX_WINDOWS, Parts, pieces_to_draw, spread_out, steps_ahead
from seqlatent.comparing.parts import training_windows as windows_of_training
from seqlatent.data.dataset import SequenceDataset
from seqlatent.inference.protocols import Density, EstimatedDensity
from seqlatent.measures import CHEAP, measure_drawn
from seqlatent.measures.windows import FEWEST
from seqlatent.models.base import SequenceModel
from seqlatent.tasks.drawing import after_context, draw_like
from seqlatent.tasks.evaluating import evaluate
from seqlatent.tasks.evaluation import Evaluation
from seqlatent.tasks.scoring import score

NUM_SAMPLES = 200  # paths of a forecast
LOOKED_AT = 3  # sequences that are drawn twice, to see whether draws differ
T = TypeVar("T")


@dataclass(frozen=True)
class Trials:
    """What every model is asked, the same for all.

    Attributes:
        parts: of the data.
        length, windows, step: of the forecasts: H steps ahead from W origins of each series.
        forecast_from: the test series that are forecast.
        pieces: what is drawn once more.
        real: the steps of these pieces that a draw replaces.
        training_windows: (L, T, D), as long.
        seed: of all draws.
    """

    parts: Parts
    length: int
    windows: int
    step: int
    forecast_from: SequenceDataset
    pieces: SequenceDataset
    real: SequenceDataset
    training_windows: np.ndarray
    seed: int

    @classmethod
    def of(cls, parts: Parts, prediction_length: int | None, seed: int) -> "Trials":
        """The usual trials of data, with H steps ahead or the usual number."""
        length, windows, step = steps_ahead(parts, prediction_length)
        pieces = pieces_to_draw(parts, length)
        real = after_context(pieces)
        size = len(real.sequences[0]) if len(real) else 0
        from_training = windows_of_training(parts, size)
        chosen = spread_out(parts.test, max(1, MAX_WINDOWS // windows))
        return cls(parts, length, windows, step, chosen, pieces, real, from_training, seed)

    @property
    def can_measure_drawn(self) -> bool:
        """Whether there are enough pieces, of numbers, to tell distributions apart."""
        return len(self.real) >= 2 * FEWEST and not self.real.categories


@dataclass(frozen=True, eq=False)
class Measured:
    """A model of a comparison, and all that was found.

    Attributes:
        family: what its class says.
        fit: how it was fitted, or why not.
        num_parameters: of the fitted model.
        comparable: whether its likelihood is of the same kind, densities or probabilities, as that
            of the first model.
        scores, steps: of the test data, as `seqlatent.tasks.scoring.score` gives them; None where
            there is no likelihood.
        nats: sums and numbers of scored steps of independent parts of the test data.
        evaluation: of its forecasts.
        drawn: the test pieces, drawn once more.
        stochastic: whether two draws of a piece differ.
        draw_seconds: that these took.
        distances: from the real pieces, as `seqlatent.measures.measure_drawn` gives them.
        notes: sentences on what could not be measured.
    """

    family: Family
    fit: Fit
    num_parameters: int = 0
    comparable: bool = True
    scores: pd.DataFrame | None = None
    steps: pd.DataFrame | None = None
    nats: Nats | None = None
    evaluation: Evaluation | None = None
    drawn: SequenceDataset | None = None
    stochastic: bool | None = None
    draw_seconds: float = float("nan")
    distances: pd.DataFrame | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def name(self) -> str:
        return self.family.name

    @property
    def kind(self) -> str:
        """Of its likelihood: that of the scores, or `none`."""
        return "none" if self.scores is None else str(self.scores["kind"].iloc[0])

    @property
    def nats_error(self) -> float:
        """The error of the likelihood's computation, nats per step: of an estimate its standard
        error, of a solver's its own; 0 where it is exact, NaN where no error can be told."""
        if self.scores is None or self.nats is None:
            return float("nan")
        steps = float(self.nats[1].sum())
        if self.kind == "ode":
            upper, lower = (np.asarray(self.scores[c], dtype=float) for c in ("upper", "lower"))
            return float((upper - lower).sum()) / 2 / steps
        if not np.asarray(self.scores["num_particles"]).any():
            return 0.0
        return float(np.linalg.norm(np.asarray(self.scores["std_error"], dtype=float))) / steps


def measure(family: Family, fit: Fit, trials: Trials, num_particles: int) -> Measured:
    """Put a fitted model to all trials. What it cannot answer becomes a note.

    Args:
        family: what its class says.
        fit: that did not fail.
        trials: the same for all models.
        num_particles: of estimated likelihoods.
    """
    assert fit.model is not None
    model, notes = fit.model.module, []

    def attempt(what: str, work: Callable[[], T]) -> T | None:
        try:
            return work()
        except Exception as error:  # the other measures go on
            notes.append(f"{what}: {sentence_of(error)}")
            return None

    scores = steps = nats = distances = None
    if isinstance(model, Density | EstimatedDensity):
        scored = attempt("likelihood", lambda: _scored(model, trials, num_particles))
        if scored is not None:
            scores, steps, nats = scored
    evaluation = attempt("forecasts", lambda: evaluate(
        model, trials.forecast_from, trials.length, windows=trials.windows, step=trials.step,
        num_samples=NUM_SAMPLES, seed=trials.seed,
    ))  # fmt: skip
    drawn, stochastic, seconds = None, None, float("nan")
    if len(trials.pieces):
        start = time.perf_counter()
        drawn = attempt(
            "drawn sequences", lambda: draw_like(model, trials.pieces, seed=trials.seed)
        )
        seconds = time.perf_counter() - start
    if drawn is not None:
        stochastic = attempt("drawn sequences", lambda: _differs(model, trials, drawn))
        if trials.can_measure_drawn:
            distances = attempt("distances", lambda: _distances(trials, drawn))
    return Measured(
        family, fit, sum(p.numel() for p in model.parameters()), True, scores, steps, nats,
        evaluation, drawn, stochastic, seconds, distances, tuple(notes),
    )  # fmt: skip


def _scored(
    model: SequenceModel, trials: Trials, num_particles: int
) -> tuple[pd.DataFrame, pd.DataFrame, Nats]:
    scores, steps = score(model, trials.parts.test, num_particles=num_particles, seed=trials.seed)
    by_series = dict(list(steps.groupby("unique_id", sort=False)["log_prob"]))
    nats = [by_series[n].to_numpy() for n in scores["unique_id"] if n in by_series]
    return scores, steps, pieces(nats)


def _differs(model: SequenceModel, trials: Trials, drawn: SequenceDataset) -> bool:
    again = draw_like(model, trials.pieces[:LOOKED_AT], seed=trials.seed + 1)
    return any((a.x != b.x).any() for a, b in zip(again, drawn, strict=False))


def _distances(trials: Trials, drawn: SequenceDataset) -> pd.DataFrame:
    """`drawn_by, measure, value, std_error`. Between channels there are correlations only if there
    are several."""
    measures = [m for m in CHEAP if m != "correlation" or trials.real.num_channels > 1]
    known = trials.training_windows
    return measure_drawn(
        np.stack([s.x for s in trials.real]),
        np.stack([s.x for s in drawn]),
        train=known if len(known) >= FEWEST else None,
        measures=measures,
        seed=trials.seed,
    )
