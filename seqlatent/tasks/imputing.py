"""Missing values given all observed ones, those before and those after.

`linear-gaussian` samples them exactly, by its smoother. Other models use particles (Gordon et al.
1993): K paths move through the sequence, and each has its own values in the gaps.

    at a missing value      each path samples it from the model, and continues as if it was observed
    at an observed value    each path's weight is multiplied by the probability it gave to the value
    if the effective        paths are resampled in proportion to their weights
    sample size < K/2

A latent-variable model uses an unbiased estimate of that probability, which does not change the
distribution of the paths (Andrieu et al. 2010). Missing channels of a partially observed step are
sampled given the observed ones. Paths that are resampled many times share their distant past. The
samples of a gap are therefore taken a fixed number of observed steps after it (the lag; Kitagawa
2001). Later values do not affect them: a longer lag uses more values but leaves fewer distinct
paths.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.errors import InputError
from seqlatent.inference.imputation import LAG, by_particles
from seqlatent.inference.protocols import ExactPosterior, Fillable
from seqlatent.models.base import SequenceModel
from seqlatent.models.emission_model import EmissionModel
from seqlatent.options import check_count, check_seed
from seqlatent.plots import plot_imputed
from seqlatent.tasks.prepare import check_data
from seqlatent.tasks.tables import samples_rows, summary_rows
from seqlatent.text import Summary, counted, shortened


@dataclass(frozen=True, eq=False, repr=False)
class SeriesImputation(Summary):
    """Samples of one series' missing values.

    Attributes:
        place: index of the series in the data set.
        steps: (M,) indices, from 0, of the steps with a missing value.
        missing: (M, D) bool, which of their values are missing.
        samples: (S, M, D) values of those steps in data units: samples where missing, the observed
            value elsewhere. Within a gap, each of the S samples is a joint path.
    """

    place: int
    steps: np.ndarray
    missing: np.ndarray
    samples: np.ndarray

    def _facts(self) -> tuple[str, list[tuple[str, str]]]:
        return f"Imputation of the series at place {self.place}", [
            ("missing", f"{counted(int(self.missing.sum()), 'value')} in "
             f"{counted(len(self.steps), 'step')}"),
            ("samples", str(len(self.samples))),
        ]  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class Imputation(Summary):
    """Samples of a data set's missing values.

    Attributes:
        data: the data with its gaps.
        series: those with gaps, in the data's order.
        discrete: whether values are counts or codes of categories.
    """

    data: SequenceDataset
    series: tuple[SeriesImputation, ...]
    discrete: bool

    def __iter__(self) -> Iterator[SeriesImputation]:
        return iter(self.series)

    @property
    def num_missing(self) -> int:
        return sum(int(s.missing.sum()) for s in self.series)

    def _facts(self) -> tuple[str, list[tuple[str, str]]]:
        return f"Imputation of {self.data.name}", [
            ("missing", f"{counted(self.num_missing, 'value')} in {len(self.series)} of "
             f"{len(self.data)} series"),
            ("samples", str(len(self.series[0].samples))),
            ("targets", shortened(self.data.targets)),
        ]  # fmt: skip

    def to_frame(self) -> pd.DataFrame:
        """`unique_id, ds, target, mean, q0.05, ..., q0.95`, a row per missing value; for labels
        each one's share."""
        parts = []
        for f in self.series:
            s, channels = self.data.sequences[f.place], []
            for d, target in enumerate(self.data.targets):
                here = f.missing[:, d]
                ds, samples = s.ds[f.steps[here]], f.samples[:, here, d]
                channels.append(summary_rows(self.data, s.unique_id, ds, target, samples))
            parts.append(pd.concat(channels).sort_values("ds", kind="stable"))
        return pd.concat(parts, ignore_index=True)

    def samples_frame(self) -> pd.DataFrame:
        """`unique_id, ds, sample_id` and the target columns, a row per sample of each step with a
        missing value, observed values of that step included."""
        parts = []
        for f in self.series:
            s = self.data.sequences[f.place]
            parts.append(samples_rows(self.data, s.unique_id, s.ds[f.steps], f.samples))
        return pd.concat(parts, ignore_index=True)

    def filled(self) -> SequenceDataset:
        """The data without gaps: filled with the samples' mean for real values, the most frequent
        label for labels, and the (lower) median for counts."""
        sequences = list(self.data.sequences)
        for f in self.series:
            s = sequences[f.place]
            x = s.x.copy()
            for d, target in enumerate(self.data.targets):
                here = f.missing[:, d]
                samples = f.samples[:, here, d]
                if target in self.data.categories:
                    codes = range(len(self.data.categories[target]))
                    value = np.stack([(samples == c).mean(0) for c in codes]).argmax(0)
                elif self.discrete:
                    value = np.quantile(samples, 0.5, axis=0, method="inverted_cdf")
                else:
                    value = samples.mean(0)
                x[f.steps[here], d] = value
            sequences[f.place] = replace(s, x=x)
        return replace(self.data, sequences=tuple(sequences))

    def plot(self, path: str | None = None, max_panels: int = 6):
        """Draw gaps with fans inside them; see `seqlatent.plots.series.plot_imputed`."""
        gaps = [(f.place, f.steps, f.missing, f.samples) for f in self.series]
        return plot_imputed(self.data, gaps, path, check_count("max_panels", max_panels))


def impute(
    model: SequenceModel,
    data: SequenceDataset,
    *,
    num_samples: int = 500,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
    lag: int = LAG,
) -> Imputation:
    """Sample the missing values of every sequence given all of its observed ones.

    Args:
        model: a fitted model that can read partially observed steps (all but a flow that is
            conditioned on latents).
        data: sequences with the training data's channels.
        num_samples: S, samples of each missing value.
        seed: of the samples; those of a sequence do not depend on the other sequences.
        progress: called with 1 for every finished series.
        lag: number of observed steps after a gap that its samples take into account; exact samples
            take all into account.

    Raises:
        InputError: when an argument is out of range, for data without missing values or that do
            not fit the model, and for a model that cannot impute.
    """
    num_samples, lag = check_count("num_samples", num_samples), check_count("lag", lag)
    seed = check_seed(seed)
    if not isinstance(model, ExactPosterior | Fillable):
        raise InputError(
            f"model '{model.family}' has no distribution of missing values to sample from"
        )
    if model.scaler.moving and isinstance(model, ExactPosterior):
        raise InputError(
            f"the model scales each value by the values observed before it (scaling="
            f"{model.scaler.scaling}), so its smoother has no distribution of a missing value; fit "
            "one with scaling=global to impute"
        )
    data = check_data(model, data, reads_gaps=isinstance(model, ExactPosterior))
    if not any(np.isnan(s.x).any() for s in data):
        raise InputError(f"{data.name}: no value is missing; there is nothing to impute")
    training = model.training
    model.eval()
    series = []
    try:
        for place, s in enumerate(data):
            missing = np.isnan(s.x)
            steps = np.flatnonzero(missing.any(1))
            if len(steps):
                batch = collate([s]).to(model.device)
                noise = SequenceNoise([s.unique_id], seed)
                if isinstance(model, ExactPosterior):
                    with torch.no_grad():
                        x = model.sample_missing(batch, num_samples, noise)[:, 0, steps]
                else:
                    try:
                        x = by_particles(model, batch, num_samples, noise, lag)[:, steps]
                    except InputError as error:
                        raise InputError(f"series '{s.unique_id}': {error}") from None
                series.append(SeriesImputation(place, steps, missing[steps], x.cpu().numpy()))
            if progress:
                progress(1)
    finally:
        model.train(training)
    discrete = isinstance(model, EmissionModel) and model.value_distribution.discrete
    return Imputation(data, tuple(series), discrete)
