"""Layers that the networks share: activation and normalisation."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqlatent.data.share import current, drawn
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


class Dropout(nn.Dropout):
    """Torch's, of features (..., B, T, F); see `dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        return dropout(input, self.p, self.training)


def dropout(x: Tensor, share: float, training: bool, dim: int = -3) -> Tensor:
    """Drop a share of numbers in training: by the mask of the whole batch where several processes
    share it.

    Args:
        x: any.
        share: of its numbers that become 0.
        training: whether this is training.
        dim: of its sequences; the first where there are fewer dimensions.
    """
    if current() is None or not training or share == 0:
        return F.dropout(x, share, training)

    layout = sorted(range(x.dim()), key=x.stride, reverse=True)  # torch fills masks in this order

    def mask(shape: tuple[int, ...]) -> Tensor:
        whole = torch.empty_permuted(shape, layout, dtype=x.dtype, device=x.device)
        return F.dropout(whole.fill_(1), share)

    return x * drawn(mask, x.shape, max(0, x.dim() + dim))


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
    # Of the clipped value and of the logarithm, the gradient is that of one everywhere.
    return F.hardtanh(x, -limit, limit) * (1 + (x.abs().clamp(min=limit) / limit).log())
