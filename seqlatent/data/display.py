"""Data at the prompt: a few lines, in a notebook a small table, however many series there are."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from seqlatent.data.steps import show_step

if TYPE_CHECKING:
    from seqlatent.data.batch import SequenceBatch
    from seqlatent.data.dataset import SequenceDataset
    from seqlatent.data.sequence import Sequence

# A title, and facts by name.
Summary = tuple[str, dict[str, str]]
MAX_NAMES = 6


def dataset_summary(data: SequenceDataset) -> Summary:
    """What the repr of a `SequenceDataset` shows."""
    facts = {"sequences": f"{len(data):,}"}
    if len(data):
        facts["steps"] = _range(data.lengths)
    facts["channels"] = _names(data.targets)
    facts["covariates"] = _names(data.covariate_names)
    facts["frequency"] = "none" if data.frequency is None else str(data.frequency)
    if len(data) and min(data.lengths):
        # A data set put together by hand may mix timestamps and integers.
        kinds = {s.ds.dtype.kind for s in data}
        if len(kinds) == 1:
            first, last = min(s.ds[0] for s in data), max(s.ds[-1] for s in data)
            facts["span"] = _span(first, last)
        missing = sum(int(np.isnan(s.x).sum()) for s in data)
        facts["missing"] = _share(missing, sum(s.x.size for s in data))
    return f"SequenceDataset '{data.name}'", facts


def sequence_summary(s: Sequence) -> Summary:
    """What the repr of a `Sequence` shows."""
    facts = {"steps": f"{len(s):,}" + (f", {s.context:,} of them context" if s.context else "")}
    facts["channels"] = str(s.x.shape[1])
    facts["covariates"] = str(s.covariates.shape[1])
    if len(s):
        facts["span"] = _span(s.ds[0], s.ds[-1])
    facts["missing"] = _share(int(np.isnan(s.x).sum()), s.x.size)
    return f"Sequence '{s.unique_id}'", facts


def batch_summary(batch: SequenceBatch) -> Summary:
    """What the repr of a `SequenceBatch` shows."""
    size, steps, channels = batch.x.shape
    facts = {"sequences": f"{size:,}"}
    if size:
        facts["steps"] = f"{_range(batch.lengths.cpu().numpy())}, padded to {steps:,}"
    facts["channels"] = str(channels)
    facts["covariates"] = str(batch.covariates.shape[-1])
    values = int(batch.lengths.sum()) * channels
    facts["missing"] = _share(values - int(batch.observed.sum()), values)
    facts["device"] = str(batch.x.device)
    return "SequenceBatch", facts


def as_text(summary: Summary) -> str:
    """A line for each fact."""
    title, facts = summary
    width = max(map(len, facts))
    return "\n".join([title, *(f"  {name.ljust(width)}  {fact}" for name, fact in facts.items())])


def as_html(summary: Summary) -> str:
    """A table with a row for each fact."""
    title, facts = summary
    rows = "".join(
        f"<tr><th style='text-align: left'>{name}</th>"
        f"<td style='text-align: left'>{escape(fact)}</td></tr>"
        for name, fact in facts.items()
    )
    return f"<table><caption>{escape(title)}</caption>{rows}</table>"


def _range(lengths: np.ndarray) -> str:
    low, high = int(lengths.min()), int(lengths.max())
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _names(names: tuple[str, ...]) -> str:
    if not names:
        return "none"
    shown = [name if len(name) <= 30 else f"{name[:27]}..." for name in names[:MAX_NAMES]]
    rest = ", ..." if len(names) > MAX_NAMES else ""
    return f"{len(names)} ({', '.join(shown)}{rest})"


def _span(first: object, last: object) -> str:
    return f"{_moment(first)} to {_moment(last)}"


def _moment(step: object) -> str:
    return show_step(step).removesuffix(" 00:00:00")


def _share(missing: int, values: int) -> str:
    if missing == 0:
        return "none"
    return f"{missing:,} of {values:,} values ({missing / values:.1%})"
