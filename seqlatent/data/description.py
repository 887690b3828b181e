"""`DataDescription`: what a model must know about its training data before it is built.

It is computed once, from training data alone, and saved with the model: channels and their names,
location and scale, range and resolution. A model can be rebuilt from its options and this.
"""

import math
from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from pandas.tseries.frequencies import to_offset

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.grid import Frequency
from seqlatent.data.season import seasons_of
from seqlatent.data.spread import Spread, log_offset, spread, to_log
from seqlatent.data.wild import tame

_RELATIVE_ROUNDING = 1e-12
TOGETHER = 256  # series that are looked at together
MOST_STEPS = 2**20  # that spreads are worked out from


@dataclass(frozen=True)
class ChannelDescription:
    """One target channel's training values.

    Attributes:
        name: the target's name.
        loc: mean of the observed values, in data units.
        scale: their standard deviation, 1 where they are constant.
        minimum, maximum: their range.
        low, high: the range of those that are not wild (`seqlatent.data.wild`); loc, scale,
            resolution, offset and the spreads are of these too.
        stops_low, stops_high: whether values stop at the minimum and at the maximum: many of them
            are exactly that, as days without rain have 0 (`_stops`).
        resolution: spacing of the grid on which they were recorded; 0 if there is none.
        integer: whether all are whole numbers.
        num_observed, num_missing: how many values there are and how many are missing.
        spread: of the values.
        log_spread: of the values on a logarithmic scale, `to_log(offset)`.
        offset: the size below which that scale is linear.
    """

    name: str
    loc: float
    scale: float
    minimum: float
    maximum: float
    resolution: float
    integer: bool
    num_observed: int
    num_missing: int
    spread: Spread = field(default_factory=Spread)
    log_spread: Spread = field(default_factory=Spread)
    offset: float = 1.0
    low: float = 0.0
    high: float = 1.0
    stops_low: bool = False
    stops_high: bool = False


@dataclass(frozen=True)
class DataDescription:
    """A data set's channels and covariates; see `ChannelDescription`.

    Attributes:
        channels: the D channels.
        categories: the labels of each channel that has them.
        covariate_names, covariate_loc, covariate_scale: the C covariates.
        static_names, static_loc, static_scale: the S static features; categories have 0 and 1.
        static_labels: the label of each code 1, 2, ... of a static feature of categories.
        past_names, past_loc, past_scale: the P past covariates.
        frequency: of the steps: a pandas alias, the stride of integers, None where irregular.
        start: the first step of the first sequence.
        id_column, time_column: what they were called in the table, if it was one.
        had_gaps: whether the training data had missing values, so that a model learnt to read them.
        seasons: lengths of their seasons in steps, shortest first; none where there is none.
        num_series: how many series there were.
    """

    channels: tuple[ChannelDescription, ...]
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    covariate_names: tuple[str, ...] = ()
    covariate_loc: tuple[float, ...] = ()
    covariate_scale: tuple[float, ...] = ()
    frequency: Frequency = None
    start: str | None = None
    id_column: str = "unique_id"
    time_column: str | None = None
    had_gaps: bool = False
    seasons: tuple[int, ...] = ()
    num_series: int = 1
    static_names: tuple[str, ...] = ()
    static_loc: tuple[float, ...] = ()
    static_scale: tuple[float, ...] = ()
    static_labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    past_names: tuple[str, ...] = ()
    past_loc: tuple[float, ...] = ()
    past_scale: tuple[float, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(channel.name for channel in self.channels)

    @property
    def num_channels(self) -> int:
        return len(self.channels)

    @classmethod
    def of(
        cls, data: SequenceDataset, season: int | None = None, *, spreads: bool = True
    ) -> "DataDescription":
        """The description of a data set.

        Of more than a million steps, locations, scales and spreads are those of some series, spread
        evenly over the data, and ranges and counts are those of all. Values stop where those of
        these series do, unless others go beyond.

        Args:
            data: for training.
            season: its length in steps; 1 if there is none; by default it is found in the data.
            spreads: whether seasons and spreads are wanted, which take most of the time.
        """
        if not spreads:
            season = 1
        everything, data = data, data.some(MOST_STEPS)
        seasons = seasons_of(data) if season is None else (season,) * (season > 1)
        loc, scale = _standards(np.concatenate([s.covariates for s in data]))
        static = np.stack([s.static_values for s in data])
        static[:, [name in data.static_labels for name in data.static_names]] = 0.0
        static_loc, static_scale = _standards(static)
        past = [s.lagged[1:] for s in data if s.lagged is not None]
        past_loc, past_scale = _standards(np.concatenate(past) if past else np.zeros((1, 0)))
        channels = tuple(
            _describe(name, [s.x[:, d] for s in data], (*seasons, 1)[0], spreads)
            for d, name in enumerate(data.targets)
        )
        if everything is not data:
            channels = _with_ranges(channels, everything)
        return cls(
            channels=channels,
            categories={name: tuple(labels) for name, labels in data.categories.items()},
            covariate_names=tuple(data.covariate_names),
            covariate_loc=loc,
            covariate_scale=scale,
            frequency=data.frequency,
            start=str(everything.sequences[0].ds[0]),
            id_column=data.id_column,
            time_column=data.time_column,
            had_gaps=any(c.num_missing > 0 for c in channels),
            seasons=seasons,
            num_series=len(everything),
            static_names=tuple(data.static_names),
            static_loc=static_loc,
            static_scale=static_scale,
            static_labels={name: tuple(labels) for name, labels in data.static_labels.items()},
            past_names=tuple(data.past_names),
            past_loc=past_loc,
            past_scale=past_scale,
        )

    @classmethod
    def ranges_of(cls, data: SequenceDataset) -> "DataDescription":
        """The ranges of the channels and whether they are whole numbers, and nothing else."""
        return cls(_with_ranges([_nothing(name) for name in data.targets], data), data.categories)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "DataDescription":
        """What `to_json` gave.

        Raises:
            KeyError, TypeError, ValueError: when a part is absent or not of its kind.
        """
        fields = dict(content)
        fields["channels"] = tuple(_channel(c) for c in fields["channels"])
        fields["categories"] = {k: _texts(v) for k, v in fields["categories"].items()}
        labels = fields.get("static_labels", {})
        fields["static_labels"] = {k: _texts(v) for k, v in labels.items()}
        for kind in ("covariate", "static", "past"):
            fields[f"{kind}_names"] = _texts(fields.get(f"{kind}_names", ()))
            for name in (f"{kind}_loc", f"{kind}_scale"):
                fields[name] = tuple(_number(v) for v in fields.get(name, ()))
        fields["seasons"] = tuple(_count(v) for v in fields["seasons"])
        made = cls(**fields)
        for kind in ("covariate", "static", "past"):
            sizes = {len(fields[f"{kind}_{part}"]) for part in ("names", "loc", "scale")}
            if len(sizes) > 1:
                raise ValueError(f"the numbers of {kind} columns differ")
        if not made.channels:
            raise ValueError("there is no channel")
        if not set(made.categories) <= set(made.targets):
            raise ValueError("categories are not those of channels")
        _texts([x for x in (made.start, made.time_column, made.id_column) if x is not None])
        if made.frequency is not None and not isinstance(made.frequency, str):
            _count(made.frequency)
        elif made.frequency is not None:
            to_offset(made.frequency)
        _count(made.num_series)
        return made


def _standards(columns: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation, 1 where constant, of (R, C) values, NaN where missing."""
    seen = np.isfinite(columns)
    count = seen.sum(0).clip(min=1)
    loc = np.where(seen, columns, 0.0).sum(0) / count
    scale = np.sqrt((np.where(seen, columns - loc, 0.0) ** 2).sum(0) / count)
    # Rounding gives a constant column a spread of its own.
    largest = np.where(seen, np.abs(columns), 0.0).max(0, initial=0)
    constant = scale <= _RELATIVE_ROUNDING * np.maximum(1.0, largest)
    return tuple(loc.tolist()), tuple(np.where(constant, 1.0, scale).tolist())


def _channel(content: Mapping[str, Any]) -> ChannelDescription:
    spreads = {
        name: Spread(**{k: _number(v) for k, v in content[name].items()})
        for name in ("spread", "log_spread")
    }
    (name,) = _texts([content["name"]])
    numbers = {k: _number(v) for k, v in content.items() if k not in ("name", *spreads)}
    return ChannelDescription(**{**content, **numbers, **spreads, "name": name})


def _number(value: Any) -> Any:
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no finite number")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or not 0 < value < 2**63:
        raise ValueError(f"{value!r} is no count")
    return value


def _texts(values: Any) -> tuple[str, ...]:
    if not all(isinstance(value, str) for value in values):
        raise TypeError(f"{values!r} are no texts")
    return tuple(values)


def _nothing(name: str, missing: int = 0) -> ChannelDescription:
    """A channel without any observed value."""
    return ChannelDescription(name, 0.0, 1.0, 0.0, 0.0, 0.0, False, 0, missing)


def _with_ranges(
    channels: Seq[ChannelDescription], data: SequenceDataset
) -> tuple[ChannelDescription, ...]:
    """Channels with the ranges and counts of data that memory need not hold, in one pass."""
    D = len(channels)
    low, high, whole = np.full(D, np.inf), np.full(D, -np.inf), np.ones(D, dtype=bool)
    count, missing = np.zeros(D, dtype=np.int64), np.zeros(D, dtype=np.int64)
    for start in range(0, len(data), TOGETHER):
        x = np.concatenate([s.x for s in data.sequences[start : start + TOGETHER]])
        seen = np.isfinite(x)
        low = np.minimum(low, np.where(seen, x, np.inf).min(0, initial=np.inf))
        high = np.maximum(high, np.where(seen, x, -np.inf).max(0, initial=-np.inf))
        whole &= (~seen | (x == np.round(x))).all(0)
        count, missing = count + seen.sum(0), missing + (~seen).sum(0)
    return tuple(
        replace(
            c,
            minimum=float(low[d]),
            maximum=float(high[d]),
            stops_low=bool(c.stops_low and low[d] == c.minimum),
            stops_high=bool(c.stops_high and high[d] == c.maximum),
            integer=bool(whole[d]),
            num_observed=int(count[d]),
            num_missing=int(missing[d]),
        )
        if count[d]
        else c
        for d, c in enumerate(channels)
    )


def _describe(
    name: str, columns: list[np.ndarray], season: int, spreads: bool
) -> ChannelDescription:
    column = np.concatenate(columns)
    everything = column[np.isfinite(column)]
    columns = tame(columns)
    column = np.concatenate(columns)
    seen = column[np.isfinite(column)]
    if len(seen) == 0:  # a split can leave a channel without any value
        return _nothing(name, len(column))
    scale, offset = float(seen.std()), log_offset(seen)
    rounding = _RELATIVE_ROUNDING * float(np.abs(seen).max())
    log = to_log(offset)
    return ChannelDescription(
        name=name,
        loc=float(seen.mean()),
        scale=1.0 if scale <= rounding else scale,
        minimum=float(everything.min()),
        maximum=float(everything.max()),
        resolution=resolution(seen),
        integer=bool((everything == np.round(everything)).all()),
        num_observed=len(everything),
        num_missing=len(column) - len(everything),
        spread=spread(columns, season) if spreads else Spread(),
        log_spread=spread([log(c) for c in columns], season) if spreads else Spread(),
        offset=offset,
        low=float(seen.min()),
        high=float(seen.max()),
        stops_low=_stops(everything),
        stops_high=_stops(-everything),
    )


def _stops(values: np.ndarray) -> bool:
    """Whether values stop at their lowest one: it is 1 % of them or more, ten at least, and more
    than twice as many as the next one. (In a tail of rounded values the lowest are the fewest.)"""
    lowest = values.min()
    above = values[values > lowest]
    if len(np.unique(above[:1000])) < 2:
        return False  # a constant, or two values: labels, or rare exceptions
    here = len(values) - len(above)
    near = int((above == above.min()).sum())
    return here >= max(10, 0.01 * len(values)) and here > 2 * near


def resolution(values: np.ndarray) -> float:
    """Spacing of the grid on which values were recorded, in data units; 0 if there is none.

    The smallest difference between distinct values is a grid's spacing when the other differences
    are whole multiples of it. Differences alone are used, so that the answer moves with the units.
    """
    distinct = np.unique(values)
    if len(distinct) < 2:
        return 0.0
    gaps = np.diff(distinct)
    gaps = gaps[gaps > 1e-9 * (distinct[-1] - distinct[0])]
    # The few smallest gaps carry rounding errors of the decimal notation: average them out.
    spacing = float(gaps.min())
    spacing = float(gaps[gaps < 1.5 * spacing].mean())
    multiples = gaps / spacing
    on_grid = np.abs(multiples - np.round(multiples)) < 0.01 * np.maximum(1.0, multiples)
    repeated = len(distinct) < len(values)
    return spacing if repeated and on_grid.mean() > 0.99 and multiples.max() < 1e7 else 0.0
