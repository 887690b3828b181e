"""Families of distributions of one value, with a few parameters each.

A family turns raw parameters (..., P), any real numbers, into a density or mass function of one
value. Every formula is finite for all finite parameters: scales are a softplus plus a floor, not an
exponential, and masses are computed from logits, not probabilities.
"""

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import ChannelDescription
from seqlatent.distributions.noise import Noise, sample_class
from seqlatent.distributions.student import student_tail
from seqlatent.distributions.tails import RARE, bend, bent_log_prob
from seqlatent.nn.layers import OUTLIER, soft_clip


class Family(nn.Module):
    """A family of distributions of one value.

    Attributes:
        num_params: P.
        num_features: the number of features by which a network sees one value.
        discrete: whether `log_prob` is a log mass; such values are never scaled.
        labels: whether the values are labels, which have no size.
    """

    num_params: int
    num_features: int = 1
    discrete: bool = False
    labels: bool = False

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """(..., P), (...) -> (...) log density or mass, in nats."""
        raise TypeError(f"{type(self).__name__} must define log_prob")

    def sample(self, params: Tensor, noise: Noise) -> Tensor:
        """(..., P) -> (...) a sample for each set of parameters."""
        raise TypeError(f"{type(self).__name__} must define sample")

    def tail(self, params: Tensor, x: Tensor) -> Tensor | None:
        """(..., P), (...) -> (...) the probability of a value with at most the density of x; None
        where it has no closed form."""
        return None

    def channel(self, d: int) -> "Family":
        """The family of channel d, with that channel's entry of every buffer."""
        view = copy.copy(self)
        view._buffers = {name: b if b is None else b[d] for name, b in self._buffers.items()}
        return view

    def discrete_channels(self, num_channels: int) -> tuple[bool, ...]:
        """For each of D channels, whether its values are discrete and never scaled."""
        return (self.discrete,) * num_channels

    def label_channels(self, num_channels: int) -> tuple[bool, ...]:
        """For each of D channels, whether its values are labels."""
        return (self.labels,) * num_channels

    def initial(self) -> Tensor:
        """(P,) raw parameters at the start of training."""
        return torch.zeros(self.num_params)

    def initials(self, num_channels: int) -> Tensor:
        """(D P,) raw parameters of all channels at the start of training."""
        return self.initial().repeat(num_channels)

    def features(self, x: Tensor) -> Tensor:
        """(...) values -> (..., num_features) their features for a network."""
        return soft_clip(x)[..., None]

    def at_floor(self, params: Tensor, x: Tensor) -> Tensor:
        """(...) to what extent, 0 to 1, a value's density is determined by the floor of the
        scale."""
        return torch.zeros_like(x)

    def wild(self, x: Tensor) -> Tensor:
        """(...) whether values are so far out that networks read them as missing."""
        return torch.zeros_like(x, dtype=torch.bool)

    def check(self, data: SequenceDataset) -> None:
        """Refuse values that have no probability after training, such as a new category.

        Raises:
            InputError: naming the series.
        """


class LocationScale(Family):
    """A family for real values, whose scales stay above a floor set by the data's resolution.

    Args:
        channels: of the training data.
        units: (D,) size, in data units, of one unit of the values given to `log_prob`.
    """

    floor: Tensor
    outlier: float = OUTLIER  # infinite where values are not scaled

    def __init__(self, channels: tuple[ChannelDescription, ...], units: Sequence[float]):
        super().__init__()
        # Rounding to a grid of spacing r is an error of standard deviation r / sqrt(12): a smaller
        # scale would model the rounding.
        floor = [
            max(1e-4 * c.scale, c.resolution / math.sqrt(12)) / unit
            for c, unit in zip(channels, units, strict=True)
        ]
        self.register_buffer("floor", torch.tensor(floor))

    def wild(self, x: Tensor) -> Tensor:
        return x.abs() > self.outlier

    def scale(self, raw: Tensor, floor: Tensor) -> Tensor:
        return floor + F.softplus(raw)

    def at_floor(self, params: Tensor, x: Tensor) -> Tensor:
        return (self.scale(params[..., 1], self.floor) < 1.5 * self.floor).to(x)


class StudentT(LocationScale):
    """Student's t distribution with location, scale and df > 1 degrees of freedom, of which one
    value in 20,000 is Cauchy distributed (df = 1), so that a wild value has a density:

        p(x) = (1 - r) t(x; df) + r t(x; 1),    r = 1 / 20,000

    It costs 5e-5 nats each. With many degrees of freedom the first part alone falls as a normal
    density does: a value at 50 scales would cost 260 nats, and so costs 17."""

    num_params = 3

    def _parts(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # With a larger df it is practically normal, and the difference of lgammas loses digits.
        df = 1.0 + 200.0 * torch.sigmoid(params[..., 2] - 3.0)
        return params[..., 0], self.scale(params[..., 1], self.floor), df

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        loc, scale, df = self._parts(params)
        y = (x - loc) / scale
        square = y**2
        usual = (
            torch.lgamma((df + 1) / 2)
            - torch.lgamma(df / 2)
            - 0.5 * torch.log(df * math.pi)
            - (df + 1) / 2 * torch.log1p(square / df)
        )
        # log(1 + y^2), which overflows in single precision beyond 1e19
        far = math.log(RARE / math.pi) - 2 * torch.hypot(y, torch.ones_like(y)).log()
        return torch.logaddexp(usual + math.log1p(-RARE), far) - scale.log()

    def tail(self, params: Tensor, x: Tensor) -> Tensor:
        loc, scale, df = self._parts(params)
        y = (x - loc) / scale
        far = 1 - 2 / math.pi * y.double().abs().atan()
        return (1 - RARE) * student_tail(y, df) + RARE * far

    def sample(self, params: Tensor, noise: Noise) -> Tensor:
        loc, scale, df = self._parts(params)
        df = torch.where(noise.uniform(df.shape, df) < RARE, 1.0, df)
        normal = noise.normal(loc.shape, loc)
        gamma = noise.gamma(df / 2)
        return loc + scale * normal / (2 * gamma / df).clamp(min=1e-12).sqrt()


class Mixture(LocationScale):
    """A mixture of normals, sum_k w_k N(x; loc_k, scale_k^2), whose tails bend (tails.py)."""

    def __init__(
        self,
        channels: tuple[ChannelDescription, ...],
        units: Sequence[float],
        num_components: int = 6,
    ):
        super().__init__(channels, units)
        self.num_components = num_components
        self.num_params = 3 * num_components

    def _parts(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(..., 3 K) -> logits, loc and scale, (K, ...) each.

        With components first, log_prob takes less than half the time: on a CPU, reductions over a
        short last dimension are slow.
        """
        logits, loc, raw = params.movedim(-1, 0).contiguous().chunk(3)
        return logits, loc, self.scale(raw, self.floor)

    def _joint(self, params: Tensor, x: Tensor) -> Tensor:
        """(K, ...) log of weight times density."""
        logits, loc, scale = self._parts(params)
        return F.log_softmax(logits, 0) + bent_log_prob((x - loc) / scale) - scale.log()

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        return self._joint(params, x).logsumexp(0)

    def sample(self, params: Tensor, noise: Noise) -> Tensor:
        logits, loc, raw = params.chunk(3, -1)
        component = sample_class(logits, noise)[..., None]
        loc, raw = loc.gather(-1, component)[..., 0], raw.gather(-1, component)[..., 0]
        return loc + self.scale(raw, self.floor) * bend(noise.normal(loc.shape, loc))

    def initial(self) -> Tensor:
        k = self.num_components  # different locations, or all components would stay the same
        loc = torch.linspace(-1, 1, k) if k > 1 else torch.zeros(1)
        return torch.cat([torch.zeros(k), loc, torch.zeros(k)])

    def at_floor(self, params: Tensor, x: Tensor) -> Tensor:
        low = self._parts(params)[2] < 1.5 * self.floor
        return (self._joint(params, x).softmax(0) * low).sum(0)
