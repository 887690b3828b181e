"""The data of a fit, divided into what trains and what is held out.

Whatever compares fits to the same data is given one division, and the held-out part decides all:
the chain of scaling, when training stops, which parameters are kept, the weights of members, and
which model wins a race.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from seqlatent.data.calendar import choose_cycles, with_cycles
from seqlatent.data.categories import known_categories
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.readers import load, load_like
from seqlatent.data.splits import split, with_context
from seqlatent.errors import InputError
from seqlatent.options import make
from seqlatent.training.options import TrainingOptions

logger = logging.getLogger("seqlatent")

SPLIT, GIVEN = "split", "given"
VALIDATED = 2**18  # held-out steps, at about the most, that each validation scores


@dataclass(frozen=True)
class Division:
    """Data, the part that trains and the part that is held out, and the options of training.

    Attributes:
        whole: what was given to be fitted to, with its calendar.
        train, held_out: the parts. The held-out one may be data of its own.
        options: of training.
        origin: of the held-out part: `split` off the data, or `given`.
    """

    whole: SequenceDataset
    train: SequenceDataset
    held_out: SequenceDataset
    options: TrainingOptions
    origin: str = SPLIT


def divide(
    data: Any,
    valid: Any,
    training: Mapping[str, Any],
    *,
    calendar: str | Sequence[str] = "auto",
    context_length: int = 0,
    seed: int = 0,
) -> Division:
    """Divide data for a fit.

    Args:
        data: whatever `seqlatent.load` reads.
        valid: the share that is held out; or held-out data, as `data`.
        training: options of training by name.
        calendar: cycles whose phase is a covariate, or `auto` or `none`.
        context_length: first steps of every series that are not scored.
        seed: of the choice of whole series.

    Raises:
        InputError: for data or options that cannot be used.
    """
    data = load(data)
    data = with_cycles(data, choose_cycles(calendar, data))
    if isinstance(valid, int | float):
        options: TrainingOptions = make(TrainingOptions, {**training, "valid": valid})
        data = with_context(data, context_length)
        length = options.prediction_length
        parts = split(data, options.valid, options.valid_by, seed, prediction_length=length)
        train, held_out = known_categories(*parts)
        return Division(data, train, _validated(held_out), options)
    options = make(TrainingOptions, dict(training))
    if options.prediction_length is not None:
        raise InputError(
            f"prediction_length={options.prediction_length} says which steps of the data are held "
            "out, and the held-out data are given (valid); leave one of them out"
        )
    held_out = load_like(valid, data)  # it gets its context where it is checked
    parts = known_categories(with_context(data, context_length), held_out)
    return Division(data, parts[0], _validated(parts[1]), options, GIVEN)


def _validated(held_out: SequenceDataset) -> SequenceDataset:
    """What of the held-out part validations score: of many sequences some."""
    some = held_out.some(VALIDATED)
    if len(some) < len(held_out):
        logger.info(
            "%s: validating on %d of %d held-out sequences, spread evenly over them",
            held_out.name,
            len(some),
            len(held_out),
        )
    return some
