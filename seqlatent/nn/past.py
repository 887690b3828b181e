"""What networks see of a series' past, on the scale of the next value."""

from typing import Any

import torch
from torch import Tensor

from seqlatent.nn.layers import soft_clip
from seqlatent.nn.memory import Before, Memory


def past_features(scaler: Any, m: Memory | Before, loc: Tensor, scale: Tensor) -> Tensor:
    """(B, T, E) what networks see of the past, for a `Scaler` and what it makes of a memory."""
    if not scaler.num_features:
        return loc[..., :0]
    origin = torch.where(scaler.free, scaler.view_loc, loc)[..., scaler.seen]
    size = torch.where(scaler.free, scaler.view_scale, scale)[..., scaler.seen]
    parts = []
    for lag in scaler.lags:
        difference = m.lagged(lag)[..., scaler.seen] - origin
        there = ~difference.isnan()
        y = torch.where(there, difference, 0.0) / size
        parts += [soft_clip(y), (~there).to(y)]
    if scaler.describes:
        known = m.weight[..., scaler.seen] > 0
        mean = m.level / m.weight.clamp(min=1e-9)
        level = ((mean - scaler.view_loc) / scaler.view_scale)[..., scaler.seen]
        # Where values are scaled by something else than the level, how far they are from it.
        distance = (mean[..., scaler.seen] - origin) / size
        parts += [
            # Bounded: the few largest series must not be read far beyond the others.
            torch.where(known, level, 0.0).tanh(),
            soft_clip(torch.where(known, distance, 0.0)),
            (scale / scaler.scale).log()[..., scaler.seen],
            torch.log1p(m.age).expand(*loc.shape[:2], -1) / 5,
        ]
    return torch.cat([p.expand(*loc.shape[:2], -1) for p in parts], -1)
