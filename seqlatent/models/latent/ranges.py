"""The range of the latents that training met.

    low_j, high_j = the least and greatest z_{t,j},    z ~ q(z | x) of training data

Training asks a transition for one step from where the guide put z_{t-1}. A sampled path takes many:
once it has left the range of these z, the next step is read off maps where nothing shaped them, and
may lead further out, the more so where values follow the latents and are seen by the next ones. A
transition that knows the range reads latents beyond it as if they were at its ends. That is part of
the model: densities and samples both go by it.
"""

import numpy as np
import torch
from torch import Tensor

from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.inference.protocols import EstimatedDensity

STEPS = 16_384  # of training data, at most
WINDOW = 512  # steps of a long series that are read at once
DRAWS = 4  # of the latents of each step


@torch.no_grad()
def met_range(model: EstimatedDensity, data: SequenceDataset) -> tuple[Tensor, Tensor]:
    """The least and the greatest of each latent, (Z,) each, in samples of the guide.

    Args:
        model: with `propose`, whose latents depend on earlier ones; its dropout is off meanwhile.
        data: series, of which windows are read that are spread evenly over them.
    """
    windows = [
        (i, start) for i, steps in enumerate(data.lengths) for start in range(0, steps, WINDOW)
    ]
    most = max(1, STEPS // min(WINDOW, int(data.lengths.max())))
    places = np.unique(np.linspace(0, len(windows) - 1, most).round().astype(int))
    pieces = [data.sequences[i].slice(t, t + WINDOW) for i, t in (windows[p] for p in places)]
    training = model.training
    model.eval()
    r = model.reading(collate(pieces).to(model.device))
    # Their own generator: what is drawn after a fit does not depend on how it was interrupted.
    generator = torch.Generator().manual_seed(0)
    eps = torch.randn(DRAWS, *r.y.shape[:2], model.latent_dim, generator=generator).to(r.y)
    sample, _ = model.propose(r, eps)
    model.train(training)
    z = sample.z[:, r.inside].flatten(0, 1)
    return z.amin(0), z.amax(0)
