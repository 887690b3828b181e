"""A step as the set of its active channels: an exact law over all 2^D subsets.

The active channels k_1 < k_2 < ... < k_n are drawn in ascending order, each by one softmax over the
channels above the last one, until "end":

    p(x_t | h_t) = prod_{j=1}^{n+1} p(k_j | h_t, k_1, ..., k_{j-1}),    k_{n+1} = end
    s_j = GRU(s_{j-1}; W h_t + e_{k_{j-1}}),    s_0 = tanh(W h_t),    logits_j = U s_j + c

A small recurrent network over the channels stands inside every step of the one over time. A step
costs n + 1 softmaxes in place of the D Bernoullis of `autoregressive.py`: 88 piano keys, four of
them sounding, cost five.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqlatent.distributions.families import Bernoulli, draw_class
from seqlatent.distributions.heads import StepDistribution


class SubsetHead(nn.Module):
    """Features (..., in_dim) to a `Subset`.

    Args:
        in_dim: size of h_t.
        num_channels: D, at least 2: of one channel there is nothing to choose.
        hidden_dim: size of s_j.
        dropout: share of the units of s_j dropped before the softmax, in training.
    """

    def __init__(self, in_dim: int, num_channels: int, hidden_dim: int = 256, dropout: float = 0.0):
        super().__init__()
        self.family, self.num_channels = Bernoulli(), num_channels
        self.context = nn.Linear(in_dim, hidden_dim)  # W
        # e: after the last channel only "end" is left, which needs no vector. Vectors of size 1
        # before a shared matrix learn far faster than small ones behind it.
        self.chosen = nn.Parameter(torch.randn(num_channels - 1, hidden_dim))
        self.input = nn.Linear(hidden_dim, 3 * hidden_dim)
        self.recurrent = nn.Linear(hidden_dim, 3 * hidden_dim)
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(hidden_dim, num_channels + 1)

    def forward(self, h: Tensor, observed: Tensor | None = None) -> "Subset":
        return Subset(self, self.context(h), observed)

    def advance(self, s: Tensor, given: Tensor) -> Tensor:
        """s_j from s_{j-1} (R, hidden_dim) and the gates' share of W h_t + e (R, 3 hidden_dim)."""
        sizes = [2 * s.shape[-1], s.shape[-1]]
        (a, b), (c, d) = given.split(sizes, -1), self.recurrent(s).split(sizes, -1)
        reset, keep = torch.sigmoid(a + c).chunk(2, -1)
        return torch.lerp(torch.tanh(b + reset * d), s, keep)

    def vectors(self) -> Tensor:
        """(D, 3 hidden_dim) the gates' share of e_k at k + 1; zeros where nothing was chosen."""
        return F.pad(F.linear(self.chosen, self.input.weight), (0, 0, 1, 0))

    def log_mass(self, s: Tensor, last: Tensor, observed: Tensor | None) -> Tensor:
        """(R, D + 1) log p(k_j | .) of every channel and, as the last, of "end"."""
        D, logits = self.num_channels, self.out(self.dropout(s))
        keys = torch.arange(D + 1, device=s.device)
        impossible = keys <= last[:, None]
        if observed is not None:
            # A missing channel with observed ones above it cannot be chosen. One without can, and
            # then no observed one follows: it is summed out by counting it as "end".
            seen = F.pad(observed, (0, 1), value=False)
            highest = (seen * keys).amax(1, keepdim=True)
            ends = logits.masked_fill(impossible | seen | (keys <= highest), -math.inf)
            ends[:, D] = logits[:, D]
            logits = torch.cat([logits[:, :D], ends.logsumexp(1, keepdim=True)], 1)
            impossible = impossible | ~F.pad(observed, (0, 1), value=True)
        return F.log_softmax(logits.masked_fill(impossible, -math.inf), -1)


class Subset(StepDistribution):
    """The law of one step; built by `SubsetHead`.

    Where channels are missing, those with no observed one above them are summed out; for the others
    this is the law of the observed channels given the pattern of what is missing.
    """

    def __init__(self, head: SubsetHead, context: Tensor, observed: Tensor | None):
        self.head, self.context = head, context
        shape = torch.Size((*context.shape[:-1], head.num_channels))
        super().__init__(head.family, shape, observed)

    def log_prob(self, value: Tensor) -> Tensor:
        head, D = self.head, self.head.num_channels
        lead = torch.broadcast_shapes(value.shape[:-1], self.context.shape[:-1])
        active = _rows(value, lead) > 0.5
        observed = None if self.observed is None else _rows(self.observed, lead)
        if observed is not None:
            active = active & observed
        # A step needs a choice for each active channel and one for "end", unless it is certain.
        needed = active.sum(1) + ~active[:, D - 1]
        if observed is not None:
            needed = needed * observed.any(1)  # nothing is asked of padding
            if bool((observed.all(1) | ~observed.any(1)).all()):
                observed = None  # no step lacks a part alone
        # With the longest steps first, those that still choose are always the leading ones.
        needed, place = needed.sort(descending=True)
        width = int(needed[0]) if len(needed) else 0
        keys = torch.arange(D, device=active.device).expand_as(active)
        order = keys.masked_fill(~active, D).sort(1).values[place]
        order = F.pad(order, (1, 1), value=D)[:, : width + 1]  # k_0, k_1, ..., ends behind
        order[:, 0] = -1
        context = _rows(self.context, lead)[place]
        s, given, vectors = torch.tanh(context), head.input(context), head.vectors()
        states, open_steps = [], [int((needed > j).sum()) for j in range(width)]
        for j, n in enumerate(open_steps):
            if n < len(s):
                s, given = s[:n], given[:n]
            s = head.advance(s, given + F.embedding(order[:n, j] + 1, vectors))
            states.append(s)
        if not states:
            return self.context.new_zeros(lead)
        rows = torch.cat([place[:n] for n in open_steps])
        last = torch.cat([order[:n, j] for j, n in enumerate(open_steps)])
        choice = torch.cat([order[:n, j + 1] for j, n in enumerate(open_steps)])
        seen = None if observed is None else observed[rows]
        log_mass = head.log_mass(torch.cat(states), last, seen)
        taken = log_mass.gather(1, choice[:, None])[:, 0]
        return taken.new_zeros(len(active)).index_add(0, rows, taken).reshape(lead)

    @torch.no_grad()
    def draw(self, generator: torch.Generator | None = None) -> Tensor:
        head, D = self.head, self.head.num_channels
        lead = self.context.shape[:-1]
        context, vectors = _rows(self.context, lead), head.vectors()
        s, given = torch.tanh(context), head.input(context)
        x, rows = s.new_zeros(len(s), D), torch.arange(len(s), device=s.device)
        last = torch.full_like(rows, -1)
        while len(rows):
            s = head.advance(s, given + vectors[last + 1])
            choice = draw_class(head.log_mass(s, last, None), generator)
            x[rows[choice < D], choice[choice < D]] = 1.0
            going = choice < D - 1  # what follows the last channel is certain
            if not going.all():
                rows, choice, s, given = rows[going], choice[going], s[going], given[going]
            last = choice
        return x.reshape(*lead, D)

    def at_floor(self, value: Tensor) -> Tensor:
        return torch.zeros_like(value)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> "Subset":
        if torch.Size(batch_shape) == self.batch_shape:
            return self
        context = self.context.expand(*batch_shape, self.context.shape[-1])
        return Subset(self.head, context, self.observed)


def _rows(value: Tensor, lead: torch.Size) -> Tensor:
    """(..., F), with leading dimensions that `lead` broadcasts to, as (R, F)."""
    return value.expand(*lead, value.shape[-1]).reshape(-1, value.shape[-1])
