"""Windows of sequences, each from a step of its own: what generated ones are compared with."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch
from seqlatent.data.share import Share, current
from seqlatent.inference.protocols import ModelState
from seqlatent.nn.layers import soft_clip
from seqlatent.nn.memory import Memory
from seqlatent.nn.scaling import Scaler

ROWS = 32  # windows of a training step
FORGOTTEN = 3.0  # time constants after which a running mean has forgotten a value


@dataclass(frozen=True)
class Windows:
    """N windows of L steps, and the P steps before each.

    Attributes:
        state: (N, ...) of the model before the first step, with its memory.
        before: (N, P, D) values in data units, NaN where missing or not known.
        x: (N, L, D) values in data units, 0 where not seen.
        seen: (N, L, D) bool, observed and scored.
        covariates: (N, L, C), past covariates as a forecast has them: known at the first step only.
    """

    state: ModelState
    before: Tensor
    x: Tensor
    seen: Tensor
    covariates: Tensor

    @property
    def weight(self) -> Tensor:
        """(N,) 1 where anything is seen, else 0."""
        return self.seen.flatten(1).any(1).to(torch.get_default_dtype())

    @property
    def inside(self) -> Tensor:
        """(N, P + L) 1 at the steps of the window where anything is seen, else 0."""
        none = self.before.new_zeros(self.before.shape[:2])
        return torch.cat([none, self.seen.any(-1)], 1).to(torch.get_default_dtype())


def windows_of(num: int) -> tuple[Tensor, Share | None]:
    """The (N,) rows of a training step's windows in a batch of `num` sequences, at least `ROWS` of
    the whole batch; of a share of it, those of its sequences, and which they are of all windows."""
    share = current()
    size = num if share is None else share.size
    rows = torch.arange(max(ROWS, size)) % size
    if share is None:
        return rows, None
    mine = torch.isin(rows, share.rows).nonzero()[:, 0]
    return torch.searchsorted(share.rows, rows[mine]), Share(mine, len(rows))


def cut(part: Tensor, starts: Tensor, length: int, fill: float) -> Tensor:
    """(N, T, K) sequences -> (N, length, K) their steps from (N,) `starts` on, `fill` beyond the
    ends."""
    steps = part.shape[1]
    place = starts[:, None] + torch.arange(length, device=part.device)
    inside = (place >= 0) & (place < steps)
    if steps == 0:
        return part.new_full((len(part), length, part.shape[2]), fill)
    index = place.clamp(0, steps - 1)[..., None].expand(-1, -1, part.shape[2])
    return part.gather(1, index).masked_fill(~inside[..., None], fill)


def cut_windows(
    batch: SequenceBatch,
    state: ModelState,
    rows: Tensor,
    starts: Tensor,
    known: Tensor,
    length: int,
    num_before: int,
    first_past: int,
) -> Windows:
    """Windows of the (N,) `rows` of a batch from the (N,) steps `starts` on.

    Args:
        batch: of sequences.
        state: (N, ...) before the windows.
        rows, starts: int64.
        known: (N,) bool, whether what was before is known.
        length: L.
        num_before: P.
        first_past: place of the first past covariate.
    """
    values = torch.cat([batch.past, torch.where(batch.observed, batch.x, torch.nan)], 1)
    first = starts + batch.past.shape[1]
    before = cut(values[rows], first - num_before, num_before, torch.nan)
    before = before.masked_fill(~known[:, None, None], torch.nan)
    covariates = cut(batch.covariates[rows], starts, length, 0.0)
    covariates[:, 1:, first_past:] = torch.nan
    covariates[:, :1, first_past:] = covariates[:, :1, first_past:].masked_fill(
        ~known[:, None, None], torch.nan
    )
    seen = (batch.observed & batch.scored[..., None])[rows].to(torch.uint8)
    seen = cut(seen, starts, length, 0).bool()
    x = torch.where(seen, cut(batch.x[rows], starts, length, 0.0), 0.0)
    return Windows(state, before, x, seen, covariates)


def reach(scaler: Scaler) -> int:
    """Steps before a window that its scaling depends on, but for what is nearly forgotten."""
    if not scaler.moving and not scaler.num_features:
        return 0
    return max(scaler.longest, int(FORGOTTEN / (1 - scaler.decay)))


def recent(batch: SequenceBatch, scaler: Scaler, steps: int) -> SequenceBatch:
    """The batch with no more of what was before it than scaling and windows of `steps` need."""
    num = max(reach(scaler), steps)
    return replace(batch, past=batch.past[:, max(0, batch.past.shape[1] - num) :])


def memory_before(
    scaler: Scaler, batch: SequenceBatch, rows: Tensor, starts: Tensor, known: Tensor
) -> Memory:
    """What scaling remembers before each window; arguments as of `cut_windows`."""
    num = reach(scaler)
    if not num:
        return scaler.begin(len(rows))
    values = torch.cat([batch.past, torch.where(batch.observed, batch.x, torch.nan)], 1)[rows]
    past = cut(values, starts + batch.past.shape[1] - num, num, torch.nan)
    past = past.masked_fill(~known[:, None, None], torch.nan)
    none, lengths = past[:, :0], (batch.past_lengths[rows] + starts) * known
    zero = torch.zeros_like(lengths)
    return scaler.scan(SequenceBatch(none, none.bool(), zero, zero, none, past, lengths))[1]


def first_steps(
    batch: SequenceBatch, rows: Tensor, place: Tensor, known: Tensor, steps: int
) -> Tensor:
    """(N,) first steps of windows, given (N,) places from 0 to 1 among all that are possible.

    A window whose past is not known begins where its sequence does. Where the sequence is a piece
    of a longer one, or has a context, it may begin anywhere after that: of a few long series there
    are too few beginnings.
    """
    anywhere = known | ((batch.past_lengths > 0) | (batch.context > 0))[rows]
    first = batch.context[rows]
    room = (batch.lengths[rows] - steps - first).clamp(min=0)
    return torch.where(anywhere, first + torch.minimum((place * (room + 1)).long(), room), 0)


def views(windows: Windows, x: Tensor, scaler: Scaler) -> tuple[Tensor, Tensor]:
    """What is compared of windows: values, and differences between steps.

        r_t = (g(x_t) - loc) / scale,    d_t = (g(x_t) - g(x_{t-1})) / increment

    loc and scale are those of the window's first step, given what is known before it, and so the
    same for real and generated windows; the increment is that of training series. Differences show
    dynamics, which values alone hide where a series moves slowly.

    Args:
        windows: which say what is seen.
        x: (..., N, L, D) the windows' values in data units, or generated ones in their place.
        scaler: of the model.

    Returns:
        (..., N, P + L, 2 D) values and differences, 0 where not seen, and (N, P + L, 2 D) 0 or 1,
        what is seen of them.
    """
    at = scaler.next(windows.state.memory)
    there = torch.cat([~windows.before.isnan(), windows.seen], 1)
    lead = (*x.shape[:-2], *windows.before.shape[1:])
    before = windows.before.nan_to_num(0.0).expand(lead)
    g = scaler.to_scale(torch.cat([before, x], -2))
    both = there & torch.cat([torch.zeros_like(there[:, :1]), there[:, :-1]], 1)
    increment = scaler.step_scale * scaler.own_scale(windows.state.memory)
    r = torch.where(there, (g - at.loc) / at.scale, 0.0)
    d = torch.where(both, (g - g.roll(1, -2)) / increment, 0.0)
    values = soft_clip(torch.cat([r, d], -1).to(torch.get_default_dtype()))
    return values, torch.cat([there, both], -1).to(values)
