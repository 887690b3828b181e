"""`Sequence`: one series with its steps, values and covariates."""

from dataclasses import dataclass, replace

import numpy as np

from seqlatent.data.display import Facts, sequence_facts
from seqlatent.text import Summary


@dataclass(frozen=True, eq=False, repr=False)
class Sequence(Summary):
    """A sequence of T steps with D target channels.

    Attributes:
        unique_id: the sequence's name, unique in its data set.
        ds: (T,) strictly increasing steps, `datetime64[ns]` or `int64`.
        x: (T, D) float64 values in data units, NaN where missing; categories hold their code.
        covariates: (T, C) float64, finite: what is known of every step in advance.
        static: (S,) float64, finite: static features; categories hold their code. None if S = 0.
        lagged: (T + 1, P) float64: in row t the past covariates of step t - 1, which step t may
            depend on, NaN where missing; the last row is for the step after the last. None if
            P = 0.
        context: leading steps that are conditioned on and not scored.
        past: (P, D) the series' values before the first step, which a piece that is cut out keeps;
            None where there are none.
        scaled: how a model scales the values of each step, if that has been computed: arrays of T
            rows, which a piece keeps.
        absent: (T,) bool, the steps that the table did not have and that were filled in as missing;
            None where there are none.
        unread: (T, D) bool, values that have densities, but that networks read as missing; None
            where there are none.
    """

    unique_id: str
    ds: np.ndarray
    x: np.ndarray
    covariates: np.ndarray
    context: int = 0
    past: np.ndarray | None = None
    scaled: tuple[np.ndarray, ...] | None = None
    absent: np.ndarray | None = None
    static: np.ndarray | None = None
    lagged: np.ndarray | None = None
    unread: np.ndarray | None = None

    def _facts(self) -> Facts:
        return sequence_facts(self)

    def __len__(self) -> int:
        return len(self.ds)

    @property
    def static_values(self) -> np.ndarray:
        """(S,) static features."""
        return np.zeros(0) if self.static is None else self.static

    @property
    def known(self) -> np.ndarray:
        """(T, C + S + P) what is known at each step besides the values before it: covariates,
        static features, and the past covariates of the step before, NaN where missing."""
        if self.static is None and self.lagged is None:
            return self.covariates
        lagged = np.zeros((len(self), 0)) if self.lagged is None else self.lagged[:-1]
        static = np.tile(self.static_values, (len(self), 1))
        return np.concatenate([self.covariates, static, lagged], 1)

    @property
    def recorded(self) -> np.ndarray:
        """(T,) bool: the steps that the table had, or that have been given a value since."""
        if self.absent is None:
            return np.ones(len(self), dtype=bool)
        return ~self.absent | np.isfinite(self.x).any(1)

    def slice(self, start: int, stop: int, context: int = 0) -> "Sequence":
        """Steps start..stop-1 as a sequence of its own, the first `context` of them not scored."""
        part = slice(start, stop)
        return replace(
            self,
            ds=self.ds[part],
            x=self.x[part],
            covariates=self.covariates[part],
            context=context,
            past=self._values_before(start),
            scaled=None if self.scaled is None else tuple(a[part] for a in self.scaled),
            absent=None if self.absent is None else self.absent[part],
            lagged=None if self.lagged is None else self.lagged[start : min(stop, len(self)) + 1],
            unread=None if self.unread is None else self.unread[part],
        )

    def as_of(self, start: int) -> "Sequence":
        """The sequence as a forecast from step `start` on knows it: with the past covariates of the
        steps before, and those of later steps missing."""
        if self.lagged is None:
            return self
        lagged = self.lagged.copy()
        lagged[start + 1 :] = np.nan
        return replace(self, lagged=lagged)

    def on_steps(self, ds: np.ndarray) -> "Sequence":
        """The recorded steps on a grid that contains them all. The other steps of the grid are
        absent: their values and past covariates are missing, and their covariates 0. Scoring begins
        at the same step.

        Args:
            ds: (T',) strictly increasing steps.
        """
        recorded = self.recorded
        if len(ds) == len(self) and (ds == self.ds).all():
            return self
        places = np.searchsorted(ds, self.ds[recorded])
        x = np.full((len(ds), self.x.shape[1]), np.nan)
        covariates = np.zeros((len(ds), self.covariates.shape[1]))
        absent = np.ones(len(ds), dtype=bool)
        x[places] = self.x[recorded]
        covariates[places] = self.covariates[recorded]
        absent[places] = False
        lagged = self.lagged
        if lagged is not None:
            moved = np.full((len(ds) + 1, lagged.shape[1]), np.nan)
            moved[0] = lagged[0]
            moved[places + 1] = lagged[1:][recorded]
            lagged = moved
        context = len(ds)
        if self.context < len(self):
            context = int(np.searchsorted(ds, self.ds[self.context]))
        return replace(
            self,
            ds=ds,
            x=x,
            covariates=covariates,
            context=context,
            scaled=None,
            absent=absent if absent.any() else None,
            lagged=lagged,
        )

    def _values_before(self, start: int) -> np.ndarray | None:
        """(P + start, D) the series' values before one of the steps, as networks read them; a view
        where it can be."""
        x = self.x[:start]
        if self.unread is not None and self.scaled is None:  # else nobody reads them
            x = np.where(self.unread[:start], np.nan, x)
        if self.past is None:
            return x if start else None
        return np.concatenate([self.past, x])
