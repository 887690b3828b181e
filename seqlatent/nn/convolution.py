"""Dilated causal convolution (van den Oord et al. 2016; Bai et al. 2018)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqlatent.nn.causal import CausalNetwork, State
from seqlatent.nn.layers import Dropout, normalisation
from seqlatent.nn.layers import activation as make_activation


class CausalConv(nn.Module):
    """A convolution over time that is padded on the left only.

    out = floor((in - (kernel - 1) dilation + padding - 1) / stride) + 1. With stride 1 and padding
    (kernel - 1) dilation there are as many outputs as inputs, and none depends on a later input.
    """

    def __init__(self, in_dim: int, out_dim: int, kernel_size: int, dilation: int):
        super().__init__()
        self.padding = (kernel_size - 1) * dilation
        self.conv = nn.Conv1d(in_dim, out_dim, kernel_size, dilation=dilation)

    def forward(self, u: Tensor, past: Tensor | None) -> tuple[Tensor, Tensor]:
        """(N, C, T) and the (N, C, padding) steps before it, zeros if None."""
        if past is None:
            past = u.new_zeros(*u.shape[:2], self.padding)
        seen = torch.cat([past, u], -1)
        after = seen[..., seen.shape[-1] - self.padding :]
        if u.shape[-1] > 1:
            return self.conv(seen), after
        # A single step, as in sampling, is a matrix product, which is much faster.
        taps = seen[..., :: self.conv.dilation[0]].flatten(1)
        return F.linear(taps, self.conv.weight.flatten(1), self.conv.bias)[..., None], after


class Convolution(CausalNetwork):
    """Residual blocks of dilated causal convolutions, dilation 1, 2, 4, ...

    Args:
        in_dim: size of u_t.
        hidden_dim: channels of every block, and the size of h_t.
        num_layers: blocks; the receptive field is 1 + (kernel_size - 1) (2^num_layers - 1).
        kernel_size: steps that each convolution sees, `dilation` apart.
        activation: `relu`, `leaky-relu`, `elu` or `silu`.
        dropout: share of each block's features dropped in training.
        norm: `none` or `layer`, before each block's activation.
        residual: add each block's input to its output.
    """

    def __init__(
        self,
        in_dim: int,
        hidden_dim: int = 64,
        *,
        num_layers: int = 5,
        kernel_size: int = 3,
        activation: str = "silu",
        dropout: float = 0.0,
        norm: str = "none",
        residual: bool = True,
    ):
        super().__init__()
        self.in_dim, self.out_dim, self.residual = in_dim, hidden_dim, residual
        self.receptive_field = 1 + (kernel_size - 1) * (2**num_layers - 1)
        self.inner = nn.Linear(in_dim, hidden_dim)
        self.convs = nn.ModuleList(
            CausalConv(hidden_dim, hidden_dim, kernel_size, 2**i) for i in range(num_layers)
        )
        self.norms = nn.ModuleList(normalisation(norm, hidden_dim) for _ in range(num_layers))
        self.mixes = nn.ModuleList(nn.Linear(hidden_dim, hidden_dim) for _ in range(num_layers))
        self.activation = make_activation(activation)
        self.dropout = Dropout(dropout)

    def scan(self, u: Tensor, state: State) -> tuple[Tensor, State]:
        h, after = self.inner(u), []
        for i, (conv, norm, mix) in enumerate(zip(self.convs, self.norms, self.mixes, strict=True)):
            past = None if state is None else state[i]
            out, past = conv(h.transpose(-1, -2), past)
            after.append(past)
            out = mix(self.dropout(self.activation(norm(out.transpose(-1, -2).contiguous()))))
            h = h + out if self.residual else self.activation(out)
        return h, tuple(after)
