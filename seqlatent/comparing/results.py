"""The result of a comparison: the families' table with measured columns, and what was compared.

Each model stands beside the best by a difference on the same test data, and the error is that of
the *difference*: what makes a sequence hard for all models cancels. It is over sequences; where
there are fewer than ten, over blocks of at most 64 steps, which are taken as independent. Forecasts
are paired over series, of a single series over its windows.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seqlatent.choosing.comparing import Parts as Nats
from seqlatent.choosing.comparing import compare as compare_nats
from seqlatent.comparing.measuring import Measured, Trials
from seqlatent.data.tables import write_table
from seqlatent.data.writing import replacing
from seqlatent.tasks.evaluation import MODEL, NAIVE
from seqlatent.text import Summary, counted, shortened, text_table

FORECAST = ("crps", "energy")  # measures of forecasts in the table
NATS, DRAWN = "nats_per_step", "drawn_"  # a column, and what those of distances begin with
REFERENCE = "half"  # that a model's distances are compared with
MAIN = "sliced"  # of the measures of drawn sequences
TABLE, DETAILS = "compare.csv", "compare.json"


@dataclass(frozen=True)
class Settings:
    """How a comparison was run.

    Attributes:
        data: the name.
        seed: of the division, all fits and all draws.
        budget: of each fit, in words.
        threads: of the fits.
        machine: what it ran on, in words.
        version: of this package.
    """

    data: str
    seed: int
    budget: str
    threads: int
    machine: str
    version: str


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Summary):
    """Several models of the same data, measured on the same test part.

    Attributes:
        models: in the order in which they were asked for.
        trials: what all were asked.
        settings: how it was run.
    """

    models: tuple[Measured, ...]
    trials: Trials
    settings: Settings
    _tables: dict[str, pd.DataFrame] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Measured:
        return next(m for m in self.models if m.name == name)

    # -- differences ------------------------------------------------------------------------------

    def nats(self) -> dict[str, tuple[float, float, float]]:
        """Of each model with a comparable likelihood: nats per step, its difference from the best
        one, and the standard error of that; the best one first."""
        parts: dict[str, Nats] = {
            m.name: m.nats for m in self.models
            if m.nats is not None and m.comparable and np.isfinite(m.nats[0]).all()
        }  # fmt: skip
        if not parts:
            return {}
        found = compare_nats(parts)
        best = max(value for value, _ in found.values())
        order = sorted(found, key=lambda name: -found[name][0])
        return {name: (found[name][0], found[name][0] - best, found[name][1]) for name in order}

    def forecasts(self, measure: str) -> dict[str, tuple[float, float, float]]:
        """The same for a measure of forecasts, of which the lowest is best. The seasonal naive
        forecast comes last; where it is better than all models, its difference is below 0."""
        found = {
            m.name: (m.evaluation, _value(m.evaluation.summary, measure, MODEL))
            for m in self.models if m.evaluation is not None
        }  # fmt: skip
        order = sorted((n for n in found if np.isfinite(found[n][1])), key=lambda n: found[n][1])
        if not order:
            return {}
        best = found[order[0]][0]
        rows = {order[0]: (found[order[0]][1], 0.0, 0.0)}
        for name in order[1:]:
            evaluation, value = found[name]
            rows[name] = (value, *evaluation.difference(best, measure))
        value = _value(best.summary, measure, NAIVE)
        if np.isfinite(value):
            rows[NAIVE] = (value, *best.difference(best, measure, NAIVE))
        return rows

    # -- tables -----------------------------------------------------------------------------------

    @property
    def table(self) -> pd.DataFrame:
        """A row for each model, by likelihood; those without one after them, then those that
        failed, then the seasonal naive forecast."""
        if "table" not in self._tables:
            self._tables["table"] = self._table()
        return self._tables["table"].copy()

    def _table(self) -> pd.DataFrame:
        nats = self.nats()
        forecasts = {name: self.forecasts(name) for name in FORECAST}
        rows = []
        for m in self.models:
            row: dict[str, Any] = {
                "model": m.name,
                "trained_by": m.family.trained_by,
                "stochastic": m.stochastic,
                "latent_code": m.family.latent_code,
                "probability": m.family.probability,
                NATS: _nats_per_step(m),
                "nats_kind": m.kind,
                "nats_error": m.nats_error,
            }
            _, row["nats_difference"], row["nats_difference_se"] = nats.get(m.name, (np.nan,) * 3)
            row |= _columns(forecasts, m.name)
            if m.distances is not None:
                mine = m.distances[m.distances["drawn_by"] == "model"]
                row |= {
                    f"{DRAWN}{k}": v for k, v in zip(mine["measure"], mine["value"], strict=True)
                }
            row |= {
                "fit_seconds": m.fit.seconds,
                "processor_seconds": m.fit.processor_seconds,
                "draw_seconds": m.draw_seconds,
                "parameters": m.num_parameters,
                "note": " ".join([m.fit.failure, *m.notes]).strip(),
            }
            rows.append(row)
        place = {name: i for i, name in enumerate(nats)}
        last = len(place)

        def order(row: dict[str, Any]) -> tuple[int, float]:
            failed = bool(self[row["model"]].fit.failure)
            return place.get(row["model"], last + failed), row.get("crps", np.inf)

        rows.sort(key=order)
        if any(NAIVE in f for f in forecasts.values()):
            rows.append({"model": NAIVE, **_columns(forecasts, NAIVE)})
        return pd.DataFrame(rows)

    @property
    def distances(self) -> pd.DataFrame:
        """`drawn_by, measure, value, std_error`: of each model, and of the references."""
        parts, references = [], None
        for m in self.models:
            if m.distances is None:
                continue
            is_model = m.distances["drawn_by"] == "model"
            parts.append(m.distances[is_model].assign(drawn_by=m.name))
            references = m.distances[~is_model] if references is None else references
        if references is None:
            return pd.DataFrame(columns=["drawn_by", "measure", "value", "std_error"])
        return pd.DataFrame(pd.concat([*parts, references], ignore_index=True))

    @property
    def summary(self) -> str:
        """The table as two aligned texts: what the models are, and what was measured."""
        rows: list[dict[str, Any]] = self.table.to_dict("records")  # type: ignore[assignment]
        first = text_table(
            [[r["model"], r["trained_by"], truth(r["stochastic"]), r["latent_code"],
              r["probability"]] for r in rows if r["model"] != NAIVE],
            ["model", "trained by", "stochastic", "latent code", "probability"],
        )  # fmt: skip
        drawn = f"{DRAWN}{MAIN}"
        second = text_table(
            [
                [r["model"], plus_minus(r.get(NATS), np.nan), kind_text(r),
                 less_text(r.get("nats_difference"), r.get("nats_difference_se")),
                 plus_minus(r.get("crps"), np.nan),
                 less_text(r.get("crps_difference"), r.get("crps_difference_se")),
                 plus_minus(r.get("energy"), np.nan), plus_minus(r.get(drawn), np.nan),
                 seconds(r.get("fit_seconds")), seconds(r.get("draw_seconds")),
                 count_text(r.get("parameters"))]
                for r in rows
            ],
            ["model", "nats/step", "kind", "less the best", "CRPS", "less the best", "energy",
             MAIN, "fit s", "draw s", "parameters"],
        )  # fmt: skip
        notes = [f"{m.name}: {n}" for m in self.models for n in (m.fit.failure, *m.notes) if n]
        return "\n\n".join([first, second, *(["\n".join(notes)] if notes else [])])

    def _facts(self) -> tuple[str, list[tuple[str, str]]]:
        t, s = self.trials, self.settings
        return f"Comparison of models of {s.data}", [
            ("models", shortened([m.name for m in self.models], 20)),
            ("test", f"{counted(len(t.parts.test), 'sequence')}; {t.parts.rule}"),
            ("forecasts", f"{counted(t.length, 'step')} ahead"),
            ("budget", f"{s.budget} for each model, on {counted(s.threads, 'thread')}"),
            ("seed", str(s.seed)),
        ]

    # -- files ------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """All numbers, with what was compared and how, as JSON takes them."""
        t = self.trials
        return {
            "settings": vars(self.settings),
            "test": {"rule": t.parts.rule, "sequences": len(t.parts.test)},
            "prediction_length": t.length,
            "models": _records(self.table),
            "distances": _records(self.distances),
            "best": {NATS: next(iter(self.nats()), None)}
            | {name: next(iter(self.forecasts(name)), None) for name in FORECAST},
        }

    def write(self, folder: Path) -> None:
        """Write `compare.csv` and `compare.json`.

        Raises:
            InputError: when a file cannot be written.
        """
        write_table(self.table, folder / TABLE)
        with replacing(folder / DETAILS) as unfinished:
            unfinished.write_text(json.dumps(self.to_json(), indent=1), encoding="utf-8")


def _columns(
    forecasts: Mapping[str, Mapping[str, tuple[float, float, float]]], name: str
) -> dict[str, float]:
    """The columns of all measures of a model's forecasts."""
    row = {}
    for measure, found in forecasts.items():
        value, less, error = found.get(name, (np.nan,) * 3)
        row |= {measure: value, f"{measure}_difference": less, f"{measure}_difference_se": error}
    return row


def _value(summary: pd.DataFrame, measure: str, method: str) -> float:
    here = (summary["measure"] == measure) & (summary["method"] == method)
    values = np.asarray(summary["value"], dtype=float)[np.asarray(here)]
    return float(values[0]) if len(values) else np.nan


def _nats_per_step(m: Measured) -> float:
    return np.nan if m.nats is None else float(m.nats[0].sum() / m.nats[1].sum())


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON takes them: null where a number is missing or infinite."""
    return json.loads(str(frame.to_json(orient="records", double_precision=12)))


# -- numbers as text ------------------------------------------------------------------------------


def less_text(value: Any, error: Any) -> str:
    """A difference from the best one, whose own is "best"."""
    return "best" if value == 0 and error == 0 else plus_minus(value, error)


def plus_minus(value: Any, error: Any) -> str:
    """A value with as many decimals as the leading digits of its error allow; "-" for none."""
    if value is None or pd.isna(value):
        return "-"
    if error is None or pd.isna(error) or not 0 < error < np.inf:
        return f"{value:.4g}"
    digits = max(0, int(1 - np.floor(np.log10(error))))
    return f"{value:.{digits}f} ± {error:.{digits}f}" if digits <= 6 else f"{value:.3g}"


def seconds(value: Any) -> str:
    return "-" if value is None or pd.isna(value) else f"{value:.1f}"


def count_text(value: Any) -> str:
    """A number of parameters; "-" for none."""
    return "-" if value is None or value != value or not value else f"{int(value):,}"


def truth(value: Any) -> str:
    return "-" if value is None or pd.isna(value) else "yes" if value else "no"


def kind_text(row: Mapping[str, Any]) -> str:
    """The kind of a likelihood with the error of its computation, where it has one."""
    kind, error = row.get("nats_kind"), row.get("nats_error")
    if not isinstance(kind, str) or kind == "none":
        return "-"
    if error is None or pd.isna(error):
        return f"{kind}, error unknown"
    return f"{kind} ± {error:.2g}" if error > 0 else kind
