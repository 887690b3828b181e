"""Layers that the networks share: activation and normalisation."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from seqlatent.errors import InputError, did_you_mean

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "leaky-relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
}


def activation(name: str) -> nn.Module:
    if name not in ACTIVATIONS:
        raise InputError(f"unknown activation '{name}'{did_you_mean(name, ACTIVATIONS)}")
    return ACTIVATIONS[name]()


def normalisation(name: str, dim: int) -> nn.Module:
    """The identity (`none`) or normalisation of each step's features (`layer`).

    Batch statistics depend on later steps and on other sequences: a causal network cannot use them.
    """
    if name == "none":
        return nn.Identity()
    if name == "layer":
        return nn.LayerNorm(dim)
    raise InputError(f"unknown norm '{name}'; known: layer, none")


OUTLIER = 10.0  # a larger scaled value is wild: networks read it as missing
SOFTPLUS_ONE = math.log(math.e - 1)  # softplus(SOFTPLUS_ONE) = 1


def soft_clip(x: Tensor, limit: float = 8.0) -> Tensor:
    """x within +-limit and logarithmic beyond, so that outliers do not saturate a network."""
    size = x.abs()
    return torch.where(
        size <= limit, x, x.sign() * limit * (1 + (size.clamp(min=limit) / limit).log())
    )
