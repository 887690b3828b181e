"""Missing values given all observed ones, those before and those after.

`linear-gaussian` draws them exactly, by its smoother. Elsewhere particles do it (Gordon et al.
1993): K paths walk through the sequence, each with its gaps filled as it goes:

    at a missing value      each path draws it from the model, and goes on as if it had been seen
    at an observed value    each path is weighed by the probability that it gave to it
    where the weights'      paths are resampled in proportion to their weights
    effective size < K/2

A latent-variable model weighs by an unbiased estimate of that probability, which leaves the paths'
distribution what it is (Andrieu et al. 2010). Channels that are missing where others are observed
are drawn given them. Paths that are resampled again and again soon share one past: the draws of a
gap are therefore settled a fixed number of observed steps after it (the lag; Kitagawa 2001). What
comes later than that no longer counts for them; a longer lag counts more and draws fewer distinct
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
    """Draws of one series' missing values.

    Attributes:
        place: the series' place in the data set.
        steps: (M,) the steps that lack a value, counted from 0.
        missing: (M, D) which values they lack.
        samples: (S, M, D) those steps, data units: draws of what is missing, beside what was
            observed. Within a gap each of the S is one path.
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
    """Draws of a data set's missing values.

    Attributes:
        data: with its gaps.
        series: those that have gaps, in the data's order.
        discrete: whether values are counts or codes.
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
                ds, draws = s.ds[f.steps[here]], f.samples[:, here, d]
                channels.append(summary_rows(self.data, s.unique_id, ds, target, draws))
            parts.append(pd.concat(channels).sort_values("ds", kind="stable"))
        return pd.concat(parts, ignore_index=True)

    def samples_frame(self) -> pd.DataFrame:
        """`unique_id, ds, sample_id` and the target columns, a row per draw of each step that lacks
        a value; what was observed there stands beside it."""
        parts = []
        for f in self.series:
            s = self.data.sequences[f.place]
            parts.append(samples_rows(self.data, s.unique_id, s.ds[f.steps], f.samples))
        return pd.concat(parts, ignore_index=True)

    def filled(self) -> SequenceDataset:
        """The data without gaps: the draws' mean for real values, the most frequent one for labels,
        the (lower) median for counts."""
        sequences = list(self.data.sequences)
        for f in self.series:
            s = sequences[f.place]
            x = s.x.copy()
            for d, target in enumerate(self.data.targets):
                here = f.missing[:, d]
                draws = f.samples[:, here, d]
                if target in self.data.categories:
                    codes = range(len(self.data.categories[target]))
                    value = np.stack([(draws == c).mean(0) for c in codes]).argmax(0)
                elif self.discrete:
                    value = np.quantile(draws, 0.5, axis=0, method="inverted_cdf")
                else:
                    value = draws.mean(0)
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
    """Draw the missing values of every sequence, given all of its observed ones.

    Args:
        model: a fitted model that can go on from values given in part (all can but a flow that is
            conditioned on latents).
        data: sequences with the training data's channels.
        num_samples: S, draws.
        seed: of the draws; a sequence's do not depend on which others are asked for.
        progress: called with 1 for every finished series.
        lag: observed steps after a gap at which its draws are settled; without a part in exact
            answers.

    Raises:
        InputError: when an argument is out of range, for data without missing values, or that do
            not fit the model, and for a model that cannot do it.
    """
    num_samples, lag = check_count("num_samples", num_samples), check_count("lag", lag)
    seed = check_seed(seed)
    if not isinstance(model, ExactPosterior | Fillable):
        raise InputError(
            f"model '{model.family}' has no distribution of a missing value to draw from"
        )
    if model.scaler.scaling == "increments":
        raise InputError(
            "the model reads each value less the one observed before it (scaling=increments): it "
            "has no distribution of a value between two observed ones; fit one with "
            "scaling=global to impute"
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
                    x = by_particles(model, batch, num_samples, noise, lag)[:, steps]
                series.append(SeriesImputation(place, steps, missing[steps], x.cpu().numpy()))
            if progress:
                progress(1)
    finally:
        model.train(training)
    discrete = isinstance(model, EmissionModel) and model.value_distribution.discrete
    return Imputation(data, tuple(series), discrete)
