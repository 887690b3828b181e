"""Where a model computes: the processor or a GPU, by the one rule of all commands and methods."""

import torch

from seqlatent.errors import InputError


def find_device(device: str) -> torch.device:
    """The device of a name: `auto`, a GPU if there is one; `cpu`; or `cuda`.

    Raises:
        InputError: when it is unknown or not there.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device '{device}' is not one of auto, cpu, cuda")
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise InputError("device=cuda, but torch sees no GPU here; use device=cpu")
    return torch.device("cuda" if there and device != "cpu" else "cpu")
