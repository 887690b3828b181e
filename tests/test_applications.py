"""Every emission applied to real data: weather, sunspots and music. Held-out data must be likelier
than under the simplest distribution of each value."""

from collections.abc import Callable

import numpy as np
import pytest
from cases import EMISSIONS
from scipy.stats import norm, poisson

import seqlatent
from seqlatent.api import RNN
from seqlatent.data.dataset import SequenceDataset
from seqlatent.tasks.forecasting import forecast

DAYS = 30  # of a sequence


def weather() -> dict[str, np.ndarray]:
    """Columns of Seattle's days, (days,) each."""
    data = seqlatent.load("seattle-weather")
    return dict(zip(data.targets, data.sequences[0].x.T, strict=True))


def in_months(*columns: np.ndarray) -> SequenceDataset:
    x = np.stack(columns, -1).astype(float)
    return SequenceDataset.from_list([x[i : i + DAYS] for i in range(0, len(x) - DAYS + 1, DAYS)])


def temperatures() -> SequenceDataset:
    return seqlatent.load("seattle-temps:train")


def temperature_ranges() -> SequenceDataset:
    """Two channels that go together."""
    w = weather()
    return in_months(w["temp_min"], w["temp_max"])


def wet_days() -> SequenceDataset:
    return in_months(weather()["precipitation"] > 0)


def millimetres() -> SequenceDataset:
    """Whole millimetres of rain: more than half of the days have none."""
    return in_months(weather()["precipitation"].round())


def kinds_of_day() -> SequenceDataset:
    """Cold or warm, dry or wet: labels without an order."""
    w = weather()
    return in_months(2 * (w["precipitation"] > 0) + (w["temp_max"] > 16))


def beaufort() -> SequenceDataset:
    """Wind forces, from metres per second."""
    return in_months(np.searchsorted([0.3, 1.6, 3.4, 5.5, 8.0], weather()["wind"]))


def whole_weather() -> SequenceDataset:
    """A real column, a count and a flag."""
    w = weather()
    return in_months(w["temp_max"], w["precipitation"].round(), w["wind"] > 3.4)


def sunspots() -> SequenceDataset:
    x = seqlatent.load("sunspots").sequences[0].x.round()
    return SequenceDataset.from_list([x[i : i + 33] for i in range(0, 297, 33)])


def pieces() -> SequenceDataset:
    return seqlatent.load("four-voices")


DATA: dict[str, Callable[[], SequenceDataset]] = {
    "normal": temperatures,
    "student-t": temperatures,
    "mixture": temperatures,
    "covariance-mixture": temperature_ranges,
    "sinh-arcsinh": temperatures,
    "spline": temperatures,
    "sinh-arcsinh-spline": temperatures,
    "bernoulli": wet_days,
    "subset": pieces,
    "categorical": kinds_of_day,
    "ordinal": beaufort,
    "poisson": sunspots,
    "negative-binomial": sunspots,
    "zero-inflated": millimetres,
    "mixed": whole_weather,
}
QUICK = ("normal", "negative-binomial", "categorical")  # the others are `slow`


def simplest(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """(R, D), (R, D) -> (R,) nats: a normal, a Poisson or a table of frequencies per column."""
    total = np.zeros(len(test))
    for seen, values in zip(train.T, test.T, strict=True):
        if (seen % 1 != 0).any():
            total += norm(seen.mean(), seen.std()).logpdf(values)
        elif seen.max() > 5:
            total += poisson(seen.mean()).logpmf(values)
        else:
            counts = np.bincount(seen.astype(int), minlength=7) + 0.5
            total += np.log(counts / counts.sum())[values.astype(int)]
    return total


def test_every_emission_has_an_application():
    assert set(DATA) == set(EMISSIONS) - {"laplace"}  # of another package


@pytest.mark.parametrize(
    "emission",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in DATA],
)
def test_held_out_data_are_likelier_than_under_the_simplest_distribution(emission: str):
    data = DATA[emission]()
    size = len(data)
    order = np.random.default_rng(0).permutation(size)
    first = [data.sequences[i].x for i in order[: 2 * size // 3]][:40]
    last = [data.sequences[i].x for i in order[2 * size // 3 :]][:20]
    train, test = SequenceDataset.from_list(first), SequenceDataset.from_list(last)
    own = {} if emission == "covariance-mixture" else {"channel_dim": 32}
    model = RNN(emission=emission, hidden_dim=16, **own)
    model.fit(train, max_steps=120, batch_size=16, seed=0, progress=False)
    log_prob = model.score(test)[1]["log_prob"].to_numpy()
    gain = log_prob - simplest(np.concatenate(first), np.concatenate(last))
    assert gain.mean() > 2 * gain.std() / np.sqrt(len(gain))
    samples = forecast(model.module, test, 5, num_samples=20, seed=0).samples
    assert np.isfinite(samples).all()
    seen = np.concatenate(first)
    for d in range(seen.shape[1]):
        if (seen[:, d] % 1 == 0).all():  # samples are of the data's kind
            assert (samples[..., d] >= 0).all()
            assert (samples[..., d] % 1 == 0).all()
