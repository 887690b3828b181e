"""Noise with a stream of its own for each sequence."""

import hashlib

import numpy as np
import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch


def _sequence_seed(unique_id: str, seed: int) -> int:
    """A number that depends on the seed and the sequence's name alone."""
    digest = hashlib.blake2b(f"{seed}/{unique_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def sequence_generator(
    unique_id: str, seed: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A generator of the sequence's own, for torch's draws on a device."""
    return torch.Generator(device).manual_seed(_sequence_seed(unique_id, seed))


def sequence_stream(unique_id: str, seed: int) -> np.random.Generator:
    """A stream of numbers of the sequence's own. (Torch's normal numbers depend on how many are
    asked for at once; these do not.)"""
    return np.random.default_rng(_sequence_seed(unique_id, seed))


def sequence_noise(
    batch: SequenceBatch, streams: list[np.random.Generator], num_particles: int, dim: int
) -> Tensor:
    """(K, B, T, Z) standard normal noise, each sequence's from its own stream, 0 at padding."""
    eps = np.zeros((len(streams), batch.x.shape[1], num_particles, dim), dtype=np.float32)
    for i, stream in enumerate(streams):
        length = int(batch.lengths[i])
        stream.standard_normal(out=eps[i, :length], dtype=np.float32)
    return torch.from_numpy(eps).to(torch.get_default_dtype()).permute(2, 0, 1, 3)
