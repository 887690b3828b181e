"""Latent codes of sequences: a posterior or an exact code, computed, or draws from a guide."""

from collections.abc import Callable

import pandas as pd
import torch
from torch import Tensor

from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.sequences import Sequence
from seqlatent.errors import InputError
from seqlatent.estimating import CHUNK, sequence_noise, sequence_stream
from seqlatent.models.base import ExactPosterior, InvertibleCode, LatentCode, SequenceModel
from seqlatent.scoring import check_data


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

    The code of an invertible model is exact: its standard deviation is 0. It is NaN where no value
    was observed.

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
    if not isinstance(model, ExactPosterior | LatentCode | InvertibleCode):
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
        mean, scale = _code(model, s, num_samples, seed)
        part = pd.DataFrame({"unique_id": s.unique_id, "ds": s.ds})
        for k in range(mean.shape[-1]):
            part[f"z{k + 1}_mean"] = mean[:, k].cpu().numpy()
            part[f"z{k + 1}_scale"] = scale[:, k].cpu().numpy()
        parts.append(part)
        if progress:
            progress(1)
    return pd.concat(parts, ignore_index=True)


@torch.no_grad()
def _code(model: SequenceModel, s: Sequence, num_samples: int, seed: int) -> tuple[Tensor, Tensor]:
    """(T, Z) means and scales of a sequence's latents."""
    if isinstance(model, ExactPosterior):
        means, covariances = model.smoother(collate([s]).to(next(model.parameters()).device))
        return means[0], covariances[0].diagonal(dim1=-2, dim2=-1).sqrt()
    z = _draws(model, s, num_samples, seed)
    return z.mean(0), z.std(0) if len(z) > 1 else torch.zeros_like(z[0])


def _draws(model: SequenceModel, s: Sequence, num_samples: int, seed: int) -> Tensor:
    """(S, T, Z) draws of a sequence's latents; (1, T, Z) where its code is exact."""
    batch = collate([s]).to(next(model.parameters()).device)
    draws = []
    if isinstance(model, InvertibleCode):
        history = model.begin(batch)
        for start in range(0, len(s), CHUNK):
            z, history = model.code(batch.steps(start, start + CHUNK), history)
            draws.append(z)
    else:
        assert isinstance(model, LatentCode)
        stream, particles = sequence_stream(s.unique_id, seed), None
        reading = model.reading(batch)
        for start in range(0, len(s), CHUNK):
            chunk, part = batch.steps(start, start + CHUNK), reading.steps(start, start + CHUNK)
            eps = sequence_noise(chunk, [stream], num_samples, model.latent_dim)
            draw, particles = model.propose(part, eps.to(batch.x.device), particles)
            draws.append(draw.z[:, 0])
    return torch.cat(draws, 1).double().cpu()
