"""Latents of sequences: means, scales and samples from a guide or the posterior, or exact ones."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from seqlatent.data.batch import SequenceBatch, collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.sequence import Sequence
from seqlatent.data.steps import show_step
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.errors import InputError
from seqlatent.inference.estimating import CHUNK, particle_noise
from seqlatent.inference.posterior import weighted_posterior
from seqlatent.inference.protocols import (
    DeterministicCodes,
    EstimatedDensity,
    ExactPosterior,
    InvertibleLatents,
    Regimes,
)
from seqlatent.models.base import SequenceModel
from seqlatent.models.latent.model import LatentModel
from seqlatent.models.latent.predicting import carries_state, predicted
from seqlatent.options import check_count, check_seed
from seqlatent.tasks.pieces import in_pieces
from seqlatent.tasks.prepare import check_data
from seqlatent.tasks.regimes import FoundRegimes, regimes_of
from seqlatent.text import Summary, shortened

logger = logging.getLogger("seqlatent")

POSTERIORS = ("auto", "guide", "predicted", "filtering", "smoothing")
WITH_LATENTS = (
    ExactPosterior,
    EstimatedDensity,
    InvertibleLatents,
    DeterministicCodes,
    Regimes,
)
FEW = 10.0  # effective samples; with fewer, means and scales are unreliable


@dataclass(frozen=True, eq=False, repr=False)
class SeriesLatents(Summary):
    """One series' latents.

    Attributes:
        unique_id: the series.
        ds: (T,) its steps.
        mean, scale: (T, Z).
        samples: (S, T, Z); (1, T, Z) for exact latents.
        ess: effective sample size at the worst step; NaN where samples have no weights.
    """

    unique_id: str
    ds: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    samples: np.ndarray
    ess: float = float("nan")

    def _facts(self) -> tuple[str, list[tuple[str, str]]]:
        facts = [
            ("steps", f"{len(self.ds)}, from {show_step(self.ds[0])} to {show_step(self.ds[-1])}"),
            ("latents", str(self.mean.shape[-1])),
            ("samples", _number_of_samples(self)),
        ]
        if np.isfinite(self.ess):
            facts.append(("effective samples", f"{self.ess:.1f} at the worst step"))
        return f"Latents of series '{self.unique_id}'", facts


def _number_of_samples(latents: SeriesLatents) -> str:
    number = len(latents.samples)
    return "exact" if number == 1 else str(number)


@dataclass(frozen=True, eq=False, repr=False)
class Latents(Summary):
    """Latents of a data set's series."""

    series: tuple[SeriesLatents, ...]

    def _facts(self) -> tuple[str, list[tuple[str, str]]]:
        return "Latents", [
            ("series", shortened([s.unique_id for s in self.series])),
            ("steps", str(sum(len(s.ds) for s in self.series))),
            ("latents", str(self.series[0].mean.shape[-1])),
            ("samples", _number_of_samples(self.series[0])),
        ]

    def to_frame(self) -> pd.DataFrame:
        """`unique_id, ds, z1_mean, z1_scale, z2_mean, ...`, a row per step."""
        parts = []
        for s in self.series:
            part = pd.DataFrame({"unique_id": s.unique_id, "ds": s.ds})
            for k in range(s.mean.shape[-1]):
                part[f"z{k + 1}_mean"] = s.mean[:, k]
                part[f"z{k + 1}_scale"] = s.scale[:, k]
            parts.append(part)
        return pd.concat(parts, ignore_index=True)

    def samples_frame(self) -> pd.DataFrame:
        """`unique_id, ds, sample_id, z1, z2, ...`, a row per sample and step."""
        parts = []
        for s in self.series:
            num_samples, steps, size = s.samples.shape
            columns = {
                "unique_id": s.unique_id,
                "ds": np.tile(s.ds, num_samples),
                "sample_id": np.repeat(np.arange(num_samples), steps),
            }
            latents = {f"z{k + 1}": s.samples[..., k].ravel() for k in range(size)}
            parts.append(pd.DataFrame(columns | latents))
        return pd.concat(parts, ignore_index=True)


def encode(
    model: SequenceModel,
    data: SequenceDataset,
    *,
    num_samples: int = 64,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
    posterior: str = "auto",
) -> pd.DataFrame:
    """Mean and scale of every latent, or regimes, a row per step: the frame of `infer_latents`."""
    return infer_latents(
        model, data, num_samples=num_samples, seed=seed, progress=progress, posterior=posterior
    ).to_frame()


def infer_latents(
    model: SequenceModel,
    data: SequenceDataset,
    *,
    num_samples: int = 64,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
    posterior: str = "auto",
) -> Latents | FoundRegimes:
    """Latents of sequences; of a model with regimes, these.

    Their distribution is one of

        guide       q(z_t | x_{1:t}, z_{<t}), as it was trained
        predicted   p(z_{t+1} | x_{1:t}), by the guide's paths: in a row, the state after its step
                    (models/latent/predicting.py)
        filtering   p(z_t | x_{1:t}), given the values so far
        smoothing   p(z_t | x_{1:T}), given all values

    `auto` selects `predicted` for `latent`, where the values after step t depend on those before
    through z_{t+1} alone; else the guide or, for a model that computes the posterior
    (`linear-gaussian`, `switching`), smoothing. Other models sample filtering and smoothing by
    weighted samples of the guide, and a warning says where the effective number of samples is small
    (inference/posterior.py). Samples of smoothing are whole trajectories, unless the latents of
    different steps are independent.

    Latents of an invertible model are exact, with scale 0, and NaN where the value is missing. The
    codes of an autoencoder have scale 0 too, and there are codes of missing values.

    Args:
        model: a fitted model with latents.
        data: sequences with the training data's channels.
        num_samples: S, samples of the latents; at least 2, to estimate their scale.
        seed: of the samples.
        progress: called with 1 for every finished series.
        posterior: `auto`, `guide`, `predicted`, `filtering` or `smoothing`.

    Raises:
        InputError: when an argument is out of range, for a model without latents or without this
            distribution, or data that do not fit the model.
    """
    num_samples, seed = check_count("num_samples", num_samples, minimum=2), check_seed(seed)
    if not isinstance(model, WITH_LATENTS):
        raise InputError(
            f"model '{model.family}' has no latents; fit --model latent, flow, switching or "
            "autoencoder to encode sequences"
        )
    chosen = _choose(model, posterior)
    data = check_data(model, data)
    model.eval()
    if isinstance(model, Regimes):
        found = []
        for s in data:
            found.append(regimes_of(model, s, num_samples, seed, chosen))
            if progress:
                progress(1)
        return FoundRegimes(tuple(found), data.targets)
    series = []
    for s in data:
        series.append(_infer(model, s, num_samples, seed, chosen))
        if progress:
            progress(1)
    _warn_of_few(series)
    return Latents(tuple(series))


def _choose(model: SequenceModel, posterior: str) -> str:
    """The distribution of the latents, with `auto` resolved; `exact` where they are computed."""
    if posterior not in POSTERIORS:
        raise InputError(f"posterior '{posterior}' is not one of {', '.join(POSTERIORS)}")
    if isinstance(model, InvertibleLatents | DeterministicCodes):
        if posterior != "auto":
            raise InputError(
                f"the latents of model '{model.family}' are exact, without a posterior "
                f"distribution; leave posterior={posterior} out"
            )
        return "exact"
    if isinstance(model, ExactPosterior | Regimes):
        if posterior in ("guide", "predicted"):
            raise InputError(
                f"model '{model.family}' has no guide: it computes the posterior; use "
                "posterior=filtering or smoothing"
            )
        return "smoothing" if posterior == "auto" else posterior
    assert isinstance(model, EstimatedDensity)
    if posterior == "predicted" and model.factorises:
        raise InputError(
            f"the latents of this '{model.family}' are independent of each other, so that nothing "
            "predicts them; use posterior=guide"
        )
    if posterior != "auto":
        return posterior
    return "predicted" if isinstance(model, LatentModel) and carries_state(model) else "guide"


def _warn_of_few(series: list[SeriesLatents]) -> None:
    few = [s for s in series if s.ess < FEW]
    if few:
        worst = min(few, key=lambda s: s.ess)
        logger.warning(
            "in %d of %d series the latents of some step have fewer than %g effective samples "
            "(%.1f in series %s): the guide is far from the posterior, or the sequence long; means "
            "and scales there are inaccurate",
            len(few),
            len(series),
            FEW,
            worst.ess,
            worst.unique_id,
        )


@torch.no_grad()
def _infer(
    model: SequenceModel, s: Sequence, num_samples: int, seed: int, posterior: str
) -> SeriesLatents:
    batch = collate([s]).to(model.device)
    ess = float("nan")
    if isinstance(model, InvertibleLatents | DeterministicCodes):
        mean = _exact_latents(model, batch)
        scale, samples = torch.zeros_like(mean), mean[None]
    elif isinstance(model, ExactPosterior):
        mean, scale, samples = _computed(model, batch, s.unique_id, num_samples, seed, posterior)
    else:
        assert isinstance(model, EstimatedDensity)
        if posterior in ("guide", "predicted"):
            samples = guide_samples(model, batch, s.unique_id, num_samples, seed)
            if posterior == "predicted":
                samples = _predicted_samples(model, batch, s.unique_id, samples, seed)
            mean, scale = samples.double().mean(0), samples.double().std(0)
        else:
            p = weighted_posterior(
                model,
                batch,
                s.unique_id,
                num_samples=num_samples,
                smoothing=posterior == "smoothing",
                seed=seed,
            )
            mean, scale, samples, ess = p.mean, p.scale, p.samples, float(p.ess.min())
    arrays = (part.double().cpu().numpy() for part in (mean, scale, samples))
    return SeriesLatents(s.unique_id, s.ds, *arrays, ess=ess)


def _exact_latents(model: InvertibleLatents | DeterministicCodes, batch: SequenceBatch) -> Tensor:
    """(T, Z) latents of a batch of one sequence."""
    if isinstance(model, DeterministicCodes):
        return in_pieces(model.codes, batch, model.before, model.after)[0].double()
    state, parts = model.begin(batch), []
    for start in range(0, batch.x.shape[1], CHUNK):
        z, state = model.encode(batch.steps(start, start + CHUNK), state)
        parts.append(z)
    return torch.cat(parts, 1)[0].double()


def _computed(
    model: ExactPosterior,
    batch: SequenceBatch,
    name: str,
    num_samples: int,
    seed: int,
    posterior: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Exact means and scales (T, Z), and samples (S, T, Z) of the same distribution."""
    noise = SequenceNoise([name], seed)
    if posterior == "smoothing":
        mean, covariance = model.smoother(batch)
        samples = model.sample_smoothed(batch, num_samples, noise)[:, 0]
    else:
        mean, covariance, _ = model.filter(batch)
        factor = torch.linalg.cholesky(covariance[0])
        eps = noise.normal((num_samples, *mean.shape[1:], 1), mean)
        samples = mean[0] + (factor @ eps)[..., 0]
    return mean[0], covariance[0].diagonal(dim1=-2, dim2=-1).sqrt(), samples


def _predicted_samples(
    model: EstimatedDensity, batch: SequenceBatch, name: str, z: Tensor, seed: int
) -> Tensor:
    """(S, T, Z) samples of the latents of the step after each, given paths of the same shape."""
    assert isinstance(model, LatentModel)
    p = predicted(model, batch, z[:, None])
    eps = SequenceNoise([f"{name}, next"], seed).normal((1, *z.shape), z)[0]
    return p.loc[:, 0] + p.scale[:, 0] * eps


@torch.no_grad()
def guide_samples(
    model: EstimatedDensity, batch: SequenceBatch, name: str, num_samples: int, seed: int
) -> Tensor:
    """(S, T, Z) trajectories of one sequence's latents from the guide."""
    noise, particles, parts = SequenceNoise([name], seed), None, []
    reading = model.reading(batch)
    for start in range(0, batch.x.shape[1], CHUNK):
        chunk, part = batch.steps(start, start + CHUNK), reading.steps(start, start + CHUNK)
        eps = particle_noise(noise, chunk, num_samples, model.latent_dim)
        sample, particles = model.propose(part, eps, particles)
        parts.append(sample.z[:, 0])
    return torch.cat(parts, 1)
