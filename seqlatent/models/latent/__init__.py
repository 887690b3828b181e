"""The sequential latent-variable model and its presets.

    p(x_{1:T}, z_{1:T}) = prod_t p(z_t | .) p(x_t | history, z_t)
    q(z_{1:T} | x_{1:T}) = prod_t q(z_t | x, z_{<t})

The model has four configurable parts; `seqlatent models latent` lists all options.

prior p(z_t | .)
    `independent` N(0, I); `mixture` of normals, learned or fixed; `autoregressive` p(z_t | z_{<t});
    `conditional` p(z_t | z_{<t}, x_{<t}). The last two use a GRU or a gated step from z_{t-1}
    (`transition`).
history in p(x_t | history, z_t)
    `all` of x_{<t}, the default; `last`, x_{t-1}; or `none`. With `last` and an independent prior,
    x is a first-order Markov process and has no longer memory.
guide q(z_t | x, z_{<t})
    A `cnn`, `rnn`, `transformer` or `mlp` over x_{1:t}; with `smoothing=true` it also sees x_{>t}.
    With `guide_conditioning=noise`, the default, it sees the noise behind z_{<t} and samples all
    steps in one pass; with `latents` it sees z_{<t} and samples step by step. Both are the same
    family of distributions. `guide_distribution` is `normal`, or transformed by an invertible map:
    `sinh-arcsinh`, `spline` or `sinh-arcsinh-spline`.
objective
    `elbo`: the KL is exact where it has a closed form, its weight is annealed, and `free_bits` are
    possible. `iwae`: the importance-weighted bound of several particles, step by step where the
    posterior factorises. `fivo`: that of resampled particles. The default is `iwae` where the
    posterior factorises over time, else `elbo`.

`vrnn` (Chung et al. 2015), `srnn` (Fraccaro et al. 2016) and `dmm` (Krishnan et al. 2017) are
presets of these options; `presets.py` lists their choices and how each differs from its paper.
Options that contradict each other are refused with the reason.
"""

from seqlatent.models.latent.model import LatentModel
from seqlatent.models.latent.options import LatentOptions
from seqlatent.models.latent.presets import DMMModel, SRNNModel, VRNNModel

__all__ = [
    "DMMModel",
    "LatentModel",
    "LatentOptions",
    "SRNNModel",
    "VRNNModel",
]
