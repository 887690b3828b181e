"""The choice of scaling by held-out likelihood.

Every chain (`seqlatent.nn.chains`) with a model behind it is a density of the same values in data
units, so that held-out nats per step compare them. Two stages:

1. a linear model for each chain (`seqlatent.choosing.linear`);
2. short fits of the model itself, for the best of these in each way to place values, where the
   budget allows them. They take at most 30 % of it.

Of a model without a density, and with a budget that does not allow short fits, there is the first
stage alone. Where held-out values are beyond those of the training data, what linear models prefer
counts even if it is little: a network on one scale cannot go on with a trend, which may be worth no
more than some hundredths of a nat to a linear model, and tenths or more to the network.

Of the chains that are about as good as the best, the simplest is chosen. Linear models tell much
less than short fits do: where values are nonlinear functions of a state, they prefer increments by
some hundredths of a nat, and networks lose tenths by them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from seqlatent.choosing.comparing import Parts, compare, pieces
from seqlatent.choosing.linear import linear_scores, some
from seqlatent.choosing.trials import as_long, short_fit, trial_options
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.sequence import Sequence as Series
from seqlatent.inference.protocols import DeterministicCodes, ExactPosterior
from seqlatent.inference.training_protocols import OwnSelection
from seqlatent.models.base import SequenceModel
from seqlatent.nn.chains import MOVING
from seqlatent.training import clock
from seqlatent.training.options import TrainingOptions

# From the simplest to the most complex.
CHAINS = (
    "global",
    "log+global",
    "increments",
    "seasonal",
    "running",
    "running+increments",
    "running+seasonal",
    "log+running",
    "log+running+increments",
    "log+running+seasonal",
)
# Nats per step within which chains are tried with the model itself: the best of each way to place
# values, and others.
WORTH, CLOSE = 0.5, 0.1
SLACK_SAME_WAY = 0.01  # by which a simpler chain of the same way may lag behind
# Nats per step that a simpler chain may lag behind: by short fits; by linear models; and by these
# where held-out values are beyond the training data.
SLACK, SLACK_LINEAR, SLACK_BEYOND = 0.005, CLOSE, 0.03
BEYOND = 0.05  # share of held-out values from which on that is so
FINALISTS = 3
ENOUGH_STEPS = 60  # of a short fit; fewer do not tell


@dataclass(frozen=True)
class Tried:
    """A chain that was tried.

    Attributes:
        scaling: the chain.
        by: `linear` or `fit`, which model was behind it.
        nats_per_step: of held-out data.
        std_error: of its difference from the best one, over series or parts of them.
    """

    scaling: str
    by: str
    nats_per_step: float
    std_error: float


@dataclass(frozen=True)
class Choice:
    """A chain, and everything that was tried, in that order.

    Attributes:
        scaling: the chain.
        tried: chains.
        steps: of short fits, also of those that were broken off.
        seconds: that the choice took.
    """

    scaling: str
    tried: tuple[Tried, ...] = ()
    steps: int = 0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "tried": [asdict(t) for t in self.tried]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Choice":
        return cls(**{**content, "tried": tuple(Tried(**t) for t in content["tried"])})

    def to_text(self) -> str:
        """What was chosen, how the others did, and whether that was close."""
        last = [t for t in self.tried if t.by == self.tried[-1].by]
        last = sorted(last, key=lambda t: -t.nats_per_step)
        chosen = next(t for t in last if t.scaling == self.scaling)
        others = [f"{t.scaling} {t.nats_per_step:.3f}" for t in last if t is not chosen]
        how = "short fits" if chosen.by == "fit" else "linear models"
        nats = f"{chosen.nats_per_step:.3f} held-out nats per step by {how}"
        text = f"scaling={chosen.scaling}: {nats} ({', '.join(others)})"
        if chosen is not last[0]:
            text += f"; it is the simplest of those about as good as {last[0].scaling}"
        return text


def candidates(module: SequenceModel) -> list[str]:
    """The chains that suit a model and its data, from the simplest.

    Args:
        module: a model of the data, with any scaling.
    """
    description, scaler = module.description, module.scaler
    real = [c for c, free in zip(description.channels, scaler.unscaled, strict=True) if not free]
    if not real:
        return ["global"]
    positive = all(c.minimum >= 0 and c.maximum > 0 for c in real)
    chosen = []
    for chain in CHAINS:
        words = chain.split("+")
        # Or a smoother could not fill gaps, and codes would be of windows on different scales, from
        # which values could not be decoded without those before them.
        fixed = isinstance(module, ExactPosterior | DeterministicCodes)
        if (
            ("log" in words and not positive)
            or ("seasonal" in words and not description.seasons)
            or (fixed and set(words) & set(MOVING))
        ):
            continue
        chosen.append(chain)
    return chosen


def choose_scaling(
    build: Callable[[str], SequenceModel],
    train: SequenceDataset,
    held_out: SequenceDataset,
    options: TrainingOptions,
    *,
    seed: int = 0,
    device: str = "auto",
) -> Choice:
    """Choose a chain by held-out data.

    Args:
        build: a model with new parameters and the chain of that name.
        train, held_out: data; pieces know the values before them.
        options: of training; its budget bounds that of short fits.
        seed: of short fits.
        device: of short fits.
    """
    start = clock.seconds()
    module = build("global")
    chains = candidates(module)
    if len(chains) == 1:
        return Choice(chains[0])
    fitted, scored = some(train.sequences), some(held_out.sequences)
    parts = {c: _parts(scored, linear_scores(module, c, fitted, scored)) for c in chains}
    if not len(parts[chains[0]][0]):  # nothing is held out that could tell
        return Choice(chains[0])
    tried = _compared(parts, "linear")
    last = finalists(tried)
    trial = trial_options(options, len(last), ENOUGH_STEPS)
    steps, results = 0, {}
    if len(last) > 1 and trial and not isinstance(module, OwnSelection):
        for chain in last:
            model = build(chain)
            taken, found = short_fit(
                model, train, held_out, trial, ENOUGH_STEPS, seed=seed, device=device
            )
            steps += taken
            if found is None:
                break
            if not results:
                trial = as_long(trial, taken)
            results[chain] = found
        else:
            fits = _compared(results, "fit")
            spent = clock.seconds() - start
            return Choice(_simplest(fits, SLACK), (*tried, *fits), steps, spent)
    slack = SLACK_BEYOND if _share_beyond(module, scored) > BEYOND else SLACK_LINEAR
    return Choice(_simplest(tried, slack), tuple(tried), steps, clock.seconds() - start)


def finalists(tried: Sequence[Tried]) -> list[str]:
    """The chains that are tried with the model itself, from the simplest.

    Of each way to place values, at the level of the data, by increments and by seasons, the
    simplest that is about as good as the best by linear models; and, where these are fewer than
    `FINALISTS`, the simplest of all, then the best others that are close. A network can do more in
    one way than in another: half-hourly counts of taxi trips are .3 nats per step worse by
    increments than by seasons to linear models, and .2 better to networks; sensors of a pendulum
    are better by `running` to linear models, and worse by .05 to networks.
    """
    best = max(t.nats_per_step for t in tried)
    ways: dict[str, list[Tried]] = {}
    for t in tried:
        if t.nats_per_step >= best - max(WORTH, 2 * t.std_error):
            ways.setdefault(_way(t.scaling), []).append(t)
    chosen = {_simplest(same, SLACK_SAME_WAY) for same in ways.values()}
    others = sorted(tried, key=lambda t: -t.nats_per_step)
    for t, near in ((tried[0], WORTH), *((t, CLOSE) for t in others)):
        if len(chosen) < FINALISTS and t.nats_per_step >= best - max(near, 2 * t.std_error):
            chosen.add(t.scaling)
    return [t.scaling for t in tried if t.scaling in chosen]


def _way(scaling: str) -> str:
    return next((word for word in ("increments", "seasonal") if word in scaling), "level")


def _parts(sequences: Sequence[Series], nats: Sequence[np.ndarray]) -> Parts:
    """Of the scored steps of every series."""
    scored = [
        each[s.context :][np.isfinite(s.x[s.context :]).any(1)]
        for s, each in zip(sequences, nats, strict=True)
    ]
    return pieces(scored)


def _compared(results: dict[str, Parts], by: str) -> list[Tried]:
    return [Tried(chain, by, *pair) for chain, pair in compare(results).items()]


def _share_beyond(module: SequenceModel, held_out: Sequence[Series]) -> float:
    """The share of held-out values outside of the range of the training data, of the channel where
    it is largest."""
    x = np.concatenate([s.x[s.context :] for s in held_out])
    low, high = (
        np.array([getattr(c, end) for c in module.description.channels]) for end in ("low", "high")
    )
    seen = np.isfinite(x)
    outside = seen & ((x < low) | (x > high))
    return float((outside.sum(0) / np.maximum(seen.sum(0), 1)).max())


def _simplest(tried: Sequence[Tried], slack: float) -> str:
    """The first, and so the simplest, that is about as good as the best: within `slack` nats per
    step or, where the data tell less than that, within a standard error."""
    best = max(t.nats_per_step for t in tried)
    return next(t.scaling for t in tried if t.nats_per_step >= best - max(slack, t.std_error))
