"""The sequential latent-variable model and its presets.

    p(x_{1:T}, z_{1:T}) = prod_t p(z_t | .) p(x_t | history, z_t)
    q(z_{1:T} | x_{1:T}) = prod_t q(z_t | x, z_{<t})

It is put together from slots; `seqlatent models latent` lists them all.

prior p(z_t | .)
    `independent` N(0, I); `mixture` of normals, learned or fixed; `autoregressive` p(z_t | z_{<t});
    `conditional` p(z_t | z_{<t}, x_{<t}). The last two by a GRU or by a gated step from z_{t-1}
    (`transition`).
history in p(x_t | history, z_t)
    `all` of x_{<t}, the default; `last` x_{t-1}; `none`. With `last` and an independent prior x is
    a first-order Markov process, which cannot follow a longer memory.
guide q(z_t | x, z_{<t})
    a `cnn`, `rnn`, `transformer` or `mlp` over x_{1:t}; with `smoothing=true` also x_{>t}.
    `guide_conditioning=noise`, the default, sees the noise behind z_{<t} and draws all steps in one
    pass; `latents` sees z_{<t} and goes step by step: the same family of distributions.
    `guide_distribution` is `normal`, or bent by an invertible map, `sinh-arcsinh`, `spline` or
    both.
objective
    `elbo`: an exact KL where it has a closed form, annealed, with `free_bits`; `iwae`: the
    importance bound of several particles, step by step where the posterior factorises; `fivo`:
    resampled particles. By default `iwae` where the posterior factorises over time, else `elbo`.

`vrnn` (Chung et al. 2015), `srnn` (Fraccaro et al. 2016) and `dmm` (Krishnan et al. 2017) are
choices of slots; `presets.py` says which, and how each differs from its paper. Options that make no
sense together are refused with the reason.
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
