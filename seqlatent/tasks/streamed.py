"""How streams are read, and what they say of rows."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from seqlatent.inference.online import StepFound
from seqlatent.options import check_count, check_seed
from seqlatent.tasks.conformal import Intervals, check_gamma, check_levels


class Settings(NamedTuple):
    """How streams are read.

    Attributes:
        num_particles: K of an estimated density.
        tail_draws: of the tail probability where it is not exact; 0: none.
        seed: of the noise of both, and of intervals.
        intervals: levels of the intervals of each step; none by default.
        conformal: the step gamma of their recalibration (`seqlatent.tasks.conformal`); 0: none.
        interval_draws: of a step, to find its intervals.
    """

    num_particles: int = 64
    tail_draws: int = 0
    seed: int = 0
    intervals: tuple[float, ...] = ()
    conformal: float = 0.0
    interval_draws: int = 500

    @classmethod
    def checked(cls, **given: Any) -> "Settings":
        """With defaults for what is None.

        Raises:
            InputError: for what is out of range.
        """
        made = cls(**{name: value for name, value in given.items() if value is not None})
        check_count("num_particles", made.num_particles)
        check_count("tail_draws", made.tail_draws, 0)
        check_seed(made.seed)
        check_count("interval_draws", made.interval_draws)
        return made._replace(
            intervals=check_levels(made.intervals), conformal=check_gamma(made.conformal)
        )


class Streamed(NamedTuple):
    """What a `Stream` says of one row.

    Attributes:
        ds: the step.
        log_prob: log p(x_t | x_{<t}) or its estimate, nats in data units; NaN where not scored.
        kind: `exact`, `ode` or the estimate's name, as in `score`.
        tail_probability: of a value at least as surprising; NaN where it has no closed form and
            nothing is drawn.
        latents: (Z,) means of p(z_t | x_{1:t}), or (K,) p(s_t | x_{1:t}) of regimes; None for a
            model without.
        scales: (Z,) standard deviations of the latents; None without, and of regimes.
        values: (D,) x_t as it was read: NaN where missing, the codes of labels.
        intervals: those that x_t was expected in, given x_{<t}; None if none were asked for.
    """

    ds: Any
    log_prob: float
    kind: str
    tail_probability: float
    latents: np.ndarray | None
    scales: np.ndarray | None
    values: np.ndarray
    intervals: Intervals | None = None


class StreamedRows(NamedTuple):
    """What `Streams` say of a row of each of N series; see `Streamed`.

    Attributes:
        unique_ids: the series.
        ds: (N,) steps: whole numbers or timestamps.
        log_prob, tail_probability: (N,).
        kind: of all.
        latents, scales: (N, Z), or (N, K) and None, or None.
        regimes: whether the latents are probabilities of regimes.
        values: (N, D).
        intervals: of all, or None.
    """

    unique_ids: Sequence[str]
    ds: np.ndarray
    log_prob: np.ndarray
    kind: str
    tail_probability: np.ndarray
    latents: np.ndarray | None
    scales: np.ndarray | None
    regimes: bool
    values: np.ndarray
    intervals: Intervals | None = None

    def columns(self) -> dict[str, Any]:
        """`unique_id, ds, log_prob, kind, tail_probability`, `z1_mean, z1_scale, ...` or
        `regime1_probability, ...`, and `y_lower80, y_upper80, ...`; `kind` is one for all rows."""
        columns: dict[str, Any] = {
            "unique_id": self.unique_ids,
            "ds": self.ds,
            "log_prob": self.log_prob,
            "kind": self.kind,
            "tail_probability": self.tail_probability,
        }
        for k in range(0 if self.latents is None else self.latents.shape[1]):
            assert self.latents is not None
            if self.regimes:
                columns[f"regime{k + 1}_probability"] = self.latents[:, k]
                continue
            columns[f"z{k + 1}_mean"] = self.latents[:, k]
            if self.scales is not None:
                columns[f"z{k + 1}_scale"] = self.scales[:, k]
        return columns if self.intervals is None else columns | self.intervals.columns()

    def to_frame(self) -> pd.DataFrame:
        """The columns, a row per series."""
        return pd.DataFrame(self.columns())


class Found(NamedTuple):
    """`StepFound` as arrays."""

    log_prob: np.ndarray
    tail: np.ndarray
    latents: np.ndarray | None
    scales: np.ndarray | None


def join_found(parts: list[StepFound], back: np.ndarray) -> Found:
    """What was found of several groups of series, in the order `back`."""
    columns = []
    for column in zip(*parts, strict=True):
        arrays = [None if part is None else part.cpu().numpy() for part in column]
        if any(array is None for array in arrays):
            columns.append(None)
        else:
            columns.append(arrays[0] if len(arrays) == 1 else np.concatenate(arrays))  # type: ignore[arg-type]
    log_prob, tail, *rest = (None if c is None else c[back] for c in columns)
    assert log_prob is not None
    return Found(log_prob, np.full(len(back), np.nan) if tail is None else tail, *rest)
