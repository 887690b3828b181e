"""A step as the set of its active channels: an exact distribution over all 2^D subsets.

The active channels k_1 < k_2 < ... < k_n are sampled in ascending order, each by one softmax over
the channels above the last one, until "end":

    p(x_t | h_t) = prod_{j=1}^{n+1} p(k_j | h_t, k_1, ..., k_{j-1}),    k_{n+1} = end
    s_j = silu(W h_t + sum_{i<j} V_{k_i} + L_{k_{j-1}}),    logits_j = U (s_j + silu(M s_j)) + c

The order is fixed, so that the sum determines the channels chosen so far, and all choices of all
steps are computed at once. A step costs n + 1 softmaxes, where `autoregressive.py` computes D
Bernoulli distributions: with four of 88 piano keys down there are five softmaxes.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqlatent.data.share import in_turn, sharing
from seqlatent.distributions.categorical import Bernoulli
from seqlatent.distributions.families import Family
from seqlatent.distributions.heads import Head, StepDistribution
from seqlatent.distributions.noise import Noise, sample_class
from seqlatent.nn.layers import Dropout


class SubsetHead(Head):
    """Features (..., in_dim) to a `Subset`.

    Args:
        in_dim: size of h_t.
        num_channels: D, at least 2.
        hidden_dim: size of s_j.
        dropout: share of units dropped before M and before U in training.
    """

    ordered = True

    def __init__(self, in_dim: int, num_channels: int, hidden_dim: int = 256, dropout: float = 0.0):
        super().__init__()
        self.family, self.num_channels = Bernoulli(), num_channels
        self.context = nn.Linear(in_dim, hidden_dim)  # W
        self.before = nn.Parameter(torch.randn(num_channels, hidden_dim) * 0.5)  # V
        self.last = nn.Parameter(torch.randn(num_channels, hidden_dim) * 0.5)  # L, from "none" on
        self.hidden = nn.Linear(hidden_dim, hidden_dim)  # M
        self.dropout = Dropout(dropout)
        self.out = nn.Linear(hidden_dim, num_channels + 1)  # U

    def forward(self, h: Tensor, observed: Tensor | None = None) -> "Subset":
        return Subset(self, self.context(h), observed)

    def log_mass(
        self, context: Tensor, before: Tensor, last: Tensor, observed: Tensor | None
    ) -> Tensor:
        """(R, D + 1) log p(k_j | .) of every channel and, in the last place, of "end".

        Args:
            context: (R, hidden_dim) W h_t.
            before: (R, D) 1 for the channels chosen so far.
            last: (R,) the last of them, -1 for none.
            observed: (R, D) which channels are observed; None if all are.
        """
        s = F.silu(torch.addmm(context, before, self.before) + F.embedding(last + 1, self.last))
        with sharing(in_turn(len(s), s.device)):
            s = s + F.silu(self.hidden(self.dropout(s)))
            D, logits = self.num_channels, self.out(self.dropout(s))
        # Rows of a small table: computing a mask for every row costs as much as the softmax.
        closed = logits.new_full((D + 1, D + 1), -math.inf).tril(-1)
        closed = closed.index_select(0, last + 1)  # -inf up to the last channel
        if observed is not None:
            # A missing channel with observed ones above it cannot be chosen. A missing channel
            # above all observed ones can: no observed one follows, so that it is summed out by
            # counting it as "end".
            seen = F.pad(observed, (0, 1), value=False)
            keys = torch.arange(D + 1, device=last.device)
            highest = (seen * keys).amax(1, keepdim=True)
            ends = (logits + closed).masked_fill(seen | (keys <= highest), -math.inf)
            ends[:, D] = logits[:, D]
            logits = torch.cat([logits[:, :D], ends.logsumexp(1, keepdim=True)], 1)
            closed = closed.masked_fill(~F.pad(observed, (0, 1), value=True), -math.inf)
        return F.log_softmax(closed.add_(logits), -1)


class Subset(StepDistribution):
    """The distribution of one step; built by `SubsetHead`.

    Missing channels above all observed ones are summed out. With other missing channels, this is
    the distribution of the observed channels given which channels are missing.
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
        choices = F.pad(active, (0, 1))
        choices[:, D] = ~active[:, D - 1]  # after the last channel "end" is certain
        if observed is not None:
            choices[:, D] &= observed.any(1)  # padding has no choices
            if bool((observed.all(1) | ~observed.any(1)).all()):
                observed = None  # no step is partially observed
        rows, choice = choices.nonzero(as_tuple=True)
        if not len(rows):
            return 0.0 * _rows(self.context, lead).sum(-1).reshape(lead)  # with a graph
        last = F.pad(choice, (1, -1), value=-1)
        last = last.masked_fill(rows != F.pad(rows, (1, -1), value=-1), -1)  # first of its step
        context = _rows(self.context, lead)
        before = active.to(context).index_select(0, rows)
        before *= before.new_ones(D + 1, D).tril(-1).index_select(0, choice)
        seen = None if observed is None else observed[rows]
        log_mass = head.log_mass(context.index_select(0, rows), before, last, seen)
        taken = -F.nll_loss(log_mass, choice, reduction="none")
        return taken.new_zeros(len(active)).index_add(0, rows, taken).reshape(lead)

    @torch.no_grad()
    def _sample(self, noise: Noise) -> Tensor:
        head, D = self.head, self.head.num_channels
        lead = self.context.shape[:-1]
        context = _rows(self.context, lead)
        x = context.new_zeros(len(context), D)
        rows = torch.arange(len(x), device=x.device)
        last = torch.full_like(rows, -1)
        while len(rows):
            log_mass = head.log_mass(context[rows], x[rows], last, None)
            choice = sample_class(log_mass, noise.rows(rows, len(x)))
            x[rows[choice < D], choice[choice < D]] = 1.0
            unfinished = choice < D - 1  # after the last channel "end" is certain
            rows, last = rows[unfinished], choice[unfinished]
        return x.reshape(*lead, D)

    def in_turn(self, value: Callable[[Family, Tensor, int], Tensor]) -> Tensor:
        """Channel d is active, given those before it, with the odds of the softmax's mass at d to
        that above it."""
        lead, channels = self.context.shape[:-1], []
        context = _rows(self.context, lead)
        chosen = context.new_zeros(len(context), self.head.num_channels)
        last = torch.full(chosen.shape[:1], -1, device=chosen.device)
        for d in range(self.head.num_channels):
            log_mass = self.head.log_mass(context, chosen, last, None)
            # That the channels between `last` and d are not active rules their mass out.
            logit = log_mass[:, d] - log_mass[:, d + 1 :].logsumexp(1)
            channels.append(value(self.family, logit.reshape(*lead, 1), d))
            active = channels[-1].reshape(-1) > 0.5
            chosen[:, d] = active.to(chosen)
            last = torch.where(active, d, last)
        return torch.stack(channels, -1)

    def at_floor(self, value: Tensor) -> Tensor:
        return torch.zeros_like(value)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> "Subset":
        if torch.Size(batch_shape) == self.batch_shape:
            return self
        context = self.context.expand(*batch_shape, self.context.shape[-1])
        return Subset(self.head, context, self.observed)


def _rows(value: Tensor, lead: torch.Size) -> Tensor:
    """(..., F) expanded to leading dimensions `lead` -> (R, F)."""
    return value.expand(*lead, value.shape[-1]).reshape(-1, value.shape[-1])
