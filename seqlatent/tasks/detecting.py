"""Anomalies: steps whose surprise and values are rarer, among those before, than a threshold that
follows the alarms.

The surprise of a step is -log p(x_t | x_{<t}), in nats. Of a model that has no density and
reconstructs values (`autoencoder`) it is the error of the step's reconstruction, in standard
deviations of the channels in training: columns and messages then say `error`. It depends on the
steps around, as far as the encoder sees, and has no scale on which models can be compared.

`seqlatent.tasks.following` has the score and its threshold, `seqlatent.tasks.alarms` the smoothing,
the threshold that stays and the intervals of alarm. `seqlatent.tasks.watching` does the same one
row at a time.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from seqlatent.data.dataset import SequenceDataset
from seqlatent.errors import InputError
from seqlatent.inference.likelihood import score_sequences
from seqlatent.inference.protocols import Density, EstimatedDensity, Reconstructs
from seqlatent.models.base import SequenceModel
from seqlatent.options import check_count, check_seed, is_number
from seqlatent.plots.alarms import plot_alarms
from seqlatent.tasks.alarms import (
    FEWEST,
    HALF_LIFE,
    MEMORY,
    UNITS,
    Calibration,
    calibration,
    intervals,
)
from seqlatent.tasks.following import follow
from seqlatent.tasks.prepare import check_data
from seqlatent.tasks.reconstructing import step_errors
from seqlatent.text import counted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MANY_ALARMS, MANY_TIMES = 20, 10  # steps, and times the rate, from which on there is a warning
logger = logging.getLogger("seqlatent")

ALARMS = ("unique_id", "start", "end", "length", "peak")


@dataclass(frozen=True, eq=False, repr=False)
class Detection:
    """What `detect` found.

    Attributes:
        data: what was looked at.
        alarms: a row per interval of alarm: `unique_id, start, end`, `length` in scored steps,
            `peak`, the step of the greatest surprise, and that `surprise` in nats.
        steps: a row per step: `unique_id, ds, surprise, smoothed, score, threshold, excess, alarm`;
            nats, NaN where nothing was scored. `score` is the rarity of the step, one scale for all
            series; with a threshold that stays the smoothed surprise. `excess` is that over the
            threshold, above 0 in an alarm and NaN of a step that a rest keeps from one. Both tables
            have `error` in the place of `surprise`, in standard deviations, where that was watched.
        calibration: the threshold to begin with, and what it was found on.
    """

    data: SequenceDataset
    alarms: pd.DataFrame
    steps: pd.DataFrame
    calibration: Calibration

    @property
    def measure(self) -> str:
        """The column that was watched, `surprise` or `error`."""
        return self.calibration.measure

    @property
    def threshold(self) -> float:
        """Of the score, nats; the first one, where it follows."""
        return self.calibration.threshold

    def plot(self, path: str | Path | None = None) -> "Figure":
        """Draw the series with the most surprising alarms, shaded, over their score."""
        unit = "nats" if self.calibration.memory else UNITS[self.measure]
        return plot_alarms(self.data, self.steps, self.alarms, path, self.measure, unit)

    def to_text(self) -> str:
        """How many alarms there are, and by which threshold."""
        scored = int(self.steps[self.measure].notna().to_numpy().sum())
        alarmed = int(self.steps["alarm"].to_numpy().sum())
        where = f"{self.alarms['unique_id'].nunique()} of {counted(len(self.data), 'sequence')}"
        rate = 1000 * alarmed / max(1, scored)
        return (
            f"{counted(len(self.alarms), 'alarm')} in {where}: {alarmed} of "
            f"{counted(scored, 'step')}, {rate:.3g} per thousand\n{self.calibration.to_text()}"
        )

    def to_json(self) -> dict[str, Any]:
        """The threshold with its origin, and the alarms."""
        c, alarms = self.calibration, self.alarms
        if alarms["start"].dtype.kind == "M":
            alarms = alarms.astype({name: str for name in ("start", "end", "peak")})
        return {
            "measure": c.measure,
            "threshold": c.threshold,
            "false_alarms": c.false_alarms,
            "half_life": c.half_life,
            "memory": c.memory,
            "calibrated_on": c.source,
            "calibration_steps": c.num_steps,
            "alarms": alarms.to_dict("records"),
        }

    def __repr__(self) -> str:
        return self.to_text()


def detect(
    model: SequenceModel,
    data: SequenceDataset,
    calibrated: Calibration,
    *,
    gap: int = 0,
    num_particles: int = 64,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Detection:
    """Find the intervals in which the score is above a threshold.

    Args:
        model: a fitted model with a likelihood, or one that reconstructs values.
        data: sequences with the training data's channels.
        calibrated: the threshold and whether it follows, from `calibrate`.
        gap: the most steps without alarm, side by side, that one interval may span.
        num_particles: K of the estimate, for models whose density is estimated.
        seed: of the estimate's noise.
        progress: called with the number of sequences of every finished batch.

    Raises:
        InputError: when an argument is out of range, the data do not fit the model, a step's
            score depends on later values, or the threshold is that of another measure.
    """
    measure = measure_of(model)
    if calibrated.measure != measure:
        raise InputError(
            f"the threshold was calibrated on the {calibrated.measure} of steps, and model "
            f"'{model.family}' tells their {measure}; calibrate it by this model"
        )
    gap = check_count("gap", gap, 0)
    data, surprise = surprises(model, data, num_particles, seed, progress)
    alarms: list[tuple[Any, ...]] = []
    parts: list[pd.DataFrame] = []
    for s, v in zip(data, surprise, strict=True):
        smoothed, score, threshold, excess = follow(calibrated, v, s.x)
        alarm = excess > 0  # NaN is not
        seen = ~np.isnan(v)
        for start, end in intervals(alarm, seen, gap):
            peak = start + int(np.nanargmax(v[start : end + 1]))
            length = int(seen[start : end + 1].sum())
            alarms.append((s.unique_id, s.ds[start], s.ds[end], length, s.ds[peak], v[peak]))
        kept = s.recorded
        part = {"ds": s.ds, measure: v, "smoothed": smoothed, "score": score,
                "threshold": threshold, "excess": excess, "alarm": alarm}  # fmt: skip
        columns = {name: column[kept] for name, column in part.items()}
        parts.append(pd.DataFrame({"unique_id": s.unique_id, **columns}))
    table = pd.DataFrame(alarms, columns=pd.Index([*ALARMS, measure]))
    if not alarms:  # an empty table has the columns' types too
        none = data.sequences[0].ds[:0]
        table = pd.DataFrame(
            {"unique_id": pd.Series([], dtype=str), "start": none, "end": none,
             "length": np.zeros(0, int), "peak": none, measure: np.zeros(0)}
        )  # fmt: skip
    found = Detection(data, table, pd.concat(parts, ignore_index=True), calibrated)
    _warn_of_drift(found)
    return found


def _warn_of_drift(found: Detection) -> None:
    """Say so where alarms are so many that the data are not those of the calibration any more."""
    asked = found.calibration.false_alarms / 1000
    alarmed = int(found.steps["alarm"].to_numpy().sum())
    scored = int(found.steps[found.measure].notna().to_numpy().sum())
    if alarmed >= MANY_ALARMS and alarmed > MANY_TIMES * asked * scored:
        logger.warning(
            "%s: %.3g of a thousand steps are alarmed, and the threshold stands for %g: the data "
            "differ from those that it was calibrated on; calibrate it on more or on later data "
            "(calibrate, --calibrate), let it follow them (memory, --memory), or fit again",
            found.data.name,
            1000 * alarmed / scored,
            found.calibration.false_alarms,
        )


def calibrate(
    model: SequenceModel,
    data: SequenceDataset,
    *,
    source: str,
    false_alarms: float = 1.0,
    half_life: float = HALF_LIFE,
    memory: float = MEMORY,
    num_particles: int = 64,
    seed: int = 0,
) -> Calibration:
    """What alarms begin with that come so often in a thousand steps of ordinary data.

    Args:
        model: a fitted model with a likelihood, or one that reconstructs values.
        data: held-out sequences, without anomalies as far as that is known.
        source: what the data are, for messages.
        false_alarms: alarms per thousand steps.
        half_life: of the smoothing, in steps; 0: none.
        memory: steps that the score looks back on in each series, see `seqlatent.tasks.following`;
            0: it is the smoothed surprise, and the threshold stays.
        num_particles, seed: of an estimated density.

    Raises:
        InputError: when an argument is out of range, the data do not fit the model, or they have
            fewer than 50 scored steps.
    """
    if not is_number(false_alarms) or not 0 < false_alarms < 1000:
        raise InputError(
            f"false_alarms={false_alarms} is a number of alarmed steps per thousand, above 0 and "
            "below 1000"
        )
    if not is_number(half_life) or not 0 <= half_life < np.inf:
        raise InputError(f"half_life={half_life} is a number of steps, 0 or more")
    if not is_number(memory) or not (memory == 0 or FEWEST <= memory < np.inf):
        raise InputError(f"memory={memory} is a number of steps, {FEWEST} or more, or 0")
    data, found = surprises(model, data, num_particles, seed)
    described = model.description
    ordered = (d for d, c in enumerate(described.channels) if c.name not in described.categories)
    return calibration(
        found, float(false_alarms), float(half_life), source, float(memory),
        [s.x for s in data], tuple(ordered), measure_of(model),
    )  # fmt: skip


def measure_of(model: SequenceModel) -> str:
    """What is watched of a model: `surprise`, or `error` of one that has no density."""
    has_density = isinstance(model, Density | EstimatedDensity)
    return "error" if isinstance(model, Reconstructs) and not has_density else "surprise"


def surprises(
    model: SequenceModel,
    data: SequenceDataset,
    num_particles: int = 64,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> tuple[SequenceDataset, list[np.ndarray]]:
    """The data as the model reads them, and the (T,) surprise -log p(x_t | x_{<t}) of every series,
    in nats, or the errors of its reconstruction (`measure_of`); NaN where not scored.

    Raises:
        InputError: when the model has neither a likelihood of single steps nor a reconstruction,
            or the data do not fit it.
    """
    num_particles, seed = check_count("num_particles", num_particles), check_seed(seed)
    if measure_of(model) == "error":
        assert isinstance(model, Reconstructs)
        data = check_data(model, data)
        scale = np.array([c.scale for c in model.description.channels])
        return data, step_errors(model, data, scale, progress)
    if not isinstance(model, Density | EstimatedDensity):
        raise InputError(
            f"model '{model.family}' has no likelihood to find anomalies by; fit rnn, latent "
            "or flow"
        )
    if isinstance(model, EstimatedDensity) and model.smoothing:
        raise InputError(
            f"the guide of this {model.family} sees later values, so that a step's score is not "
            "that given the steps before it; fit rnn, flow or latent, or with smoothing=false"
        )
    data = check_data(model, data)
    found: list[np.ndarray] = [np.zeros(0)] * len(data)
    for s in score_sequences(model, data, num_particles, seed, progress=progress):
        found[s.place] = -s.log_prob
    return data, found
