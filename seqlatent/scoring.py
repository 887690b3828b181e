"""Scores: log p(x_{1:T}) of every sequence, with its kind.

A sequence scores the same alone, in company, padded and in any order: exact models read it whole
or in chunks, and estimates draw their noise from a generator of the sequence's own, seeded by its
name.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch, collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.data.sequences import Sequence
from seqlatent.data.splits import with_context
from seqlatent.distributions.emission import check_support
from seqlatent.distributions.families import Categorical
from seqlatent.errors import InputError
from seqlatent.inference.bounds import per_step_importance
from seqlatent.models.base import ExactDensity, LatentCode, SequenceModel

logger = logging.getLogger("seqlatent")

CHUNK = 1024  # steps read at once: bounds memory on long sequences
MAX_PADDED_STEPS = 16_384  # particles x sequences x steps x channels held at once


class SequenceScore(NamedTuple):
    """One sequence's score.

    Attributes:
        place: the sequence's place in its data set.
        log_prob: (T,) log p(x_t | x_{<t}) in nats, NaN where not scored.
        std_error: Monte-Carlo standard error of the sum; 0 when exact.
        num_observed: values that were scored.
    """

    place: int
    log_prob: np.ndarray
    std_error: float
    num_observed: int


def kind_of(model: SequenceModel, num_particles: int) -> str:
    """`exact`, or the estimate's name: `iwae` (`elbo` with one particle, where they agree)."""
    if isinstance(model, ExactDensity):
        return "exact"
    return "iwae" if num_particles > 1 else "elbo"


def check_data(model: SequenceModel, data: SequenceDataset) -> SequenceDataset:
    """The data as the model wants it: its channels in order, its context.

    Raises:
        InputError: when channels, covariates or labels are not those of training, or the model
            cannot read the values.
    """
    description = model.description
    if tuple(data.targets) != description.targets:
        raise InputError(
            f"{data.name}: the model was fitted to {', '.join(description.targets)}, "
            f"the data has {', '.join(data.targets)}"
        )
    if tuple(data.covariate_names) != description.covariate_names:
        wanted = ", ".join(description.covariate_names) or "no covariates"
        raise InputError(
            f"{data.name}: the model was fitted with {wanted}, the data has "
            f"{', '.join(data.covariate_names) or 'none'}"
        )
    if not description.had_gaps and any(np.isnan(s.x).any() for s in data):
        logger.warning(
            "warning: %s has missing values and the training data had none: the model has not "
            "learnt to go on without; fit it with hide=0.05 (--set hide=0.05) to practise",
            data.name,
        )
    data = _recode(data, description)
    try:
        check_support(model.options.emission, DataDescription.of(data))
        if isinstance(model.value_law, Categorical):
            _check_codes(data, model.value_law.num_params)
    except InputError as error:
        raise InputError(f"{data.name}: {error}") from None
    model.check(data)
    return with_context(data, model.options.context_length)


def _recode(data: SequenceDataset, description: DataDescription) -> SequenceDataset:
    """Labels by the codes that they had in training."""
    sequences = list(data.sequences)
    for d, target in enumerate(data.targets):
        ours, theirs = description.categories.get(target), data.categories.get(target)
        if ours is None or theirs is None or tuple(ours) == tuple(theirs):
            continue
        new = [label for label in theirs if label not in ours]
        if new:
            raise InputError(
                f"{data.name}: column '{target}' holds the label '{new[0]}', which the model did "
                f"not see in training; it knows {', '.join(ours)}"
            )
        codes = np.array([*(ours.index(label) for label in theirs), np.nan])
        for i, s in enumerate(sequences):
            x = s.x.copy()
            x[:, d] = codes[np.where(np.isnan(x[:, d]), len(theirs), x[:, d]).astype(int)]
            sequences[i] = replace(s, x=x)
    return replace(data, sequences=tuple(sequences), categories=description.categories)


def _check_codes(data: SequenceDataset, num_classes: int) -> None:
    for s in data:
        if np.nanmax(s.x, initial=0) >= num_classes:
            raise InputError(
                f"series {s.unique_id} holds the category {np.nanmax(s.x):g}; training had "
                f"0 to {num_classes - 1}"
            )


def score_sequences(
    model: SequenceModel,
    data: SequenceDataset,
    num_particles: int = 64,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Iterator[SequenceScore]:
    """Score every sequence; see `score` for the arguments. `progress` is told of each batch."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for part in _batches(data, 1 if isinstance(model, ExactDensity) else num_particles):
                sequences = [data.sequences[i] for i in part]
                scores = _score_batch(model, sequences, num_particles, seed)
                for place, score_of in zip(part, scores, strict=True):
                    yield score_of._replace(place=place)
                if progress:
                    progress(len(part))
    finally:
        model.train(training)


def _batches(data: SequenceDataset, num_particles: int) -> Iterator[list[int]]:
    """Places of sequences of like length that fit in memory together; scores do not depend on it,
    and the caller's order is kept by `score`."""
    width = num_particles * data.num_channels
    part: list[int] = []
    for i in np.argsort(data.lengths, kind="stable"):
        steps = min(len(data.sequences[i]), CHUNK)
        if part and (len(part) + 1) * steps * width > MAX_PADDED_STEPS:
            yield part
            part = []
        part.append(int(i))
    if part:
        yield part


def _score_batch(
    model: SequenceModel, part: list[Sequence], num_particles: int, seed: int
) -> Iterator[SequenceScore]:
    device = next(model.parameters()).device
    batch = collate(part).to(device)
    log_prob, variance = [], []
    generators = [sequence_generator(s.unique_id, seed) for s in part]
    history = None
    for start in range(0, batch.x.shape[1], CHUNK):
        chunk = batch.steps(start, start + CHUNK)
        if isinstance(model, ExactDensity):
            value, history = model.log_prob(chunk, history or model.begin(batch))
            log_prob.append(value)
            variance.append(torch.zeros_like(value))
        elif isinstance(model, LatentCode):
            eps = sequence_noise(chunk, generators, num_particles, model.latent_dim).to(device)
            weights, history = model.log_weights(chunk, eps, history or model.begin(batch))
            estimate = per_step_importance(weights)
            log_prob.append(estimate.log_prob)
            variance.append(estimate.variance)
        else:
            raise InputError(f"model '{model.family}' gives no likelihood")
    steps = torch.where(batch.scored, torch.cat(log_prob, 1), torch.nan).double().cpu().numpy()
    spread = torch.where(batch.scored, torch.cat(variance, 1), 0.0).double().sum(1).sqrt()
    observed = (batch.observed & batch.scored[..., None]).sum((1, 2))
    for i, s in enumerate(part):
        yield SequenceScore(i, steps[i, : len(s)], float(spread[i]), int(observed[i]))


def sequence_generator(unique_id: str, seed: int) -> torch.Generator:
    """A generator that depends on the seed and the sequence's name alone."""
    digest = hashlib.blake2b(f"{seed}/{unique_id}".encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little") >> 1)


def sequence_noise(
    batch: SequenceBatch, generators: list[torch.Generator], num_particles: int, dim: int
) -> Tensor:
    """(K, B, T, Z) standard normal noise, each sequence's from its own generator, 0 at padding."""
    eps = torch.zeros(len(generators), batch.x.shape[1], num_particles, dim)
    for i, generator in enumerate(generators):
        length = int(batch.lengths[i])
        if length:
            eps[i, :length] = torch.randn(length, num_particles, dim, generator=generator)
    return eps.permute(2, 0, 1, 3)


def score(
    model: SequenceModel,
    data: SequenceDataset,
    num_particles: int = 64,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Log-likelihood of every sequence in data units.

    Args:
        model: a fitted model with a likelihood.
        data: sequences with the training data's channels.
        num_particles: K of the importance estimate, for models whose density is not exact.
        seed: of the estimate's noise.
        progress: called with the number of sequences of every finished batch.

    Returns:
        A frame with a row per sequence, `unique_id, log_prob, std_error, kind, num_particles,
        num_observed, nats_per_step`, and a frame with a row per scored step, `unique_id, ds,
        log_prob`; nats throughout.

    Raises:
        InputError: when the data do not fit the model.
    """
    if num_particles < 1:
        raise InputError(f"num_particles={num_particles} must be at least 1")
    data = check_data(model, data)
    kind = kind_of(model, num_particles)
    by_place = {s.place: s for s in score_sequences(model, data, num_particles, seed, progress)}
    results = [by_place[i] for i in range(len(data))]
    scored = [~np.isnan(r.log_prob) for r in results]
    totals = np.array([r.log_prob[k].sum() for r, k in zip(results, scored, strict=True)])
    counts = np.array([k.sum() for k in scored])
    names = [s.unique_id for s in data]
    scores = pd.DataFrame(
        {
            "unique_id": names,
            "log_prob": totals,
            "std_error": [r.std_error for r in results],
            "kind": kind,
            "num_particles": 0 if kind == "exact" else num_particles,
            "num_observed": [r.num_observed for r in results],
            "nats_per_step": totals / np.maximum(1, counts),
        }
    )
    steps = pd.DataFrame(
        {
            "unique_id": np.repeat(names, counts),
            "ds": np.concatenate([s.ds[k] for s, k in zip(data, scored, strict=True)]),
            "log_prob": np.concatenate(
                [r.log_prob[k] for r, k in zip(results, scored, strict=True)]
            ),
        }
    )
    return scores, steps


def mean_log_prob(
    model: SequenceModel, data: SequenceDataset, num_particles: int, seed: int = 0
) -> float:
    """Flat average over all scored steps, nats per step."""
    total, count = 0.0, 0
    for s in score_sequences(model, data, num_particles, seed):
        scored = ~np.isnan(s.log_prob)
        total, count = total + float(s.log_prob[scored].sum()), count + int(scored.sum())
    return total / max(1, count)
