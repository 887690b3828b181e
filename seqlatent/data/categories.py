"""Categories of series, by the codes that the training data give them.

A category is held as its code: 1, 2, ... by the order of the labels, and 0 where the training data
do not have it.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from seqlatent.data.columns import id_text
from seqlatent.data.dataset import SequenceDataset
from seqlatent.errors import InputError

Labels = Mapping[str, tuple[str, ...]]


def recoded(data: SequenceDataset, labels: Labels) -> tuple[SequenceDataset, dict[str, int]]:
    """The data with the codes of other labels, and for each static feature the number of series
    whose category is not among these, where there are any.

    Args:
        data: with the static features that `labels` names.
        labels: of the training data.

    Raises:
        InputError: for labels instead of numbers.
    """
    for name in data.static_labels:
        if name not in labels:
            raise InputError(
                f"{data.name}: column '{name}' holds labels such as "
                f"'{data.static_labels[name][0]}', and the model was fitted to numbers there; give "
                "numbers"
            )
    if dict(data.static_labels) == dict(labels):
        return data, {}
    values = np.stack([s.static_values for s in data])
    unknown = {}
    for name, ours in labels.items():
        place = data.static_names.index(name)
        theirs = data.static_labels.get(name)
        if theirs == tuple(ours):
            continue
        codes = {label: code for code, label in enumerate(ours, 1)}
        old = values[:, place]
        if theirs is None:  # a table may hold none but the labels that are numbers
            texts = [id_text(value) for value in old]
        else:
            texts = [theirs[int(code) - 1] if code else "" for code in old]
        values[:, place] = [codes.get(text, 0) for text in texts]
        count = int((values[:, place] == 0).sum())
        if count:
            unknown[name] = count
    sequences = tuple(replace(s, static=own) for s, own in zip(data, values, strict=True))
    return replace(data, sequences=sequences, static_labels=dict(labels)), unknown


def known_categories(
    train: SequenceDataset, held_out: SequenceDataset
) -> tuple[SequenceDataset, SequenceDataset]:
    """Both with the categories that the training data have; others are held as not seen."""
    labels = {}
    for name, old in train.static_labels.items():
        place = train.static_names.index(name)
        there = {int(s.static_values[place]) for s in train}
        labels[name] = tuple(label for code, label in enumerate(old, 1) if code in there)
    if not set(labels) <= set(held_out.static_names):  # `check_data` refuses them, by name
        return recoded(train, labels)[0], held_out
    return recoded(train, labels)[0], recoded(held_out, labels)[0]
