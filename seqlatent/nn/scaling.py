"""Scaling: causal and invertible maps of values, whose determinant is part of every density.

    y_t = (g(x_t) - loc_t) / scale_t        log p(x_t) = log p(y_t) + log g'(x_t) - log scale_t

where loc_t and scale_t depend on x_{<t} alone. A *chain* names the parts, joined by +:

    log          g is a logarithm, for values that vary by factors; near 0 it is linear, so that
                 zeros and negative values have a place: g(x) = asinh(x / (2 c))
    running      loc_t is a mean of the series' own past, and scale_t its spread: recent values weigh
                 more, and the training data's level and scale count as so many earlier values
    increments   loc_t is the previous value
    seasonal     loc_t is the value one season ago
    global       loc and scale are those of the training data
    none         0 and 1

Missing values are passed over: the last value that was observed takes the place of the one before,
or of the one a season ago. At the first value there is none: loc and scale are then those of the
training data's values, so that every value has a density. Counts and labels are never scaled.

Networks may see the past on the same scale: the values some seasons ago, the level and the scale of
the series, its age.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from seqlatent.data.batch import SequenceBatch
from seqlatent.data.description import ChannelDescription, DataDescription
from seqlatent.data.spread import Spread
from seqlatent.errors import InputError, did_you_mean
from seqlatent.nn.layers import soft_clip

WORDS = ("log", "running", "increments", "seasonal", "global", "none")
SINGLE = ("global", "none")  # words that stand alone, but for `log` beside `global`
WINDOW = 50  # steps after which a value's weight in running means has fallen to 1/e, at least
MANY = 16  # channels above which networks see no features of the past: they would be too many
DOUBLE = torch.float64


def parse_chain(scaling: str) -> tuple[str, ...]:
    """The words of a chain.

    Raises:
        InputError: for an unknown word, or words that exclude each other.
    """
    words = tuple(word.strip() for word in scaling.split("+"))
    for word in words:
        if word not in WORDS:
            raise InputError(
                f"scaling={scaling}: there is no '{word}'{did_you_mean(word, WORDS)}; a chain is "
                f"one or more of {', '.join(WORDS)}, joined by +"
            )
    alone = [word for word in words if word in SINGLE]
    both = {"increments", "seasonal"} <= set(words)
    if len(set(words)) < len(words) or both or (alone and set(words) - {"log", "global"}):
        raise InputError(
            f"scaling={scaling}: these do not go together; choose one of increments and seasonal, "
            "with or without log and running"
        )
    return words


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


class Memory(NamedTuple):
    """What scaling remembers of the values so far, on the scale of g; B sequences.

    Attributes:
        last: (B, 1, D) the last observed values; NaN where there is none.
        past: (B, L, D) the last L values, NaN where missing; L is the longest lag.
        since: (B, k, D) the values after those.
        level, weight: (B, 1, D) weighted sum of the values, and of their weights.
        square, count: (B, 1, D) the same of the squares of the scaled values.
        age: (B, 1, 1) number of steps.
    """

    last: Tensor
    past: Tensor
    since: Tensor
    level: Tensor
    weight: Tensor
    square: Tensor
    count: Tensor
    age: Tensor


class Scaled(NamedTuple):
    """The scaling of T steps: `loc` and `scale` are (B, T, D) or (1, 1, D), on the scale of g;
    `features` (B, T, E) are what networks see of the past."""

    loc: Tensor
    scale: Tensor
    features: Tensor


class Scaler(nn.Module):
    """The scaling of a chain, fitted to the training data's description.

    Args:
        description: of the training data.
        scaling: the chain.
        unscaled: for each channel, whether it is left unscaled; by default none is.
        lags: in steps; of the values that networks see besides the one before.
        labels: for each channel, whether its values are labels, which have no size.
        seen: whether networks see features of the past.

    Attributes:
        num_features: E.
        moving: whether loc and scale depend on the series' past.

    Raises:
        InputError: for an unknown chain, or a season that the data do not have.
    """

    loc: Tensor
    scale: Tensor

    def __init__(
        self,
        description: DataDescription,
        scaling: str = "global",
        unscaled: Sequence[bool] = (),
        lags: Sequence[int] = (),
        labels: Sequence[bool] = (),
        seen: bool = True,
    ):
        super().__init__()
        words = parse_chain(scaling)
        D = description.num_channels
        unscaled = list(unscaled) or [False] * D
        if all(unscaled):
            words = ("global",)
        self.words, self.scaling = words, "+".join(words)
        self.moving = bool({"running", "increments", "seasonal"} & set(words))
        self.season = description.seasons[0] if "seasonal" in words and description.seasons else 0
        if "seasonal" in words and not self.season:
            raise InputError(
                f"scaling={scaling} needs a season, and none was found in the data; give its "
                "length in steps (season), or another scaling"
            )
        self.lags = tuple(lags) if seen else ()
        self.longest = max((self.season, *self.lags), default=0)
        seasons = description.seasons or (1,)
        self.decay = 1 - 1 / max(WINDOW, 2 * seasons[0])
        spreads = [spread_of(c, words) for c in description.channels]
        free = [u or "none" in words for u in unscaled]

        def buffer(name: str, values: Sequence[float], default: float) -> None:
            tensor = torch.tensor(
                [default if f else v for v, f in zip(values, free, strict=True)], dtype=DOUBLE
            )
            self.register_buffer(name, tensor)

        running = "running" in words
        buffer("loc", [s.loc for s in spreads], 0.0)
        # The first value is scaled by how the values of all series vary.
        buffer("first_scale", [s.scale for s in spreads], 1.0)
        buffer("step_scale", [s.own_increment if running else s.increment for s in spreads], 1.0)
        buffer("scale", [base_scale(s, words) for s in spreads], 1.0)
        buffer("level_weight", [s.level_weight for s in spreads], 1.0)
        buffer("scale_weight", [s.scale_weight for s in spreads], 1.0)
        buffer("offset", [c.offset for c in description.channels], 1.0)
        buffer("rounding", [c.resolution / math.sqrt(12) for c in description.channels], 0.0)
        self.register_buffer("free", torch.tensor(free), persistent=False)
        logged = ["log" in words and not f for f in free]
        self.register_buffer("logged", torch.tensor(logged), persistent=False)
        self.any_logged = any(logged)
        # Features describe the channels that have a size, on a scale of their own if unscaled.
        labels = list(labels) or [False] * D
        self.seen = [d for d in range(D) if not labels[d]]
        counted = any(
            f and not labels[d] and description.channels[d].maximum > 1 for d, f in enumerate(free)
        )
        self.describes = (
            seen
            and D <= MANY
            and (self.moving or (counted and "none" not in words and description.num_series > 1))
        )
        kinds = 2 * len(self.lags) + (3 if self.describes else 0)
        self.num_features = kinds * len(self.seen) + int(self.describes)
        view = [c.log_spread if f else s for c, s, f in zip(
            description.channels, spreads, free, strict=True)]  # fmt: skip
        self.register_buffer("view_log", torch.tensor(free), persistent=False)
        self.register_buffer("view_loc", torch.tensor([s.loc for s in view], dtype=DOUBLE))
        self.register_buffer("view_scale", torch.tensor([s.scale for s in view], dtype=DOUBLE))
        self.register_buffer(
            "view_offset", torch.tensor([c.offset for c in description.channels], dtype=DOUBLE)
        )

    # -- the map g ---------------------------------------------------------------------------------

    def to_scale(self, x: Tensor) -> Tensor:
        """(..., D) values in data units -> g(x)."""
        if not self.any_logged:
            return x
        return torch.where(self.logged, torch.asinh(x / (2 * self.offset)), x)

    def from_scale(self, g: Tensor) -> Tensor:
        """(..., D) g(x) -> values in data units."""
        if not self.any_logged:
            return g
        bounded = g.clamp(-600.0, 600.0)  # beyond, a value is no finite number
        return torch.where(self.logged, 2 * self.offset * torch.sinh(bounded), g)

    def log_slope(self, x: Tensor) -> Tensor:
        """(..., D) log g'(x)."""
        if not self.any_logged:
            return torch.zeros_like(x)
        slope = -0.5 * torch.log(x.square() + 4 * self.offset.square())
        return torch.where(self.logged, slope, 0.0)

    # -- scaling -----------------------------------------------------------------------------------

    def forward(self, batch: SequenceBatch) -> Scaled:
        """The scaling of every step of a batch, given the steps before it."""
        if not self.moving and not self.num_features:
            none = self.loc.new_zeros(1, 1, 0)
            return Scaled(self.loc[None, None], self.scale[None, None], none)
        if batch.scaled:
            return Scaled(*batch.scaled)
        return self.scan(batch)[0]

    def scale_values(self, x: Tensor, scaled: Scaled, dtype: torch.dtype | None = None) -> Tensor:
        """(B, T, D) values in data units -> scaled values."""
        y = (self.to_scale(x) - scaled.loc) / scaled.scale
        return y.to(dtype or torch.get_default_dtype())

    def unscale(self, y: Tensor, scaled: Scaled) -> Tensor:
        """(..., B, T, D) scaled values -> values in data units."""
        return self.from_scale(scaled.loc + y.to(DOUBLE) * scaled.scale)

    def log_scale(self, batch: SequenceBatch, scaled: Scaled, dtype=None) -> Tensor:
        """(B, T) nats: log p of the scaled values is that of the values in data units *plus*
        this, the sum of log scale_t - log g'(x_t) over each step's observed channels."""
        size = scaled.scale.log() - self.log_slope(batch.x)
        return (size * batch.observed).sum(-1).to(dtype or torch.get_default_dtype())

    # -- step by step ------------------------------------------------------------------------------

    def begin(self, size: int = 1) -> Memory:
        """The memory before the first step."""
        D = len(self.loc)
        zero, none = self.loc.new_zeros(size, 1, D), self.loc.new_full((size, 1, D), torch.nan)
        past = none.expand(-1, self.longest, -1)
        age = zero[..., :1]
        return Memory(none, past, none[:, :0], zero, zero, zero, zero, age)

    def next(self, memory: Memory) -> Scaled:
        """The scaling of the next step."""
        loc, scale, base = self.loc.expand_as(memory.last), self.scale, None
        known = ~memory.last.isnan()
        if "running" in self.words:
            total = self.level_weight * self.loc + memory.level
            mean = total / (self.level_weight + memory.weight)
            loc = mean
        if "increments" in self.words or "seasonal" in self.words:
            loc = torch.where(known, memory.last, loc)
            base = torch.where(known, self.step_scale, self.first_scale)
        if "seasonal" in self.words:
            before = self._lagged(memory, self.season)
            there = ~before.isnan()
            loc = torch.where(there, before, loc)
            assert base is not None
            base = torch.where(there, scale, base)
        if base is None:
            base = scale.expand_as(loc)
            if "running" in self.words:
                base = torch.where(known, scale, self.first_scale)
        scale = base
        if "running" in self.words:
            ratio = (self.scale_weight + memory.square) / (self.scale_weight + memory.count)
            scale = base * ratio.sqrt()
        if self.moving:  # never less than what rounding to the recorded digits makes of it
            least = self.rounding * self.log_slope(self.from_scale(loc)).exp()
            scale = torch.where(self.free, 1.0, (scale.square() + least.square()).sqrt())
            loc = torch.where(self.free, 0.0, loc)
        return Scaled(loc, scale, self._features(memory, loc, scale))

    def after(self, memory: Memory, x: Tensor, scaled: Scaled | None = None) -> Memory:
        """The memory after one more step, (B, 1, D) values in data units, NaN where missing."""
        if not self.moving and not self.num_features:
            return memory
        seen = ~x.isnan()
        g = self._view(x)
        last = torch.where(seen, g, memory.last)
        level = self.decay * memory.level + torch.where(seen, g, 0.0)
        weight = self.decay * memory.weight + seen
        square, count = memory.square, memory.count
        if "running" in self.words:
            scaled = scaled or self.next(memory)
            y = (g - scaled.loc) / self._base(memory)
            counts = seen & ~memory.last.isnan()
            # One outlier must not make a series' scale useless for many steps.
            square = self.decay * square + torch.where(counts, y.square().clamp(max=100.0), 0.0)
            count = self.decay * count + counts
        past, since = memory.past, memory.since
        if self.longest:
            since = torch.cat([since.expand(len(g), -1, -1), g], 1)
            if since.shape[1] > max(32, self.longest):
                past = torch.cat([past.expand(len(g), -1, -1), since], 1)[:, -self.longest :]
                since = since[:, :0]
        return Memory(last, past, since, level, weight, square, count, memory.age + 1)

    def scan(self, batch: SequenceBatch) -> tuple[Scaled, Memory]:
        """The scaling of every step of a batch, and the memory after the last one, which means
        something only for a batch without padding."""
        values = torch.where(batch.observed, batch.x, torch.nan)
        num_past = batch.past.shape[1]
        memory = self.begin(len(values))
        memory = memory._replace(age=(batch.past_lengths - num_past)[:, None, None].to(DOUBLE))
        steps: list[Scaled] = []
        for t, x in enumerate(torch.cat([batch.past, values], 1).split(1, 1)):
            scaled = self.next(memory)
            if t >= num_past:
                steps.append(scaled)
            memory = self.after(memory, x, scaled)
        if not steps:
            empty = self.loc.new_ones(len(values), 0, len(self.loc))
            return Scaled(empty, empty, empty[..., :1].expand(-1, -1, self.num_features)), memory
        return Scaled(*(torch.cat(part, 1) for part in zip(*steps, strict=True))), memory

    def inverse(self, y: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        """(B, T, D) scaled values of the next T steps -> values in data units, and the memory
        after them."""
        values = []
        for step in y.split(1, 1):
            scaled = self.next(memory)
            x = self.unscale(step, scaled)
            memory = self.after(memory, x, scaled)
            values.append(x)
        return torch.cat(values, 1), memory

    # -- parts -------------------------------------------------------------------------------------

    def _base(self, memory: Memory) -> Tensor:
        """The scale of the next step before it is multiplied by the series' own."""
        known = ~memory.last.isnan()
        if "increments" in self.words:
            return torch.where(known, self.scale, self.first_scale)
        if "seasonal" in self.words:
            there = ~self._lagged(memory, self.season).isnan()
            return torch.where(there, self.scale, torch.where(known, self.step_scale,
                                                              self.first_scale))  # fmt: skip
        return torch.where(known, self.scale, self.first_scale)

    def _lagged(self, memory: Memory, lag: int) -> Tensor:
        """(B, 1, D) the values `lag` steps before the next one; NaN where missing."""
        k = memory.since.shape[1]
        if lag <= k:
            return memory.since[:, k - lag : k - lag + 1]
        place = memory.past.shape[1] - lag + k
        return memory.past[:, place : place + 1]

    def _view(self, x: Tensor) -> Tensor:
        """Values on the scale that is remembered: that of g, logarithmic where unscaled."""
        g = self.to_scale(x)
        if not self.num_features or not bool(self.view_log.any()):
            return g
        return torch.where(self.view_log, torch.asinh(x / (2 * self.view_offset)), g)

    def _features(self, memory: Memory, loc: Tensor, scale: Tensor) -> Tensor:
        """(B, 1, E) what networks see of the past."""
        if not self.num_features:
            return loc.new_zeros(len(loc), 1, 0)
        origin = torch.where(self.free, self.view_loc, loc)[..., self.seen]
        size = torch.where(self.free, self.view_scale, scale)[..., self.seen]
        parts = []
        for lag in self.lags:
            y = (self._lagged(memory, lag)[..., self.seen] - origin) / size
            there = ~y.isnan()
            parts += [soft_clip(torch.where(there, y, 0.0)), (~there).to(y)]
        if self.describes:
            known = memory.weight[..., self.seen] > 0
            mean = memory.level / memory.weight.clamp(min=1e-9)
            level = ((mean - self.view_loc) / self.view_scale)[..., self.seen]
            ratio = (scale / self.scale).log()[..., self.seen]
            # Where the next value is not scaled by its distance from the level, this says it is.
            distance = (mean[..., self.seen] - origin) / size
            parts += [
                soft_clip(torch.where(known, level, 0.0)),
                soft_clip(torch.where(known, distance, 0.0)),
                ratio,
                torch.log1p(memory.age.clamp(min=0.0)).expand(len(loc), -1, -1) / 5,
            ]
        parts = [p.expand(len(loc), -1, -1) for p in parts]
        return torch.cat(parts, -1)


@torch.no_grad()
def prepare(scaler: Scaler, sequences: Sequence, batch_size: int = 256) -> list:
    """The sequences with the scaling of every step, computed once for all uses.

    Args:
        scaler: of a model.
        sequences: pieces know the values before them.
        batch_size: sequences that are scanned together.
    """
    from dataclasses import replace

    from seqlatent.data.batch import collate

    if not scaler.moving and not scaler.num_features:
        return list(sequences)
    order = np.argsort([len(s) + (0 if s.past is None else len(s.past)) for s in sequences])
    result = list(sequences)
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        part = [replace(sequences[i], scaled=None) for i in places]
        scaled = scaler.scan(collate(part).to(scaler.loc.device))[0]
        arrays = [a.cpu().numpy() for a in scaled]
        for row, (i, s) in enumerate(zip(places, part, strict=True)):
            own = tuple(np.ascontiguousarray(a[row, : len(s)]) for a in arrays)
            result[i] = replace(s, scaled=own)
    return result


class CovariateScaler(nn.Module):
    """Standardises covariates with the location and scale of the training data."""

    loc: Tensor
    scale: Tensor

    def __init__(self, description: DataDescription):
        super().__init__()
        self.register_buffer("loc", torch.tensor(description.covariate_loc, dtype=torch.float64))
        self.register_buffer(
            "scale", torch.tensor(description.covariate_scale, dtype=torch.float64)
        )

    def forward(self, covariates: Tensor) -> Tensor:
        scaled = (covariates - self.loc) / self.scale
        return soft_clip(scaled.to(torch.get_default_dtype()))
