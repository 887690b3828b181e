"""Facts about a fit, which are saved with the model as JSON."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

from seqlatent.data.dataset import SequenceDataset
from seqlatent.inference.likelihood import kind_of
from seqlatent.inference.training_protocols import OwnSelection
from seqlatent.models.base import SequenceModel
from seqlatent.text import counted
from seqlatent.training.fitting import FitResult
from seqlatent.training.options import TrainingOptions


def facts_of(
    module: SequenceModel,
    result: FitResult,
    *,
    data: SequenceDataset,
    train: SequenceDataset,
    valid: SequenceDataset,
    held_out: str,
    options: TrainingOptions,
    seed: int,
) -> dict[str, Any]:
    """How a model was fitted to `data`, which was split into `train` and `valid`, unless what was
    held out was given (`held_out`)."""
    return {
        "data": data.name,
        "seed": seed,
        "held_out": held_out,
        "num_sequences": {"train": len(train), "valid": len(valid)},
        "training": dataclasses.asdict(options),
        "steps": result.steps,
        "best_step": result.best_step,
        "seconds": round(result.seconds, 2),
        "stopped": result.stopped,
        **validation(module, result.valid_score, options.num_particles),
        "threads": torch.get_num_threads(),
    }


def validation(module: SequenceModel, value: float, num_particles: int) -> dict[str, Any]:
    """The validation score with its name and kind."""
    if isinstance(module, OwnSelection):
        return {f"valid_{module.score_name}": value}
    return {"valid_nats_per_step": value, "valid_kind": kind_of(module, num_particles)}


def score_text(fitted: Mapping[str, Any]) -> str:
    """The validation score of a fit in words: with its kind, or with the name of a model's own, and
    with what was held out if that were windows; "" if there is none."""
    if "valid_kind" in fitted:
        text = f"{fitted['valid_nats_per_step']:.4f} nats per step ({fitted['valid_kind']})"
        length = fitted.get("training", {}).get("prediction_length")
        return f"{text} of the last windows of {counted(length, 'step')}" if length else text
    for name, value in fitted.items():
        if name.startswith("valid_"):
            return f"{value:.4f} ({name.removeprefix('valid_').replace('_', ' ')})"
    return ""
