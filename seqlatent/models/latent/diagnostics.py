"""Whether a model uses its latents.

Latents are used if a prediction is worse without their values (replacing.py), not if their KL is
large: a state that hardly changes costs no KL, and the emission may rely on nothing else.
"""

import numpy as np
import torch

from seqlatent.data.batch import SequenceBatch
from seqlatent.models.latent.model import LatentModel
from seqlatent.models.latent.replacing import Losses, origins, replace_latents

NUM_SAMPLES = 16  # of the guide, for each sequence
LEAST = 0.001  # nats per step, the loss from which on latents are used
UNCLEAR = 0.01  # nats per step: if the loss may be as large, data do not show that there is none
ORIGINS = 512


@torch.no_grad()
def prior_kl(model: LatentModel, batch: SequenceBatch) -> float:
    """KL(guide || prior) in nats per scored step, at sampled z_{<t}: in closed form where there is
    one, elsewhere estimated from samples."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sites = model.sites(batch)
        sites.posterior.rsample(torch.Size([NUM_SAMPLES]))
        total = torch.where(sites.reading.counted, sites.kl().mean(0), 0.0).sum()
        return float(total / batch.scored.sum().clamp(min=1))


def is_felt(loss: np.ndarray, error: np.ndarray) -> np.ndarray:
    """Bool, whether losses are at least 0.001 nats per step and more than two standard errors;
    never where the error is NaN."""
    return (loss >= LEAST) & (loss > 2 * error)


def is_idle(loss: np.ndarray, error: np.ndarray) -> bool:
    """Whether the data show that there is no loss at any horizon: none is felt, and none can be as
    large as 0.01 nats per step."""
    return not is_felt(loss, error).any() and bool((loss + 2 * error < UNCLEAR).all())


def quick_losses(model: LatentModel, batch: SequenceBatch, seed: int = 0) -> Losses:
    """The losses when all latents are replaced at once, at their own step and the next."""
    found = origins(model, [batch], number=ORIGINS, seed=seed, reach=1, num_particles=NUM_SAMPLES)
    return replace_latents(model, found, seed, alone=False)


def collapse_warning(model: LatentModel, losses: Losses) -> str:
    """A warning if latents are not used, with what to do about it; else empty."""
    if not is_idle(losses.joint, losses.joint_error):
        return ""
    found = (
        "the latents are not used: with the latents of random other steps, the model predicts "
        f"as well (worse by {max(0.0, losses.joint.max()):.4f} nats per step)"
    )
    if not model.from_context and not model.from_past:
        return (
            f"{found}, and the emission sees nothing else (history=none), so that all steps are "
            "predicted alike; train for longer, or fit an rnn to see whether the data have any "
            "structure over time"
        )
    narrower = (
        "" if model.options.emission == "normal" else ", or leave more to them: emission=normal"
    )
    return (
        f"{found}: the emission alone predicts x; fit an rnn instead, whose likelihood is exact"
        f"{narrower}"
    )
