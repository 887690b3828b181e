"""The marginal of the channels that were seen, at steps of which others are missing.

A head that models channels one after another reads a missing channel as hidden: the density of the
others is then log p(seen | the others hidden), which it has learnt to give and which is not the
marginal. The marginal is an expectation over the missing channels, drawn in the head's order,

    p(seen_t | x_{<t}) = E [ prod over seen d of p(x_td | x_{<t}, x_t1, ..., x_t,d-1) ],

estimated by the mean of N draws, w^1, ..., w^N: unbiased, and independent from step to step, so
that the product over steps is unbiased as well (importance sampling with the prior of what is
missing: Kong, Liu and Wong 1994). Its error is that of log mean_n w^n by the jackknife (errors.py).

No draw is needed where channels are independent or their joint marginals have a closed form, nor
where no seen channel comes after a missing one: there the density is the marginal already.

Regimes of `switching` and members of `mixture` draw each for themselves, and have the weights that
they have in any score. Only these steps' own densities change. The steps after them are predicted
from what was observed, by networks, filters and weights that read missing as missing: that is how
the model conditions on its past, here as elsewhere, and no integral over what is missing of it.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from seqlatent.data.batch import SequenceBatch
from seqlatent.distributions.heads import Head
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.inference.protocols import DrawnMarginals, ModelState, StepModel

MAX_DRAWN = 2**20  # features of draws in memory at once


def heads(model: nn.Module) -> list[Head]:
    """The heads of a model, those of its parts among them."""
    return [part for part in model.modules() if isinstance(part, Head)]


def conditioned(model: nn.Module, observed: Tensor) -> Tensor:
    """(..., D) whether each value is observed -> (...) whether a step's density of the seen
    channels is given that the others are hidden, and not their marginal one."""
    found = torch.zeros_like(observed[..., 0])
    for head in heads(model):
        found = found | head.conditions(observed)
    return found


def without_draws(model: StepModel) -> StepModel | None:
    """The model, or the part of it, whose densities may be conditioned on what is hidden and that
    cannot draw it; None if there is none."""
    for part in getattr(model, "parts", ()):
        if (found := without_draws(part)) is not None:
            return found
    some = any(not head.marginal for head in heads(model))
    return model if some and not isinstance(model, DrawnMarginals) else None


def drawn_steps(
    model: DrawnMarginals,
    batch: SequenceBatch,
    state: ModelState,
    names: Sequence[str],
    *,
    start: int,
    num_draws: int,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Weights of the scored steps whose density is conditioned on what is hidden.

    Args:
        model: in evaluation mode.
        batch: B sequences and T steps.
        state: before them.
        names: of the sequences; with `start`, they seed the draws of each step, which depend on
            nothing else.
        start: the number of steps before the batch.
        num_draws: N.
        seed: of the draws.

    Returns:
        (N, B, T) log-weights in nats and data units, 0 elsewhere; and (B, T) bool, these steps.
    """
    rows = conditioned(model, batch.observed) & batch.scored
    weights = torch.zeros(num_draws, *rows.shape, dtype=torch.float64, device=rows.device)
    if rows.any():
        streams = (f"{names[b]}/{start + t}" for b, t in rows.nonzero().tolist())
        noise = SequenceNoise(streams, seed)
        weights[:, rows] = model.seen_log_weights(batch, state, rows, num_draws, noise).double()
    return weights, rows


def draw_seen(
    head: Head, h: Tensor, y: Tensor, observed: Tensor, num_draws: int, noise: SequenceNoise
) -> Tensor:
    """Draw the missing channels of R steps N times, each in the head's order.

    Args:
        head: of the steps.
        h: (R, in_dim) features.
        y: (R, D) scaled values; the missing ones are ignored.
        observed: (R, D) bool.
        num_draws: N.
        noise: with a stream for each step.

    Returns:
        (N, R) log-weights in nats of the seen channels, in scaled units.
    """

    def log_weight(noise: SequenceNoise, h: Tensor, y: Tensor, observed: Tensor) -> Tensor:
        return head(h).fill(y, observed, noise)[1]

    return in_blocks(log_weight, (h, y, observed), num_draws, noise)


def in_blocks(
    log_weight: Callable[..., Tensor],
    parts: Sequence[Tensor],
    num_draws: int,
    noise: SequenceNoise,
) -> Tensor:
    """(N, R) results of a function of R steps, each repeated N times, in blocks that fit in memory.

    Args:
        log_weight: of the noise and the repeated parts, to (rows,).
        parts: (R, .) each.
        num_draws: N.
        noise: with a stream for each step.
    """
    size = max(1, MAX_DRAWN // (num_draws * max(part.shape[-1] for part in parts)))
    found = []
    for start in range(0, len(parts[0]), size):
        some = slice(start, start + size)
        many = [part[some].repeat_interleave(num_draws, 0) for part in parts]
        found.append(log_weight(noise.sequences(some), *many).view(-1, num_draws).T)
    return torch.cat(found, 1)
