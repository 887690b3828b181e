"""The report of a comparison: headline, tables, and a part for each model."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seqlatent.comparing.columns import (
    COSTS,
    FORECASTS,
    LIKELIHOOD,
    MODEL_COLUMN,
    WHAT,
    drawn_columns,
)
from seqlatent.comparing.headline import answers, headline, near
from seqlatent.comparing.measuring import NUM_SAMPLES, Measured
from seqlatent.comparing.parts import CONTEXT
from seqlatent.comparing.pictures import Picture, Ranked, extremes, overview, pictures_of
from seqlatent.comparing.results import (
    FORECAST,
    NATS,
    Comparison,
    count_text,
    kind_text,
    less_text,
    plus_minus,
    seconds,
    truth,
)
from seqlatent.data.writing import replacing
from seqlatent.measures import MEASURES
from seqlatent.plots import themed_pngs
from seqlatent.reports import Cell, Column, Image, Page, Section, Table, render
from seqlatent.tasks.evaluation import NAIVE
from seqlatent.text import counted
from seqlatent.training.dividing import SPLIT
from seqlatent.training.facts import score_text

PAGE, PICTURES = "index.html", "pictures"
REFERENCES = {
    "half": "real sequences (the other half)",
    "bootstrap": "training sequences, copied",
    "copula": "Gaussian copula of training sequences",
}


def write_page(comparison: Comparison, folder: Path) -> None:
    """Write the page and, as PNG, its pictures.

    Raises:
        InputError: when a file cannot be written.
    """
    text = render(page_of(comparison, folder / PICTURES))
    with replacing(folder / PAGE) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def page_of(comparison: Comparison, pictures: Path | None = None) -> Page:
    """The page's content.

    Args:
        comparison: with at least one fitted model.
        pictures: a folder to write them in too.
    """
    fitted = [name for name in comparison.table["model"]
              if name != NAIVE and comparison[name].fit.model is not None]  # fmt: skip
    sections = [
        Section("compared", "What was compared, and how", facts=_facts(comparison)),
        Section("models", "All models", tables=[_main(comparison, fitted)],
                images=[_image(p, pictures, "all") for p in overview(comparison)]),
    ]  # fmt: skip
    if len(comparison.distances):
        sections.append(_drawn(comparison))
    details = [_part(comparison[name], comparison, pictures) for name in fitted]
    sections.append(Section(
        "details", "Each model", ["Open a model to see its forecasts, draws, scores and latents."],
        parts=details,
    ))  # fmt: skip
    s = comparison.settings
    return Page(
        f"Models of {s.data}, compared", headline(comparison), answers(comparison), sections,
        f"Made by seqlatent {s.version}. All numbers are in compare.csv and compare.json beside "
        "this page.",
    )  # fmt: skip


def _facts(comparison: Comparison) -> list[tuple[str, str]]:
    t, s = comparison.trials, comparison.settings
    division = t.parts.division
    ahead = (
        f"{counted(t.length, 'step')} ahead, {NUM_SAMPLES} sampled paths, from "
        f"{counted(t.windows, 'origin')} in each of "
        f"{counted(len(t.forecast_from), 'test sequence')}"
    )
    how = f"given up to {CONTEXT} steps before" if t.parts.continues else "from nothing"
    facts = [
        ("Data", f"{s.data}: {counted(division.whole.num_channels, 'channel')}"),
        ("Training", _amount(division.train)),
        ("Held out for choices", _amount(division.held_out)
         + (", split off the training data" if division.origin == SPLIT else ", given")),
        ("Test", f"{_amount(t.parts.test)}; {t.parts.rule}. No fit has seen it."),
        ("Budget", f"{s.budget} for each model, one after another, on "
                   f"{counted(s.threads, 'thread')}"),
        ("Forecasts", ahead),
        ("Drawn sequences", f"{len(t.real)} of {len(t.real.sequences[0])} steps, {how}"
         if len(t.real) else "none: the test data have too few sequences without gaps"),
        ("Seed", f"{s.seed}; one fit of each model: another seed gives somewhat other numbers"),
        ("Machine", s.machine),
    ]  # fmt: skip
    return facts


def _amount(data: Any) -> str:
    steps = sum(len(s) - s.context for s in data)
    return f"{counted(len(data), 'sequence')}, {counted(steps, 'step')}"


# -- tables ---------------------------------------------------------------------------------------


def _main(comparison: Comparison, fitted: list[str]) -> Table:
    table = comparison.table
    columns: list[Column] = [MODEL_COLUMN, *WHAT, *LIKELIHOOD, *FORECASTS, *COSTS]
    nats = comparison.nats()
    best = {NATS: {*list(nats)[:1], *near(nats)} if nats else set()}
    for name in FORECAST:
        found = {k: v for k, v in comparison.forecasts(name).items() if k != NAIVE}
        best[name] = {*list(found)[:1], *near(found)} if found else set()
    rows = [_row(r, best, fitted) for r in table.to_dict("records")]
    notes = [
        f"{m.name}: {note}" for m in comparison.models for note in (m.fit.failure, *m.notes) if note
    ]
    caption = (
        "The families of generative models, measured on the test data. Marked: the best of a "
        "column, and what is within one standard error of it. A header sorts the table."
    )
    return Table("table", caption, columns, rows, notes)


def _row(r: Mapping[str, Any], best: Mapping[str, set[str]], fitted: list[str]) -> list[Cell]:
    name = str(r["model"])

    def words(column: str) -> Cell:
        value = r.get(column)
        text = str(value) if isinstance(value, str) else truth(value)
        return Cell(text, text)

    def number(column: str, text: str, measure: str = "") -> Cell:
        return Cell(text, _number(r.get(column)), name in best.get(measure, ()))

    cells = [
        Cell(name.replace("-", " ") if name == NAIVE else name, name,
             link=part_id(name) if name in fitted else ""),
        *(words(c) for c in ("trained_by", "stochastic", "latent_code", "probability")),
        number(NATS, plus_minus(r.get(NATS), np.nan), NATS),
        Cell(kind_text(r), kind_text(r)),
        number("nats_difference", less_text(r.get("nats_difference"), r.get("nats_difference_se"))),
    ]  # fmt: skip
    for measure in FORECAST:
        less, error = r.get(f"{measure}_difference"), r.get(f"{measure}_difference_se")
        cells.append(number(measure, plus_minus(r.get(measure), np.nan), measure))
        cells.append(number(f"{measure}_difference", less_text(less, error)))
    cells += [
        number(c, seconds(r.get(c))) for c in ("fit_seconds", "processor_seconds", "draw_seconds")
    ]
    cells.append(number("parameters", count_text(r.get("parameters"))))
    return cells


def _drawn(comparison: Comparison) -> Section:
    """How far drawn sequences are from real ones, and references."""
    frame = comparison.distances
    measures = [name for name in MEASURES if name in set(frame["measure"])]
    values = {(r["drawn_by"], r["measure"]): (r["value"], r["std_error"])
              for r in frame.to_dict("records")}  # fmt: skip
    models = [m.name for m in comparison.models if m.distances is not None]
    best = {k: min(models, key=lambda n: values[n, k][0]) for k in measures
            if MEASURES[k].better == "lower"}  # fmt: skip
    rows = []
    for name in dict.fromkeys(str(name) for name in frame["drawn_by"]):
        cells = [Cell(REFERENCES.get(name, name), name)]
        for k in measures:
            value, error = values[name, k]
            cells.append(Cell(plus_minus(value, error), _number(value), best.get(k) == name))
        rows.append(cells)
    caption = (
        "Distances of drawn sequences from real test sequences, with standard errors over random "
        "halves of the real ones. A model that is right comes near the real ones' own distance; "
        "the last rows are drawn without any model."
    )
    columns = [Column("Drawn by", "", numeric=False), *drawn_columns(measures)]
    return Section(
        "drawn", "Drawn sequences against real ones",
        tables=[Table("distances", caption, columns, rows)],
    )  # fmt: skip


# -- a part for each model ------------------------------------------------------------------------


def part_id(name: str) -> str:
    return f"model-{re.sub('[^A-Za-z0-9_-]', '-', name)}"


def _part(m: Measured, comparison: Comparison, pictures: Path | None) -> Section:
    assert m.fit.model is not None
    fitted = m.fit.model.fitted
    facts = [
        ("Trained by", m.family.trained_by),
        ("Held-out score", score_text(fitted) or "-"),
        ("Training", f"{fitted.get('steps', 0)} steps, the best at {fitted.get('best_step', 0)}; "
                     f"{fitted.get('stopped', '')}"),
        ("Scaling", str(getattr(m.fit.model.module.options, "scaling", "-"))),
        ("Parameters", f"{m.num_parameters:,}"),
    ]  # fmt: skip
    emission = getattr(m.fit.model.module.options, "emission", None)
    if emission:
        facts.insert(3, ("Distribution of a step", str(emission)))
    images = [_image(p, pictures, m.name) for p in pictures_of(m, comparison.trials)]
    ranked = extremes(m, comparison.trials)
    tables = [] if ranked is None else [_extremes_table(m.name, *ranked[1:])]
    return Section(part_id(m.name), m.name, list(m.notes), facts, tables, images)


def _extremes_table(name: str, likely: Ranked, unlikely: Ranked) -> Table:
    rows = [
        [Cell(sequence, sequence), Cell(which, which), Cell(f"{nats:.4g}", nats)]
        for which, side in (("most likely", likely), ("least likely", unlikely))
        for sequence, nats in side
    ]
    columns = [Column("Sequence", "", numeric=False), Column("Which", "", numeric=False),
               Column("Nats per step", "")]  # fmt: skip
    caption = f"The most and the least likely test sequences by {name}"
    return Table(f"extremes-{part_id(name)}", caption, columns, rows)


def _image(p: Picture, folder: Path | None, owner: str) -> Image:
    """A picture for the page, written as PNG too."""
    light, dark = themed_pngs(p.figure)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / f"{part_id(owner).removeprefix('model-')}-{p.name}.png") as file:
            file.write_bytes(light)
    return Image(p.title, p.caption, p.text, light, dark)


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)
