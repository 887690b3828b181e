"""Latents replaced by others, and moved: what they are worth, and what they do to the values."""

import pandas as pd
import torch

from seqlatent.data.batch import SequenceBatch
from seqlatent.models.latent.model import LatentModel
from seqlatent.models.latent.replacing import Losses, Origins, draw_at, origins, replace_latents
from seqlatent.tasks.inspection import most_felt

MAX_PATHS, MIN_ORIGINS = 4096, 128  # steps to go on from, times ways to replace latents
TRAVERSED, DRAWS = 4, 4  # latents that are moved, samples from each step


def replaced(model: LatentModel, batches: list[SequenceBatch], seed: int) -> tuple[Origins, Losses]:
    """The losses, and the steps that they are measured from."""
    number = max(MIN_ORIGINS, MAX_PATHS // (model.latent_dim + 2))
    o = origins(model, batches, number=number, seed=seed)
    return o, replace_latents(model, o, seed)


def traverse(model: LatentModel, o: Origins, losses: Losses, seed: int) -> pd.DataFrame:
    """What the model draws on average when one latent moves from its 5 % to its 95 % quantile and
    the others stay at their medians, for the latents that are felt most; numbers only.

    Returns:
        `latent, target, scale, value, mean`, with the scale of the target's training data.
    """
    z = o.z[o.inside].flatten(0, 2)
    levels = torch.linspace(0.05, 0.95, 9).to(z)
    middle, parts = z.median(0).values, []
    for k in most_felt(losses)[:TRAVERSED]:
        at = middle.repeat(len(levels), 1)
        at[:, k] = z[:, k].quantile(levels)
        means = draw_at(model, o, at, seed, DRAWS).cpu().numpy()
        for d, channel in enumerate(model.description.channels):
            if channel.name not in model.description.categories:
                values = {"value": at[:, k].double().cpu().numpy(), "mean": means[:, d]}
                parts.append(
                    pd.DataFrame(
                        {"latent": k, "target": channel.name, "scale": channel.scale} | values
                    )
                )
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=["latent"])
