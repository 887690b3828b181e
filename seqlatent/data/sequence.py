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
        context: leading steps that are conditioned on and not scored.
        prefix: (P, D) the series' own first values, by which it may be scaled; a piece that is cut
            out keeps them.
        before: (D,) the last value of each channel before the first step, NaN where there is none;
            a piece that is cut out knows it.
        absent: (T,) bool, the steps that the table did not have and that were filled in as missing;
            None where there are none.
    """

    unique_id: str
    ds: np.ndarray
    x: np.ndarray
    covariates: np.ndarray
    context: int = 0
    prefix: np.ndarray | None = None
    before: np.ndarray | None = None
    absent: np.ndarray | None = None

    def _facts(self) -> Facts:
        return sequence_facts(self)

    def __len__(self) -> int:
        return len(self.ds)

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
            before=self._last_before(start),
            absent=None if self.absent is None else self.absent[part],
        )

    def on_steps(self, ds: np.ndarray) -> "Sequence":
        """The recorded steps on a grid that contains them all. The other steps of the grid are
        absent: their values are missing and their covariates 0. Scoring begins at the same step.

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
        context = len(ds)
        if self.context < len(self):
            context = int(np.searchsorted(ds, self.ds[self.context]))
        return replace(
            self,
            ds=ds,
            x=x,
            covariates=covariates,
            context=context,
            absent=absent if absent.any() else None,
        )

    def _last_before(self, stop: int) -> np.ndarray:
        before = np.full(self.x.shape[1], np.nan) if self.before is None else self.before.copy()
        for d, column in enumerate(self.x[:stop].T):
            seen = np.flatnonzero(np.isfinite(column))
            if len(seen):
                before[d] = column[seen[-1]]
        return before
