"""One sequence, the atom of every data set."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, eq=False)
class Sequence:
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
    """

    unique_id: str
    ds: np.ndarray
    x: np.ndarray
    covariates: np.ndarray
    context: int = 0
    prefix: np.ndarray | None = None
    before: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ds)

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
        )

    def _last_before(self, stop: int) -> np.ndarray:
        before = np.full(self.x.shape[1], np.nan) if self.before is None else self.before.copy()
        for d, column in enumerate(self.x[:stop].T):
            seen = np.flatnonzero(np.isfinite(column))
            if len(seen):
                before[d] = column[seen[-1]]
        return before
