"""What an evaluation found: forecasts beside what came, measures, and a summary with errors."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.steps import show_step
from seqlatent.plots.evaluation import Calibration, Fan, check_drawable, plot_evaluation
from seqlatent.tasks.measuring import MEASURES, NUM_BINS, Measured
from seqlatent.tasks.metrics import INTERVALS
from seqlatent.tasks.tables import QUANTILES
from seqlatent.text import Summary, counted, shortened, text_table

MODEL, NAIVE, WALK = METHODS = ("model", "seasonal-naive", "random-walk")


@dataclass(frozen=True, eq=False)
class Window:
    """A window of one series.

    Attributes:
        unique_id: the series.
        origin: which of the windows, 0 the first.
        start: the steps of history.
        cutoff: the last step of the history.
        ds: (H,) the steps of the window.
        truth: (H, D) what came, NaN where missing.
        forecasts: of each method, see `METHODS`.
    """

    unique_id: str
    origin: int
    start: int
    cutoff: object
    ds: np.ndarray
    truth: np.ndarray
    forecasts: dict[str, Measured]


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation(Summary):
    """Forecasts of the last steps of a data set's series, and how good they were.

    Attributes:
        data: the series.
        windows: in the order of the series, each one's in the order of time.
        prediction_length: H, steps of a window.
        step: steps from one window to the next.
        season: of the seasonal naive forecast, and of MASE.
        num_samples: S, paths of each window.
        kind: of the log score: `exact`, `bound`, or the name of the estimate; None without one.
        left_out: of the series that are too short, how many windows each lacks.
        pit_counts: of each method (S, 20), how often the PIT of its own paths falls in each of 20
            bins; see `seqlatent.tasks.metrics.pit_counts_of_paths`.
        refitted: whether the model was fitted again before each origin.
    """

    data: SequenceDataset
    windows: tuple[Window, ...]
    prediction_length: int
    step: int
    season: int
    num_samples: int
    kind: str | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    pit_counts: dict[str, np.ndarray] = field(default_factory=dict)
    refitted: bool = False

    def __len__(self) -> int:
        return len(self.windows)

    # -- tables -----------------------------------------------------------------------------------

    def to_frame(self) -> pd.DataFrame:
        """`unique_id, ds, cutoff, target, y, mean, q0.05, ..., q0.95, method`, a row for each step,
        channel and method. `cutoff` is the last step that the forecast knew.

        Labels have neither mean nor quantiles: their columns hold each label's share instead.
        """
        cells = [
            (w, method, d) for w in self.windows for method in METHODS
            for d in range(self.data.num_channels)
        ]  # fmt: skip
        parts = [
            self._rows([c for c in cells if (self.data.targets[c[2]] in labels) == categorical])
            for labels, categorical in ((self.data.categories, False), (self.data.categories, True))
        ]
        frame = pd.concat([p for p in parts if p is not None], ignore_index=True)
        return frame.assign(method=frame.pop("method"))  # now the last column

    def _rows(self, cells: list[tuple[Window, str, int]]) -> pd.DataFrame | None:
        """The rows of cells whose channels are all numbers, or all labels."""
        if not cells:
            return None
        size, data = self.prediction_length, self.data
        columns: dict[str, object] = {
            "unique_id": np.repeat([w.unique_id for w, _, _ in cells], size),
            "ds": np.concatenate([w.ds for w, _, _ in cells]),
            "cutoff": np.repeat(np.array([w.cutoff for w, _, _ in cells]), size),
            "target": np.repeat([data.targets[d] for _, _, d in cells], size),
            "method": np.repeat([method for _, method, _ in cells], size),
            "y": np.concatenate([data.decode(data.targets[d], w.truth[:, d]) for w, _, d in cells]),
        }
        if data.targets[cells[0][2]] in data.categories:
            names = [n for name in data.targets for n in data.categories.get(name, ())]
            for name in dict.fromkeys(names):
                columns[f"p({name})"] = np.concatenate(
                    [self._share(w.forecasts[m], d, name) for w, m, d in cells]
                )
            return pd.DataFrame(columns)
        columns["mean"] = np.concatenate([w.forecasts[m].mean[:, d] for w, m, d in cells])
        for i, level in enumerate(QUANTILES):
            columns[f"q{level:g}"] = np.concatenate(
                [w.forecasts[m].quantiles[i, :, d] for w, m, d in cells]
            )
        return pd.DataFrame(columns)

    def _share(self, result: Measured, d: int, label: str) -> np.ndarray:
        """(H,) the share of a label, NaN in a channel that does not have it."""
        labels = self.data.categories[self.data.targets[d]]
        if label not in labels:
            return np.full(self.prediction_length, np.nan)
        code, shares = labels.index(label), result.shares[d]
        return shares[:, code] if code < shares.shape[1] else np.zeros(self.prediction_length)

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures that these data have, in the order of the tables."""
        there = {name for w in self.windows for f in w.forecasts.values() for name in f.measures}
        return tuple(name for name in MEASURES if name in there)

    def _ratios(self, method: str, name: str) -> np.ndarray:
        """(W, 2) numerator and denominator of a measure in every window."""
        none = (np.nan, np.nan)
        return np.array([w.forecasts[method].measures.get(name, none) for w in self.windows])

    @property
    def window_scores(self) -> pd.DataFrame:
        """`unique_id, cutoff, method` and the measures, a row for each window and method."""
        rows = [(w, method) for w in self.windows for method in METHODS]
        columns: dict[str, object] = {
            "unique_id": [w.unique_id for w, _ in rows],
            "cutoff": np.array([w.cutoff for w, _ in rows]),
            "method": [method for _, method in rows],
        }
        for name in self.measures:
            ratios = np.stack([self._ratios(method, name) for method in METHODS], 1).reshape(-1, 2)
            columns[name] = _divide(ratios[:, 0], ratios[:, 1])
        return pd.DataFrame(columns)

    @property
    def scores(self) -> pd.DataFrame:
        """`unique_id, method, num_windows`, and every measure with its standard error over the
        series' origins (`crps, crps_se, ...`); a row for each series and method."""
        names = np.array([w.unique_id for w in self.windows])
        origins = np.array([w.origin for w in self.windows])
        rows = []
        for unique_id in dict.fromkeys(names.tolist()):
            here = names == unique_id
            for method in METHODS:
                row: dict[str, object] = {
                    "unique_id": unique_id, "method": method, "num_windows": int(here.sum())
                }  # fmt: skip
                for name in self.measures:
                    ratios = self._ratios(method, name)[here]
                    row[name], row[f"{name}_se"] = estimate(ratios, origins[here])
                rows.append(row)
        return pd.DataFrame(rows)

    @property
    def clusters(self) -> str:
        """What the standard errors of `summary` are over: `series` where there are several, else
        `origins`."""
        return "series" if len({w.unique_id for w in self.windows}) > 1 else "origins"

    @property
    def groups(self) -> np.ndarray:
        """(W,) what each window counts with in standard errors: its series, or its origin."""
        by_series = self.clusters == "series"
        return np.array([w.unique_id if by_series else str(w.origin) for w in self.windows])

    def difference(
        self, other: "Evaluation", name: str, method: str = MODEL, than: str = MODEL
    ) -> tuple[float, float]:
        """A measure less that of another evaluation of the same windows, and its standard error,
        which is of the windows' differences.

        Args:
            other: of another model.
            name: of the measure.
            method, than: whose forecasts are compared, here and there.
        """
        mine, its = self._ratios(method, name), other._ratios(than, name)
        both = np.isfinite(mine).all(1) & np.isfinite(its).all(1)
        return estimate(mine[both], self.groups[both], its[both])

    @property
    def summary(self) -> pd.DataFrame:
        """`measure, method, value, std_error, difference, difference_se`, a row for each measure
        and method.

        The value is over all windows of all series. Windows of a series count as one in the
        standard errors (`clusters`); one series' windows count each. The difference is the model's
        value less the method's, and its standard error is of the same windows' differences.
        """
        groups = self.groups
        rows = []
        for name in self.measures:
            for method in METHODS:
                value = estimate(self._ratios(method, name), groups)
                less = (np.nan, np.nan)
                if method != MODEL:
                    less = self.difference(self, name, than=method)
                rows.append((name, method, *value, *less))
        columns = ["measure", "method", "value", "std_error", "difference", "difference_se"]
        return pd.DataFrame(rows, columns=columns)

    # -- text -------------------------------------------------------------------------------------

    def _facts(self) -> tuple[str, list[tuple[str, str]]]:
        names = list(dict.fromkeys(w.unique_id for w in self.windows))
        cutoffs = [w.cutoff for w in self.windows]
        span = f"after {show_step(min(cutoffs))} to {show_step(max(cutoffs))}"  # type: ignore[type-var]
        facts = [
            ("series", shortened(names)),
            ("windows", f"{len(self)} of {counted(self.prediction_length, 'step')}, {span}"),
            ("samples", str(self.num_samples)),
            ("season", counted(self.season, "step") if self.season > 1 else "none"),
            ("log score", self._log_score()),
            ("std. errors", f"over {self.clusters}"),
        ]
        if self.left_out:
            lacking = [f"{name} ({n})" for name, n in self.left_out.items()]
            facts.insert(2, ("left out", f"windows of short series: {shortened(lacking)}"))
        if self.refitted:
            facts.insert(2, ("refitted", "before each origin"))
        return f"Evaluation of forecasts of {self.data.name}", facts

    def _log_score(self) -> str:
        """Its kind, and where the naive one, and with it the difference, has fewer windows."""
        if not self.kind:
            return "none: the model has no likelihood"
        mine, naive = (np.isfinite(self._ratios(m, "log_score")).all(1) for m in (MODEL, NAIVE))
        if naive.sum() in (0, mine.sum()):
            return self.kind
        return (
            f"{self.kind}; {NAIVE} and the difference are over {naive.sum()} of {mine.sum()} "
            "windows: where a series repeats itself exactly, it has no density"
        )

    def table(self) -> str:
        """The summary as aligned text: value ± standard error of every measure and method, and the
        model's value less the seasonal naive one."""
        rows = []
        summary = self.summary.set_index(["measure", "method"])
        for name in self.measures:
            values = [_plus_minus(*summary.loc[(name, m), ["value", "std_error"]]) for m in METHODS]
            # of two coverages neither is the better one for being higher, nor of two growths
            aimed = name.startswith(("coverage", "joint", "crps_growth"))
            less = summary.loc[(name, NAIVE), ["difference", "difference_se"]]
            rows.append([name, *values, "" if aimed else _plus_minus(*less), MEASURES[name]])
        return text_table(rows, ["measure", *METHODS, f"{MODEL} less {NAIVE}", "what it is"])

    # -- picture ----------------------------------------------------------------------------------

    def plot(self, path: str | None = None):
        """Draw forecasts beside what came, the PIT histogram, coverage, and CRPS by steps ahead;
        see `seqlatent.plots.evaluation.plot_evaluation`.

        Raises:
            InputError: for data of labels alone.
        """
        d = check_drawable(self.data)
        fans = [
            Fan(w.unique_id, w.start, w.ds, w.forecasts[MODEL].quantiles[..., d])
            for w in self.windows
        ]
        by_step = {
            method: _mean_by_step(np.stack([w.forecasts[method].crps for w in self.windows]))
            for method in METHODS
        }
        calibrations = {method: self.calibration(method) for method in (MODEL, NAIVE)}
        return plot_evaluation(self.data, fans, calibrations, by_step, path)

    def calibration(self, method: str) -> Calibration:
        """The PIT histogram and the coverage of a method's forecasts, and how they would vary if
        the forecasts were right."""
        pits = np.stack([w.forecasts[method].pit for w in self.windows])
        pits = pits[np.isfinite(pits)]
        every = np.zeros(len(self))  # the error is not asked for
        joint = {n: estimate(self._ratios(method, n), every)[0] for n in self.measures}
        return Calibration(
            counts=np.histogram(pits, NUM_BINS, (0.0, 1.0))[0],
            counts_if_right=self.pit_counts[method],
            joint={level: joint[f"joint_{level * 100:g}"] for level in INTERVALS},
        )


def estimate(
    ratios: np.ndarray, groups: np.ndarray, less: np.ndarray | None = None
) -> tuple[float, float]:
    """A ratio of sums and its standard error, by linearisation, robust to dependence in groups.

        R = sum num / sum den,    e_w = (num_w - R den_w) / sum den,
        se^2 = G / (G - 1) sum_g (sum_{w in g} e_w)^2

    Source: Cochran (1977), sec. 6.3; Liang and Zeger (1986).

    Args:
        ratios: (W, 2) numerators and denominators; NaN is left out.
        groups: (W,) the group of each window; G groups.
        less: (W, 2) of another method at the same windows, whose ratio is subtracted.

    Returns:
        NaN where nothing is left, and a standard error of NaN for a single group.
    """
    seen = np.isfinite(ratios).all(1)
    if not seen.any():
        return np.nan, np.nan
    value, part = _linear(ratios[seen])
    if less is not None:
        other, its = _linear(less[seen])
        value, part = value - other, part - its
    names, place = np.unique(groups[seen], return_inverse=True)
    sums = np.bincount(place, part)
    if len(names) < 2:
        return value, np.nan
    return value, float(np.sqrt(len(names) / (len(names) - 1) * (sums**2).sum()))


def _linear(ratios: np.ndarray) -> tuple[float, np.ndarray]:
    """The ratio of sums, and what each window adds to its error."""
    num, den = ratios.T
    value = num.sum() / den.sum()
    return float(value), (num - value * den) / den.sum()


def _mean_by_step(values: np.ndarray) -> np.ndarray:
    """(W, H, D) -> (H,) mean over windows and channels of what is there."""
    flat = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)
    return _divide(np.nansum(flat, 1), np.isfinite(flat).sum(1))


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.full(len(a), np.nan), where=b > 0)


def _plus_minus(value: float, error: float) -> str:
    """A value with as many decimals as the two leading digits of its error."""
    if np.isnan(value):
        return "-"
    if not 0 < error < np.inf:
        return f"{value:.4g}" if np.isnan(error) else f"{value:.4g} ± {error:g}"
    digits = max(0, int(1 - np.floor(np.log10(error))))
    if digits > 6:
        return f"{value:.3g} ± {error:.2g}"
    return f"{value:.{digits}f} ± {error:.{digits}f}"
