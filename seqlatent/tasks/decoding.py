"""From exact latents and codes back to sequences, and the maps between the two."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from seqlatent.data.batch import collate
from seqlatent.data.calendar import from_data
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.sequence import Sequence
from seqlatent.data.steps import show_step
from seqlatent.errors import InputError
from seqlatent.inference.estimating import CHUNK
from seqlatent.inference.protocols import DeterministicCodes, ExactDensity, InvertibleLatents
from seqlatent.models.base import SequenceModel
from seqlatent.nn.causal import expand_state
from seqlatent.tasks.prepare import check_covariates


def decode(
    model: SequenceModel,
    latents: SequenceDataset,
    progress: Callable[[int], None] | None = None,
) -> SequenceDataset:
    """The sequences of given latents.

    Of an invertible model (`flow`) this is the inverse of `encode`, exact up to rounding; of a
    model with codes (`autoencoder`) it is what is reconstructed from them.

    Where scaling depends on the past, a reconstruction has that of the values, and a decoded
    sequence its own: the two are then alike, not equal.

    Args:
        model: a fitted model with exact latents or codes.
        latents: z1, z2, ... as channels, with the model's covariates; those of the calendar may
            be left out.
        progress: called with 1 for every finished series.

    Returns:
        The training data's channels in data units, at the steps of the latents.

    Raises:
        InputError: for another model, latents that do not fit it, or a missing latent.
    """
    description = model.description
    if not isinstance(model, InvertibleLatents | DeterministicCodes):
        raise InputError(
            f"model '{model.family}' has no exact latents to decode; fit --model flow or "
            "autoencoder"
        )
    if latents.num_channels != model.latent_dim:
        raise InputError(
            f"{latents.name} has {latents.num_channels} latents, and the model has "
            f"{model.latent_dim}"
        )
    latents = check_covariates(latents, description)
    for s in latents:
        missing = ~np.isfinite(s.x)
        if missing.any():
            t, d = np.argwhere(missing)[0]
            raise InputError(
                f"{latents.name}: in series {s.unique_id}, the latent '{latents.targets[d]}' is "
                f"missing at step {show_step(s.ds[t])}, as its value was: it cannot be decoded"
            )
    model.eval()
    own = from_data(latents.covariate_names)  # the calendar's are not for a table
    kept = [latents.covariate_names.index(name) for name in own]
    sequences = []
    for s in latents:
        sequences.append(replace(s, x=_values(model, s), covariates=s.covariates[:, kept]))
        if progress:
            progress(1)
    return replace(
        latents, sequences=tuple(sequences), targets=description.targets, covariate_names=own,
        name="decoded sequences",
    )  # fmt: skip


@torch.no_grad()
def _values(model: InvertibleLatents | DeterministicCodes, s: Sequence) -> np.ndarray:
    """(T, D) values of a sequence of latents."""
    parameter = next(model.parameters())
    batch = collate([s]).to(parameter.device)
    state, values = model.begin(None), []
    for start in range(0, len(s), CHUNK):
        chunk = batch.steps(start, start + CHUNK)
        x, state = model.decode(chunk.x.to(parameter.dtype), chunk.covariates, state)
        values.append(x[0].double().cpu().numpy())
    return np.concatenate(values)


def step_maps(
    model: SequenceModel, data: SequenceDataset, latents: pd.DataFrame, num_points: int = 201
) -> pd.DataFrame:
    """The maps f_t from value to latent at two steps: the one with the most unusual latent of all,
    and the last step of the same series.

    Args:
        model: with invertible latents and an exact density.
        data: what was encoded.
        latents: the frame of `seqlatent.tasks.encoding.encode`.
        num_points: points of each map.

    Returns:
        A frame with a row for each point of each channel and step: `step` (in words), `target`,
        `value` (data units), its latent `z`, and its `density` p(x_t | x_{<t}) as a function of
        this channel, normalised to integrate to 1; and `seen_value` and `seen_z`, the observed
        value and its latent.
    """
    size = latents[[c for c in latents if c.endswith("_mean")]].abs().max(axis=1)
    place = int(size.to_numpy().argmax()) if size.notna().any() else 0
    starts = np.concatenate([[0], np.cumsum(data.lengths)])
    which = int(np.searchsorted(starts, place, side="right")) - 1
    s = data.sequences[which]
    seen = np.flatnonzero(np.isfinite(s.x).all(1))
    last = int(seen[-1]) if len(seen) else len(s) - 1
    parts = []
    for d, target in enumerate(data.targets):
        for step, what in ((place - int(starts[which]), "most unusual step"), (last, "last step")):
            part = step_map(model, s, step, d, num_points)
            part.insert(0, "step", f"{s.unique_id}, {show_step(s.ds[step])} ({what})")
            part.insert(1, "target", target)
            parts.append(part)
    return pd.concat(parts, ignore_index=True)


@torch.no_grad()
def step_map(
    model: SequenceModel, s: Sequence, step: int, channel: int, num_points: int = 201
) -> pd.DataFrame:
    """The map f_t from a channel's value to its latent at a step of a sequence; see `step_maps`.

    The points cover the values whose latents lie within about 4 standard deviations.
    """
    assert isinstance(model, InvertibleLatents) and isinstance(model, ExactDensity)
    model.eval()
    batch = collate([s]).to(model.device)
    state = model.begin(batch)
    for start in range(0, step, CHUNK):
        state = model.read(batch.steps(start, min(step, start + CHUNK)), state)
    now = batch.steps(step, step + 1)
    value = float(now.x[0, 0, channel])

    def at(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        n = len(points)
        x = now.x.expand(n, -1, -1).clone()
        x[:, 0, channel] = torch.from_numpy(points).to(x)
        many = replace(now.expand(n), x=x)
        past = expand_state(state, n)
        z, log_prob = model.encode(many, past)[0], model.log_prob(many, past)[0]
        return z[:, 0, channel].double().cpu().numpy(), log_prob[:, 0].double().cpu().numpy()

    scale = model.description.channels[channel].scale
    wide = value + scale * np.sinh(np.linspace(-4, 4, 401))  # fine near the value, and far out
    inside = wide[np.abs(at(wide)[0]) < 4]
    low, high = (inside.min(), inside.max()) if len(inside) > 1 else (value - scale, value + scale)
    points = np.linspace(min(low, value), max(high, value), num_points)
    z, log_prob = at(points)
    density = np.exp(log_prob - log_prob.max())
    density = density / np.trapezoid(density, points)
    seen_z = float(at(np.array([value]))[0][0])
    columns = {"value": points, "z": z, "density": density}
    return pd.DataFrame(columns | {"seen_value": value, "seen_z": seen_z})
