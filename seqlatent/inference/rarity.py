"""How rare each step of a sequence is, under the model's own prediction of it.

    r_t = P(p(X_t | x_{<t}) <= p(x_t | x_{<t})),    X_t ~ p(. | x_{<t})

is the probability of a value at least as surprising as the one that came. Surprise in nats has no
common scale: it depends on units, on the number of channels and on how far values spread. r_t has
one. If the model is true, r_t of real values is uniform in (0, 1) and independent over t, so that
one step in a thousand has r_t < 0.001; of counts and labels it is at least as large, because
values share their probability.

It is exact where p(x_t | x_{<t}) is one normal or Student-t distribution of a single channel, whose
density falls on both sides of its centre. Elsewhere it is estimated by N draws of the step,

    r^_t = (1 + #{n : p(x^n_t | x_{<t}) <= p(x_t | x_{<t})}) / (N + 1),

which is never 0 and, the model being true, uniform on 1/(N+1), ..., 1 (Davison and Hinkley 1997,
4.2). A step of which some channels are missing is ranked by the score of those that were seen.

Only an exact density of single steps has it. An estimate by latents has noise of its own in each
density, that of a guide which sees later values is no density of the step, and a bound ranks values
by its gap as well.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch, collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.distributions.noise import Noise, SequenceNoise
from seqlatent.inference.protocols import ExactDensity, ModelState
from seqlatent.nn.causal import repeat_state

MAX_DRAWN = 2**16  # draws of all steps of the sequences that are read together
ROUNDING = 1e-5  # relative: equal values have equal densities up to this


@torch.no_grad()
def rarities(
    model: ExactDensity,
    data: SequenceDataset,
    num_draws: int,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> list[np.ndarray]:
    """The tail probability r_t of every step.

    A sequence's draws do not depend on the other sequences. Where they are needed, a step takes as
    long as one of a forecast with `num_draws` paths.

    Args:
        model: its dropout is off meanwhile.
        data: N sequences.
        num_draws: N of the formula above; with 0, steps that need draws have NaN.
        seed: of the draws.
        progress: called with the number of sequences of every finished batch.

    Returns:
        for each sequence (T,) probabilities, NaN where not scored.
    """
    found: list[np.ndarray] = [np.zeros(0)] * len(data)
    training = model.training
    model.eval()
    try:
        for part in _batches(data, num_draws):
            sequences = [data.sequences[i] for i in part]
            batch = collate(sequences).to(model.device)
            values = model.tail_probability(batch)
            if values is None and num_draws == 0:
                values = torch.full_like(batch.x[..., 0], math.nan)
            elif values is None:
                noise = SequenceNoise([s.unique_id for s in sequences], seed)
                values = drawn_rarity(model, batch, num_draws, noise)
            for i, row in zip(part, values.double().cpu().numpy(), strict=True):
                found[i] = row[: len(data.sequences[i])]
            if progress:
                progress(len(part))
    finally:
        model.train(training)
    return found


def _batches(data: SequenceDataset, num_draws: int) -> Iterator[list[int]]:
    """Indices of sequences of similar length whose draws fit in memory together."""
    part: list[int] = []
    for i in np.argsort(data.lengths, kind="stable"):
        if part and (len(part) + 1) * len(data.sequences[i]) * max(1, num_draws) > MAX_DRAWN:
            yield part
            part = []
        part.append(int(i))
    if part:
        yield part


def drawn_rarity(model: ExactDensity, batch: SequenceBatch, num_draws: int, noise: Noise) -> Tensor:
    """(B, T) estimates of r_t by draws of each step given the steps before it, NaN where not
    scored.

    Args:
        model: in evaluation mode.
        batch: B sequences.
        num_draws: N.
        noise: with a stream for each sequence.
    """
    state = model.begin(batch)._replace(memory=model.remember(batch.steps(0, 0)))
    steps = []
    for t in range(batch.x.shape[1]):
        x, observed, covariates = (
            part[:, t : t + 1] for part in (batch.x, batch.observed, batch.covariates)
        )
        tail, _, state = drawn_step(model, state, x, observed, covariates, num_draws, noise)
        steps.append(tail)
    return torch.where(batch.scored, torch.cat(steps, 1), math.nan)


def drawn_step(
    model: ExactDensity,
    state: ModelState,
    x: Tensor,
    observed: Tensor,
    covariates: Tensor,
    num_draws: int,
    noise: Noise,
) -> tuple[Tensor, Tensor, ModelState]:
    """The step after a state with its memory: (B, 1) estimates of r_t, and what `log_prob_next`
    returns; the other arguments are those of `drawn_rarity` and `next_batch`."""
    many = repeat_state(state, num_draws)
    seen, known = (part.repeat_interleave(num_draws, 0) for part in (observed, covariates))
    drawn, _ = model.sample_steps(many, known, noise)
    others = model.log_prob_next(many, drawn, seen, known)[0].view(len(x), num_draws)
    own, after = model.log_prob_next(state, x, observed, covariates)
    lower = others <= own + ROUNDING * (1 + own.abs())
    return (1 + lower.sum(1, keepdim=True)) / (num_draws + 1), own, after
