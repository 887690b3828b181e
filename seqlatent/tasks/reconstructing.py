"""Values beside what a model reconstructs from their codes; the errors tell unusual steps."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from seqlatent.data.batch import collate
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.sequence import Sequence
from seqlatent.errors import InputError
from seqlatent.inference.protocols import Reconstructs
from seqlatent.models.base import SequenceModel
from seqlatent.options import check_seed
from seqlatent.plots.reconstruction import plot_reconstruction
from seqlatent.tasks.inspecting import reconstruct as reconstruct_from_latents
from seqlatent.tasks.pieces import in_pieces
from seqlatent.tasks.prepare import check_data
from seqlatent.text import Summary, shortened, text_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 12  # rows of a table in words


@dataclass(frozen=True, eq=False, repr=False)
class Reconstruction(Summary):
    """What `reconstruct_codes` found.

    Attributes:
        data: what was reconstructed.
        frame: a row per series, step and channel: `unique_id, ds, target, value, reconstruction,
            error`, the last being value less reconstruction; data units. Of missing values `value`
            and `error` are NaN.
    """

    data: SequenceDataset
    frame: pd.DataFrame

    def by_series(self) -> pd.DataFrame:
        """A row per series and channel: `unique_id, target, rmse, relative, worst, worst_error`.

        `rmse` is the root mean square error in data units, `relative` the same as a share of the
        values' standard deviation in that series, NaN where they do not vary; `worst` is the step
        of the largest error.
        """
        rows = []
        for panel, part in self.frame.groupby(["unique_id", "target"], sort=False):
            name, target = panel  # pyright: ignore[reportGeneralTypeIssues]
            seen = part.dropna(subset=["error"])
            if seen.empty:
                rows.append((name, target, np.nan, np.nan, None, np.nan))
                continue
            rmse = float(np.sqrt(np.square(seen["error"]).mean()))
            spread = float(np.std(seen["value"]))
            worst = seen.loc[seen["error"].abs().idxmax()]
            relative = rmse / spread if spread > 0 else np.nan
            rows.append((name, target, rmse, relative, worst["ds"], worst["error"]))
        columns = ["unique_id", "target", "rmse", "relative", "worst", "worst_error"]
        return pd.DataFrame(rows, columns=pd.Index(columns))

    def to_text(self) -> str:
        """The table of `by_series`; of many rows those with the largest errors relative to the
        spread of their values."""
        found = self.by_series()
        shown = found.astype({"worst": str})
        text = "errors, in the units of the data:\n"
        if len(found) > SHOWN:
            shown = shown.nlargest(SHOWN, "relative")
            text = f"errors, in the units of the data, of the worst of {len(found)} rows:\n"
        return text + text_table(shown.to_numpy(dtype=object).tolist(), list(shown.columns))

    def plot(self, path: str | Path | None = None) -> "Figure":
        """Draw the series with the largest errors over their errors."""
        return plot_reconstruction(self.data, self.frame, path)

    def _facts(self) -> tuple[str, list[tuple[str, str]]]:
        found = self.by_series()
        facts = [("series", shortened([s.unique_id for s in self.data]))]
        for target, part in found.groupby("target", sort=False):
            rmse = float(np.sqrt(np.square(part["rmse"]).mean()))
            facts.append((f"rmse of {target}", f"{rmse:.4g}"))
        return f"Reconstruction of {self.data.name}", facts


def reconstruct(
    model: SequenceModel,
    data: SequenceDataset,
    *,
    num_samples: int = 100,
    seed: int = 0,
    posterior: str = "smoothing",
) -> pd.DataFrame:
    """Reconstruct the values of sequences from codes or latents.

    Args:
        model: `autoencoder`, or `latent` and its presets, fitted.
        data: sequences with the training data's channels.
        num_samples, seed, posterior: of latents, as of `seqlatent.tasks.inspecting.reconstruct`;
            codes have none of these.

    Returns:
        of an autoencoder `unique_id, ds, target, value, reconstruction, error`, data units, a row
        per series, channel and step; of latents what `seqlatent.tasks.inspecting.reconstruct`
        returns.

    Raises:
        InputError: when an argument is out of range or has no effect, for another model, or data
            that do not fit it.
    """
    if not isinstance(model, Reconstructs):
        return reconstruct_from_latents(
            model, data, num_samples=num_samples, seed=seed, posterior=posterior
        )
    if (num_samples, check_seed(seed), posterior) != (100, 0, "smoothing"):
        raise InputError(
            f"the codes of model '{model.family}' are no samples; leave num_samples, seed and "
            "posterior out"
        )
    return reconstruct_codes(model, data).frame


def reconstruct_codes(
    model: SequenceModel,
    data: SequenceDataset,
    progress: Callable[[int], None] | None = None,
) -> Reconstruction:
    """Reconstruct the values of sequences from their codes.

    Args:
        model: a fitted model that reconstructs (`autoencoder`).
        data: sequences with the training data's channels.
        progress: called with 1 for every finished series.

    Raises:
        InputError: for another model, or data that do not fit it.
    """
    if not isinstance(model, Reconstructs):
        raise InputError(
            f"model '{model.family}' has no codes to reconstruct values from; fit --model "
            "autoencoder"
        )
    data = check_data(model, data)
    parts: list[pd.DataFrame] = []
    for s, back in _reconstructed(model, data, progress):
        parts += _rows(data, s.unique_id, s.ds, s.x, back)
    return Reconstruction(data, pd.concat(parts, ignore_index=True))


def step_errors(
    model: Reconstructs,
    data: SequenceDataset,
    scale: np.ndarray,
    progress: Callable[[int], None] | None = None,
) -> list[np.ndarray]:
    """How far each step is from its reconstruction, all channels together.

    Args:
        model: a fitted model.
        data: checked (`check_data`).
        scale: (D,) the size of each channel's values.
        progress: called with 1 for every finished series.

    Returns:
        of each series (T,) the root of the mean, over the step's observed channels, of the squares
        of error over `scale`; NaN where nothing was observed, and in the context.
    """
    found = []
    for s, back in _reconstructed(model, data, progress):
        squares = np.square((s.x - back) / scale)
        seen = ~np.isnan(squares)
        number = np.where(np.arange(len(s)) < s.context, 0, seen.sum(1))
        total = np.where(seen, squares, 0.0).sum(1)
        found.append(np.sqrt(np.where(number > 0, total / np.maximum(1, number), np.nan)))
    return found


def _reconstructed(
    model: Reconstructs, data: SequenceDataset, progress: Callable[[int], None] | None
) -> Iterator[tuple[Sequence, np.ndarray]]:
    """The series with their (T, D) reconstructions, data units."""
    model.eval()
    for s in data:
        batch = collate([s]).to(model.device)
        with torch.no_grad():
            x = in_pieces(model.reconstruction, batch, model.before, model.after)[0]
        yield s, x.double().cpu().numpy()
        if progress:
            progress(1)


def _rows(
    data: SequenceDataset, name: str, ds: np.ndarray, x: np.ndarray, back: np.ndarray
) -> list[pd.DataFrame]:
    return [
        pd.DataFrame(
            {
                "unique_id": name,
                "ds": ds,
                "target": target,
                "value": x[:, d],
                "reconstruction": back[:, d],
                "error": x[:, d] - back[:, d],
            }
        )
        for d, target in enumerate(data.targets)
    ]
