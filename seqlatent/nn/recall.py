"""Recall: attention to what followed earlier steps similar to the current one.

    h_t = net(u_1, ..., u_t)
    a_ts = softmax over s <= t of q(h_t) . k(h_{s-1}) / sqrt(d) + b_{t-s}
    m_t = O sum_{s <= t} a_ts V [u_s, h_s]

The key of step s is the state *before* it and the value is what happened at it, so that a passage
that returns, such as a tune or a weekly pattern, can be predicted from its last occurrence. A
recurrent state of moderate size cannot store such passages. The softmax is over the last W steps
and one empty slot, for when no earlier step is similar; b is a learned number for each lag and
head. The features are [h_t, m_t].

This is a learned variant of the continuous cache (Grave et al. 2017), whose keys are also states
and whose values are what followed them.
"""

import torch
from torch import Tensor, nn

from seqlatent.errors import InputError
from seqlatent.nn.attention import attend
from seqlatent.nn.causal import CausalNetwork, State
from seqlatent.nn.layers import Dropout


class Recall(CausalNetwork):
    """A causal network with recall.

    Args:
        network: computes h_t; its `out_dim` must be a multiple of `num_heads`.
        num_heads: attention heads.
        window: W, the number of steps that each head attends to.
        dropout: share of the features of m_t dropped in training.

    Raises:
        InputError: if `num_heads` does not divide the network's `out_dim`.
    """

    def __init__(
        self, network: CausalNetwork, *, num_heads: int = 4, window: int = 512, dropout: float = 0.0
    ):
        super().__init__()
        dim = network.out_dim
        if dim % num_heads:
            raise InputError(f"hidden_dim={dim} must be a multiple of recall_heads={num_heads}")
        self.network, self.num_heads = network, num_heads
        self.in_dim, self.out_dim = network.in_dim, 2 * dim
        if network.receptive_field is not None:
            self.receptive_field = network.receptive_field + window
        self.query, self.key = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.value = nn.Linear(network.in_dim + dim, dim)
        self.lag_bias = nn.Parameter(torch.zeros(num_heads, window))
        self.out = nn.Linear(dim, dim)
        self.dropout = Dropout(dropout)

    def scan(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        inner, last, past = (None, None, None) if state is None else state
        h, inner = self.network(u, inner)
        if last is None:
            last = h.new_zeros(len(h), 1, h.shape[-1])
        before = torch.cat([last, h[:, :-1]], 1)
        q, k = self._heads(self.query(h)), self._heads(self.key(before))
        v = self._heads(self.value(torch.cat([u, h], -1)))
        m, past = attend(q, k, v, past, self.lag_bias, nothing=True)
        m = self.dropout(self.out(m.transpose(1, 2).flatten(-2)))
        return torch.cat([h, m], -1), (inner, h[:, -1:], past)

    def _heads(self, x: Tensor) -> Tensor:
        """(N, T, F) -> (N, heads, T, F / heads)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
