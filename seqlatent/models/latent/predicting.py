"""The next step's latents: what a model knows of the future after a step.

Where the prior sees x_t and the emission z_{t+1} only,

    p(x_{t+1}, x_{t+2}, ... | x_{1:t})    depends on x_{1:t} through    p(z_{t+1} | x_{1:t})

and nothing else. z_t need not hold as much: what x_t adds to the state may reach z_{t+1} past it.
Paths z_{1:t} of the guide estimate it, as the mean of p(z_{t+1} | z_{<=t}, x_{<=t}) over them.
"""

import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch
from seqlatent.distributions.normal import DiagonalNormal
from seqlatent.models.latent.model import LatentModel

CHUNK = 1024  # steps whose paths are in memory at once


def carries_state(model: LatentModel) -> bool:
    """Whether p(z_{t+1} | x_{1:t}) is all that the model knows of the values after step t, and its
    guide tells it without later values."""
    o = model.options
    return o.prior == "conditional" and o.seen_history == "none" and not model.smoothing


@torch.no_grad()
def predicted(model: LatentModel, batch: SequenceBatch, z: Tensor) -> DiagonalNormal:
    """p(z_{t+1} | z_{<=t}, x_{<=t}) along paths, (K, B, T, Z).

    The covariates of the step after the last are taken to be those of the last.

    Args:
        model: with a prior in which latents depend on earlier ones.
        batch: of B sequences of T steps, without padding.
        z: (K, B, T, Z) paths of latents.
    """
    reading, prior = model.reading(batch), None
    found: list[tuple[Tensor, Tensor]] = []
    for start in range(0, z.shape[-2], CHUNK):
        context = reading.prior[:, start : start + CHUNK]
        p, _, prior = model.prior(z[..., start : start + CHUNK, :], context, prior)
        assert isinstance(p, DiagonalNormal)
        found.append((p.loc, p.scale))
    state = reading.after._replace(memory=model.remember(batch))
    context = model.prior_context(state, batch.covariates[:, -1:])
    p, _, _ = model.prior(z[..., -1:, :], context, prior)
    assert isinstance(p, DiagonalNormal)
    loc, scale = (torch.cat(part, -2) for part in zip(*found, p, strict=True))
    return DiagonalNormal(loc[..., 1:, :], scale[..., 1:, :])
