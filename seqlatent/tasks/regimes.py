"""Regimes of sequences: the probability of each at each step, and the most probable one."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from seqlatent.data.batch import collate
from seqlatent.data.sequence import Sequence
from seqlatent.data.steps import show_step
from seqlatent.distributions.noise import SequenceNoise, sample_class
from seqlatent.inference.protocols import Regimes
from seqlatent.text import Summary, shortened


@dataclass(frozen=True, eq=False, repr=False)
class SeriesRegimes(Summary):
    """One series' regimes, numbered from 1.

    Attributes:
        unique_id: the series.
        ds: (T,) its steps.
        x: (T, D) its values, NaN where missing.
        probability: (T, K) of each regime at each step.
        regime: (T,) of smoothing, the most probable path; of filtering, at each step the most
            probable regime.
        samples: (S, T); of smoothing, whole paths.
    """

    unique_id: str
    ds: np.ndarray
    x: np.ndarray
    probability: np.ndarray
    regime: np.ndarray
    samples: np.ndarray

    def _facts(self) -> tuple[str, list[tuple[str, str]]]:
        return f"Regimes of series '{self.unique_id}'", [
            ("steps", f"{len(self.ds)}, from {show_step(self.ds[0])} to {show_step(self.ds[-1])}"),
            ("share of each", _shares([self])),
            ("switches", str(int((np.diff(self.regime) != 0).sum()))),
        ]


@dataclass(frozen=True, eq=False, repr=False)
class FoundRegimes(Summary):
    """Regimes of a data set's series; `targets` names the channels."""

    series: tuple[SeriesRegimes, ...]
    targets: tuple[str, ...]

    def _facts(self) -> tuple[str, list[tuple[str, str]]]:
        return "Regimes", [
            ("series", shortened([s.unique_id for s in self.series])),
            ("steps", str(sum(len(s.ds) for s in self.series))),
            ("share of each", _shares(self.series)),
        ]

    def to_frame(self) -> pd.DataFrame:
        """`unique_id, ds, regime, regime1_probability, ...`, a row per step."""
        parts = []
        for s in self.series:
            part = pd.DataFrame({"unique_id": s.unique_id, "ds": s.ds, "regime": s.regime})
            for k in range(s.probability.shape[1]):
                part[f"regime{k + 1}_probability"] = s.probability[:, k]
            parts.append(part)
        return pd.concat(parts, ignore_index=True)

    def samples_frame(self) -> pd.DataFrame:
        """`unique_id, ds, sample_id, regime`, a row per sample and step."""
        parts = []
        for s in self.series:
            num_samples, steps = s.samples.shape
            columns = {
                "unique_id": s.unique_id,
                "ds": np.tile(s.ds, num_samples),
                "sample_id": np.repeat(np.arange(num_samples), steps),
                "regime": s.samples.ravel(),
            }
            parts.append(pd.DataFrame(columns))
        return pd.concat(parts, ignore_index=True)


def _shares(series: "tuple[SeriesRegimes, ...] | list[SeriesRegimes]") -> str:
    shares = np.concatenate([s.probability for s in series]).mean(0)
    return ", ".join(f"{k + 1}: {100 * share:.0f} %" for k, share in enumerate(shares))


@torch.no_grad()
def regimes_of(
    model: Regimes, s: Sequence, num_samples: int, seed: int, posterior: str
) -> SeriesRegimes:
    """The regimes of one sequence.

    Args:
        model: in evaluation mode.
        s: the sequence.
        num_samples: S.
        seed: of the samples.
        posterior: `filtering`, p(s_t | x_{1:t}), or `smoothing`, p(s_t | x_{1:T}).
    """
    batch = collate([s]).to(model.device)
    noise = SequenceNoise([s.unique_id], seed)
    if posterior == "smoothing":
        probability = model.smooth_regimes(batch)[0]
        regime = model.best_regimes(batch)[0]
        samples = model.sample_regimes(batch, num_samples, noise)
    else:
        probability = model.filter_regimes(batch)[0][0]
        regime = probability.argmax(-1)
        samples = sample_class(probability.log().expand(num_samples, -1, -1), noise)
    probability, regime, samples = (part.cpu().numpy() for part in (probability, regime, samples))
    return SeriesRegimes(s.unique_id, s.ds, s.x, probability, regime + 1, samples + 1)
