"""The critic: one number for a window, from a two-sided convolution over its steps.

    u_t = (values, what is given of step t)
    h = conv_3(conv_2(conv_1(A u)))        dilations 1, 2, 4, leaky rectifiers between
    f = w . MLP(sum_t h_t / sqrt(n))       over the n steps of the window

The generator must be causal; its critic need not be, and looks at a window from both sides. All of
its layers between values and verdict have gains of at most one but for their weights, so that with
spectral normalisation |f(a) - f(b)| <= `LIPSCHITZ` |a - b| (Miyato et al. 2018): a matrix has norm
1, and a convolution of k taps, normalised as a matrix, at most sqrt(k).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

TAPS, DILATIONS = 3, (1, 2, 4)
LIPSCHITZ = TAPS ** (len(DILATIONS) / 2)
LEAK = 0.2


class Critic(nn.Module):
    """A verdict on each window; higher for what looks more like the data.

    Args:
        num_values: V, numbers of a step that it judges.
        num_given: G, numbers of a step that are the same for real and generated windows.
        hidden_dim: width.
        spectral: divide each weight by its largest singular value.
    """

    def __init__(self, num_values: int, num_given: int, hidden_dim: int, spectral: bool):
        super().__init__()
        wrap = spectral_norm if spectral else lambda layer: layer
        self.first = wrap(nn.Linear(num_values + num_given, hidden_dim))
        self.convs = nn.ModuleList(
            wrap(nn.Conv1d(hidden_dim, hidden_dim, TAPS, dilation=d, padding=d * (TAPS // 2)))
            for d in DILATIONS
        )
        self.hidden = wrap(nn.Linear(hidden_dim, hidden_dim))
        self.out = wrap(nn.Linear(hidden_dim, 1))

    def forward(self, values: Tensor, given: Tensor, inside: Tensor) -> Tensor:
        """(N, W, V) values, (N, W, G) and (N, W) 0 or 1 of the steps that count -> (N,)."""
        h = F.leaky_relu(self.first(torch.cat([values, given], -1)), LEAK).mT
        for conv in self.convs:
            h = F.leaky_relu(conv(h), LEAK)
        pooled = (h * inside[:, None]).sum(-1) / inside.sum(-1, keepdim=True).clamp(min=1).sqrt()
        return self.out(F.leaky_relu(self.hidden(pooled), LEAK))[:, 0]
