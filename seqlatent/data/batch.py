"""What a model is given: sequences of different lengths as one padded block of tensors."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from seqlatent.data.display import Facts, batch_facts
from seqlatent.data.sequence import Sequence
from seqlatent.data.share import total
from seqlatent.errors import InputError
from seqlatent.text import Summary


@dataclass(frozen=True, repr=False)
class SequenceBatch(Summary):
    """B sequences, padded to T steps, with D target channels and C covariates, static features
    and past covariates of the step before among them.

    Attributes:
        x: (B, T, D) float64, data units, 0 where missing or padded. Double precision, because
            the scaler must subtract a series' level before single precision rounds it away.
        observed: (B, T, D) bool, True where a value was recorded.
        lengths: (B,) int64, the number of real steps; the rest is padding.
        context: (B,) int64, leading steps that are conditioned on and not scored.
        covariates: (B, T, C) float64, as `Sequence.known`: past covariates are NaN where missing; 0
            where padded.
        past: (B, P, D) float64, the values before the first of these steps, NaN where missing or,
            on the left, where a series has fewer; P may be 0.
        past_lengths: (B,) int64, how many of them are steps of the series.
        scaled: how a model scales the values of each step, if that has been computed: tensors
            (B, T, .).
        unread: (B, T, D) bool, values that have densities, but that networks read as missing.
    """

    x: Tensor
    observed: Tensor
    lengths: Tensor
    context: Tensor
    covariates: Tensor
    past: Tensor
    past_lengths: Tensor
    scaled: tuple[Tensor, ...] | None = None
    unread: Tensor | None = None

    def _facts(self) -> Facts:
        return batch_facts(self)

    @cached_property
    def scored(self) -> Tensor:
        """(B, T) bool: the steps that enter losses and scores, those after the context at which at
        least one channel was observed."""
        step = torch.arange(self.x.shape[1], device=self.x.device)
        return (step >= self.context[:, None]) & self.observed.any(-1)

    @property
    def read(self) -> Tensor:
        """(B, T, D) bool: the values that networks read."""
        return self.observed if self.unread is None else self.observed & ~self.unread

    @property
    def num_scored(self) -> Tensor:
        """() how many steps are scored, at least 1: in training, of the whole batch, of which this
        may be one process's share."""
        return total(self.scored.sum()).clamp(min=1)

    def to(self, device: torch.device | str) -> "SequenceBatch":
        return SequenceBatch(
            self.x.to(device),
            self.observed.to(device),
            self.lengths.to(device),
            self.context.to(device),
            self.covariates.to(device),
            self.past.to(device),
            self.past_lengths.to(device),
            None if self.scaled is None else tuple(part.to(device) for part in self.scaled),
            None if self.unread is None else self.unread.to(device),
        )

    def expand(self, size: int) -> "SequenceBatch":
        """A batch of one sequence as `size` equal ones; nothing is copied."""

        def repeated(part: Tensor) -> Tensor:
            return part.expand(size, *part.shape[1:])

        scaled = None if self.scaled is None else tuple(map(repeated, self.scaled))
        unread = None if self.unread is None else repeated(self.unread)
        parts = {f.name: repeated(getattr(self, f.name)) for f in fields(self)[:-2]}
        return replace(self, **parts, scaled=scaled, unread=unread)

    def rows(self, rows: Tensor) -> "SequenceBatch":
        """Some of the sequences, by their (n,) places, with the same padding."""
        scaled = None if self.scaled is None else tuple(part[rows] for part in self.scaled)
        unread = None if self.unread is None else self.unread[rows]
        parts = {f.name: getattr(self, f.name)[rows] for f in fields(self)[:-2]}
        return replace(self, **parts, scaled=scaled, unread=unread)

    def steps(self, start: int, stop: int) -> "SequenceBatch":
        """Steps start..stop-1 of every sequence, for models that read a long one in chunks."""
        width = min(stop, self.x.shape[1]) - start
        return SequenceBatch(
            self.x[:, start:stop],
            self.observed[:, start:stop],
            (self.lengths - start).clamp(0, width),
            (self.context - start).clamp(0, width),
            self.covariates[:, start:stop],
            torch.cat([self.past, torch.where(self.read, self.x, torch.nan)[:, :start]], 1),
            self.past_lengths + start,
            None if self.scaled is None else tuple(part[:, start:stop] for part in self.scaled),
            None if self.unread is None else self.unread[:, start:stop],
        )


def collate(sequences: Iterable[Sequence]) -> SequenceBatch:
    """Pad sequences on the right to the longest of them.

    Padding holds zeros: a NaN behind a mask would still give NaN gradients.

    Args:
        sequences: a `SequenceDataset`, or some of its sequences. For a model with a context,
            prepare them by `with_context` (data/splits.py) first.

    Raises:
        InputError: for no sequences, or something else.
    """
    sequences = list(sequences)
    if not sequences:
        raise InputError("there are no sequences to make a batch of")
    for s in sequences:
        if not isinstance(s, Sequence):
            raise InputError(
                "collate takes a SequenceDataset or its sequences; read other data by "
                "sl.load(...) first"
            )
    lengths = np.array([len(s) for s in sequences], dtype=np.int64)
    steps = int(lengths.max(initial=0))
    channels = sequences[0].x.shape[1]
    known = [s.known for s in sequences]
    num_covariates = known[0].shape[1]
    x = np.zeros((len(sequences), steps, channels))
    observed = np.zeros(x.shape, dtype=bool)
    covariates = np.zeros((len(sequences), steps, num_covariates))
    for i, s in enumerate(sequences):
        seen = np.isfinite(s.x)
        x[i, : len(s)] = np.where(seen, s.x, 0.0)
        observed[i, : len(s)] = seen
        covariates[i, : len(s)] = known[i]
    past_lengths = np.array([0 if s.past is None else len(s.past) for s in sequences])
    past = np.full((len(sequences), int(past_lengths.max()), channels), np.nan)
    for i, s in enumerate(sequences):
        if s.past is not None and len(s.past):
            past[i, -len(s.past) :] = s.past
    scaled = None
    if all(s.scaled is not None for s in sequences):
        parts = zip(*(s.scaled or () for s in sequences), strict=True)
        scaled = tuple(_padded(part, steps, i == 1) for i, part in enumerate(parts))
        if sequences[0].scaled:
            past, past_lengths = past[:, :0], past_lengths * 0  # what it was needed for is done
    unread = None
    if any(s.unread is not None for s in sequences):
        unread = np.zeros(x.shape, dtype=bool)
        for i, s in enumerate(sequences):
            unread[i, : len(s)] = False if s.unread is None else s.unread
    return SequenceBatch(
        torch.from_numpy(x),
        torch.from_numpy(observed),
        torch.from_numpy(lengths),
        torch.tensor([s.context for s in sequences], dtype=torch.int64),
        torch.from_numpy(covariates),
        torch.from_numpy(past),
        torch.from_numpy(past_lengths),
        scaled,
        None if unread is None else torch.from_numpy(unread),
    )


def _padded(parts: Iterable[np.ndarray], steps: int, scales: bool) -> Tensor:
    """(T_i, .) arrays as one (B, T, .) tensor, padded by what leaves the values as they are."""
    parts = list(parts)
    padded = np.full((len(parts), steps, parts[0].shape[-1]), float(scales))
    for i, part in enumerate(parts):
        padded[i, : len(part)] = part
    return torch.from_numpy(padded)
