"""Causal transformer (Vaswani et al. 2017) with a key-value cache.

Attention reaches back over a window of W steps, so that memory stays bounded on long series and the
cache is a fixed number of keys. Position enters as one learned number per head and lag, added to
the attention logits and begun at the linear slopes of ALiBi (Press et al. 2022): nothing depends on
where in a long series a window was cut.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqlatent.errors import InputError
from seqlatent.nn.causal import CausalNetwork, State
from seqlatent.nn.layers import activation as make_activation


def within(lag_bias: Tensor, steps: int, length: int) -> Tensor:
    """(heads, steps, length) the bias of each lag from (heads, W); -inf ahead and beyond W.

    The `steps` queries stand at the end of the `length` keys.
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
        self.num_heads, self.window, self.dropout = num_heads, window, dropout
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        slopes = 2.0 ** -torch.linspace(0, 6, num_heads)
        self.lag_bias = nn.Parameter(-slopes[:, None] * torch.arange(window))

    def forward(self, u: Tensor, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, State]:
        n, steps, dim = u.shape
        heads = self.query_key_value(u).view(n, steps, 3, self.num_heads, dim // self.num_heads)
        q, k, v = heads.permute(2, 0, 3, 1, 4)
        if past is not None:
            k, v = torch.cat([past[0], k], -2), torch.cat([past[1], v], -2)
        length = k.shape[-2]
        bias = within(self.lag_bias, steps, length)
        dropout = self.dropout if self.training else 0.0
        # With a mask of four dimensions torch may take its fast kernel.
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None], dropout_p=dropout)
        keep = max(0, length - (self.window - 1))
        cache = (k[..., keep:, :], v[..., keep:, :])
        return self.out(mixed.transpose(1, 2).reshape(n, steps, dim)), cache


class Transformer(CausalNetwork):
    """Pre-norm transformer blocks.

    Args:
        in_dim: size of u_t.
        hidden_dim: width, a multiple of num_heads, and the size of h_t.
        num_layers: blocks.
        num_heads: attention heads.
        attention_window: steps that one block reaches back over, the current one included.
        activation: `relu`, `leaky-relu`, `elu` or `silu`, of the feed-forward layers.
        dropout: share dropped of attention weights and block outputs, in training.
    """

    def __init__(
        self,
        in_dim: int,
        hidden_dim: int = 64,
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
        self.dropout = nn.Dropout(dropout)

    def scan(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        h, after = self.inner(u), []
        blocks = zip(self.attentions, self.feed_forwards, self.norms, strict=True)
        for i, (attention, feed_forward, norm) in enumerate(blocks):
            out, cache = attention(norm(h), None if state is None else state[i])
            after.append(cache)
            h = h + self.dropout(out)
            h = h + self.dropout(feed_forward(h))
        return self.last_norm(h), tuple(after)
