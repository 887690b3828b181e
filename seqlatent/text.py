"""Scores, frames, tables and summaries of objects as text."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from seqlatent.errors import one_line


def score_lines(scores: pd.DataFrame, num_steps: int) -> list[str]:
    """A data set's score in words; of estimates a second line, on how far to trust them.

    Args:
        scores: as `seqlatent.tasks.scoring.score` returns it.
        num_steps: scored steps in all.
    """
    total, steps = scores["log_prob"].sum(), max(1, num_steps)
    kind = str(scores["kind"].iloc[0])
    head = (
        f"{counted(len(scores), 'sequence')}, {num_steps} steps: {total:.3f} nats in all, "
        f"{total / steps:.4f} nats per step"
    )
    if kind == "ode":
        error = (scores["upper"] - scores["lower"]).sum() / 2 / steps
        return [f"{head} ({kind}, error of the solver {error:.5f})"]
    numbers = scores["num_particles"].to_numpy()
    if numbers.max() == 0:  # computed
        return [f"{head} ({kind})"]
    drawn = bool((scores["kind"] == "sampled").any())
    estimates = pd.DataFrame(scores[numbers > 0])
    what = "draw" if drawn else "particle"
    fewest, most = int(numbers[numbers > 0].min()), int(numbers.max())
    particles = counted(most, what) if fewest == most else f"{fewest} to {most} {what}s"
    if drawn:
        kind = f"sampled for {len(estimates)} of {len(scores)}, the rest exact"
        particles += " of missing channels"
    untold = int(np.isnan(scores["std_error"].to_numpy(dtype=float)).sum())
    error = f"standard error {np.linalg.norm(scores['std_error']) / steps:.5f}"
    if untold:
        error = f"error unknown for {untold} of {len(scores)}"
    share = estimates["ess"] / estimates["num_particles"]
    worst = share.idxmin()
    return [
        f"{head} ({kind}, {particles}, {error})",
        f"effective sample size {share.mean():.1%} of the {what}s on average, "
        f"{share[worst]:.1%} at the least (series {scores['unique_id'][worst]}); the {what}s "
        f"raise the bound by {scores['gap'].sum() / steps:.4f} nats per step",
    ]


def frame_text(frame: pd.DataFrame, written: bool, limit: int = 12) -> str:
    """The first rows of a frame with a column `ds`, and how many more there are."""
    shown = frame.head(limit).astype({"ds": str})
    text = text_table(shown.to_numpy(dtype=object).tolist(), list(shown.columns))
    if len(frame) > limit:
        text += f"\n... {len(frame) - limit} more rows" + ("" if written else " (--out FILE)")
    return text


class Summary:
    """`repr` of an object, and its table in a notebook: a title and a few named facts."""

    def _facts(self) -> tuple[str, list[tuple[str, str]]]:
        """The title, and the facts as names and values."""
        raise TypeError(f"{type(self).__name__} must define _facts")

    def __repr__(self) -> str:
        title, facts = self._facts()
        width = max((len(name) for name, _ in facts), default=0)
        return "\n".join([title, *(f"  {name.ljust(width)}  {value}" for name, value in facts)])

    def _repr_html_(self) -> str:
        title, facts = self._facts()
        rows = (
            f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in facts
        )
        return f"<table><caption>{escape(title)}</caption>{''.join(rows)}</table>"


def shortened(names: Sequence[str], limit: int = 4) -> str:
    """`a, b, c`; of many the first ones and how many there are: `a, b, c, d, ... (88)`."""
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown}, ... ({len(names)})"


def counted(number: int, what: str) -> str:
    """`1 sequence`, `2 sequences`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def text_table(rows: Iterable[Sequence[Any]], header: Sequence[str]) -> str:
    """A plain table with aligned columns, numbers to the right."""
    header = [one_line(name) for name in header]
    cells = [[_cell(v) for v in row] for row in rows]
    numeric = [
        all(isinstance(v, int | float) for v in column) for column in zip(*rows, strict=True)
    ]
    widths = [max(len(h), *(len(r[i]) for r in cells)) for i, h in enumerate(header)]
    lines = []
    for row in [list(header), *cells]:
        lines.append(
            "  ".join(
                c.rjust(w) if n else c.ljust(w)
                for c, w, n in zip(row, widths, numeric, strict=True)
            ).rstrip()
        )
    return "\n".join(lines)


def _cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else one_line(str(value))
