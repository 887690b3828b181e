"""Encoder and decoder of windows, which begin as principal components.

    z = A w + a(w),    w^ = B z + b(z)          w a window, a and b networks of hidden layers

The linear parts begin at the principal components of the windows of the training data, with codes
of variance 1, and the networks at 0 (Baldi and Hornik 1989: with linear maps alone, principal
components are the optimum). Training can therefore only do better than these.
"""

import torch
from torch import Tensor, nn

from seqlatent.nn.feedforward import mlp

SMALLEST = 1e-3  # of a component's standard deviation, in scaled units


def windows(e: Tensor, before: int, after: int, blank: Tensor | float) -> Tensor:
    """The window of every step: those before it, itself, those after it.

    Args:
        e: (B, T, F).
        before, after: steps of a window on either side; -1 of them after: it ends one step before.
        blank: (F,) or a number that stands for steps outside the sequence.

    Returns:
        (B, T, before + 1 + after, F).
    """
    blank = torch.as_tensor(blank).to(e).expand(len(e), 1, e.shape[-1])
    parts = [blank.expand(-1, before, -1), e, blank.expand(-1, max(after, 0), -1)]
    all_of_them = torch.cat(parts, 1).unfold(1, before + 1 + after, 1)
    return all_of_them[:, : e.shape[1]].movedim(-1, 2)


def filled(values: Tensor, missing: Tensor) -> Tensor:
    """(..., P, D) windows whose missing values are those before them or, where there are none, the
    first of the window; 0 in windows without any: a level must not break where values do."""
    places = torch.arange(values.shape[-2], device=values.device)[:, None]
    before = torch.where(missing, -1, places).cummax(-2).values
    first = missing.to(torch.uint8).argmin(-2, keepdim=True)  # of windows without any: 0
    return torch.where(missing, 0.0, values).gather(-2, torch.where(before < 0, first, before))


class LinearPlus(nn.Module):
    """A linear map (..., in_dim) -> (..., out_dim) plus a network, which begins at 0.

    Args:
        in_dim, out_dim: sizes.
        hidden_dim: width of the network.
        num_layers: its hidden layers; 0: the map is linear.
        activation: as of `seqlatent.nn.layers.activation`.
    """

    def __init__(
        self, in_dim: int, hidden_dim: int, out_dim: int, num_layers: int, activation: str
    ):
        super().__init__()
        self.linear = nn.Linear(in_dim, out_dim)
        self.network = None
        if num_layers:
            self.network = mlp(in_dim, hidden_dim, out_dim, num_layers, activation)
            nn.init.zeros_(self.network[-1].weight)  # pyright: ignore[reportArgumentType]
            nn.init.zeros_(self.network[-1].bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) if self.network is None else self.linear(x) + self.network(x)


@torch.no_grad()
def start_at_components(encoder: LinearPlus, decoder: LinearPlus, x: Tensor) -> None:
    """Set the linear parts to the first principal components of windows.

    Args:
        encoder: of windows that hold P steps, each D values and then D flags.
        decoder: to P D values.
        x: (N, P, D) windows of scaled values, 0 where missing.
    """
    num, P, D = x.shape
    flat = x.reshape(num, P * D).double()
    mean = flat.mean(0)
    values, vectors = torch.linalg.eigh((flat - mean).T @ (flat - mean) / num)
    size = encoder.linear.out_features
    scale = values.flip(0)[:size].clamp(min=SMALLEST**2).sqrt()
    components = vectors.flip(1)[:, :size]  # (P D, Z)
    weight = torch.zeros(size, P, encoder.linear.in_features // P, dtype=torch.double)
    weight[..., :D] = (components / scale).T.reshape(size, P, D)
    encoder.linear.weight.copy_(weight.flatten(1))
    encoder.linear.bias.copy_(-(mean @ components) / scale)
    decoder.linear.weight.copy_(components * scale)
    decoder.linear.bias.copy_(mean)
