"""What a model is given: sequences of different lengths as one padded block of tensors."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from seqlatent.data.display import Facts, batch_facts
from seqlatent.data.sequence import Sequence
from seqlatent.errors import InputError
from seqlatent.text import Summary


@dataclass(frozen=True, repr=False)
class SequenceBatch(Summary):
    """B sequences, padded to T steps, with D target channels and C covariates.

    Attributes:
        x: (B, T, D) float64, data units, 0 where missing or padded. Double precision, because
            the scaler must subtract a series' level before single precision rounds it away.
        observed: (B, T, D) bool, True where a value was recorded.
        lengths: (B,) int64, the number of real steps; the rest is padding.
        context: (B,) int64, leading steps that are conditioned on and not scored.
        covariates: (B, T, C) float64, 0 where padded.
        prefix: (B, P, D) float64, the series' own first values, NaN where missing; P may be 0.
        before: (B, D) float64, each channel's last value before the first of these steps, NaN where
            there is none; None at the beginning of every series.
    """

    x: Tensor
    observed: Tensor
    lengths: Tensor
    context: Tensor
    covariates: Tensor
    prefix: Tensor
    before: Tensor | None = None

    def _facts(self) -> Facts:
        return batch_facts(self)

    @cached_property
    def carried(self) -> Tensor:
        """(B, T + 1, D): at t the last value that was observed before step t, and in the end the
        last of all; NaN before the first."""
        none = self.x.new_full((len(self.x), 1, self.x.shape[-1]), torch.nan)
        start = none if self.before is None else self.before[:, None]
        step = torch.arange(1, self.x.shape[1] + 1, device=self.x.device)[:, None]
        place = torch.where(self.observed, step, 0).cummax(1).values
        # place 0 is what came before
        values = torch.cat([start, self.x], 1)
        return torch.cat([start, values.gather(1, place)], 1)

    @cached_property
    def scored(self) -> Tensor:
        """(B, T) bool: the steps that enter losses and scores, those after the context at which at
        least one channel was observed."""
        step = torch.arange(self.x.shape[1], device=self.x.device)
        return (step >= self.context[:, None]) & self.observed.any(-1)

    def to(self, device: torch.device | str) -> "SequenceBatch":
        return SequenceBatch(
            self.x.to(device),
            self.observed.to(device),
            self.lengths.to(device),
            self.context.to(device),
            self.covariates.to(device),
            self.prefix.to(device),
            None if self.before is None else self.before.to(device),
        )

    def steps(self, start: int, stop: int) -> "SequenceBatch":
        """Steps start..stop-1 of every sequence, for models that read a long one in chunks."""
        width = min(stop, self.x.shape[1]) - start
        return SequenceBatch(
            self.x[:, start:stop],
            self.observed[:, start:stop],
            (self.lengths - start).clamp(0, width),
            (self.context - start).clamp(0, width),
            self.covariates[:, start:stop],
            self.prefix,
            self.carried[:, start],
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
    num_covariates = sequences[0].covariates.shape[1]
    x = np.zeros((len(sequences), steps, channels))
    observed = np.zeros(x.shape, dtype=bool)
    covariates = np.zeros((len(sequences), steps, num_covariates))
    for i, s in enumerate(sequences):
        seen = np.isfinite(s.x)
        x[i, : len(s)] = np.where(seen, s.x, 0.0)
        observed[i, : len(s)] = seen
        covariates[i, : len(s)] = s.covariates
    prefix = np.stack([x[0, :0] if s.prefix is None else s.prefix for s in sequences])
    none = np.full(channels, np.nan)
    before = np.stack([none if s.before is None else s.before for s in sequences])
    return SequenceBatch(
        torch.from_numpy(x),
        torch.from_numpy(observed),
        torch.from_numpy(lengths),
        torch.tensor([s.context for s in sequences], dtype=torch.int64),
        torch.from_numpy(covariates),
        torch.from_numpy(prefix),
        torch.from_numpy(before),
    )
