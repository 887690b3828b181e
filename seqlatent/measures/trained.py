"""Measures that train a network: Context-FID, discriminative and predictive score.

All are made of windows whose channels are scaled so that the real ones fill [0, 1], as in the
published protocols. Each trains anew on every call: tens of seconds on one thread.
Shapes: real (N, T, D) and drawn (M, T, D), in data units.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from seqlatent.measures.encoder import Encoder, batches, train_encoder
from seqlatent.measures.windows import checked, to_unit_range

BATCH, RATE = 128, 1e-3
DISCRIMINATIVE_STEPS, PREDICTIVE_STEPS = 2000, 5000


def context_fid(
    real: np.ndarray, drawn: np.ndarray, seed: int = 0, encoder: Encoder | None = None
) -> float:
    """Context-FID: Frechet distance between the features of both sets.

    The features are those of `seqlatent.measures.encoder`, trained on the real windows, pooled by
    their maximum over time. Its size depends on the number of windows and on the encoder: only
    values with the same real windows can be compared. Source: Jeha et al. (2022).

    Args:
        encoder: one that was trained before by `encoder_of`; None: one is trained here.
    """
    encoder = encoder or encoder_of(real, seed)
    x, y = to_unit_range(checked(real, "real"), checked(drawn, "drawn"))
    return frechet(encoder.features(x), encoder.features(y))


def encoder_of(real: np.ndarray, seed: int = 0) -> Encoder:
    """The encoder of real windows by which `context_fid` compares."""
    return train_encoder(to_unit_range(checked(real, "real"))[0], seed)


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    """Squared Frechet distance of the Gaussians with the moments of x (N, C) and y (M, C).

        |m - n|^2 + tr(A + B - 2 (A B)^{1/2}),    m, n their means and A, B their covariances

    The eigenvalues of A B are those of A^{1/2} B A^{1/2}, which is symmetric. Source: Dowson and
    Landau (1982); as a measure of what is drawn, Heusel et al. (2017).
    """
    a, b = (np.atleast_2d(np.cov(s, rowvar=False)) for s in (x, y))
    values, vectors = np.linalg.eigh(a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ b @ root), 0)).sum()
    gap = ((x.mean(0) - y.mean(0)) ** 2).sum()
    return float(max(0.0, gap + np.trace(a) + np.trace(b) - 2 * cross))


def discriminative(real: np.ndarray, drawn: np.ndarray, seed: int = 0) -> float:
    """Discriminative score: |accuracy - 1/2| of a network that tells real windows from drawn ones.

    From 0, it cannot tell, to 1/2. A GRU with D / 2 units and a linear layer on its last state,
    trained for 2,000 steps on four fifths of each set; the accuracy is the mean of the shares that
    it gets right of the other fifths. Of equal distributions it is not 0 but about
    0.4 / sqrt(n), n windows being in both fifths together. Source: Yoon et al. (2019).
    """
    x, y = _scaled(real, drawn)
    with _seeded(seed):
        (x, x_test), (y, y_test) = _divided(x), _divided(y)
        reader = Reader(x.shape[-1], x.shape[-1])

        def loss(i: Tensor, j: Tensor) -> Tensor:
            logits = reader(torch.cat([x[i], y[j]]))[:, -1]
            truth = torch.cat([torch.ones(len(i)), torch.zeros(len(j))])
            return F.binary_cross_entropy_with_logits(logits, truth)

        _train(reader, loss, (len(x), len(y)), DISCRIMINATIVE_STEPS)
    with torch.no_grad():
        right = (reader(x_test)[:, -1] > 0).double().mean()
        right = (right + (reader(y_test)[:, -1] <= 0).double().mean()) / 2
    return abs(float(right) - 0.5)


def predictive(real: np.ndarray, drawn: np.ndarray, seed: int = 0) -> float:
    """Predictive score: error on real windows of a forecast that is learnt from drawn ones.

    The mean absolute error of the last channel one step ahead, given the others up to the present
    (of one channel: given itself), in units of the real range. A GRU with D / 2 units and a
    sigmoid, trained for 5,000 steps by the absolute error. Good drawn windows do as well as real
    ones do, for which see `half`. Source: Yoon et al. (2019).
    """
    x, y = _scaled(real, drawn)
    inputs = slice(0, max(1, x.shape[-1] - 1))
    with _seeded(seed):
        reader = Reader(inputs.stop, x.shape[-1])

        def error(windows: Tensor) -> Tensor:
            forecast = torch.sigmoid(reader(windows[:, :-1, inputs]))
            return (forecast - windows[:, 1:, -1]).abs().mean()

        _train(reader, lambda i: error(y[i]), (len(y),), PREDICTIVE_STEPS)
    with torch.no_grad():
        return float(error(x))


class Reader(nn.Module):
    """(N, T, inputs) -> (N, T): a number of each step by a GRU with channels / 2 units."""

    def __init__(self, inputs: int, channels: int):
        super().__init__()
        units = max(1, channels // 2)
        self.gru = nn.GRU(inputs, units, batch_first=True)
        self.outer = nn.Linear(units, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.outer(self.gru(x)[0])[..., 0]


def _train(
    reader: Reader, loss: Callable[..., Tensor], numbers: tuple[int, ...], steps: int
) -> None:
    """Minimise a loss of places among so many windows of each set."""
    optimizer = torch.optim.Adam(reader.parameters(), lr=RATE, fused=True)
    for places in zip(*(batches(n, BATCH, steps) for n in numbers), strict=True):
        optimizer.zero_grad()
        loss(*places).backward()
        optimizer.step()


def _divided(x: Tensor) -> tuple[Tensor, Tensor]:
    """Four fifths of the windows and the others, at random."""
    order = torch.randperm(len(x))
    cut = len(x) * 4 // 5
    return x[order[:cut]], x[order[cut:]]


def _scaled(real: np.ndarray, drawn: np.ndarray) -> list[Tensor]:
    windows = to_unit_range(checked(real, "real"), checked(drawn, "drawn"))
    return [torch.from_numpy(x.astype(np.float32)) for x in windows]


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's random numbers from a seed, and the caller's left as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
