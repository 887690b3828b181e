"""What a forecast holds: its shapes do not depend on how many series there are."""

import numpy as np
import pytest
from cases import dataset, model

import seqlatent as sl
from seqlatent.tasks.forecasting import Forecast, forecast

S, H, D = 7, 3, 2


def made(num: int) -> Forecast:
    data = dataset(channels=D, num=num)
    return forecast(model("rnn", data=data), data, H, num_samples=S)


@pytest.mark.parametrize("num", [1, 4])
def test_shapes(num: int):
    fc = made(num)
    assert len(fc) == num
    assert fc.samples.shape == (num, S, H, D)
    assert fc.mean.shape == fc.quantile(0.5).shape == (num, H, D)
    assert fc.quantile(np.array([0.1, 0.5])).shape == (num, 2, H, D)
    one = fc[num - 1]
    assert one is fc[str(num - 1)] is fc[-1] is list(fc)[-1]
    assert one.samples.shape == (S, H, D)
    assert one.mean.shape == one.quantile(0.5).shape == (H, D)
    np.testing.assert_array_equal(fc.samples[-1], one.samples)
    np.testing.assert_array_equal(fc.mean[-1], one.samples.mean(0))
    np.testing.assert_array_equal(fc.quantile(0.25)[-1], np.quantile(one.samples, 0.25, axis=0))


def test_a_series_that_is_not_there():
    with pytest.raises(sl.InputError, match="no forecast of a series 'north'"):
        made(2)["north"]
    with pytest.raises(IndexError):
        made(2)[2]


@pytest.mark.parametrize("level", [-0.1, 1.5, "a", float("nan")])
def test_levels_outside_their_range(level):
    with pytest.raises(sl.InputError, match="quantile level"):
        made(1).quantile(level)


def test_number_of_panels_is_a_count():
    with pytest.raises(sl.InputError, match="series must be a whole number"):
        made(1).plot(series=1.5)


def test_the_table_has_each_quantile():
    fc = made(50)
    rows = fc.to_frame()
    for f in fc:
        own = rows[(rows["unique_id"] == f.unique_id) & (rows["target"] == fc.data.targets[0])]
        for level in (0.05, 0.25, 0.5, 0.9):
            found = own[f"q{level}"].to_numpy()
            np.testing.assert_allclose(found, f.quantile(level)[:, 0], rtol=1e-12)
    assert (rows["q0.05"] < rows["q0.95"]).all()
