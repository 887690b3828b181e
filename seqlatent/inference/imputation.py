"""Missing values given all observed ones, by particles."""

import math

import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch
from seqlatent.distributions.noise import Noise
from seqlatent.inference.estimating import CHUNK
from seqlatent.inference.protocols import ExactDensity, Fillable, ModelState
from seqlatent.inference.smc import systematic
from seqlatent.nn.causal import expand_state, map_state

PARTICLES = 1024  # at least
LAG = 32  # observed steps after which a missing value's samples are final


@torch.no_grad()
def by_particles(
    model: Fillable,
    batch: SequenceBatch,
    num_samples: int,
    noise: Noise,
    lag: int = LAG,
) -> Tensor:
    """Sample the missing values of one sequence given its observed ones.

    Args:
        model: in evaluation mode.
        batch: of one sequence.
        num_samples: S.
        noise: with a stream for the sequence.
        lag: observed steps after a missing value at which its samples are final.

    Returns:
        (S, T, D) values in data units; the observed ones are as they are.
    """
    size, observed = max(num_samples, PARTICLES), batch.observed[0]
    result = batch.x.expand(num_samples, -1, -1).clone()
    gaps = (~observed).any(-1).nonzero()[:, 0].tolist()
    first = gaps[0] if isinstance(model, ExactDensity) else 0  # latents depend on earlier values
    state = expand_state(_read(model, batch, first), size)
    log_w = torch.full((size,), -math.log(size), dtype=batch.x.dtype, device=batch.x.device)
    open_steps: dict[int, tuple[Tensor, int]] = {}  # values (K, D), observed steps since
    num_seen = 0

    def uniform() -> Tensor:
        return noise.uniform((1,), batch.x)

    def finish(steps: list[int]) -> None:
        if steps:
            chosen = systematic(log_w[:, None], uniform(), num_samples)[:, 0]
            for t in steps:
                result[:, t] = open_steps.pop(t)[0][chosen]

    for t in range(first, batch.x.shape[1]):
        x = batch.x[:, t : t + 1].expand(size, -1, -1)
        covariates = batch.covariates[:, t : t + 1].expand(size, -1, -1)
        scaled = model.scaler.next(state.memory)
        y = model.scaler.scale_values(x, scaled, torch.double)
        y, log_weight, state = model.fill_step(state, y, observed[t], covariates, noise)
        filled = torch.where(observed[t], x, model.scaler.unscale(y, scaled))
        # Densities of the observed values in data units: paths scale them in different ways.
        log_weight = log_weight - (scaled.scale.log() * observed[t]).sum(-1)[:, 0]
        state = state._replace(memory=model.scaler.after(state.memory, filled))
        num_seen += int(observed[t].any())
        if t in gaps[:1]:
            gaps.pop(0)
            open_steps[t] = filled[:, 0], num_seen
        log_w = log_w + log_weight
        log_w = log_w - log_w.logsumexp(0)
        finish([s for s, (_, since) in open_steps.items() if num_seen - since >= lag])
        if not gaps and not open_steps:
            break
        if (2 * log_w).logsumexp(0) > math.log(2 / size):  # effective sample size under K/2
            chosen = systematic(log_w[:, None], uniform())[:, 0]
            state = map_state(lambda s, chosen=chosen: s[chosen], state)
            open_steps = {s: (v[chosen], since) for s, (v, since) in open_steps.items()}
            log_w = torch.full_like(log_w, -math.log(size))
    finish(list(open_steps))
    return result


def _read(model: Fillable, batch: SequenceBatch, num_steps: int) -> ModelState:
    """The state after the first `num_steps` steps."""
    state = model.begin(batch)
    for start in range(0, num_steps, CHUNK):
        state = model.read(batch.steps(start, min(start + CHUNK, num_steps)), state)
    return state._replace(memory=model.remember(batch.steps(0, num_steps)))
