"""Latent codes of sequences: draws from the guide, summed up."""

from collections.abc import Callable

import pandas as pd
import torch

from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.errors import InputError
from seqlatent.models.base import LatentCode, SequenceModel
from seqlatent.scoring import CHUNK, check_data, sequence_generator, sequence_noise


def encode(
    model: SequenceModel,
    data: SequenceDataset,
    num_samples: int = 64,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Mean and standard deviation of every latent under the guide q(z_t | x_{1:t}, z_{<t}).

    Args:
        model: a fitted model with latents.
        data: sequences with the training data's channels.
        num_samples: draws of z_{1:T} from which both are estimated.
        seed: of the draws.
        progress: called with 1 for every finished series.

    Returns:
        A frame with a row per step: `unique_id, ds, z1_mean, z1_scale, z2_mean, ...`.

    Raises:
        InputError: for a model without latents, or data that do not fit it.
    """
    if not isinstance(model, LatentCode):
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
        generator = sequence_generator(s.unique_id, seed)
        history, draws = model.begin(batch), []
        with torch.no_grad():
            for start in range(0, len(s), CHUNK):
                chunk = batch.steps(start, start + CHUNK)
                eps = sequence_noise(chunk, [generator], num_samples, model.latent_dim).to(device)
                z, history = model.encode(chunk, eps, history)
                draws.append(z[:, 0].double().cpu())
        z = torch.cat(draws, 1)  # (S, T, Z)
        part = pd.DataFrame({"unique_id": s.unique_id, "ds": s.ds})
        for k in range(model.latent_dim):
            part[f"z{k + 1}_mean"] = z[..., k].mean(0).numpy()
            part[f"z{k + 1}_scale"] = z[..., k].std(0).numpy()
        parts.append(part)
        if progress:
            progress(1)
    return pd.concat(parts, ignore_index=True)
