"""Saved models and checkpoints of training, as safetensors and JSON, never pickles.

RUN/config.json            model, options, description of the data, versions, how it was fitted
RUN/model.safetensors      parameters and buffers
RUN/training_curve.csv     the training curve
RUN/checkpoint*            during training: all that is needed to resume it
"""

import hashlib
import json
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from seqlatent import __version__
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.limits import require_file
from seqlatent.data.writing import replacing
from seqlatent.errors import InputError
from seqlatent.models.base import SequenceModel
from seqlatent.models.registry import MODELS, build_model
from seqlatent.nn.devices import find_device
from seqlatent.options import make
from seqlatent.training.allowance import Allowance, TooLarge

FORMAT = 4
CONFIG, WEIGHTS, CURVE = "config.json", "model.safetensors", "training_curve.csv"
STATE, TENSORS = "checkpoint.json", "checkpoint-*.safetensors"
SAMPLED = 2**20  # steps of a digest of data that memory does not hold


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file so that a crash leaves either the old one or the new one."""
    with replacing(path) as unfinished:
        unfinished.write_bytes(content)


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write a safetensors file; its digest."""
    plain = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    content = safetensors.torch.save(plain)
    write_atomically(path, content)
    return _digest(content)


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def load_tensors(path: Path, digest: object) -> dict[str, Tensor]:
    """Tensors of a safetensors file.

    Raises:
        InputError: when the file is missing, truncated, not a safetensors file, or not the one with
            this digest, as `save_tensors` returned it.
    """
    content = _read(path)
    try:
        tensors = safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise InputError(
            f"{path}: damaged or not a safetensors file ({error}); fit the model again"
        ) from None
    if _digest(content) != digest:
        raise InputError(f"{path}: damaged, its content has changed; fit the model again")
    return tensors


def load_json(path: Path) -> dict[str, Any]:
    """A JSON object; InputError says what is wrong with the file."""
    try:
        content = json.loads(_read(path))
    except (ValueError, RecursionError):
        raise InputError(f"{path}: damaged, not JSON; fit the model again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: damaged, not a JSON object; fit the model again")
    return content


def _read(path: Path) -> bytes:
    if not path.exists():
        raise InputError(f"{path}: no such file; the saved model is incomplete")
    require_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def make_folder(run: Path) -> None:
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{run}: cannot be made ({error.strerror}); choose another --out"
        ) from None


def save_model(
    model: SequenceModel, run: str | Path, fitted: Mapping[str, Any] | None = None
) -> None:
    """Write a model to a folder.

    Args:
        model: any model.
        run: the folder; created if it does not exist.
        fitted: facts about its training, JSON-like.

    Raises:
        InputError: when the folder cannot be written.
    """
    run = Path(run)
    make_folder(run)
    digest = save_tensors(run / WEIGHTS, model.state_dict())
    config = {
        "format": FORMAT,
        "digest": digest,
        **_form(model),
        "fitted": dict(fitted or {}),
        "versions": {
            "seqlatent": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
    write_atomically(run / CONFIG, json.dumps(config, indent=2).encode())


def _form(model: SequenceModel) -> dict[str, Any]:
    """What a model, and those that it is made of, can be built from."""
    form = {
        "family": model.family,
        "module": type(model).__module__,
        "options": asdict(model.options),
        "description": model.description.to_json(),
    }
    return form | {"parts": [_form(part) for part in model.parts]} if model.parts else form


def _built(form: Mapping[str, Any]) -> SequenceModel:
    """The model of a form, with new parameters."""
    family = form["family"]
    if family not in MODELS:
        raise InputError(
            f"model '{family}' is defined in the module {form.get('module')}, and no installed "
            "package registers it: install that package, or import the module first"
        )
    options = make(MODELS[family].Options, form["options"])
    description = DataDescription.from_json(form["description"])
    parts = [_built(part) for part in form.get("parts", ())]
    return build_model(family, options, description, parts)


def load_model(run: str | Path, device: str = "auto") -> tuple[SequenceModel, dict[str, Any]]:
    """A saved model on a device, and the facts about its training that were saved with it.

    Raises:
        InputError: when the folder is not a saved model, or is damaged or of another version; for
            a device that is unknown or not there.
    """
    run, place = Path(run), find_device(device)
    if not run.exists():
        raise InputError(f"{run}: no such run; make one with 'seqlatent fit DATA --out {run}'")
    if not (run / CONFIG).is_file():
        unfinished = (run / STATE).is_file()
        hint = "its fit has not finished; resume with --resume" if unfinished else "not a run"
        raise InputError(f"{run}: {hint} (it has no {CONFIG})")
    config = load_json(run / CONFIG)
    if config.get("format") != FORMAT:
        raise InputError(
            f"{run / CONFIG}: format {config.get('format')} is not {FORMAT}, which this version "
            "of seqlatent reads; fit the model again"
        )
    weights = load_tensors(run / WEIGHTS, config.get("digest"))
    bad = next((k for k, v in weights.items() if not torch.isfinite(v).all()), None)
    if bad is not None:
        raise InputError(f"{run / WEIGHTS}: {bad} is not finite; fit the model again")
    try:
        with torch.random.fork_rng(devices=[]), Allowance(weights):
            model = _built(config)
        model.load_state_dict(weights)
    except TooLarge:
        raise InputError(
            f"{run / CONFIG}: describes a model much larger than the {WEIGHTS} beside it; fit the "
            "model again"
        ) from None
    except InputError as error:
        if str(error).startswith(str(run)):
            raise
        raise InputError(f"{run / CONFIG}: {error}") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(f"{run / CONFIG}: damaged ({error}); fit the model again") from None
    except (RuntimeError, RecursionError):
        raise InputError(f"{run / WEIGHTS}: does not fit {CONFIG}; fit the model again") from None
    model.to(place).eval()
    return model, _checked_facts(config.get("fitted"), run / CONFIG)


def _checked_facts(fitted: Any, path: Path) -> dict[str, Any]:
    """Facts about training, as far as they are relied on, are of their kinds."""
    kinds = {"data": str, "seed": int, "training": dict, "members": list, "valid_kind": str}
    good = isinstance(fitted, dict) and all(
        isinstance(value, kinds[name] if name in kinds else float | int)
        for name, value in fitted.items()
        if name in kinds or name.startswith("valid_")
    )
    good = good and ("valid_kind" in fitted) <= ("valid_nats_per_step" in fitted)
    if not good or not all(isinstance(m, dict) for m in fitted.get("members", ())):
        raise InputError(f"{path}: damaged, its facts about training; fit the model again")
    return fitted


def fingerprint(data: SequenceDataset) -> str:
    """A digest of a data set's values, to check that training resumes with the same data; where
    memory does not hold them, of the lengths of all series and the values of some."""
    digest = hashlib.blake2b(np.ascontiguousarray(data.lengths).tobytes(), digest_size=16)
    for s in data.some(SAMPLED) if data.lazy else data:
        digest.update(f"{s.unique_id}/{s.context}".encode())
        digest.update(np.ascontiguousarray(s.x).tobytes())
        digest.update(np.ascontiguousarray(s.known).tobytes())
    return digest.hexdigest()


def save_state(run: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write a checkpoint from which training can resume.

    The JSON is written last and names its file of tensors, so that a crash in between leaves the
    previous pair intact.
    """
    make_folder(run)
    name = f"checkpoint-{state['step']}.safetensors"
    digest = save_tensors(run / name, tensors)
    write_atomically(run / STATE, json.dumps({**state, "file": name, "digest": digest}).encode())
    for old in run.glob(TENSORS):
        if old.name != name:
            with suppress(OSError):  # the next checkpoint tries again
                old.unlink()


def load_state(run: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The checkpoint that `save_state` wrote, or None if there is none.

    Raises:
        InputError: when it is damaged, or names a file outside its folder.
    """
    if not (run / STATE).is_file():
        return None
    state = load_json(run / STATE)
    name = str(state.get("file"))
    if not fnmatch(name, TENSORS) or Path(name).name != name:
        raise InputError(f"{run / STATE}: damaged, its file is no {TENSORS}; --overwrite the run")
    return load_tensors(run / name, state.get("digest")), state


def clear_state(run: Path) -> None:
    """Delete the checkpoint."""
    for old in [run / STATE, *run.glob(TENSORS)]:
        with suppress(OSError):
            old.unlink()
