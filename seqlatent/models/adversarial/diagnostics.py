"""Whether a fit has failed: what is drawn is too much alike, or the critic has won.

Where draws X, X' have the distribution of the value x, given what is known, all three are alike:

    diversity   E|X - X'| / E|X - x|                          1; 0 where all draws are the same
    nearest     E min_j |X_i - X_j| / E min_j |x - X_j|       1; 0 where draws are a few, repeated
    told        P(f(x) > f(X))                                1/2; 1 where the critic is never wrong

of windows that run freely, over as many draws in both minima. Held-out pieces of longer series may
lie at another level than training did, which draws from nothing cannot know: from nothing these are
compared by differences between steps alone, and the critic is not asked. Modes have collapsed where
one of the first two is low: the first also falls where a model is sure and wrong.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch
from seqlatent.distributions.noise import TorchNoise
from seqlatent.models.adversarial.losses import TINY, norm
from seqlatent.models.adversarial.model import AdversarialModel

DRAWS = 12  # of every window
ALIKE = 0.35  # diversity below which a warning says that draws are too much alike
REPEATED = 0.2  # the same of the nearest draws
TOLD = 0.9  # share of the windows that the critic tells, above which it has won
FEW = 8  # windows, too few to tell by


class Examination(NamedTuple):
    """The three measures, each of windows given their past and from nothing, whichever is worse."""

    diversity: float
    nearest: float
    told: float
    num_windows: int


@torch.no_grad()
def examine(model: AdversarialModel, batch: SequenceBatch, seed: int = 0) -> Examination:
    """How draws compare with held-out windows."""
    found = []
    pieces = bool(((batch.past_lengths > 0) | (batch.context > 0)).any())
    D = batch.x.shape[-1]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for known in (True, False):
            windows, real, seen, fake = model.held_out(batch, known, DRAWS, TorchNoise())
            some = windows.weight > 0
            inside = seen * windows.inside[..., None]
            if pieces and not known:
                inside[..., :D] = 0.0
            measures = spread(real[some], fake[some], inside[some])
            f_real = model.verdict(windows, real, seen)[some]
            f_fake = torch.stack([model.verdict(windows, f, seen)[some] for f in fake.unbind(1)])
            told = (f_real > f_fake).double() + 0.5 * (f_real == f_fake)
            share = 0.5 if pieces and not known else float(told.mean())
            found.append((*measures, share, int(some.sum())))
    diversity, nearest, told, number = zip(*found, strict=True)
    return Examination(min(diversity), min(nearest), max(told), min(number))


def spread(real: Tensor, fake: Tensor, seen: Tensor) -> tuple[float, float]:
    """`diversity` and `nearest` of (N, W, K) windows and (N, M, W, K) draws, of what is seen."""
    if not len(real):
        return 1.0, 1.0
    every = (torch.cat([real[:, None], fake], 1) * seen[:, None]).flatten(2)
    apart = norm(every[:, :, None] - every[:, None])  # (N, 1 + M, 1 + M)
    M = fake.shape[1]
    apart = apart.masked_fill(torch.eye(M + 1, device=apart.device).bool(), torch.inf)
    among, from_real = apart[:, 1:, 1:], apart[:, 0, 1:]
    mean = among[:, ~torch.eye(M, device=apart.device).bool()].mean()
    # Each draw's nearest among M - 1 others; the real one's among as many, whichever is left out.
    two = from_real.sort(-1).values[:, :2].mean(0)
    nearest_real = two[0] * (M - 1) / M + two[1] / M
    nearest = among.amin(-1).mean() / nearest_real.clamp(min=TINY)
    return float(mean / from_real.mean().clamp(min=TINY)), float(nearest)


def failures(model: AdversarialModel, found: Examination) -> list[str]:
    """What a user should know before relying on draws, and what to do."""
    texts = []
    if not int(model.judged):
        texts.append(
            "the critic has had no say in the parameters that were kept: the first "
            f"{model.options.start_steps} training steps are by the energy score of one step ahead "
            "alone; fit for longer, or with --set start_steps=0"
        )
    if found.num_windows < FEW:
        return texts
    if found.diversity < ALIKE or found.nearest < REPEATED:
        how = (
            f"windows drawn with different noise differ from each other {found.diversity:.0%} as "
            "much as from the held-out ones"
            if found.diversity < ALIKE
            else f"the nearest of the windows drawn are {found.nearest:.0%} as far from each other "
            "as held-out ones are from them"
        )
        texts.append(
            f"modes have collapsed: {how}, so that forecasts are too narrow and samples repeat; "
            f"fit with a larger energy_weight (now {model.options.energy_weight:g}) or from "
            f"another seed (--seed){', or --model wgan' if model.family == 'gan' else ''}"
        )
    if int(model.judged) and found.told > TOLD:
        texts.append(
            f"the critic has won: it tells {found.told:.0%} of the windows drawn from the held-out "
            "ones, and the generator learns little from it; fit for longer, with a lower "
            "learning_rate, or with a smaller critic (--set critic_dim=16)"
        )
    return texts
