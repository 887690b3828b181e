"""Latent codes of sequences: their posterior, computed, or draws from the guide, summed up."""

from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch, collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.errors import InputError
from seqlatent.models.base import ExactPosterior, History, LatentCode, SequenceModel
from seqlatent.scoring import CHUNK, check_data, sequence_generator, sequence_noise


def encode(
    model: SequenceModel,
    data: SequenceDataset,
    num_samples: int = 64,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Mean and standard deviation of every latent.

    They are those of p(z_t | x_{1:T}) where the model computes it (`linear-gaussian`), elsewhere
    those of draws from the guide q(z_t | x_{1:t}, z_{<t}).

    Args:
        model: a fitted model with latents.
        data: sequences with the training data's channels.
        num_samples: draws of z_{1:T} from which both are estimated, where they are.
        seed: of the draws.
        progress: called with 1 for every finished series.

    Returns:
        A frame with a row per step: `unique_id, ds, z1_mean, z1_scale, z2_mean, ...`.

    Raises:
        InputError: for a model without latents, or data that do not fit it.
    """
    if not isinstance(model, ExactPosterior | LatentCode):
        raise InputError(
            f"model '{model.family}' has no latent code; fit --model latent to encode sequences"
        )
    if num_samples < 2:
        raise InputError(f"num_samples={num_samples} must be at least 2 to give a scale")
    data = check_data(model, data)
    device = next(model.parameters()).device
    model.eval()
    parts = []
    for s in data:
        batch = collate([s]).to(device)
        with torch.no_grad():
            if isinstance(model, ExactPosterior):
                means, covariances = model.smoother(batch)
                mean, scale = means[0], covariances[0].diagonal(dim1=-2, dim2=-1).sqrt()
            else:
                generator = sequence_generator(s.unique_id, seed)
                z = _draws(model, batch, model.begin(batch), num_samples, generator)
                mean, scale = z.mean(0), z.std(0)
        part = pd.DataFrame({"unique_id": s.unique_id, "ds": s.ds})
        for k in range(model.latent_dim):
            part[f"z{k + 1}_mean"] = mean[:, k].cpu().numpy()
            part[f"z{k + 1}_scale"] = scale[:, k].cpu().numpy()
        parts.append(part)
        if progress:
            progress(1)
    return pd.concat(parts, ignore_index=True)


def _draws(
    model: LatentCode,
    batch: SequenceBatch,
    history: History,
    num_samples: int,
    generator: torch.Generator,
) -> Tensor:
    """(S, T, Z) draws of one sequence's latents from the guide, float64."""
    draws = []
    for start in range(0, batch.x.shape[1], CHUNK):
        chunk = batch.steps(start, start + CHUNK)
        eps = sequence_noise(chunk, [generator], num_samples, model.latent_dim)
        z, history = model.encode(chunk, eps.to(batch.x.device), history)
        draws.append(z[:, 0].double())
    return torch.cat(draws, 1)
