"""All channels at once, by coupling layers: p(x_t | h_t) by an invertible map of the whole step.

Every layer mixes the channels and then transforms one half given the other half and h_t (Dinh et
al. 2017):

    v = W y,    a, b = the halves of v,    y' = (a, g(b; a, h_t)),    g increasing in each channel

    log |det dy'/dy| = log |det W| + sum_j log g'(b_j)

W is either a fixed permutation P, by which the halves alternate, or a learned matrix W = L U P with
L unit lower triangular and U upper triangular, whose log |det| is the sum of the logarithms of U's
diagonal (Kingma and Dhariwal 2018). Density and inverse cost one pass over the layers each, for any
number of channels, whereas `autoregressive.py` samples one channel after another.

The marginal distribution of some of the channels has no closed form. All channels of a step must
therefore be observed, or none.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqlatent.distributions.heads import Head, StepDistribution
from seqlatent.distributions.noise import Noise
from seqlatent.distributions.tails import bend, unbend
from seqlatent.distributions.transformed import Transformed
from seqlatent.errors import InputError
from seqlatent.nn.layers import SOFTPLUS_ONE

ORDERS = ("alternating", "learned")
LAYERS = 4


class Mixing(nn.Module):
    """W: a permutation by which the halves alternate, or a learned matrix that starts there.

    Args:
        layer: number of the layer. Every second one also shuffles the channels, without which two
            channels of one half would stay together in all layers.
        num_channels: D.
        learned: whether L and U are learned.
    """

    places: Tensor

    def __init__(self, layer: int, num_channels: int, learned: bool):
        super().__init__()
        places = torch.arange(num_channels).roll(num_channels // 2 if layer else 0)
        if layer % 2 == 0 and layer:
            places = torch.cat([places[0::2], places[1::2]])
        self.register_buffer("places", places)
        self.lower = self.upper = self.log_size = None
        if learned:
            size = num_channels * (num_channels - 1) // 2
            self.lower = nn.Parameter(torch.zeros(size))
            self.upper = nn.Parameter(torch.zeros(size))
            self.log_size = nn.Parameter(torch.zeros(num_channels))

    def _factors(self) -> tuple[Tensor, Tensor]:
        assert self.lower is not None and self.upper is not None and self.log_size is not None
        n = len(self.places)
        row, column = torch.tril_indices(n, n, -1, device=self.places.device)
        zero = self.lower.new_zeros(n, n)
        lower = zero.index_put((row, column), self.lower) + torch.eye(n).to(zero)
        # the diagonal lies within e^-2 and e^2; larger changes of scale are left to the maps
        diagonal = torch.diag_embed((2 * torch.tanh(self.log_size / 2)).exp())
        return lower, zero.index_put((column, row), self.upper) + diagonal

    def log_det(self) -> Tensor | float:
        return 0.0 if self.log_size is None else (2 * torch.tanh(self.log_size / 2)).sum()

    def forward(self, y: Tensor) -> Tensor:
        y = y[..., self.places]
        if self.log_size is None:
            return y
        lower, upper = self._factors()
        return y @ (lower @ upper).mT

    def inverse(self, v: Tensor) -> Tensor:
        if self.log_size is not None:
            lower, upper = self._factors()
            # All steps are columns of one system, so that the factors are not copied.
            columns = v.reshape(-1, len(self.places)).mT
            y = torch.linalg.solve_triangular(lower, columns, upper=False, unitriangular=True)
            v = torch.linalg.solve_triangular(upper, y, upper=True).mT.reshape(v.shape)
        return v[..., self.places.argsort()]


class CouplingHead(Head):
    """Features (..., in_dim) to a `Coupling`.

    Args:
        family: of the maps of one channel.
        in_dim: size of h_t.
        num_channels: D, at least 2.
        order: `alternating` or `learned` mixing.
        hidden_dim: hidden units of each coupling layer.
    """

    family: Transformed

    def __init__(
        self,
        family: Transformed,
        in_dim: int,
        num_channels: int,
        order: str = ORDERS[0],
        hidden_dim: int = 32,
    ):
        super().__init__()
        self.num_channels, self.hidden_dim = num_channels, hidden_dim
        self.still = num_channels // 2  # channels that a layer leaves unchanged
        moved = num_channels - self.still
        # About half of the layers move a channel: the product of their scales stays above the
        # floor.
        self.family = copy.deepcopy(family)
        self.bends, self.family.bends = family.bends, False  # tails bend once, after all layers
        self.family.floor = family.floor.log().mean().exp() ** (2 / LAYERS)
        self.mixing = nn.ModuleList(
            Mixing(layer, num_channels, order == "learned") for layer in range(LAYERS)
        )
        self.context = nn.Linear(in_dim, LAYERS * hidden_dim)
        self.given = nn.ModuleList(
            nn.Linear(self.still * family.num_features, hidden_dim, bias=False)
            for _ in range(LAYERS)
        )
        size = moved * family.num_params
        self.out = nn.ModuleList(nn.Linear(hidden_dim, size, bias=False) for _ in range(LAYERS))
        self.skip = nn.Linear(in_dim, LAYERS * size)
        with torch.no_grad():
            for weight in self.out.parameters():
                weight.mul_(0.5)
            self.skip.weight.mul_(0.5)
            start = family.initial()
            start[1] = SOFTPLUS_ONE
            self.skip.bias.copy_(start.repeat(LAYERS * moved))

    def forward(self, h: Tensor, observed: Tensor | None = None) -> "Coupling":
        return Coupling(self, self.context(h), self.skip(h), observed)


class Coupling(StepDistribution):
    """The distribution of one step; built by `CouplingHead`.

    Raises:
        InputError: where some channels of a step are observed and others are not.
    """

    def __init__(self, head: CouplingHead, context: Tensor, skip: Tensor, observed: Tensor | None):
        if observed is not None and bool((observed.any(-1) != observed.all(-1)).any()):
            raise InputError(
                "channels=coupling models all channels at once, and here some are missing: "
                "use channels=autoregressive"
            )
        self.head, self.context, self.skip = head, context, skip
        shape = torch.Size((*context.shape[:-1], head.num_channels))
        super().__init__(head.family, shape, observed)

    def _params(self, layer: int, still: Tensor) -> Tensor:
        """(..., a) the unchanged half -> (..., b, P) parameters of the other half's maps."""
        head = self.head
        context = self.context.unflatten(-1, (LAYERS, -1))[..., layer, :]
        skip = self.skip.unflatten(-1, (LAYERS, -1))[..., layer, :]
        hidden = F.silu(context + head.given[layer](head.family.features(still).flatten(-2)))
        return (head.out[layer](hidden) + skip).unflatten(-1, (-1, head.family.num_params))

    def _layers(self, y: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """z, log |det dz/dy|, and every layer's (..., b) log slopes."""
        head, slopes, log_det = self.head, [], torch.zeros_like(y[..., 0])
        for layer, mixing in enumerate(head.mixing):
            assert isinstance(mixing, Mixing)
            y, log_det = mixing(y), log_det + mixing.log_det()
            still, moved = y[..., : head.still], y[..., head.still :]
            moved, slope = head.family.map(self._params(layer, still), moved)
            y, log_det = torch.cat([still, moved], -1), log_det + slope.sum(-1)
            slopes.append(slope)
        return y, log_det, slopes

    def map(self, value: Tensor) -> tuple[Tensor, Tensor]:
        z, log_det, _ = self._layers(value)
        if self.head.bends:
            z, slope = unbend(z)
            log_det = log_det + slope.sum(-1)
        return z, self._seen(log_det)

    def invert(self, z: Tensor) -> Tensor:
        head = self.head
        z = bend(z) if head.bends else z
        for layer, mixing in reversed(list(enumerate(head.mixing))):
            assert isinstance(mixing, Mixing)
            still, moved = z[..., : head.still], z[..., head.still :]
            moved = head.family.decode(self._params(layer, still), moved)
            z = mixing.inverse(torch.cat([still, moved], -1))
        return z

    def log_prob(self, value: Tensor) -> Tensor:
        z, log_det = self.map(value)
        return self._seen(self.head.family.base_log_prob(z).sum(-1)) + log_det

    def _sample(self, noise: Noise) -> Tensor:
        shape = (*self.batch_shape, self.head.num_channels)
        return self.invert(noise.normal(shape, self.context))

    def at_floor(self, value: Tensor) -> Tensor:
        """(..., D) the share of the layers' local scales that are at their floor, the same number
        for all channels."""
        slopes = torch.cat(self._layers(value)[2], -1)
        low = (-slopes).exp() < 1.5 * self.head.family.floor
        return low.to(value).mean(-1, keepdim=True).expand_as(value)

    def _seen(self, value: Tensor) -> Tensor:
        return value if self.observed is None else torch.where(self.observed.all(-1), value, 0.0)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> "Coupling":
        if torch.Size(batch_shape) == self.batch_shape:
            return self
        context = self.context.expand(*batch_shape, self.context.shape[-1])
        skip = self.skip.expand(*batch_shape, self.skip.shape[-1])
        return Coupling(self.head, context, skip, self.observed)
