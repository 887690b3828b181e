"""What data show at the prompt: a few facts, however many series there are."""

from typing import Any

import numpy as np

from seqlatent.data.steps import show_step

# A title, and facts by name; see `seqlatent.text.Summary`.
Facts = tuple[str, list[tuple[str, str]]]
MAX_NAMES = 6


def dataset_facts(data: Any) -> Facts:
    """What the repr of a `SequenceDataset` shows."""
    facts = {"sequences": f"{len(data):,}"}
    if len(data):
        facts["steps"] = _range(data.lengths)
    facts["channels"] = _names(data.targets)
    facts["covariates"] = _names(data.covariate_names)
    if data.static_names:
        facts["static"] = _names(data.static_names)
    if data.past_names:
        facts["past covariates"] = _names(data.past_names)
    facts["frequency"] = "none" if data.frequency is None else str(data.frequency)
    if len(data) and min(data.lengths):
        # A data set put together by hand may mix timestamps and integers.
        kinds = {s.ds.dtype.kind for s in data}
        if len(kinds) == 1:
            first, last = min(s.ds[0] for s in data), max(s.ds[-1] for s in data)
            facts["span"] = _span(first, last)
        missing = sum(int(np.isnan(s.x).sum()) for s in data)
        facts["missing"] = _share(missing, sum(s.x.size for s in data))
    return f"SequenceDataset '{data.name}'", list(facts.items())


def sequence_facts(s: Any) -> Facts:
    """What the repr of a `Sequence` shows."""
    facts = {"steps": f"{len(s):,}" + (f", {s.context:,} of them context" if s.context else "")}
    facts["channels"] = str(s.x.shape[1])
    facts["covariates"] = str(s.covariates.shape[1])
    if len(s):
        facts["span"] = _span(s.ds[0], s.ds[-1])
    facts["missing"] = _share(int(np.isnan(s.x).sum()), s.x.size)
    return f"Sequence '{s.unique_id}'", list(facts.items())


def batch_facts(batch: Any) -> Facts:
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
    return "SequenceBatch", list(facts.items())


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
