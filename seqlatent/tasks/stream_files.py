"""The state of streams in a file: safetensors with a head of JSON, and no pickles.

Tensors are numbered; the head says how they make up the states of the blocks, and has the series'
names and streams of random numbers.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from seqlatent.data.description import DataDescription
from seqlatent.data.limits import require_file
from seqlatent.data.writing import replacing
from seqlatent.errors import InputError
from seqlatent.models.base import SequenceModel
from seqlatent.nn.causal import State
from seqlatent.tasks.series import Series
from seqlatent.tasks.states import States

FORMAT, HEAD = 2, "seqlatent-stream"
ARRAYS = ("kind", "last", "age", "static", "lagged", "alpha")


def save_streams(
    path: str | os.PathLike[str],
    model: SequenceModel,
    series: Series,
    states: States,
    settings: Mapping[str, Any],
) -> None:
    """Write the state of streams, whole or not at all."""
    tensors: list[Tensor] = []

    def place(state: State) -> Any:
        if state is None:
            return None
        if isinstance(state, Tensor):
            tensors.append(state.detach().cpu().contiguous().clone())
            return len(tensors) - 1
        return [place(part) for part in state]

    blocks = [[place(torch.from_numpy(members)), place(state)] for members, state in
              states.blocks()]  # fmt: skip
    arrays = {name: place(torch.from_numpy(getattr(series, name))) for name in ARRAYS}
    head = {
        "format": FORMAT,
        "model": model_digest(model),
        "digest": _digest(tensors),
        "settings": dict(settings),
        "names": series.names,
        "noise": series.noise_state(),
        "arrays": arrays,
        "blocks": blocks,
    }
    numbered = {str(i): tensor for i, tensor in enumerate(tensors)}
    content = safetensors.torch.save(numbered, {HEAD: json.dumps(head)})
    with replacing(Path(path)) as unfinished:
        unfinished.write_bytes(content)


def model_digest(model: SequenceModel) -> str:
    """A digest of a model's parameters."""
    return _digest(part for _, part in sorted(model.state_dict().items()))


def _digest(tensors: Iterable[Tensor]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        plain = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(f"{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(plain.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class SavedStreams(NamedTuple):
    """What a file holds.

    Attributes:
        path: of the file, for messages.
        description: of the model's training data.
        head: see the module.
        tensors: by their numbers.
    """

    path: Path
    description: DataDescription
    head: dict[str, Any]
    tensors: dict[str, Tensor]

    @property
    def settings(self) -> dict[str, Any]:
        return self.head["settings"]

    def states(self, template: State) -> States:
        """The states, put together like that of a template.

        Raises:
            InputError: when the file is damaged.
        """
        try:
            return States.of(
                [(self._array(members), self._state(tree, template))
                 for members, tree in self.head["blocks"]]
            )  # fmt: skip
        except (KeyError, TypeError, ValueError, IndexError):
            raise _damaged(self.path) from None

    def series(self, draws: bool, alpha: np.ndarray) -> Series:
        """The series; `draws`: whether reading needs noise; `alpha`: of new ones."""
        made = Series(self.description, self.settings["seed"], draws, alpha)
        try:
            made.join(self.head["names"])
            for name in ARRAYS:
                setattr(made, name, self._array(self.head["arrays"][name]))
            made.set_noise_state(self.head["noise"])
        except (KeyError, TypeError, ValueError):
            raise _damaged(self.path) from None
        return made

    def _array(self, number: int) -> np.ndarray:
        return self.tensors[str(number)].cpu().numpy().copy()

    def _state(self, tree: Any, template: State) -> State:
        if tree is None:
            return None
        if isinstance(tree, int):
            return self.tensors[str(tree)]
        alike = isinstance(template, tuple) and len(template) == len(tree)
        parts = [self._state(part, template[i] if alike else None) for i, part in enumerate(tree)]
        return type(template)(*parts) if alike and hasattr(template, "_fields") else tuple(parts)


def load_streams(path: str | os.PathLike[str], model: SequenceModel) -> SavedStreams:
    """Read what `save_streams` wrote.

    Raises:
        InputError: when there is no such file, or it is damaged or of another model.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: there is no such file; begin a new stream without it")
    require_file(path)
    try:
        with safetensors.safe_open(path, "pt") as file:
            head = json.loads((file.metadata() or {})[HEAD])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        whole = head["format"] == FORMAT
        digest = _digest(tensors[str(i)] for i in range(len(tensors)))
        sound = digest == head["digest"] and isinstance(head["settings"], dict)
    except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path) from error
    if not whole:
        raise InputError(f"{path}: its format is not that of this version; begin a new stream")
    if not sound:
        raise _damaged(path)
    if head["model"] != model_digest(model):
        raise InputError(
            f"{path}: the stream was read by another model; give that one, or begin a new stream"
        )
    tensors = {name: tensor.to(model.device) for name, tensor in tensors.items()}
    return SavedStreams(path, model.description, head, tensors)


def _damaged(path: Path) -> InputError:
    return InputError(f"{path}: damaged or not the state of a stream; begin a new one")
