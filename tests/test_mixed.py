"""Tables whose columns are of different kinds: real, count, binary and category."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from cases import stir

import seqlatent as sl
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.description import DataDescription
from seqlatent.distributions.build import build_family, build_head
from seqlatent.distributions.choice import choose_emission
from seqlatent.distributions.emission_options import EmissionOptions
from seqlatent.distributions.mixed import Mixed
from seqlatent.distributions.noise import SequenceNoise
from seqlatent.errors import InputError

KINDS = ("mixture", "negative-binomial", "bernoulli", "categorical")


def table(num: int = 30, steps: int = 8, seed: int = 0) -> pd.DataFrame:
    """Shops: whether open, the weather, visitors if open, and the takings that follow from them."""
    rng = np.random.default_rng(seed)
    size = num * steps
    is_open = rng.integers(0, 2, size)
    visitors = is_open * rng.poisson(6, size)
    return pd.DataFrame(
        {
            "unique_id": np.repeat([f"shop{i}" for i in range(num)], steps),
            "ds": np.tile(np.arange(steps), num),
            "takings": 1000 + 50.0 * visitors + rng.normal(0, 5, size),
            "visitors": visitors,
            "open": is_open,
            "weather": rng.choice(["rain", "snow", "sun"], size),
        }
    )


COLUMNS = ["takings", "visitors", "open", "weather"]


def read(frame: pd.DataFrame) -> SequenceDataset:
    return SequenceDataset.from_frame(frame, targets=[c for c in COLUMNS if c in frame])


def dataset(**kwargs) -> SequenceDataset:
    return read(table(**kwargs))


def test_each_column_has_the_law_that_it_would_have_alone():
    description = DataDescription.of(dataset())
    name, reason = choose_emission(description)
    assert name == "mixed"
    assert reason == (
        "columns of different kinds: takings: mixture, visitors: negative-binomial, "
        "open: bernoulli, weather: categorical"
    )
    law = build_family(description, EmissionOptions("mixed"), [1.0] * 4)
    assert isinstance(law, Mixed)
    assert law.names == KINDS


def test_the_law_of_three_columns_has_mass_one_and_is_drawn_from():
    data = read(table().drop(columns="visitors"))
    description = DataDescription.of(data)
    options = EmissionOptions("mixed", num_components=3, channel_dim=6)
    torch.manual_seed(0)
    head = build_head(build_family(description, options, [1.0] * 3), 3, options, 4)
    stir(head)
    points = torch.linspace(-12, 12, 1201).sinh() * 0.05
    h = torch.randn(1, 4)
    mass = torch.zeros(2, 3)
    with torch.no_grad():
        for b in range(2):
            for c in range(3):
                grid = torch.stack([points, torch.full_like(points, b), torch.full_like(points, c)])
                density = head(h.expand(len(points), 4)).log_prob(grid.T).exp()
                mass[b, c] = torch.trapezoid(density, points)
        assert mass.sum() == pytest.approx(1, abs=0.01)
        num = 20_000
        draws = head(h.expand(num, 4)).sample(noise=SequenceNoise(["a"], 1))
        assert torch.isfinite(head(h.expand(num, 4)).log_prob(draws)).all()
    seen = torch.bincount((3 * draws[:, 1] + draws[:, 2]).long(), minlength=6).view(2, 3) / num
    assert ((seen - mass).abs() < 4 * (mass * (1 - mass) / num).sqrt() + 0.01).all()


def test_columns_are_read_fitted_scored_and_forecast_together():
    training = {"max_steps": 100, "learning_rate": 0.02, "seed": 0}
    options = {"hidden_dim": 8, "num_components": 3}
    model = sl.RNN(**options, channel_dim=16).fit(dataset(), **training)
    apart = sl.RNN(**options, channels="independent").fit(dataset(), **training)
    test = dataset(seed=9)
    scores = model.log_prob(test)
    # Takings follow from visitors: a model that sees this within the step gains far over a nat.
    assert scores["nats_per_step"].mean() > apart.log_prob(test)["nats_per_step"].mean() + 1
    fc = model.forecast(test[:2], prediction_length=3, num_samples=200)
    assert set(np.unique(fc.samples[..., 2])) <= {0.0, 1.0}
    assert np.array_equal(fc.samples[..., 1], fc.samples[..., 1].round())
    frame = fc.to_frame()
    assert frame["p(sun)"].notna().sum() == 2 * 3
    shut = fc.samples[..., 2] == 0
    assert fc.samples[..., 1][shut].mean() < 0.5 < fc.samples[..., 1][~shut].mean()


def test_scores_move_by_the_log_jacobian_of_the_real_column_alone():
    data = dataset()
    changed = read(table().assign(takings=lambda f: 100 * f["takings"]))
    a, b = (sl.RNN(hidden_dim=4).fit(d, max_steps=2, seed=0).log_prob(d) for d in (data, changed))
    moved = a["log_prob"] - b["log_prob"]
    np.testing.assert_allclose(moved, 8 * np.log(100), rtol=0, atol=1e-2)


def test_values_that_a_column_s_law_cannot_hold_are_refused():
    model = sl.RNN(hidden_dim=4).fit(dataset(), max_steps=2, seed=0)
    for column, value, words in (
        ("open", 2, "column 'open' holds values from 0 to 2"),
        ("visitors", 0.5, "column 'visitors' holds values .*, not all of them whole"),
        ("weather", "hail", "holds the label 'hail'"),
    ):
        frame = table(num=2)
        frame[column] = frame[column].astype(object)
        frame.loc[3, column] = value
        frame = frame.infer_objects()
        with pytest.raises(InputError, match=words):
            model.log_prob(read(frame))


def test_a_constant_column_goes_with_the_others_if_it_can():
    rng = np.random.default_rng(0)
    for value, expected in ((0.0, "bernoulli"), (7.0, "mixed")):
        x = rng.integers(0, 2, (5, 20, 3)).astype(float)
        x[..., 1] = value
        assert choose_emission(DataDescription.of(SequenceDataset.from_arrays(x)))[0] == expected


def test_a_missing_value_of_any_kind():
    frame = table()
    frame.loc[5, "takings"] = np.nan
    frame["weather"] = frame["weather"].astype(object)
    frame.loc[6, "weather"] = None
    data = read(frame)
    model = sl.RNN(hidden_dim=4).fit(data, max_steps=2, seed=0)
    assert np.isfinite(model.log_prob(data)["log_prob"]).all()
    assert dataclasses.asdict(model.options)["emission"] == "auto"
