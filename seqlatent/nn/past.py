"""What networks see of a series' past, on the scale of the next value."""

from typing import Any

import torch
from torch import Tensor

from seqlatent.data.description import DataDescription
from seqlatent.nn.layers import soft_clip
from seqlatent.nn.memory import Before, Memory

MANY = 16  # channels above which networks see no features of the past: they would be too many
FEW = 8  # channels above which they see the lags of seasons alone
PLENTY = 20_000  # observed values; with fewer, further lags made networks overfit


def usual_lags(description: DataDescription) -> tuple[int, ...]:
    """The lags, in steps, of the earlier values that suit data with seasons m, m', ...: these and,
    where data are plenty, m - 1 and m + 1 of the shortest: what came before and after the value a
    season ago says how the season goes on."""
    seasons = description.seasons
    if not seasons or description.num_channels > MANY:
        return ()
    values = max(c.num_observed for c in description.channels)
    if description.num_channels > FEW or values < PLENTY:
        return seasons
    m = seasons[0]
    return tuple(sorted({lag for lag in (m - 1, m + 1) if lag > 1} | set(seasons)))


def past_features(scaler: Any, m: Memory | Before, loc: Tensor, scale: Tensor) -> Tensor:
    """(B, T, E) what networks see of the past, for a `Scaler` and what it makes of a memory."""
    if not scaler.num_features:
        return loc[..., :0]

    def seen(part: Tensor) -> Tensor:
        return part if scaler.seen is None else part[..., scaler.seen]

    origin, size = seen(loc), seen(scale)
    if scaler.any_free:
        origin = seen(torch.where(scaler.free, scaler.view_loc, loc))
        size = seen(torch.where(scaler.free, scaler.view_scale, scale))
    parts = []
    if scaler.lags:
        # Of paths that have begun together, all may share the values before them.
        lagged = [seen(m.lagged(lag).expand_as(loc)) for lag in scaler.lags]
        lagged = torch.stack(lagged, -2)
        missing = lagged.isnan()
        y = torch.where(missing, 0.0, lagged - origin[..., None, :]) / size[..., None, :]
        parts.append(torch.stack([soft_clip(y), missing.to(y)], -2).flatten(-3))
    if scaler.describes:
        known = seen(m.weight) > 0
        mean = m.level / m.weight.clamp(min=1e-9)
        level = seen((mean - scaler.view_loc) / scaler.view_scale)
        # Where values are scaled by something else than the level, how far they are from it.
        distance = (seen(mean) - origin) / size
        parts += [
            # Bounded: the few largest series must not be read far beyond the others.
            torch.where(known, level, 0.0).tanh(),
            soft_clip(torch.where(known, distance, 0.0)),
            seen((scale / scaler.scale).log()),
            (torch.log1p(m.age) / 5).expand(*loc.shape[:2], -1),
        ]
    return torch.cat(parts, -1)
