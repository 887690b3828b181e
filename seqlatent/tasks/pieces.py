"""What depends on some steps around each one, of a long sequence piece by piece."""

from collections.abc import Callable

import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch
from seqlatent.inference.estimating import CHUNK


def in_pieces(
    function: Callable[[SequenceBatch], Tensor], batch: SequenceBatch, before: int, after: int
) -> Tensor:
    """(B, T, .) `function(batch)`, whose memory does not grow with the length of the sequence.

    Args:
        function: of a batch, to (B, T, .); step t depends on steps t - before, ..., t + after.
        batch: without padding.
        before, after: steps.
    """
    steps, parts = batch.x.shape[1], []
    for start in range(0, steps, CHUNK):
        stop = min(start + CHUNK, steps)
        first = max(0, start - before)
        value = function(batch.steps(first, min(stop + after, steps)))
        parts.append(value[:, start - first : stop - first])
    return torch.cat(parts, 1)
