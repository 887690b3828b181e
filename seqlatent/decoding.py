"""From exact codes back to sequences, and the maps between the two."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import NamedTuple

import numpy as np
import torch

from seqlatent.data.batch import SequenceBatch, collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.scaling import OF_EACH_SERIES
from seqlatent.data.sequences import Sequence
from seqlatent.data.steps import show_step
from seqlatent.errors import InputError
from seqlatent.estimating import CHUNK
from seqlatent.models.base import ExactDensity, InvertibleCode, SequenceModel
from seqlatent.nn.causal import expand_state


def decode(
    model: SequenceModel,
    codes: SequenceDataset,
    progress: Callable[[int], None] | None = None,
) -> SequenceDataset:
    """The sequences that codes stand for: the exact inverse of `encode`, to rounding.

    Args:
        model: a fitted model with an exact code (`flow`).
        codes: z1, z2, ... as channels, with the model's covariates.
        progress: called with 1 for every finished series.

    Returns:
        The training data's channels in data units, on the codes' steps.

    Raises:
        InputError: for another model, codes that do not fit it, or a code that is missing.
    """
    description = model.description
    if not isinstance(model, InvertibleCode):
        raise InputError(
            f"model '{model.family}' has no exact code to go back from; fit --model flow to decode"
        )
    if model.scaler.scaling in OF_EACH_SERIES:
        raise InputError(
            f"the model goes by each sequence's own first steps (scaling={model.scaler.scaling}), "
            "which codes alone do not hold"
        )
    if codes.num_channels != model.code_dim:
        raise InputError(
            f"{codes.name}: holds {codes.num_channels} latents, and the model has {model.code_dim}"
        )
    for s in codes:
        missing = ~np.isfinite(s.x)
        if missing.any():
            t, d = np.argwhere(missing)[0]
            raise InputError(
                f"{codes.name}: series {s.unique_id} lacks the code '{codes.targets[d]}' at step "
                f"{show_step(s.ds[t])}, of a value that was missing: there is nothing to decode"
            )
    model.eval()
    sequences = []
    for s in codes:
        sequences.append(replace(s, x=_values(model, s)))
        if progress:
            progress(1)
    return replace(
        codes, sequences=tuple(sequences), targets=description.targets, name="decoded sequences"
    )


@torch.no_grad()
def _values(model: InvertibleCode, s: Sequence) -> np.ndarray:
    """(T, D) values that a sequence of codes stands for."""
    assert isinstance(model, SequenceModel)
    parameter = next(model.parameters())
    batch = collate([s]).to(parameter.device)
    history, values = model.begin(None), []
    for start in range(0, len(s), CHUNK):
        chunk = batch.steps(start, start + CHUNK)
        x, history = model.decode(chunk.x.to(parameter.dtype), chunk.covariates, history)
        values.append(x[0].double().cpu().numpy())
    return np.concatenate(values)


class StepMap(NamedTuple):
    """The map of one channel at one step, the past and the other channels as they were.

    Attributes:
        values: (G,) points on the channel's axis, in data units.
        codes: (G,) their codes.
        density: (G,) p(x_t | x_{<t}) there, of all channels, but for a factor: its integral is 1.
        value, code: the value that was seen, and its code.
    """

    values: np.ndarray
    codes: np.ndarray
    density: np.ndarray
    value: float
    code: float


@torch.no_grad()
def step_map(
    model: SequenceModel, s: Sequence, step: int, channel: int, num_points: int = 201
) -> StepMap:
    """The map f_t from a channel's value to its code at a step of a sequence.

    The points span the values whose codes lie within about 4 standard deviations.
    """
    assert isinstance(model, InvertibleCode) and isinstance(model, ExactDensity)
    model.eval()
    batch = collate([s]).to(next(model.parameters()).device)
    history = model.begin(batch)
    for start in range(0, step, CHUNK):
        history = model.read(batch.steps(start, min(step, start + CHUNK)), history)
    now = batch.steps(step, step + 1)
    value = float(now.x[0, 0, channel])

    def at(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n = len(points)
        x = now.x.expand(n, -1, -1).clone()
        x[:, 0, channel] = torch.from_numpy(points).to(x)
        many = SequenceBatch(
            *(getattr(now, f.name).expand(n, *getattr(now, f.name).shape[1:]) for f in fields(now))
        )
        many = replace(many, x=x)
        past = expand_state(history, n)
        code, log_prob = model.code(many, past)[0], model.log_prob(many, past)[0]
        return code[:, 0, channel].double().cpu().numpy(), log_prob[:, 0].double().cpu().numpy()

    scale = model.description.channels[channel].scale
    wide = value + scale * np.sinh(np.linspace(-4, 4, 401))  # fine near the value, and far out
    inside = wide[np.abs(at(wide)[0]) < 4]
    low, high = (inside.min(), inside.max()) if len(inside) > 1 else (value - scale, value + scale)
    points = np.linspace(min(low, value), max(high, value), num_points)
    codes, log_prob = at(points)
    density = np.exp(log_prob - log_prob.max())
    density = density / np.trapezoid(density, points)
    return StepMap(points, codes, density, value, float(at(np.array([value]))[0][0]))
