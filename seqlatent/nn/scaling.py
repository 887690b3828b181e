"""Scaling: causal and invertible maps of values, whose determinant is part of every density.

    y_t = (g(x_t) - loc_t) / scale_t        log p(x_t) = log p(y_t) + log g'(x_t) - log scale_t

where loc_t and scale_t depend on x_{<t} alone, as a chain says (`seqlatent.nn.chains`).

Missing values are passed over: the last value that was observed takes the place of the one before,
or of the one a season ago. At the first value there is none: loc and scale are then those of the
training data's values, so that every value has a density. Counts and labels are never scaled.

A *wild* value, |y_t| > `limit`_t, has a density like any other, but what follows is scaled and
predicted as if it had been missing: it says that something broke, not where the series goes. A
series that moved to another level is followed there: after three wild values in a row, the next
ones count.

Networks may see the past on the same scale: the values some seasons ago, the level and the scale of
the series, its age.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from seqlatent.data.batch import SequenceBatch
from seqlatent.data.description import DataDescription
from seqlatent.errors import InputError
from seqlatent.nn.chains import MOVING, base_scale, parse_chain, spread_of
from seqlatent.nn.layers import OUTLIER
from seqlatent.nn.limits import Limits
from seqlatent.nn.memory import Before, Memory, Scaled, carried, discounted, shifted
from seqlatent.nn.past import MANY, past_features

WINDOW = 50  # steps after which a value's weight in running means has fallen to 1/e, at least
ROW = 3  # wild values in a row, after which a series is followed
NEW = 32  # values of paths that are kept apart from the values before them
DOUBLE = torch.float64


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
        unscaled, labels: as given.
        seen: the channels that features of the past describe; None: all of them.
        moving: whether loc and scale depend on the series' past.

    Raises:
        InputError: for an unknown chain, or a season that the data do not have.
    """

    loc: Tensor
    scale: Tensor
    first_scale: Tensor
    step_scale: Tensor
    level_weight: Tensor
    scale_weight: Tensor
    offset: Tensor
    rounding: Tensor
    free: Tensor
    limit: Tensor
    logged: Tensor
    view_loc: Tensor
    view_scale: Tensor
    view_offset: Tensor

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
        self.moving = bool(set(MOVING) & set(words))
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
        offsets = [c.offset for c in description.channels]
        buffer("offset", offsets, 1.0)
        buffer("rounding", [c.resolution / math.sqrt(12) for c in description.channels], 0.0)
        self.register_buffer("free", torch.tensor(free), persistent=False)
        limit = [math.inf if f else OUTLIER for f in free]
        self.register_buffer("limit", torch.tensor(limit, dtype=DOUBLE), persistent=False)
        logged = ["log" in words and not f for f in free]
        self.register_buffer("logged", torch.tensor(logged), persistent=False)
        self.any_free, self.any_logged = any(free), any(logged)
        self.limits = Limits(description, spreads, self.to_scale, self.from_scale)
        # Features describe the channels that have a size, on a scale of their own if unscaled.
        labels = list(labels) or [False] * D
        self.unscaled, self.labels = unscaled, labels
        sized = [d for d in range(D) if not labels[d]]
        self.seen = sized if any(labels) else None
        counted = any(
            f and not labels[d] and description.channels[d].maximum > 1 for d, f in enumerate(free)
        )
        self.describes = (
            seen
            and D <= MANY
            and (self.moving or (counted and "none" not in words and description.num_series > 1))
        )
        kinds = 2 * len(self.lags) + (3 if self.describes else 0)
        self.num_features = kinds * len(sized) + int(self.describes)
        view = [c.log_spread if f else s for c, s, f in zip(
            description.channels, spreads, free, strict=True)]  # fmt: skip
        self.register_buffer("view_loc", torch.tensor([s.loc for s in view], dtype=DOUBLE))
        self.register_buffer("view_scale", torch.tensor([s.scale for s in view], dtype=DOUBLE))
        self.register_buffer("view_offset", torch.tensor(offsets, dtype=DOUBLE))

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
            loc, scale, limit = (part[None, None] for part in (self.loc, self.scale, self.limit))
            return Scaled(loc, scale, none, limit)
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
        slope = self.log_slope(batch.x) if self.any_logged else 0.0
        size = scaled.scale.log() - slope
        return (size * batch.observed).sum(-1).to(dtype or torch.get_default_dtype())

    # -- step by step ------------------------------------------------------------------------------

    def begin(self, size: int = 1) -> Memory:
        """The memory before the first step."""
        D = len(self.loc)
        zero, none = self.loc.new_zeros(size, 1, D), self.loc.new_full((size, 1, D), torch.nan)
        past = none.expand(-1, self.longest, -1)
        zeros = (zero, zero, zero, zero, zero, zero[..., :1], zero, zero)
        return self.limits.begin(Memory(none, past, none[:, :0], *zeros))

    def next(self, memory: Memory) -> Scaled:
        """The scaling of the next step."""
        return self._scaled(memory, *self._loc_base(memory), self.next_limit(memory))

    def next_limit(self, memory: Memory) -> Tensor:
        """(B, 1, D) the size above which the scaled value of the next step is wild."""
        return torch.where(memory.row >= ROW, math.inf, self.limit)

    def step(self, memory: Memory, x: Tensor) -> tuple[Scaled, Memory]:
        """`next` and `after` in one."""
        loc, base = self._loc_base(memory)
        scaled = self._scaled(memory, loc, base, self.next_limit(memory))
        return scaled, self._after(memory, x, loc, base, scaled.scale)

    def after(self, memory: Memory, x: Tensor) -> Memory:
        """The memory after one more step of a path, (B, 1, D) values in data units, NaN where
        missing: its centre and room stay those of the values that `scan` read."""
        return self.step(memory, x)[1]

    def _after(self, memory: Memory, x: Tensor, loc: Tensor, base: Tensor, scale: Tensor) -> Memory:
        if not self.moving and not self.num_features:
            return memory
        beyond = self._beyond(x, loc, scale)
        seen = ~x.isnan() & ~(beyond & (memory.row < ROW))
        g = torch.where(seen, self._view(x), torch.nan)
        last = torch.where(seen, g, memory.last)
        level = self.decay * memory.level + torch.where(seen, g, 0.0)
        weight = self.decay * memory.weight + seen
        square, counted = memory.square, memory.counted
        if "running" in self.words:
            own, counts = self._own(g, memory, loc, base)
            square, counted = self.decay * square + own, self.decay * counted + counts
        past, since = memory.push(g, NEW) if self.longest else (memory.past, memory.since)
        row = torch.where(beyond, memory.row + 1, 0.0) if self.moving else memory.row
        new = (last, past, since, level, weight, square, counted, row, memory.age + 1)
        return Memory(*new, *memory[len(new) :])

    def scan(self, batch: SequenceBatch) -> tuple[Scaled, Memory]:
        """The scaling of every step of a batch, and the memory after the last one, which means
        something only for a batch without padding."""
        num_past = batch.past.shape[1]
        x = torch.cat([batch.past, torch.where(batch.read, batch.x, torch.nan)], 1)
        B, T, D = x.shape
        if T == 0:
            none = self.loc.new_ones(B, 0, D)
            features = none[..., :1].expand(-1, -1, self.num_features)
            return Scaled(none, none, features, none), self.begin(B)
        age = torch.arange(T + 1, dtype=DOUBLE, device=x.device)[None, :, None]
        age = (age + (batch.past_lengths - num_past)[:, None, None]).clamp(min=0)
        # Which values are wild depends on the scale, and the scale on which were: the first step
        # that is still wrong is right after one more pass, and wild values are few.
        wild = torch.zeros_like(x, dtype=torch.bool)
        while True:
            scaled, memory = self._pass(torch.where(wild, torch.nan, x), age)
            beyond = self._beyond(x, scaled.loc, scaled.scale)
            followed = self._followed(beyond)
            if bool((wild == (beyond & ~followed)).all()):
                break
            wild = beyond & ~followed
        rows = beyond[:, -ROW:].flip(1).cumprod(1).sum(1, keepdim=True).to(DOUBLE)
        limit = torch.where(followed, math.inf, self.limit)
        scaled = scaled._replace(limit=limit)
        if self.moving:
            memory = memory._replace(row=rows)
        return Scaled(*(part[:, num_past:] for part in scaled)), memory

    def _pass(self, x: Tensor, age: Tensor) -> tuple[Scaled, Memory]:
        """The scaling of the steps of (B, T, D) values, NaN where missing or wild, and the memory
        after them; age (B, T + 1, 1) steps."""
        B, T, D = x.shape
        g, seen = self._view(x), ~x.isnan()
        level, weight = discounted([torch.where(seen, g, 0.0), seen.to(g)], self.decay)
        zero = torch.zeros_like(g)
        before_level, before_weight = (shifted(v, 1).nan_to_num(0.0) for v in (level, weight))
        m = Before(carried(g), before_level, before_weight, zero, zero, age[:, :-1], g)
        square, counted = zero, zero
        loc, base = self._loc_base(m)
        if "running" in self.words:
            square, counted = discounted(self._own(g, m, loc, base), self.decay)
            m = m._replace(square=shifted(square, 1).nan_to_num(0.0))
            m = m._replace(counted=shifted(counted, 1).nan_to_num(0.0))
        scaled = self._scaled(m, loc, base, self.limit.expand_as(loc))
        last = torch.where(seen, g, m.last)[:, -1:]
        missing = g.new_full((B, max(0, self.longest - T), D), torch.nan)
        past = torch.cat([missing, g], 1)[:, max(0, T - self.longest) :][:, : self.longest]
        level, weight, square, counted = (v[:, -1:] for v in (level, weight, square, counted))
        row, age = torch.zeros_like(level), age[:, -1:]
        sums = (level, weight, square, counted, row, age, level, level)
        memory = Memory(last, past, g[:, :0], *sums)
        return scaled, self.limits.begin(memory, self.own_scale(memory))

    def inverse(self, y: Tensor, memory: Memory, bounded: bool = False) -> tuple[Tensor, Memory]:
        """(B, T, D) scaled values of the next T steps -> values in data units, and the memory
        after them.

        Args:
            y: scaled values.
            memory: before them.
            bounded: values beyond the limits (`seqlatent.nn.limits`) are brought back to them: a
                draw from a far tail must not spoil a mean, nor a path run away when it sets the
                scale of those after it.
        """
        values = []
        for step in y.split(1, 1):
            loc, base = self._loc_base(memory)
            scale = self._scale(memory, loc, base)
            g = loc + step.to(DOUBLE) * scale
            if bounded:
                g = self._unless_free(self.limits.keep(g, memory), g)
            x = self.from_scale(g)
            memory = self._after(memory, x, loc, base, scale)
            values.append(x)
        return torch.cat(values, 1), memory

    # -- parts -------------------------------------------------------------------------------------

    def _loc_base(self, m: Memory | Before) -> tuple[Tensor, Tensor]:
        """loc_t, and scale_t before it is multiplied by the series' own, of the step after a
        memory."""
        loc, scale = self.loc.expand_as(m.last), self.scale.expand_as(m.last)
        if not self.moving:
            return loc, scale
        known = ~m.last.isnan()
        if "running" in self.words:
            loc = (self.level_weight * self.loc + m.level) / (self.level_weight + m.weight)
        if "increments" in self.words or "seasonal" in self.words:
            loc = torch.where(known, m.last, loc)
        if "seasonal" in self.words:
            before = m.lagged(self.season)
            there = ~before.isnan()
            loc = torch.where(there, before, loc)
            scale = torch.where(there, scale, self.step_scale)
        base = torch.where(known, scale, self.first_scale)
        return self._unless_free(loc, 0.0), self._unless_free(base, 1.0)

    def _own(self, g: Tensor, m: Memory | Before, loc: Tensor, base: Tensor) -> list[Tensor]:
        """Squares of values scaled by what does not depend on the series' own scale, and their
        weights: 0 for a series' first value, whose size is not that of the others."""
        counts = ~g.isnan() & ~m.last.isnan()
        y = torch.where(counts, g - loc, 0.0) / base
        return [y.square().clamp(max=OUTLIER**2), counts.to(g)]

    def own_scale(self, m: Memory | Before) -> Tensor:
        """A series' own scale in those of training series, with `running`; else 1."""
        ratio = (self.scale_weight + m.square) / (self.scale_weight + m.counted)
        return ratio.sqrt()

    def _beyond(self, x: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
        """(B, T, D) whether values in data units are too large for their scale."""
        return ((self.to_scale(x) - loc) / scale).abs() > self.limit  # false where missing

    def _followed(self, beyond: Tensor) -> Tensor:
        """(B, T, D) whether so many values before each step were beyond their scale that the series
        must have moved."""
        followed = torch.full_like(beyond, self.moving)
        for lag in range(1, ROW + 1):
            before = torch.zeros_like(beyond)
            before[:, lag:] = beyond[:, :-lag]
            followed = followed & before
        return followed

    def _scale(self, m: Memory | Before, loc: Tensor, base: Tensor) -> Tensor:
        """scale_t of the step after a memory."""
        scale = base
        if "running" in self.words:
            scale = base * self.own_scale(m)
        if self.moving:  # never less than what rounding to the recorded digits makes of it
            least = self.rounding
            if self.any_logged:
                least = least * self.log_slope(self.from_scale(loc)).exp()
            scale = self._unless_free((scale.square() + least.square()).sqrt(), 1.0)
        return scale

    def _scaled(self, m: Memory | Before, loc: Tensor, base: Tensor, limit: Tensor) -> Scaled:
        scale = self._scale(m, loc, base)
        return Scaled(loc, scale, past_features(self, m, loc, scale), limit)

    def _view(self, x: Tensor) -> Tensor:
        """Values on the scale that is remembered: that of g, logarithmic where unscaled."""
        g = self.to_scale(x)
        if not self.num_features or not self.any_free:
            return g
        return torch.where(self.free, torch.asinh(x / (2 * self.view_offset)), g)

    def _unless_free(self, part: Tensor, free: Tensor | float) -> Tensor:
        """(B, T, D) what holds for scaled channels, and `free` for the others."""
        return torch.where(self.free, free, part) if self.any_free else part
