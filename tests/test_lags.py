"""Which earlier values networks see by default."""

from dataclasses import replace

import pytest
from cases import dataset

from seqlatent.data.description import DataDescription
from seqlatent.models.autoregressive import RNNOptions
from seqlatent.models.registry import build_model
from seqlatent.nn.past import FEW, MANY, PLENTY, usual_lags
from seqlatent.options import make


def described(seasons: tuple[int, ...], values: int, channels: int = 1) -> DataDescription:
    found = DataDescription.of(dataset(channels=channels))
    # Of several channels one alone may have been seen often.
    seen = [replace(c, num_observed=values if i == 0 else 9) for i, c in enumerate(found.channels)]
    return replace(found, seasons=seasons, channels=tuple(seen))


@pytest.mark.parametrize(
    ("seasons", "values", "channels", "lags"),
    [
        ((), PLENTY, 1, ()),
        ((24, 168), PLENTY, 1, (23, 24, 25, 168)),
        ((24, 168), PLENTY - 1, 1, (24, 168)),
        ((2,), PLENTY, 1, (2, 3)),
        ((12,), PLENTY, FEW, (11, 12, 13)),
        ((12,), PLENTY, FEW + 1, (12,)),
        ((12,), PLENTY, MANY + 1, ()),
    ],
)
def test_usual_lags(seasons, values, channels, lags):
    assert usual_lags(described(seasons, values, channels)) == lags


@pytest.mark.parametrize(("option", "lags"), [("auto", (3, 4, 5)), ("none", ()), ("2,7", (2, 7))])
def test_a_model_sees_the_lags_of_its_option(option: str, lags):
    options = make(RNNOptions, {"lags": option, "emission": "normal"})
    assert build_model("rnn", options, described((4,), PLENTY)).scaler.lags == lags
