"""Chains: the words that say how values are scaled, and the sizes that follow from them.

log          g is a logarithm, for values that vary by factors; near 0 it is linear, so that
             zeros and negative values have a place: g(x) = asinh(x / (2 c))
running      loc_t is a mean of the series' own past, and scale_t its spread: recent values
             weigh more, and the training data's level and scale count as so many earlier ones
increments   loc_t is the previous value
seasonal     loc_t is the value one season ago
global       loc and scale are those of the training data
none         0 and 1
"""

import math
from collections.abc import Sequence

from seqlatent.data.description import ChannelDescription, DataDescription
from seqlatent.data.spread import Spread
from seqlatent.errors import InputError, did_you_mean

WORDS = ("log", "running", "increments", "seasonal", "global", "none")
MOVING = ("running", "increments", "seasonal")  # these depend on the series' own past
SINGLE = ("global", "none")  # words that stand alone, but for `log` beside `global`


def parse_chain(scaling: str) -> tuple[str, ...]:
    """The words of a chain, joined by +, in their usual order.

    Raises:
        InputError: for an unknown word, or words that exclude each other.
    """
    words = tuple(word.strip() for word in scaling.split("+"))
    for word in words:
        if word not in WORDS:
            raise InputError(
                f"scaling={scaling}: there is no '{word}'{did_you_mean(word, WORDS)}; a chain is "
                f"one or more of {', '.join(WORDS)}, joined by +, or auto"
            )
    alone = [word for word in words if word in SINGLE]
    both = {"increments", "seasonal"} <= set(words)
    others = set(words) - set(alone) - ({"log"} if alone == ["global"] else set())
    if len(set(words)) < len(words) or both or (alone and (len(alone) > 1 or others)):
        raise InputError(
            f"scaling={scaling}: these do not go together; choose one of increments and seasonal, "
            "with or without log and running; or global, with or without log; or none"
        )
    return tuple(sorted(words, key=WORDS.index))


def spread_of(channel: ChannelDescription, words: Sequence[str]) -> Spread:
    """A channel's spread on the scale of a chain."""
    return channel.log_spread if "log" in words else channel.spread


def base_scale(spread: Spread, words: Sequence[str]) -> float:
    """The typical size of the values that a chain leaves, before they are divided by it."""
    what = "increment" if "increments" in words else "seasonal" if "seasonal" in words else "scale"
    return getattr(spread, f"own_{what}" if "running" in words else what)


def units(description: DataDescription, scaling: str) -> list[float]:
    """(D,) the size, in data units, of one unit of the scaled values; of a typical value where it
    varies."""
    words, sizes = parse_chain(scaling), []
    for c in description.channels:
        if "none" in words:
            sizes.append(1.0)
            continue
        spread = spread_of(c, words)
        slope = 1.0
        if "log" in words:
            slope = 2 * c.offset * math.cosh(min(abs(spread.loc), 300.0))
        sizes.append(base_scale(spread, words) * slope)
    return sizes
