"""The conditional flow: exact likelihood by invertible maps.

    z_t = f_t(x_t; past),   f_t invertible in x_t,   z_t ~ N(0, I)
    log p(x_{1:T}) = sum_t log p(z_t) + log |det d f_t / d x_t|

Each sequence has one latent code and each code one sequence. `encode` is exact, `decode` goes back,
and the codes of a model that is right are standard normal and independent: `encode --plot` draws
them against N(0, 1) and against the step before, `encode --plot-map` the map from value to code at
the most unusual step.

The past. With `condition_on=observations` it is x_{<t}: density is parallel over time and sampling
goes step by step. With `latents` it is z_{<t}, and the other way round. Then a missing value is
refused, because it has no code.

Channels of a step are mapped one after another, each given those before it; with
`channels=coupling` all at once, by layers that move one half given the other, in alternation or
after a learned mixing (`coupling_order`). Each step must then be observed in all channels or in
none.

Base. `base=autoregressive` puts p(z_t | z_{<t}) in place of N(0, I), exactly. Codes are then what
that base leaves unexplained.

The flow is for real values. Counts and labels are refused, and the message names a model that has a
distribution for them.
"""

from seqlatent.models.flow.model import FlowModel, FlowOptions

__all__ = [
    "FlowModel",
    "FlowOptions",
]
