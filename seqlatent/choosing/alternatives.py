"""The choice of a model's own options by held-out likelihood.

A model names the options that are `auto`, each with its values from the simplest
(`SequenceModel.alternatives`). They are chosen in that order, each by short fits of its values with
the earlier choices in place; together these take at most 30 % of the budget. Every fit is a density
of the same values, so that held-out nats per step compare them. Of the values that are about as
good as the best, the simplest is chosen: within a standard error or, where that is less, `SLACK`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from seqlatent.choosing.comparing import Parts, compare
from seqlatent.choosing.trials import as_long, short_fit, trial_options
from seqlatent.data.dataset import SequenceDataset
from seqlatent.models.base import Alternatives, SequenceModel
from seqlatent.training import clock
from seqlatent.training.options import TrainingOptions

ENOUGH_STEPS = 60  # of a short fit; fewer do not tell
SLACK = 0.001  # nats per step that a simpler value may lag behind, however sure that is
PATIENCE = 2  # numbers in turn that do no better than the best before them; larger ones would not


@dataclass(frozen=True)
class TriedValue:
    """A value of an option that was tried.

    Attributes:
        option, value: such as `num_states` and 3.
        nats_per_step: of held-out data.
        std_error: of its difference from the best one, over series or parts of them.
    """

    option: str
    value: Any
    nats_per_step: float
    std_error: float


@dataclass(frozen=True)
class Chosen:
    """Values of options, and everything that was tried for them.

    Attributes:
        values: by the option's name.
        tried: values, option by option.
        steps: of short fits, also of those that were broken off.
        seconds: that the choice took.
    """

    values: Mapping[str, Any]
    tried: tuple[TriedValue, ...] = ()
    steps: int = 0
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "tried": [asdict(t) for t in self.tried]}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Chosen":
        return cls(**{**content, "tried": tuple(TriedValue(**t) for t in content["tried"])})

    def to_texts(self) -> list[str]:
        """For each option what was chosen, how the others did, and whether that was close."""
        texts = []
        for name, value in self.values.items():
            tried = sorted(
                (t for t in self.tried if t.option == name), key=lambda t: -t.nats_per_step
            )
            if not tried:
                texts.append(f"{name}={value}: the budget is too small for short fits of others")
                continue
            mine = next(t for t in tried if t.value == value)
            others = ", ".join(f"{t.value} {t.nats_per_step:.3f}" for t in tried if t is not mine)
            text = f"{name}={value}: {mine.nats_per_step:.3f} held-out nats per step by short fits"
            text += f" ({others})"
            if mine is not tried[0]:
                text += f"; it is the simplest of those about as good as {tried[0].value}"
            texts.append(text)
        return texts


def choose_alternatives(
    build: Callable[[Mapping[str, Any]], SequenceModel],
    alternatives: Mapping[str, Alternatives],
    train: SequenceDataset,
    held_out: SequenceDataset,
    options: TrainingOptions,
    *,
    seed: int = 0,
    device: str = "auto",
) -> Chosen:
    """Choose options one after another by held-out data.

    Args:
        build: a model with new parameters and these values of the options.
        alternatives: the options and their values.
        train, held_out: data; pieces know the values before them.
        options: of training; its budget bounds that of short fits.
        seed, device: of short fits.
    """
    start = clock.seconds()
    values = {name: each.usual for name, each in alternatives.items()}
    num = sum(len(each.values) for each in alternatives.values())
    trial = trial_options(options, num, ENOUGH_STEPS)
    tried: list[TriedValue] = []
    steps = 0
    for name, each in alternatives.items():
        results: dict[Any, Parts] = {}
        alike = trial
        for value in each.values if trial else ():
            assert alike is not None
            model = build({**values, name: value})
            taken, parts = short_fit(
                model, train, held_out, alike, ENOUGH_STEPS, seed=seed, device=device
            )
            steps += taken
            if parts is None:
                results, trial = {}, None
                break
            if not results:
                alike = as_long(alike, taken)
            results[value] = parts
            if _declining(results):
                break
        if results and all(len(nats) for nats, _ in results.values()):
            found = [TriedValue(name, v, *pair) for v, pair in compare(results).items()]
            values[name] = _simplest(found)
            tried += found
    return Chosen(values, tuple(tried), steps, clock.seconds() - start)


def _declining(results: Mapping[Any, Parts]) -> bool:
    """Whether the last few of growing numbers were all worse than one before them."""
    if not all(isinstance(value, int) for value in results):
        return False
    totals = [nats.sum() for nats, _ in results.values()]
    return len(totals) > PATIENCE and max(totals[-PATIENCE:]) < max(totals[:-PATIENCE])


def _simplest(tried: Sequence[TriedValue]) -> Any:
    """The first, and so the simplest, that is about as good as the best."""
    best = max(t.nats_per_step for t in tried)
    return next(t.value for t in tried if t.nats_per_step >= best - max(SLACK, t.std_error))
