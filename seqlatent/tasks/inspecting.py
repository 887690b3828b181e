"""How a model uses its latents, and how close its guide is to the posterior.

    KL(q || prior)             what the guide adds to the prior, in nats per step, in total, for
                               each latent, and as its share of the sum over the latents
    predictable                how well the past predicts a latent: with the guide's mean m and the
                               prior's mean p at the same z_{<t}, 1 - mean (m - p)^2 / var m, cut to
                               0..1. Past values count as past where the prior sees them
    loss                       how much worse the model predicts x_{t+h}, h = 0, 1, 2, 4, 8, 16,
                               with z_t replaced by latents of another sequence and step: one
                               latent alone, and all together (models/latent/replacing.py says how
                               it is estimated). At most 64 sequences, 32 particles, standard
                               errors over sequences. A latent with a loss of at least 0.001 nats
                               per step and more than two standard errors at some horizon is used
    variance                   that of the mean of q(z_k | x) over the data (Burda et al. 2016)
    KL(q(z | x) || p(z | x))   = log p(x) - E_q[log p(x, z) - log q(z | x)], on the data. The ELBO
                               minimises it; it is small if q is small wherever the posterior is
    KL(p(z | x) || q(z | x))   = E_p[log p(x, z) - log q(z | x)] - E_p[log p(x)], on sequences
                               sampled from the model, whose latents are known. It is small if q
                               covers the whole posterior

log p(x) is estimated as by `score`, as a lower bound in expectation. The first of the last two KLs
is therefore underestimated, and the second overestimated, by the bound's bias.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch, collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.sequence import Sequence
from seqlatent.distributions.noise import SequenceNoise, TorchNoise
from seqlatent.distributions.normal import DiagonalNormal, NormalMixture
from seqlatent.errors import InputError
from seqlatent.inference.estimating import CHUNK, estimate
from seqlatent.inference.likelihood import choose_estimator
from seqlatent.models.base import SequenceModel
from seqlatent.models.latent.diagnostics import NUM_SAMPLES, collapse_warning
from seqlatent.models.latent.guide import kl_per_latent
from seqlatent.models.latent.guide_distribution import TransformedNormal
from seqlatent.models.latent.model import LatentModel
from seqlatent.nn.causal import expand_state
from seqlatent.options import check_count, check_seed
from seqlatent.tasks.encoding import Latents, guide_samples, infer_latents
from seqlatent.tasks.inspection import Inspection
from seqlatent.tasks.prepare import check_data
from seqlatent.tasks.probing import replaced, traverse
from seqlatent.tasks.scoring import score
from seqlatent.tasks.tables import summary_rows

RECONSTRUCTIONS = 64  # samples of the latents to reconstruct values from
BATCH = 16  # sequences
LOSS_SEQUENCES = 64  # at most, whose latents are replaced
OWN_SEQUENCES, OWN_STEPS = 64, 128  # sampled from the model, at most


def inspect(
    model: SequenceModel,
    data: SequenceDataset,
    *,
    num_particles: int = 256,
    seed: int = 0,
    max_sequences: int = 256,
) -> Inspection:
    """Diagnose the latents of a latent-variable model and its guide.

    Args:
        model: `latent`, `vrnn`, `srnn` or `dmm`, fitted.
        data: sequences with the training data's channels.
        num_particles: of the estimates of log p(x).
        seed: of all samples.
        max_sequences: at most this many sequences are used, evenly spread over the data, and the
            first 1024 steps of each.

    Raises:
        InputError: when an argument is out of range, for another model, or data that do not fit it.
    """
    num_particles, seed = check_count("num_particles", num_particles), check_seed(seed)
    max_sequences = check_count("max_sequences", max_sequences)
    latent = _latent(model)
    chosen = np.unique(np.linspace(0, len(data) - 1, max_sequences).round().astype(int))
    data = check_data(latent, data[chosen], reads_gaps=False)  # `score` warns of gaps
    data = replace(data, sequences=tuple(s.slice(0, CHUNK, s.context) for s in data))
    latent.eval()
    looks = [
        _look(latent, batch, seed + BATCH * i) for i, batch in enumerate(_batches(latent, data))
    ]
    few = data[np.unique(np.linspace(0, len(data) - 1, LOSS_SEQUENCES).round().astype(int))]
    o, losses = replaced(latent, _batches(latent, few), seed)
    steps = max(1, sum(int(look.scored.sum()) for look in looks))
    kl = np.concatenate([look.kl[look.counted] for look in looks])
    means = np.concatenate([look.mean[look.counted] for look in looks])
    off = np.concatenate([look.off[look.counted] for look in looks]).mean(0)
    spread = np.concatenate([look.spread[look.counted] for look in looks])
    variance = (
        means.var(0, ddof=1) - spread.mean(0) / NUM_SAMPLES if len(means) > 1 else 0 * means[0]
    )
    elbo = np.concatenate([look.elbo for look in looks], 1)  # (S, N)
    scores, _ = score(latent, data, num_particles=num_particles, seed=seed)
    error = float(np.linalg.norm(scores["std_error"])) / steps
    reverse, reverse_error, why_not = reverse_gap(latent, data, num_particles, seed)
    samples = [
        guide_samples(latent, collate([s]).to(latent.device), s.unique_id, RECONSTRUCTIONS, seed)
        for s in data
    ]
    frame = _reconstructed(latent, data, samples, seed)
    return Inspection(
        family=model.family,
        kl=kl.sum(0) / steps,
        total_kl=sum(float(look.total[look.counted].sum()) for look in looks) / steps,
        exact_kl=looks[0].exact,
        predictable=predictability(off, means, spread),
        losses=losses,
        variance=np.maximum(variance, 0.0),
        kl_over_time=_by_step(looks),
        log_prob=float(scores["log_prob"].to_numpy().sum()) / steps,
        log_prob_error=None if math.isnan(error) else error,
        kind=str(scores["kind"].iloc[0]),
        num_particles=num_particles,
        elbo=float(elbo.mean(0).sum()) / steps,
        elbo_error=float(np.sqrt((elbo.var(0, ddof=1) / NUM_SAMPLES).sum())) / steps,
        reverse_gap=reverse,
        reverse_gap_error=reverse_error,
        why_not=why_not,
        reconstruction=_errors(frame, data),
        posterior_samples=np.concatenate([look.z[look.counted] for look in looks]),
        prior_samples=np.concatenate([look.prior_z[look.counted] for look in looks]),
        reconstructed=frame.loc[frame["unique_id"] == data.sequences[0].unique_id],
        trajectory=looks[0].mean[0][looks[0].counted[0]],
        traversal=traverse(latent, o, losses, seed),
        warning=collapse_warning(latent, losses),
        data=data,
    )


def _batches(model: LatentModel, data: SequenceDataset) -> list[SequenceBatch]:
    return [
        collate(data.sequences[start : start + BATCH]).to(model.device)
        for start in range(0, len(data), BATCH)
    ]


def _latent(model: SequenceModel) -> LatentModel:
    if not isinstance(model, LatentModel):
        what = {
            "linear-gaussian": "computes the posterior of its latents exactly and has no guide to "
            "compare with it",
            "flow": "has exact latents: compare them with N(0, 1) by encode --plot",
        }.get(model.family, "has no latents")
        raise InputError(
            f"model '{model.family}' {what}; inspect is for latent, vrnn, srnn and dmm"
        )
    return model


# -- the guide against the prior ------------------------------------------------------------------


@dataclass(frozen=True)
class _Look:
    """The results for a batch of B sequences.

    Attributes:
        kl: (B, T, Z) KL(q || prior) of each latent.
        off: (B, T, Z) mean square of the guide's mean less the prior's.
        mean, spread: (B, T, Z) average and variance, over samples of the earlier latents, of the
            guide's mean.
        z, prior_z: (B, T, Z) one sample of the guide and of the prior.
        total: (B, T) KL(q || prior) of all latents.
        elbo: (S, B) log p(x, z) - log q(z | x) at each sample.
        counted, scored: (B, T) bool, the steps whose latents count, and the scored ones.
        exact: whether the KLs are closed forms.
    """

    kl: np.ndarray
    off: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    z: np.ndarray
    prior_z: np.ndarray
    total: np.ndarray
    elbo: np.ndarray
    counted: np.ndarray
    scored: np.ndarray
    exact: bool


@torch.no_grad()
def _look(model: LatentModel, batch: SequenceBatch, seed: int) -> _Look:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        r, prior, posterior = model.sites(batch)
        z = posterior.rsample(torch.Size([NUM_SAMPLES]))
        assert posterior.sampled is not None
        _, own, log_q = posterior.sampled
        distribution = prior.distribution(z)
        exact = isinstance(distribution, DiagonalNormal) and own.normal is not None
        if exact:
            kl = kl_per_latent(posterior, prior).mean(0)
            total = kl.sum(-1)
        else:
            assert isinstance(distribution, DiagonalNormal | NormalMixture)
            kl = _marginal_kl(own, distribution, z)
            total = (log_q - distribution.log_prob(z)).mean(0)
        prior_z = distribution.sample(z.shape, TorchNoise())[0]
        weights = torch.where(r.counted, model.at(r, z, log_q).log_weight, 0.0)
    loc = own.mean().expand(z.shape)
    off = (loc - distribution.mean()).square().mean(0)
    numbers = (kl, off, loc.mean(0), loc.var(0), z[0], prior_z, total, weights.double().sum(-1))
    kl, off, mean, spread, z, prior_z, total, elbo = (n.double().cpu().numpy() for n in numbers)
    counted, scored = r.counted.cpu().numpy(), batch.scored.cpu().numpy()
    return _Look(kl, off, mean, spread, z, prior_z, total, elbo, counted, scored, exact)


def _marginal_kl(
    own: TransformedNormal, distribution: DiagonalNormal | NormalMixture, z: Tensor
) -> Tensor:
    """(B, T, Z) mean over the samples of log q(z_k) - log p(z_k), with the marginals p(z_k)."""
    parts = [distribution.latent(k).log_prob(z[..., k : k + 1]) for k in range(z.shape[-1])]
    return (own.each_log_prob(z) - torch.stack(parts, -1)).mean(0)


def predictability(off: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """(Z,) R^2 of the prior's mean for the guide's, between 0 and 1; 0 where that does not vary.

    Args:
        off: (Z,) mean square of their difference.
        mean, spread: (N, Z) as in `_Look`, of N steps.
    """
    variance = mean.var(0) + spread.mean(0) * (1 - 1 / NUM_SAMPLES)
    share = 1 - off / np.where(variance > 0, variance, 1.0)
    return np.where(variance > 1e-12, share.clip(0, 1), 0.0)


def _by_step(looks: list[_Look]) -> np.ndarray:
    """(T, Z) KL of each step, averaged over the sequences that reach it."""
    longest = max(look.kl.shape[1] for look in looks)
    total = np.zeros((longest, looks[0].kl.shape[-1]))
    count = np.zeros((longest, 1))
    for look in looks:
        total[: look.kl.shape[1]] += (look.kl * look.counted[..., None]).sum(0)
        count[: look.kl.shape[1], 0] += look.counted.sum(0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


# -- the guide against the posterior --------------------------------------------------------------


@torch.no_grad()
def reverse_gap(
    model: LatentModel, data: SequenceDataset, num_particles: int, seed: int
) -> tuple[float | None, float | None, str]:
    """KL(p(z | x) || q(z | x)) on sequences sampled from the model with the data's lengths and
    covariates.

    Returns:
        the KL in nats per step, its standard error and an empty string; or None, None and the
        reason if the model cannot sample sequences without a history.
    """
    try:
        start = model.begin(None)
    except InputError as error:
        return None, None, str(error)
    chosen = data.sequences[:OWN_SEQUENCES]
    differences, steps = [], 0
    for first in range(0, len(chosen), BATCH):
        like = [s.slice(0, OWN_STEPS) for s in chosen[first : first + BATCH]]
        like = [
            replace(s, unique_id=f"drawn like {s.unique_id}", past=None, scaled=None) for s in like
        ]
        noise = SequenceNoise([s.unique_id for s in like], seed)
        batch, z = _sample_like(model, start, like, noise)
        r = model.reading(batch)
        joint = torch.where(r.inside, model.at(r, z).log_weight, 0.0).double().sum(-1)
        names = [s.unique_id for s in like]
        e = estimate(
            model,
            batch,
            names,
            num_particles=num_particles,
            estimator=choose_estimator(model),
            seed=seed,
        )
        differences.append(joint - e.log_prob.double().sum(-1))
        steps += int(batch.lengths.sum())
    difference = torch.cat(differences)
    error = None
    if len(difference) > 1:
        error = float(difference.std()) * len(difference) ** 0.5 / steps
    return float(difference.sum()) / steps, error, ""


def _sample_like(
    model: LatentModel, start: Any, like: list[Sequence], noise: SequenceNoise
) -> tuple[SequenceBatch, Tensor]:
    """Sample sequences of the same lengths and covariates from the model, with their latents."""
    blank = collate([replace(s, x=np.zeros_like(s.x)) for s in like]).to(model.device)
    state = expand_state(start, len(like))
    x, z = [], []
    for t in range(blank.x.shape[1]):
        z_t, x_t, state = model.sample_latent_step(state, blank.covariates[:, t : t + 1], noise)
        z.append(z_t)
        x.append(x_t)
    values = torch.where(blank.observed, torch.cat(x, 1), 0.0)  # 0 for padding
    return replace(blank, x=values), torch.cat(z, 1)


# -- the values from the latents ------------------------------------------------------------------


def reconstruct(
    model: SequenceModel,
    data: SequenceDataset,
    *,
    num_samples: int = 100,
    seed: int = 0,
    posterior: str = "smoothing",
) -> pd.DataFrame:
    """Samples of p(x_t | history, z_t) with latents sampled given the values.

    Args:
        model: `latent`, `vrnn`, `srnn` or `dmm`, fitted.
        data: sequences with the training data's channels.
        num_samples: S, samples of the latents, with one sample of x for each; at least 2.
        seed: of the samples.
        posterior: the distribution of the latents, `smoothing` (the posterior) or `guide`.

    Returns:
        A frame with a row per step and channel: `unique_id, ds, target, y` (the value, NaN where
        missing), `mean, q0.05, ..., q0.95`; for labels each one's share.

    Raises:
        InputError: when an argument is out of range, for another model, or data that do not fit it.
    """
    num_samples, seed = check_count("num_samples", num_samples, minimum=2), check_seed(seed)
    latent = _latent(model)
    if posterior not in ("guide", "smoothing"):
        raise InputError(
            f"posterior={posterior} does not give whole trajectories of latents, from which values "
            "are reconstructed; use smoothing or guide"
        )
    found = infer_latents(latent, data, num_samples=num_samples, seed=seed, posterior=posterior)
    assert isinstance(found, Latents)
    data = check_data(latent, data, reads_gaps=False)
    samples = [torch.from_numpy(series.samples) for series in found.series]
    return _reconstructed(latent, data, samples, seed)


@torch.no_grad()
def _reconstructed(
    model: LatentModel, data: SequenceDataset, samples: list[Tensor], seed: int
) -> pd.DataFrame:
    """The frame of `reconstruct`, from the (S, T, Z) latents of each sequence."""
    parts = []
    for s, z in zip(data, samples, strict=True):
        batch = collate([s]).to(model.device)
        noise = SequenceNoise([s.unique_id], seed)
        z = z.to(batch.x.device, torch.get_default_dtype())[:, None]
        x = model.reconstruct(model.reading(batch), z, noise)[:, 0].double().cpu().numpy()
        for d, target in enumerate(data.targets):
            part = summary_rows(data, s.unique_id, s.ds, target, x[..., d])
            part.insert(3, "y", data.decode(target, s.x[:, d]))
            parts.append(part)
    return pd.concat(parts, ignore_index=True)


def _errors(frame: pd.DataFrame, data: SequenceDataset) -> dict[str, tuple[float, float]]:
    """By target, the root mean square error of the reconstruction and the values' standard
    deviation."""
    found = {}
    for target in data.targets:
        if target in data.categories:
            continue
        part = frame[frame["target"] == target]
        y, mean = (np.asarray(part[name], dtype=float) for name in ("y", "mean"))
        if np.isfinite(y).any():
            found[target] = (float(np.sqrt(np.nanmean((y - mean) ** 2))), float(np.nanstd(y)))
    return found
