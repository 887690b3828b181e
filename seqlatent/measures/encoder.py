"""An encoder of windows that learns by contrast (TS2Vec; Yue et al. 2022), for Context-FID.

Two crops of each window overlap; the features of a step in the overlap should be alike in both and
unlike those of other steps and of other windows. With r_it from one crop and r'_it from the other
(window i, step t), and dots as similarities,

    temporal  -log  exp(r_it . r'_it) / sum_s (exp(r_it . r'_is) + 1{s != t} exp(r_it . r_is))
    instance  -log  exp(r_it . r'_it) / sum_j (exp(r_it . r'_jt) + 1{j != i} exp(r_it . r_jt))

The loss is half their sum, of both crops alike. It is taken at several levels, between which
neighbouring steps are pooled by their maximum until one is left; the mean over levels counts.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

HIDDEN, FEATURES, DEPTH = 64, 320, 10
BATCH, RATE = 8, 1e-3
SMALL, FEW_STEPS, MANY_STEPS = 100_000, 200, 600  # values in all, and the steps of training
READ = 256  # windows that are encoded at once


class DilatedConv(nn.Linear):
    """A convolution of three taps, `dilation` steps apart, with zeros outside the window:
    (N, T, in) -> (N, T, out). As one matrix product it is faster than `Conv1d`."""

    def __init__(self, in_dim: int, out_dim: int, dilation: int):
        super().__init__(3 * in_dim, out_dim)
        self.dilation = dilation

    def forward(self, input: Tensor) -> Tensor:
        size, d = input.shape[-1], self.dilation
        if d >= input.shape[1]:  # the outer taps would read zeros alone
            return F.linear(input, self.weight[:, size : 2 * size], self.bias)
        wide = F.pad(input, (0, 0, d, d))
        return super().forward(torch.cat([wide[:, : -2 * d], input, wide[:, 2 * d :]], -1))


class Block(nn.Module):
    """x + conv(gelu(conv(gelu(x)))), x projected where the number of features changes."""

    def __init__(self, in_dim: int, out_dim: int, dilation: int):
        super().__init__()
        self.first = DilatedConv(in_dim, out_dim, dilation)
        self.second = DilatedConv(out_dim, out_dim, dilation)
        self.project = nn.Linear(in_dim, out_dim) if in_dim != out_dim else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.project(x) + self.second(F.gelu(self.first(F.gelu(x))))


class Encoder(nn.Module):
    """(N, T, D) -> (N, T, 320) features of each step in its context."""

    def __init__(self, channels: int):
        super().__init__()
        self.inner = nn.Linear(channels, HIDDEN)
        sizes = [HIDDEN] * DEPTH + [FEATURES]
        self.blocks = nn.Sequential(
            *(Block(HIDDEN, size, 2**level) for level, size in enumerate(sizes))
        )
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.inner(x)
        if self.training:  # half of the steps are hidden
            h = h * (torch.rand(h.shape[:2]) < 0.5)[..., None]
        return self.dropout(self.blocks(h))

    @torch.no_grad()
    def features(self, windows: np.ndarray) -> np.ndarray:
        """(N, 320) the largest value of each feature over the steps of (N, T, D) windows."""
        parts = torch.from_numpy(windows.astype(np.float32)).split(READ)
        return torch.cat([self(part).amax(1) for part in parts]).double().numpy()


def train_encoder(windows: np.ndarray, seed: int = 0) -> Encoder:
    """Fit an encoder to (N, T, D) windows; the mean of its parameters over all steps is kept.

    With AdamW, batches of 8; 200 steps for at most 100,000 values, else 600. Random numbers of the
    caller are left as they were.
    """
    values = torch.from_numpy(windows.astype(np.float32))
    steps = FEW_STEPS if values.numel() <= SMALL else MANY_STEPS
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(values.shape[-1])
        mean = torch.optim.swa_utils.AveragedModel(encoder)
        optimizer = torch.optim.AdamW(encoder.parameters(), lr=RATE, fused=True)
        for batch in batches(len(values), BATCH, steps):
            first, second, both = crops(values[batch])
            loss = contrast(encoder(first)[:, -both:], encoder(second)[:, :both])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            mean.update_parameters(encoder)
    encoder.load_state_dict(mean.module.state_dict())
    return encoder.eval()


def batches(number: int, size: int, steps: int) -> Iterator[Tensor]:
    """Places (size,) of so many batches; each goes once through all before any comes again."""
    size, queue = min(size, number), torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        if len(queue) < size:
            queue = torch.randperm(number)
        yield queue[:size]
        queue = queue[size:]


def crops(x: Tensor) -> tuple[Tensor, Tensor, int]:
    """Two crops of (B, T, D) windows, and how many steps are in both: the last ones of the first
    crop and the first ones of the second.

    They are the steps [a, d) and [c, b) with a <= c < d <= b, at random; each window is shifted by
    an offset of its own.
    """
    length = x.shape[1]
    overlap = _between(min(2, length), length)
    c = _between(0, length - overlap)
    d = c + overlap
    a, b = _between(0, c), _between(d, length)
    offset = torch.randint(-a, length - b + 1, (len(x), 1))
    rows = torch.arange(len(x))[:, None]
    first, second = (x[rows, offset + torch.arange(*ends)] for ends in ((a, d), (c, b)))
    return first, second, overlap


def _between(low: int, high: int) -> int:
    """A whole number at random, both ends included."""
    return int(torch.randint(low, high + 1, ()))


def contrast(r: Tensor, s: Tensor) -> Tensor:
    """The hierarchical loss of two (B, T, C) features of the same steps."""
    total, levels = r.new_zeros(()), 0
    while True:
        if len(r) > 1:
            total = total + 0.5 * one_of_all(r.transpose(0, 1), s.transpose(0, 1))
        if r.shape[1] == 1:
            return total / (levels + 1)
        total = total + 0.5 * one_of_all(r, s)
        levels += 1
        r, s = (F.max_pool1d(h.transpose(1, 2), 2).transpose(1, 2) for h in (r, s))


def one_of_all(r: Tensor, s: Tensor) -> Tensor:
    """Mean negative log-probability that item k of r picks item k of s among all items but itself,
    and the other way round: features (G, K, C) of K items in each of G groups."""
    both = torch.cat([r, s], 1)
    size = r.shape[1]
    dots = both @ both.transpose(1, 2)
    dots = dots.masked_fill(torch.eye(2 * size, dtype=torch.bool), -torch.inf)
    partner = torch.arange(2 * size).roll(size)
    return F.cross_entropy(dots.flatten(0, 1), partner.repeat(len(both)))
