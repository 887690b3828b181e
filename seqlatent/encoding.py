"""Latent codes of sequences: draws from a guide, summed up, or an invertible model's own."""

from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor

from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.sequences import Sequence
from seqlatent.errors import InputError
from seqlatent.models.base import InvertibleCode, LatentCode, SequenceModel
from seqlatent.scoring import CHUNK, check_data, sequence_generator, sequence_noise


def encode(
    model: SequenceModel,
    data: SequenceDataset,
    num_samples: int = 64,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Mean and standard deviation of every latent under the guide q(z_t | x_{1:t}, z_{<t}).

    The code of an invertible model is exact: its standard deviation is 0. It is NaN where no value
    was observed.

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
    if not isinstance(model, LatentCode | InvertibleCode):
        raise InputError(
            f"model '{model.family}' has no latent code; fit --model latent or flow to encode "
            "sequences"
        )
    if num_samples < 2:
        raise InputError(f"num_samples={num_samples} must be at least 2 to give a scale")
    data = check_data(model, data)
    model.eval()
    parts = []
    for s in data:
        z = _draws(model, s, num_samples, seed)
        scale = z.std(0) if len(z) > 1 else torch.zeros_like(z[0])
        part = pd.DataFrame({"unique_id": s.unique_id, "ds": s.ds})
        for k in range(z.shape[-1]):
            part[f"z{k + 1}_mean"] = z[..., k].mean(0).numpy()
            part[f"z{k + 1}_scale"] = scale[:, k].numpy()
        parts.append(part)
        if progress:
            progress(1)
    return pd.concat(parts, ignore_index=True)


@torch.no_grad()
def _draws(model: SequenceModel, s: Sequence, num_samples: int, seed: int) -> Tensor:
    """(S, T, Z) draws of a sequence's latents; (1, T, Z) where its code is exact."""
    device = next(model.parameters()).device
    batch = collate([s]).to(device)
    generator = sequence_generator(s.unique_id, seed)
    history, draws = model.begin(batch), []
    for start in range(0, len(s), CHUNK):
        chunk = batch.steps(start, start + CHUNK)
        if isinstance(model, InvertibleCode):
            z, history = model.code(chunk, history)
        else:
            assert isinstance(model, LatentCode)
            eps = sequence_noise(chunk, [generator], num_samples, model.latent_dim).to(device)
            z, history = model.encode(chunk, eps, history)
            z = z[:, 0]
        draws.append(z.double().cpu())
    return torch.cat(draws, 1)
