"""How much memory a model may take while it is built, by the weights that it is to be given.

A saved run's options say how large its model is. They may be damaged, or written to do harm: what
they ask for is refused before memory is taken.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Beside its weights a model makes tensors that it does not keep, such as orthogonal first values.
FREE, TIMES = 2**20, 8  # numbers
FREE_CALLS, CALLS = 5000, 200  # for each tensor of the weights
RANGES = (torch.arange, torch.linspace, torch.logspace, torch.randperm)
SHAPES = (
    torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.eye,
    Tensor.new_empty, Tensor.new_zeros, Tensor.new_ones, Tensor.new_full, Tensor.repeat,
)  # fmt: skip


class TooLarge(Exception):
    """A model takes more than its allowance."""


class Allowance(TorchFunctionMode):
    """While it lasts, new tensors are counted before they are made, all together.

    Args:
        weights: what the model is to be given.

    Raises:
        TooLarge: from within whatever makes the tensor that is too much.
    """

    def __init__(self, weights: Mapping[str, Tensor]):
        super().__init__()
        self.numbers = FREE + TIMES * sum(w.numel() for w in weights.values())
        self.calls = FREE_CALLS + CALLS * len(weights)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls -= 1
        whole = [abs(n) for n in _flat(args) if isinstance(n, int)]
        if func in RANGES:
            self.numbers -= max(whole, default=0)
        elif func in SHAPES:
            self.numbers -= math.prod(whole)
        if self.numbers < 0 or self.calls < 0:
            raise TooLarge
        return func(*args, **(kwargs or {}))


def _flat(arguments: Any) -> list[Any]:
    """The arguments, those of a shape one by one and without the value that `full` fills in."""
    for argument in arguments:
        if isinstance(argument, (list, tuple)):
            return list(argument)
    return list(arguments)
