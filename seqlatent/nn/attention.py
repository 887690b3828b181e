"""Causal transformer (Vaswani et al. 2017) with a key-value cache.

Attention reaches back over a window of W steps, so that memory stays bounded on long series and the
cache holds a fixed number of keys. Position enters as one learned number per head and lag, which is
added to the attention logits and initialised to the linear slopes of ALiBi (Press et al. 2022).
Nothing depends on where in a long series a window was cut.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqlatent.data.share import current
from seqlatent.errors import InputError
from seqlatent.nn.causal import CausalNetwork, State
from seqlatent.nn.layers import Dropout
from seqlatent.nn.layers import activation as make_activation
from seqlatent.nn.layers import dropout as drop


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    past: State,
    lag_bias: Tensor,
    *,
    nothing: bool = False,
    dropout: float = 0.0,
) -> tuple[Tensor, State]:
    """Causal attention of the next T steps, each to the window of W steps that ends with it.

    Args:
        q, k, v: (N, heads, T, d).
        past: keys and values of earlier steps as this function returned them, or None.
        lag_bias: (heads, W) added to the logits by lag.
        nothing: add one empty slot, with logit 0 and value 0, to what can be attended to.
        dropout: share of the attention weights dropped. Ignored where all sequences continue from
            a shared past, which happens in sampling only.

    Returns:
        (N, heads, T, d) and the keys and values to pass as `past` next, of at most W - 1 steps.
    """
    window = lag_bias.shape[-1]
    if past is not None and _is_shared(past[0]):
        return _attend_shared(q, k, v, past, lag_bias, nothing)
    if past is not None:
        k, v = _after(past[0], past[2], k), _after(past[1], past[3], v)
    keep = max(0, k.shape[-2] - (window - 1))
    after = (k[..., keep:, :], v[..., keep:, :], None, None)
    bias = _bias(lag_bias, q.shape[-2], k.shape[-2])
    if nothing:
        k, v, bias = F.pad(k, (0, 0, 1, 0)), F.pad(v, (0, 0, 1, 0)), F.pad(bias, (1, 0))
    if dropout and current() is not None:  # by the mask of a batch that several processes share
        weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + bias).softmax(-1)
        return drop(weights, dropout, True, dim=-4) @ v, after
    # With a mask of four dimensions torch may take its fast kernel.
    return F.scaled_dot_product_attention(q, k, v, bias[None], dropout), after


def _attend_shared(
    q: Tensor, k: Tensor, v: Tensor, past: State, lag_bias: Tensor, nothing: bool
) -> tuple[Tensor, State]:
    """The same where all N sequences continue from one, as the paths of a forecast do.

    The shared keys and values are neither copied nor read N times: `past` holds them expanded,
    followed by the keys and values of each sequence's own steps.
    """
    shared_k, shared_v, own_k, own_v = past
    own_k, own_v = _after(own_k, k.contiguous()), _after(own_v, v.contiguous())
    num_shared, length = shared_k.shape[-2], shared_k.shape[-2] + own_k.shape[-2]
    q = q * q.shape[-1] ** -0.5
    logits = torch.cat(
        [torch.einsum("nhtd,hsd->nhts", q, shared_k[0]), q @ own_k.transpose(-1, -2)], -1
    )
    logits = logits + _bias(lag_bias, q.shape[-2], length)
    weights = F.pad(logits, (int(nothing), 0)).softmax(-1)[..., int(nothing) :]
    of_shared, of_own = weights.split([num_shared, length - num_shared], -1)
    mixed = torch.einsum("nhts,hsd->nhtd", of_shared, shared_v[0]) + of_own @ own_v
    drop = max(0, length - (lag_bias.shape[-1] - 1))
    if drop < num_shared:
        return mixed, (shared_k[..., drop:, :], shared_v[..., drop:, :], own_k, own_v)
    drop -= num_shared
    return mixed, (own_k[..., drop:, :], own_v[..., drop:, :], None, None)


def _is_shared(k: Tensor) -> bool:
    return len(k) > 1 and k.stride(0) == 0


def _after(*parts: Tensor | None) -> Tensor:
    return torch.cat([p for p in parts if p is not None], -2)


def _bias(lag_bias: Tensor, steps: int, length: int) -> Tensor:
    """(heads, steps, length) bias by lag; -inf for later steps and beyond the window.

    The `steps` queries belong to the last of the `length` keys.
    """
    ends = torch.arange(length - steps, length, device=lag_bias.device)
    lag = ends[:, None] - torch.arange(length, device=lag_bias.device)
    window = lag_bias.shape[-1]
    bias = lag_bias[:, lag.clamp(0, window - 1)]
    return bias.masked_fill((lag < 0) | (lag >= window), float("-inf"))


class Attention(nn.Module):
    """Multi-head self-attention over the current step and the W - 1 steps before it."""

    def __init__(self, dim: int, num_heads: int, window: int, dropout: float):
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        slopes = 2.0 ** -torch.linspace(0, 6, num_heads)
        self.lag_bias = nn.Parameter(-slopes[:, None] * torch.arange(window))

    def forward(self, u: Tensor, past: State) -> tuple[Tensor, State]:
        n, steps, dim = u.shape
        heads = self.query_key_value(u).view(n, steps, 3, self.num_heads, dim // self.num_heads)
        q, k, v = heads.permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        mixed, past = attend(q, k, v, past, self.lag_bias, dropout=dropout)
        return self.out(mixed.transpose(1, 2).reshape(n, steps, dim)), past


class CausalTransformer(CausalNetwork):
    """Pre-norm transformer blocks.

    Args:
        in_dim: size of u_t.
        hidden_dim: width, a multiple of num_heads, and the size of h_t.
        num_layers: blocks.
        num_heads: attention heads.
        attention_window: steps that each block attends to, the current one included.
        activation: `relu`, `leaky-relu`, `elu` or `silu`, of the feed-forward layers.
        dropout: share of attention weights and block outputs dropped in training.
    """

    def __init__(
        self,
        in_dim: int,
        hidden_dim: int = 64,
        *,
        num_layers: int = 2,
        num_heads: int = 4,
        attention_window: int = 256,
        activation: str = "silu",
        dropout: float = 0.0,
    ):
        super().__init__()
        if hidden_dim % num_heads:
            raise InputError(f"hidden_dim={hidden_dim} must be a multiple of num_heads={num_heads}")
        self.in_dim, self.out_dim = in_dim, hidden_dim
        self.receptive_field = 1 + num_layers * (attention_window - 1)
        self.inner = nn.Linear(in_dim, hidden_dim)
        self.attentions = nn.ModuleList(
            Attention(hidden_dim, num_heads, attention_window, dropout) for _ in range(num_layers)
        )
        self.feed_forwards = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(hidden_dim),
                nn.Linear(hidden_dim, 4 * hidden_dim),
                make_activation(activation),
                nn.Linear(4 * hidden_dim, hidden_dim),
            )
            for _ in range(num_layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(hidden_dim) for _ in range(num_layers))
        self.last_norm = nn.LayerNorm(hidden_dim)
        self.dropout = Dropout(dropout)

    def scan(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        h, after = self.inner(u), []
        blocks = zip(self.attentions, self.feed_forwards, self.norms, strict=True)
        for i, (attention, feed_forward, norm) in enumerate(blocks):
            out, cache = attention(norm(h), None if state is None else state[i])
            after.append(cache)
            h = h + self.dropout(out)
            h = h + self.dropout(feed_forward(h))
        return self.last_norm(h), tuple(after)
