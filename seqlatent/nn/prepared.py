"""The scaling of sequences, computed once for all uses."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from seqlatent.data.batch import collate
from seqlatent.data.sequence import Sequence as Series
from seqlatent.nn.scaling import Scaler


@torch.no_grad()
def prepare(
    scaler: Scaler, sequences: Sequence[Series], batch_size: int = 256
) -> tuple[Series, ...]:
    """The sequences with the scaling of every step, computed once for all uses.

    Args:
        scaler: of a model.
        sequences: pieces know the values before them.
        batch_size: sequences that are scanned together.
    """
    if not scaler.moving and not scaler.num_features:
        return tuple(replace(s, scaled=None) for s in sequences)
    order = np.argsort([len(s) + (0 if s.past is None else len(s.past)) for s in sequences])
    result = list(sequences)
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        part = [replace(sequences[i], scaled=None) for i in places]
        scaled = scaler.scan(collate(part).to(scaler.loc.device))[0]
        arrays = [a.cpu().numpy() for a in scaled]
        for row, (i, s) in enumerate(zip(places, part, strict=True)):
            own = tuple(np.ascontiguousarray(a[row, : len(s)]) for a in arrays)
            result[i] = replace(s, scaled=own)
    return tuple(result)
