"""Probes: how much of a hidden state can be read off a model's latents by a simple function.

A probe is fitted on steps of training sequences and predicts the states of steps that it has not
seen. Latents are standardised; a quadratic probe adds all their squares and products. Numbers are
predicted by ridge regression, regimes by multinomial logistic regression. A model's own regimes
need no probe: each is given the name of a true one.
"""

import itertools

import numpy as np
import torch
from torch import Tensor

RIDGE = 1e-4  # penalty on squared weights of standardised features, per step of the training part
PROBES = {"linear": 1, "quadratic": 2}


def features(train: np.ndarray, test: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Standardised features (n, F) of the latents (n, Z) of steps, by the training part's scale;
    those that are constant there are left out."""
    train, test = _standardised(train, test)
    if degree == 2:
        i, j = np.triu_indices(train.shape[1])
        train = np.concatenate([train, train[:, i] * train[:, j]], 1)
        test = np.concatenate([test, test[:, i] * test[:, j]], 1)
        train, test = _standardised(train, test)
    return train, test


def _standardised(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    loc, scale = train.mean(0), train.std(0)
    varying = scale > 1e-9 * (1 + np.abs(loc))
    return tuple((part - loc)[:, varying] / scale[varying] for part in (train, test))


def predict_numbers(
    train: np.ndarray, states: np.ndarray, test: np.ndarray, degree: int
) -> np.ndarray:
    """Predicted states (n', S) of test latents (n', Z), from training latents (n, Z) and states
    (n, S)."""
    u, v = features(train, test, degree)
    loc = states.mean(0)
    penalty = RIDGE * len(u) * np.eye(u.shape[1])
    return loc + v @ np.linalg.solve(u.T @ u + penalty, u.T @ (states - loc))


def predict_regimes(
    train: np.ndarray, regimes: np.ndarray, test: np.ndarray, degree: int, num_regimes: int
) -> np.ndarray:
    """Most probable regimes (n',) of test latents (n', Z), from training latents (n, Z) and regimes
    (n,)."""
    u, v = (torch.from_numpy(part) for part in features(train, test, degree))
    target = torch.from_numpy(regimes)
    weights = torch.zeros(u.shape[1], num_regimes, dtype=u.dtype, requires_grad=True)
    bias = torch.zeros(num_regimes, dtype=u.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(u @ weights + bias, target)
        loss = loss + RIDGE * (weights**2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with torch.no_grad():
        return (v @ weights + bias).argmax(1).numpy()


def rename(codes: np.ndarray, regimes: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Codes (n',) of a model's regimes under the one-to-one renaming that agrees most often with
    the true regimes (n,) where the model has `codes` (n,). Codes without a partner become -1."""
    ours, true = int(max(codes.max(), test.max())) + 1, int(regimes.max()) + 1
    counts = np.zeros((ours, max(ours, true)), dtype=np.int64)
    np.add.at(counts, (codes, regimes), 1)
    names = max(
        itertools.permutations(range(counts.shape[1]), ours),
        key=lambda names: counts[range(ours), names].sum(),
    )
    renamed = np.array(names)[test]
    return np.where(renamed < true, renamed, -1)


def explained(states: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """(S,) R^2 of predictions (n, S): 1 is perfect, 0 what the states' mean gives."""
    return 1 - ((states - predicted) ** 2).mean(0) / states.var(0)


def skill(regimes: np.ndarray, predicted: np.ndarray) -> float:
    """(accuracy - base) / (1 - base), with the share of the most frequent regime as base."""
    base = np.bincount(regimes).max() / len(regimes)
    return float(((regimes == predicted).mean() - base) / (1 - base))
