"""The conditional flow: exact likelihood by invertible maps.

    z_t = f_t(x_t; past),   f_t invertible in x_t,   z_t ~ N(0, I)
    log p(x_{1:T}) = sum_t log p(z_t) + log |det d f_t / d x_t|

Sequences of values and of latents correspond one to one: `encode` computes the latents exactly and
`decode` is its inverse. If the model is true, the latents are standard normal and independent.
`encode --plot` draws them against N(0, 1) and against the step before, `encode --plot-map` draws
the map from value to latent at the most unusual step.

The past. With `condition_on=observations` it is x_{<t}: the density is computed in parallel over
time, samples step by step. With `condition_on=latents` it is z_{<t}: samples are computed in
parallel and the density step by step. Missing values are then refused, because they have no latent.

Channels. The channels of a step are mapped one after another, each given those before it. With
`channels=coupling` they are mapped jointly, by layers that transform one half given the other, in
alternation or after a learned mixing (`coupling_order`). All channels of a step must then be
observed, or none.

Base. With `base=autoregressive` the latents have the density p(z_t | z_{<t}) instead of N(0, I).
The likelihood stays exact, and `encode` gives the standardised residuals of that base.

The flow is for real values. Counts and labels are refused, with a message that names a model for
them.
"""

from seqlatent.models.flow.model import FlowModel, FlowOptions

__all__ = [
    "FlowModel",
    "FlowOptions",
]
