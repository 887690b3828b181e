"""Sources of random numbers, among them one with a separate stream for each sequence.

`SequenceNoise` serves a batch: each row gets its numbers from the stream of its sequence, which is
seeded by the sequence's name. They do not depend on the other sequences, on how many numbers are
requested at once, or on the device, so that series forecast together have the same paths as series
forecast alone. `TorchNoise` is torch's global generator, for training and for Pyro.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from seqlatent.data.share import drawn

FEW = 32  # classes


class Noise(ABC):
    """Random numbers as tensors with the dtype and device of the tensor `like`."""

    @abstractmethod
    def normal(self, shape: Iterable[int], like: Tensor) -> Tensor:
        """Standard normal numbers."""

    @abstractmethod
    def uniform(self, shape: Iterable[int], like: Tensor) -> Tensor:
        """Uniform numbers in [0, 1)."""

    @abstractmethod
    def gamma(self, concentration: Tensor) -> Tensor:
        """Gamma numbers with rate 1, one for each concentration."""

    @abstractmethod
    def poisson(self, rate: Tensor) -> Tensor:
        """Poisson numbers, one for each rate."""

    def rows(self, rows: Tensor, num_rows: int) -> "Noise":
        """The noise of some rows of a batch, given as ascending indices into its `num_rows`
        rows."""
        return self


class TorchNoise(Noise):
    """Torch's global generator. Where several processes share a batch, normal and uniform numbers
    are drawn for the whole of it."""

    def normal(self, shape: Iterable[int], like: Tensor) -> Tensor:
        return drawn(
            lambda whole: torch.randn(whole, dtype=like.dtype, device=like.device), tuple(shape)
        )

    def uniform(self, shape: Iterable[int], like: Tensor) -> Tensor:
        return drawn(
            lambda whole: torch.rand(whole, dtype=like.dtype, device=like.device), tuple(shape)
        )

    def gamma(self, concentration: Tensor) -> Tensor:
        return torch._standard_gamma(concentration.contiguous())  # pyright: ignore

    def poisson(self, rate: Tensor) -> Tensor:
        return torch.poisson(rate)


class SequenceNoise(Noise):
    """A stream of random numbers for each of B sequences.

    The first dimension of a requested shape has the sequences' rows in order, either one or the
    same number of paths for each. (The streams are NumPy's, because torch's normal numbers depend
    on how many are requested at once.)

    Args:
        names: of the sequences; each seeds its stream together with `seed`.
        seed: of the noise.
    """

    def __init__(self, names: Iterable[str], seed: int):
        self.streams = [np.random.default_rng(_stream_seed(name, seed)) for name in names]
        self._counts: list[int] | None = None

    @classmethod
    def joined(cls, parts: "Sequence[SequenceNoise]") -> "SequenceNoise":
        """The streams of several batches, one after another."""
        whole = cls((), 0)
        whole.streams = [stream for part in parts for stream in part.streams]
        return whole

    @classmethod
    def of(cls, streams: Iterable[np.random.Generator]) -> "SequenceNoise":
        """The noise of streams that have begun already, and go on."""
        whole = cls((), 0)
        whole.streams = list(streams)
        return whole

    def sequences(self, some: slice) -> "SequenceNoise":
        """The streams of some of the sequences."""
        part = SequenceNoise((), 0)
        part.streams = self.streams[some]
        return part

    def rows(self, rows: Tensor, num_rows: int) -> "SequenceNoise":
        part = self.sequences(slice(None))
        counts = torch.tensor(self._cuts(num_rows), device=rows.device)
        owner = torch.searchsorted(counts.cumsum(0), rows, right=True)
        part._counts = torch.bincount(owner, minlength=len(self.streams)).tolist()
        return part

    def _cuts(self, num_rows: int) -> list[int]:
        """The number of rows of each stream."""
        if self._counts is not None:
            return self._counts
        return [num_rows // len(self.streams)] * len(self.streams)

    def _fill(
        self,
        shape: Iterable[int],
        like: Tensor,
        fill: Callable[[np.random.Generator, np.ndarray], object],
    ) -> Tensor:
        kind = np.float64 if like.dtype == torch.float64 else np.float32
        values, start = np.empty(tuple(shape), dtype=kind), 0
        for stream, count in zip(self.streams, self._cuts(len(values)), strict=True):
            if count:
                fill(stream, values[start : start + count])
            start += count
        return torch.from_numpy(values).to(like)

    def normal(self, shape: Iterable[int], like: Tensor) -> Tensor:
        return self._fill(shape, like, lambda s, out: s.standard_normal(dtype=out.dtype, out=out))

    def uniform(self, shape: Iterable[int], like: Tensor) -> Tensor:
        return self._fill(shape, like, lambda s, out: s.random(dtype=out.dtype, out=out))

    def normal_steps(
        self, lengths: Tensor, num_steps: int, shape: Iterable[int], like: Tensor
    ) -> Tensor:
        """(B, T, *shape) standard normal numbers for the first (B,) `lengths` of T steps, and 0
        for padding, which uses no random numbers."""
        kind = np.float64 if like.dtype == torch.float64 else np.float32
        values = np.zeros((len(self.streams), num_steps, *shape), dtype=kind)
        for stream, part, length in zip(self.streams, values, lengths.tolist(), strict=True):
            stream.standard_normal(dtype=kind, out=part[:length])
        return torch.from_numpy(values).to(like)

    def uniform_steps(self, lengths: Tensor, num_steps: int, like: Tensor) -> Tensor:
        """(B, T) uniform numbers in [0, 1) for the first `lengths` steps, 0 for padding."""
        values = np.zeros((len(self.streams), num_steps))
        for stream, part, length in zip(self.streams, values, lengths.tolist(), strict=True):
            stream.random(out=part[:length])
        return torch.from_numpy(values).to(like)

    def filter_steps(
        self, lengths: Tensor, num_steps: int, num_uniform: int, shape: Iterable[int], like: Tensor
    ) -> tuple[Tensor, Tensor]:
        """(B, T, num_uniform) uniform numbers in [0, 1) and (B, T, *shape) standard normal ones for
        the first `lengths` of T steps, 0 for padding. A step's numbers, of both kinds, come before
        those of the next one, so that they do not depend on how many steps are still to come."""
        uniforms = np.zeros((len(self.streams), num_steps, num_uniform))
        kind = np.float64 if like.dtype == torch.float64 else np.float32
        normals = np.zeros((len(self.streams), num_steps, *shape), dtype=kind)
        for i, (stream, length) in enumerate(zip(self.streams, lengths.tolist(), strict=True)):
            for t in range(length):
                stream.random(out=uniforms[i, t])
                stream.standard_normal(dtype=kind, out=normals[i, t])
        return torch.from_numpy(uniforms).to(like.device), torch.from_numpy(normals).to(like)

    def gamma(self, concentration: Tensor) -> Tensor:
        return self._each(concentration, lambda s, value: s.standard_gamma(value))

    def poisson(self, rate: Tensor) -> Tensor:
        # Above this size a double cannot represent every whole number.
        return self._each(rate.clamp(max=1e15), lambda s, value: s.poisson(value))

    def _each(
        self, params: Tensor, sample: Callable[[np.random.Generator, np.ndarray], np.ndarray]
    ) -> Tensor:
        values = params.detach().double().cpu().numpy()
        cuts = np.cumsum(self._cuts(len(values)))[:-1]
        parts = zip(self.streams, np.split(values, cuts), strict=True)
        values = np.concatenate([np.asarray(sample(s, v), dtype=np.float64) for s, v in parts])
        return torch.from_numpy(values).to(params)


def _stream_seed(name: str, seed: int) -> int:
    """A number that depends on the seed and the sequence's name alone."""
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def sample_class(log_mass: Tensor, noise: Noise) -> Tensor:
    """(..., C) log masses, up to a constant -> (...) classes.

    By inverting the cumulative distribution at one uniform number. torch.multinomial samples a
    number for every class, which takes longer than computing the densities.
    """
    u = noise.uniform((*log_mass.shape[:-1], 1), log_mass)
    if log_mass.shape[-1] < FEW:  # operations over a short last dimension are slow on a CPU
        total = log_mass.movedim(-1, 0).contiguous().softmax(0).cumsum(0)
        found = (total <= u[..., 0] * total[-1]).sum(0)
    else:
        total = log_mass.softmax(-1).cumsum(-1)
        found = torch.searchsorted(total, u * total[..., -1:], right=True)[..., 0]
    # By rounding, u * total can reach the end; the class is then the last one.
    return found.clamp(max=log_mass.shape[-1] - 1)
