"""The sequential latent-variable model and its presets.

    p(x_{1:T}, z_{1:T}) = prod_t p(z_t | .) p(x_t | history, z_t)
    q(z_{1:T} | x_{1:T}) = prod_t q(z_t | x, z_{<t})

The model has four configurable parts; `seqlatent models latent` lists all options.

prior p(z_t | .)
    `conditional`, the default, p(z_t | z_{<t}, x_{<t}); `autoregressive` p(z_t | z_{<t}); `mixture`
    of normals, learned or fixed; `independent` N(0, I). The first two use a `transition`: `gated`,
    the default, a step from z_{t-1} (and x_{t-1}, if conditional); or `rnn`, a GRU over z_{<t} (and
    x_{<t}).
history in p(x_t | history, z_t)
    `none`; `last`, x_{t-1}; or `all` of x_{<t}, through a GRU, which a gated conditional prior then
    sees too. The default, `auto`, is `none` with a conditional prior, else `last`.
guide q(z_t | x, z_{<t})
    With `guide_conditioning=prior` it corrects the prior's mean and scale by what x_t says, step by
    step. With `noise` or `latents` it is a network of its own (`cnn`, `rnn`, `transformer`, `mlp`)
    over x_{1:t}, and either over the noise behind z_{<t}, to sample all steps in one pass, or over
    z_{<t}, to sample step by step: two forms of one family of distributions. The default, `auto`,
    is `prior` where the latents depend on each other, else `noise`. With `smoothing=true` each also
    sees x_{>t}. `guide_distribution` is `normal`, or transformed by an invertible map:
    `sinh-arcsinh`, `spline` or `sinh-arcsinh-spline`.
objective
    `elbo`: the KL is exact where it has a closed form, its weight is annealed, and `free_bits` are
    possible. `iwae`: the importance-weighted bound of several particles, step by step where the
    posterior factorises. `fivo`: that of resampled particles. The default, `auto`, is `iwae` where
    the posterior factorises over time, else `elbo`.

By default the state is in the latents: p(z_t | z_{t-1}, x_{t-1}) p(x_t | z_t), scored by sequential
Monte Carlo. With `prior=independent` the latents are noise of each step:

    z_t ~ N(0, I),    x_t ~ p(x_t | x_{t-1}, z_t),    q(z_t | x_{1:t}, z_{<t})

This is scored step by step. x is then a first-order Markov process and has no longer memory; with
`history=all` it has.

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
