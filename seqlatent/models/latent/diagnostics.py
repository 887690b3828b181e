"""How much a model uses its latents."""

import torch

from seqlatent.data.batch import SequenceBatch
from seqlatent.models.latent.model import LatentModel

NUM_SAMPLES = 16  # of the guide, for each sequence


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
