"""Where the training of regimes starts: from clusters of steps, so that regimes differ.

Regimes that start alike stay alike, and gradients seldom part those that share what they should
divide. Steps are therefore clustered in three ways, by k-means (Lloyd 1982), started by the rule of
Arthur and Vassilvitskii (2007):

    values      regimes of different level
    residuals   of a linear regression of the values on what regimes see: of different push
    sizes       of these residuals, averaged over a few steps: of different spread

From each of them a few rounds of expectation and maximisation follow (Dempster, Laird and Rubin
1977), whose maximisation is some gradient steps of the heads. The start of the highest likelihood
is taken, and its likelihood raised by all parameters but those of a network. As in training, a few
values are forgotten, so that regimes know what to do after a missing one. Regimes are numbered by
the mean of the first channel's values.

With many channels or regimes all this takes longer than a short budget has. Whenever it is `late`,
the best so far is kept.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from seqlatent.data.batch import SequenceBatch, collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.inference import chains
from seqlatent.inference.chains import FLOOR, Chain
from seqlatent.nn.forgetting import forget

STEPS, WINDOW = 8192, 128  # of the training data's steps, at most so many, in windows
MOST = 32768  # steps for the last fit of the start
ITERATIONS, TIMES = 10, 5  # of the last fit, between two looks at the clock; and how often
ROUNDS, UPDATES, FIRST = 6, 8, 40  # of expectation; of gradient steps in each, and before them
RATE = 0.05  # of gradient steps
NEAR = 5  # steps over which sizes are averaged


def start_regimes(model: Any, data: SequenceDataset, late: Callable[[], bool]) -> None:
    """Set the heads and the transitions of a switching model by training data."""
    y, g, observed = _windows_of(model, data)
    if int(observed.any(-1).sum()) < 2 * model.num_regimes:
        return
    first, best = copy.deepcopy(model.state_dict()), -torch.inf
    kept = first
    for points in _points(model, y, g, observed):
        model.load_state_dict(first)
        labels = _clusters(points[observed.any(-1)], model.num_regimes)
        shares = y.new_zeros(*y.shape[:2], model.num_regimes)
        shares[observed.any(-1)] = F.one_hot(labels, model.num_regimes).to(y)
        shares = shares[..., _by_level(y, observed, shares)]
        value = _fit(model, y, g, observed, shares, late)
        if value > best:
            best, kept = value, copy.deepcopy(model.state_dict())
        if late():
            break
    model.load_state_dict(kept)
    if not late():
        _raise_likelihood(model, *_windows_of(model, data, MOST), late)


def _raise_likelihood(
    model: Any, y: Tensor, g: Tensor, observed: Tensor, late: Callable[[], bool]
) -> None:
    """Raise the likelihood of whole windows, by a quasi-Newton method with all of them at once
    (Liu and Nocedal 1989); where numbers overflow, leave the model as it is."""
    before = copy.deepcopy(model.state_dict())
    heads = model.regime_heads()
    weights = [p for head in heads for p in head.parameters()]
    optimizer = torch.optim.LBFGS(
        [*weights, model.log_start, model.log_transition],
        max_iter=ITERATIONS,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        start, moves = (p.log_softmax(-1) for p in (model.log_start, model.log_transition))
        chain = Chain(
            start.double().clamp(min=FLOOR).expand(len(y), -1),
            moves.double().clamp(min=FLOOR).expand(1, y.shape[1], -1, -1),
            torch.stack([head(g, observed).log_prob(y) for head in heads], -1),
        )
        # As if each start and each move had been seen once more, and a normal prior of weights:
        # a regime of few steps would shrink to them.
        prior = start.sum() + moves.sum() - 0.5 * sum(w.square().sum() for w in weights)
        value = -(chains.log_prob(chain)[0].sum() + prior) / observed.sum()
        value.backward()
        return value

    for _ in range(TIMES):
        if late():
            break
        optimizer.step(loss)  # pyright: ignore[reportArgumentType]
    if not all(p.isfinite().all() for p in model.parameters()):
        model.load_state_dict(before)
    model.zero_grad(set_to_none=True)


@torch.no_grad()
def _windows_of(
    model: Any, data: SequenceDataset, most: int = STEPS
) -> tuple[Tensor, Tensor, Tensor]:
    """Scaled values, what regimes see, and which values are observed, of (N, WINDOW) steps."""
    usual = max(1, round(most / max(1.0, float(data.lengths.mean()))))
    every = -(-len(data) // usual)
    cut = [s.slice(0, most, s.context) for s in data.sequences[::every]]
    rngs = np.random.default_rng(int(torch.randint(2**31, ()))).spawn(len(cut))
    batch = collate(forget(cut, rngs, model.scaler))
    y, _, u = model.inputs(batch, None)
    g, _ = model.summary(u, None)
    parts = (_cut(part) for part in (y.to(g), g, batch.observed & _within(batch)))
    return tuple(parts)  # type: ignore[return-value]


def _within(batch: SequenceBatch) -> Tensor:
    step = torch.arange(batch.x.shape[1])
    return (step >= batch.context[:, None])[..., None]


def _cut(x: Tensor) -> Tensor:
    """(B, T, n) -> (N, W, n) windows, padded with zeros."""
    width = min(WINDOW, x.shape[1])
    padded = F.pad(x, (0, 0, 0, -x.shape[1] % width))
    return padded.reshape(-1, width, x.shape[-1])


def _points(model: Any, y: Tensor, g: Tensor, observed: Tensor) -> Iterator[Tensor]:
    """(N, W, n) points of each way to cluster, with mean 0 and standard deviation 1."""
    seen = observed.any(-1)
    values = (model.features(y) * observed[..., None]).flatten(-2).detach()
    by = torch.cat([torch.ones_like(g[..., :1]), g], -1)[seen].double()
    gram = by.T @ by + 1e-3 * len(by) * torch.eye(by.shape[-1], dtype=by.dtype)
    slopes = torch.linalg.solve(gram, by.T @ values[seen].double())
    residuals = torch.zeros_like(values)
    residuals[seen] = values[seen] - (by @ slopes).to(values)
    sizes = F.avg_pool1d(
        residuals.abs().transpose(1, 2), NEAR, 1, NEAR // 2, count_include_pad=False
    ).transpose(1, 2)
    for points in (values, residuals, sizes):
        known = points[seen]
        yield (points - known.mean(0)) / known.std(0).clamp(min=1e-6)


def _clusters(points: Tensor, K: int, rounds: int = 20) -> Tensor:
    """(M,) clusters of (M, n) points."""
    centres = points[torch.randint(len(points), (1,))]
    for _ in range(K - 1):
        distance = torch.cdist(points, centres).min(1).values.square() + 1e-12
        centres = torch.cat([centres, points[torch.multinomial(distance, 1)]])
    labels = torch.cdist(points, centres).argmin(1)
    for _ in range(rounds):
        member = F.one_hot(labels, K).to(points)
        size = member.sum(0)[:, None]
        centres = torch.where(size > 0, member.T @ points / size.clamp(min=1), centres)
        labels = torch.cdist(points, centres).argmin(1)
    return labels


def _by_level(y: Tensor, observed: Tensor, shares: Tensor) -> Tensor:
    """The order of the clusters by the mean of the first channel."""
    weights = shares * observed[..., :1]
    return ((weights * y[..., :1]).sum((0, 1)) / weights.sum((0, 1)).clamp(min=1)).argsort()


def _fit(
    model: Any,
    y: Tensor,
    g: Tensor,
    observed: Tensor,
    shares: Tensor,
    late: Callable[[], bool],
) -> float:
    """Fit heads and transitions from the (N, W, K) shares of regimes in each step; the
    log-likelihood that they reach."""
    heads = model.regime_heads()
    optimizer = torch.optim.Adam([p for head in heads for p in head.parameters()], RATE)

    def emission() -> Tensor:
        return torch.stack([head(g, observed).log_prob(y) for head in heads], -1)

    def update(times: int) -> None:
        for _ in range(times):
            if late():
                break
            optimizer.zero_grad()
            (-(emission() * shares).sum() / shares.sum()).backward()
            optimizer.step()

    update(FIRST)
    value = torch.tensor(0.0)
    for _ in range(ROUNDS):
        with torch.no_grad():
            start = model.log_start.log_softmax(-1).expand(len(y), -1).double()
            found = emission().double()
            moves = model.log_transition.log_softmax(-1).expand(1, y.shape[1], -1, -1).double()
        # The gradients are the expected numbers of steps and of moves, p(s | x) summed up.
        found, moves = found.requires_grad_(), moves.clone().requires_grad_()
        value = chains.log_prob(Chain(start, moves, found))[0].sum()
        value.backward()
        assert found.grad is not None and moves.grad is not None
        shares = torch.where(observed.any(-1, keepdim=True), found.grad.to(y), 0.0)
        with torch.no_grad():
            model.log_transition.copy_((moves.grad.sum((0, 1)) + 1).log())
        if late():
            break
        update(UPDATES)
    model.zero_grad(set_to_none=True)
    return float(value.detach())
