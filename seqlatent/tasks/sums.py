"""Sums over series: which series belong to which group, and the history of their sum.

The model takes series as independent given their own pasts, and samples the paths of each with
noise of its own. Path s of a group is the sum of path s of each of its series: a sample from the
distribution of the sum under that assumption. The sums of all levels of a hierarchy come from the
same paths, so that they are coherent: the paths of the children sum to that of the parent. Where
series move together for reasons that their pasts do not show, intervals of sums are too narrow.
"""

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from seqlatent.data.columns import missing_cells, named_columns, series_rows
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.sequence import Sequence
from seqlatent.data.steps import show_step
from seqlatent.data.tables import read_table
from seqlatent.errors import InputError, did_you_mean
from seqlatent.text import shortened

TOTAL = "total"
INDEPENDENT = (
    "sums add up paths of series that the model takes as independent given their own pasts: their "
    "intervals are too narrow where series move together"
)


def read_groups(source: str, id_column: str) -> str | dict[str, tuple[str, ...]]:
    """`total`, or the groups of each series from a file; see `groups_in`."""
    if source == TOTAL:
        return TOTAL
    frame = read_table(source, text_columns=(id_column, "group"))
    return groups_in(frame, id_column, Path(source).name)


def groups_in(frame: pd.DataFrame, id_column: str, name: str) -> dict[str, tuple[str, ...]]:
    """The groups of each series, from a table with a row for each series and group.

    Args:
        frame: with a column of series' names and the column `group`.
        id_column: the column of names.
        name: what messages call the table.

    Raises:
        InputError: for a column that is not there, or an empty cell.
    """
    frame = named_columns(frame, name)
    columns = {str(column): cells for column, cells in frame.items()}
    for column in (id_column, "group"):
        if column not in columns:
            raise InputError(
                f"{name} has no column '{column}'{did_you_mean(column, columns)}; it needs "
                f"{id_column} and group, a row for each series and group"
            )
    empty = missing_cells(columns["group"])
    if empty.any():
        raise InputError(
            f"{name}: row {int(np.argmax(empty)) + 1} has an empty cell in column 'group'; fill it "
            "in or drop it"
        )
    rows, groups = (series_rows(frame, column, name) for column in (id_column, "group"))
    found: dict[str, list[str]] = {unique_id: [] for unique_id in rows.unique_ids}
    for series, group in zip(rows.codes, groups.codes, strict=True):
        found[rows.unique_ids[series]].append(groups.unique_ids[group])
    return {unique_id: tuple(dict.fromkeys(own)) for unique_id, own in found.items()}


def members_of(data: SequenceDataset, groups: Any, steps: Seq[np.ndarray]) -> dict[str, list[int]]:
    """The places in the data of each group's series, once it is known that they have a sum.

    Args:
        data: the histories.
        groups: `"total"`; a mapping from each series to its group, or to several; or a frame with
            the columns `unique_id` (or the data's) and `group`.
        steps: of each series the steps ahead.

    Raises:
        InputError: for labels, a series without a group or that is not in the data, and series of
            a group whose steps ahead differ.
    """
    labels = [t for t in data.targets if t in data.categories]
    if labels:
        raise InputError(f"{data.name}: '{labels[0]}' holds labels, which have no sum")
    names = [s.unique_id for s in data]
    if isinstance(groups, str) and groups == TOTAL:
        groups = dict.fromkeys(names, TOTAL)
    elif isinstance(groups, pd.DataFrame):
        groups = groups_in(groups, data.id_column, "groups")
    if not isinstance(groups, Mapping):
        raise InputError(
            f"groups must be '{TOTAL}', a mapping from unique_id to group or a frame with the "
            f"columns {data.id_column} and group, not {groups!r:.60}"
        )
    own = {
        str(unique_id): (of,) if isinstance(of, str) or not isinstance(of, Seq) else tuple(of)
        for unique_id, of in groups.items()
    }
    missing = [name for name in names if not own.get(name)]
    if missing:
        raise InputError(
            f"there is no group for {_quoted(missing)}; name one, or forecast without it"
        )
    strange = [name for name in own if name not in set(names)]
    if strange:
        raise InputError(
            f"{_quoted(strange)} of the groups has no forecast, and the sum of group "
            f"'{own[strange[0]][0] if own[strange[0]] else ''}' would lack it; add it to "
            f"{data.name}, or leave it out of the groups"
        )
    members: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        for group in dict.fromkeys(str(g) for g in own[name]):
            members.setdefault(group, []).append(place)
    for group, places in members.items():
        _require_aligned(group, [names[i] for i in places], [steps[i] for i in places])
    return members


def summed_history(data: SequenceDataset, members: Mapping[str, Seq[int]]) -> SequenceDataset:
    """The sums of the histories: at all steps of any of a group's series, NaN where not every one
    has a value."""
    pieces = []
    for group, places in members.items():
        parts = [data.sequences[i] for i in places]
        ds = np.unique(np.concatenate([s.ds for s in parts]))
        x = np.zeros((len(ds), data.num_channels))
        for s in parts:
            x += s.on_steps(ds).x
        pieces.append(Sequence(group, ds, x, np.zeros((len(ds), 0))))
    return SequenceDataset(
        tuple(pieces), data.targets, frequency=data.frequency, name=f"sums of {data.name}"
    )


def _require_aligned(group: str, names: Seq[str], steps: Seq[np.ndarray]) -> None:
    for name, ds in zip(names, steps, strict=True):
        if not np.array_equal(ds, steps[0]):
            (a, b), (c, d) = ((show_step(s[0]), show_step(s[-1])) for s in (steps[0], ds))
            raise InputError(
                f"group '{group}': the steps ahead of series '{names[0]}' are {a} to {b}, those of "
                f"'{name}' {c} to {d}; a sum needs the same steps, so let their histories end alike"
            )


def _quoted(names: Seq[str]) -> str:
    return "series " + shortened([f"'{name}'" for name in names])
