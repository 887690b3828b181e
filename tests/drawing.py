"""Laws of drawing, which hold for models with and without a density."""

from pathlib import Path

import numpy as np
import pytest

from seqlatent.data.dataset import SequenceDataset
from seqlatent.models.base import SequenceModel
from seqlatent.tasks.forecasting import forecast, sample
from seqlatent.training.checkpoint import load_model, save_model


def saved_and_loaded(m: SequenceModel, data: SequenceDataset, run: Path, steps: int):
    """The model saved and loaded again, which is the same and forecasts the same paths."""
    save_model(m, run, {"note": 1})
    again, fitted = load_model(run)
    assert fitted == {"note": 1}
    assert again.options == m.options
    assert again.description == m.description
    a, b = (forecast(k, data, steps, num_samples=10).samples for k in (m, again))
    np.testing.assert_array_equal(a, b)
    return again


def seeds_decide(m: SequenceModel, data: SequenceDataset, steps: int) -> None:
    """A seed gives the same paths again, of a series alone as among others, and another seed
    others."""
    a, b, c = (forecast(m, data, steps, num_samples=10, seed=s).samples for s in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)
    alone = forecast(m, data[[1]], steps, num_samples=10, seed=0)[0].samples
    np.testing.assert_allclose(alone, a[1], rtol=1e-5)
    np.testing.assert_array_equal(
        sample(m, 2, 4, seed=3).sequences[1].x, sample(m, 2, 4, seed=3).sequences[1].x
    )


def history_may_be_cut(
    m: SequenceModel, data: SequenceDataset, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A history that is read in chunks leads to the same paths."""
    whole = forecast(m, data, steps, num_samples=4).samples
    monkeypatch.setattr("seqlatent.inference.paths.CHUNK", 2)
    np.testing.assert_allclose(forecast(m, data, steps, num_samples=4).samples, whole, rtol=1e-5)
