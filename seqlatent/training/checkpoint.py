"""Saved models and checkpoints of training, as safetensors and JSON, never pickles.

RUN/config.json            model, options, description of the data, versions, how it was fitted
RUN/model.safetensors      parameters and buffers
RUN/training_curve.csv     the training curve
RUN/checkpoint*            during training: all that is needed to resume it
"""

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
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
from seqlatent.errors import InputError
from seqlatent.models.base import SequenceModel
from seqlatent.models.registry import MODELS, build_model
from seqlatent.options import make

FORMAT = 3
CONFIG, WEIGHTS, CURVE = "config.json", "model.safetensors", "training_curve.csv"
STATE = "checkpoint.json"


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file so that a crash leaves either the old one or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    plain = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    write_atomically(path, safetensors.torch.save(plain))


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file.

    Raises:
        InputError: when the file is missing, truncated or not a safetensors file.
    """
    try:
        return safetensors.torch.load(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; the saved model is incomplete") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (safetensors.SafetensorError, ValueError) as error:
        raise InputError(
            f"{path}: damaged or not a safetensors file ({error}); fit the model again"
        ) from None


def load_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise InputError(f"{path}: damaged, not JSON; fit the model again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: damaged, not a JSON object; fit the model again")
    return content


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
    config = {
        "format": FORMAT,
        **_form(model),
        "fitted": dict(fitted or {}),
        "versions": {
            "seqlatent": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
    save_tensors(run / WEIGHTS, model.state_dict())
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


def load_model(run: str | Path) -> tuple[SequenceModel, dict[str, Any]]:
    """A saved model, and the facts about its training that were saved with it.

    Raises:
        InputError: when the folder is not a saved model, or is damaged or of another version.
    """
    run = Path(run)
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
    try:
        with torch.random.fork_rng(devices=[]):
            model = _built(config)
        model.load_state_dict(load_tensors(run / WEIGHTS))
    except InputError as error:
        if str(error).startswith(str(run)):
            raise
        raise InputError(f"{run / CONFIG}: {error}") from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{run / CONFIG}: damaged ({error}); fit the model again") from None
    except RuntimeError:
        raise InputError(f"{run / WEIGHTS}: does not fit {CONFIG}; fit the model again") from None
    model.eval()
    return model, config.get("fitted", {})


def fingerprint(data: SequenceDataset) -> str:
    """A digest of a data set's values, to check that training resumes with the same data."""
    digest = hashlib.blake2b(digest_size=16)
    for s in data:
        digest.update(f"{s.unique_id}/{s.context}".encode())
        digest.update(np.ascontiguousarray(s.x).tobytes())
        digest.update(np.ascontiguousarray(s.covariates).tobytes())
    return digest.hexdigest()


def save_state(run: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write a checkpoint from which training can resume.

    The JSON is written last and names its file of tensors, so that a crash in between leaves the
    previous pair intact.
    """
    make_folder(run)
    name = f"checkpoint-{state['step']}.safetensors"
    save_tensors(run / name, tensors)
    write_atomically(run / STATE, json.dumps({**state, "file": name}).encode())
    for old in run.glob("checkpoint-*.safetensors"):
        if old.name != name:
            old.unlink()


def load_state(run: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The checkpoint that `save_state` wrote, or None if there is none."""
    if not (run / STATE).is_file():
        return None
    state = load_json(run / STATE)
    return load_tensors(run / str(state.get("file"))), state


def clear_state(run: Path) -> None:
    """Delete the checkpoint."""
    for old in [run / STATE, *run.glob("checkpoint-*.safetensors")]:
        old.unlink(missing_ok=True)


def check_folder(run: Path, resume: bool, overwrite: bool) -> None:
    """Refuse, before long work, to overwrite what a folder contains."""
    if run.exists() and not run.is_dir():
        raise InputError(f"{run} is a file; choose another folder (--out)")
    unfinished = resume and (run / STATE).is_file()
    if (run / CONFIG).exists() and not (overwrite or unfinished):
        raise InputError(f"{run} holds a finished model; choose another --out, or --overwrite it")
    if (run / STATE).is_file() and not (resume or overwrite):
        raise InputError(f"{run} holds an interrupted fit; resume with --resume, or --overwrite it")
