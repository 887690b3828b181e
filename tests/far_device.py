"""A device that is not there: tensors that lie "elsewhere", as those of a GPU do, but are computed
by the processor, so that the same numbers must come out.

Within `elsewhere()` what is made on or moved to `FAR` is far. As on a GPU, an operation on far and
near tensors fails (numbers without a dimension and indices excepted), and so does what reads a far
tensor as an array. Torch's meta device lends its name: a near tensor would never be on it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

FAR = torch.device("meta")
aten = torch.ops.aten
MOVES = {aten._to_copy.default, aten.copy_.default}
INDEXING = {
    aten.index.Tensor, aten.index_put.default, aten.index_put_.default,
    aten._unsafe_index.Tensor, aten._index_put_impl_.default,
}  # fmt: skip


class Far(Tensor):
    """A tensor elsewhere, whose values `near` has."""

    near: Tensor

    @staticmethod
    def __new__(cls, near: Tensor) -> "Far":
        made = torch.Tensor._make_wrapper_subclass(  # pyright: ignore
            cls, near.shape, strides=near.stride(), storage_offset=near.storage_offset(),
            dtype=near.dtype, device=FAR, requires_grad=near.requires_grad,
        )  # fmt: skip
        made.near = near
        return made

    def __repr__(self, **_: Any) -> str:
        return f"Far({self.near})"

    def tolist(self) -> Any:  # torch refuses it to a tensor of another class
        return self.near.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


@contextmanager
def elsewhere() -> Iterator[None]:
    """Meanwhile there is the device `FAR`. Tensors of inference mode have no storage that a view of
    theirs could share here, so that it is no more than a mode without gradients."""
    plain = patch.object(torch.inference_mode, "__enter__", _without_gradients)
    with plain, _Literals(), _Operations():
        yield


def _without_gradients(mode: Any) -> None:
    mode._inference_mode_context = torch.no_grad()  # which its `__exit__` leaves
    mode._inference_mode_context.__enter__()


class _Literals(TorchFunctionMode):
    """Tensors of literals are made past all operations."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") is not None:
            device = kwargs.pop("device")
            return func(*args, **kwargs).to(device)
        if func is Tensor.new_tensor and isinstance(args[0], Far):
            return args[0].near.new_tensor(*args[1:], **kwargs).to(FAR)
        if func in (Tensor.__getitem__, Tensor.__setitem__):
            places = args[1] if isinstance(args[1], tuple) else (args[1],)
            places = tuple(torch.tensor(p) if isinstance(p, list) else p for p in places)
            args = (args[0], places, *args[2:])
        return func(*args, **kwargs)


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


def run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An operation, on the device of its arguments or the one that is asked for."""
    tensors = [part for part in tree_leaves((args, kwargs)) if isinstance(part, Tensor)]
    far = any(isinstance(t, Far) for t in tensors)
    if any(t.device == FAR and not isinstance(t, Far) for t in tensors):
        raise RuntimeError(f"{func} of a tensor without values: one was made past `elsewhere`")
    if far and func not in MOVES:
        given = tree_leaves(args[:1] + args[2:]) if func in INDEXING else tensors
        near = [t for t in given if isinstance(t, Tensor) and t.dim() and not isinstance(t, Far)]
        if near:
            raise RuntimeError(f"{func} of tensors here and elsewhere: {near[0].shape} is here")
    device = kwargs.get("device")
    if device is not None:
        far, kwargs = torch.device(device) == FAR, {**kwargs, "device": torch.device("cpu")}
    found = func(*tree_map(_near, args), **tree_map(_near, kwargs))
    if not far:
        return found
    found = tree_map(lambda part: Far(part) if isinstance(part, Tensor) else part, found)
    return return_and_correct_aliasing(func, args, kwargs, found)


def _near(part: Any) -> Any:
    return part.near if isinstance(part, Far) else part
