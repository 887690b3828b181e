"""Arguments of a fitted model's methods: what is no count is refused by name, in one sentence."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import seqlatent as sl
from seqlatent.data.dataset import SequenceDataset
from seqlatent.options import check_count, check_positive, check_seed

NO_COUNTS = (3.5, 3.0, "a", True, None, np.float64(3), np.bool_(True), 0, -1)
NO_SEEDS = (1.5, "a", True, None, np.float64(0), -1, 2**63)
CALLS: dict[str, Callable[[Any, SequenceDataset, dict], object]] = {
    "log_prob": lambda m, data, given: m.log_prob(data, **given),
    "score": lambda m, data, given: m.score(data, **given),
    "forecast": lambda m, data, given: m.forecast(data, **{"prediction_length": 2, **given}),
    "sample": lambda m, data, given: m.sample(**{"num_samples": 2, "length": 2, **given}),
    "impute": lambda m, data, given: m.impute(data, **given),
    "latents": lambda m, data, given: m.latents(data, **given),
    "encode": lambda m, data, given: m.encode(data, **given),
    "reconstruct": lambda m, data, given: m.reconstruct(data, **given),
    "inspect": lambda m, data, given: m.inspect(data, **given),
}
COUNTS = [
    ("log_prob", "num_particles"),
    ("score", "num_particles"),
    ("forecast", "prediction_length"),
    ("forecast", "num_samples"),
    ("sample", "num_samples"),
    ("sample", "length"),
    ("impute", "num_samples"),
    ("impute", "lag"),
    ("latents", "num_samples"),
    ("encode", "num_samples"),
    ("reconstruct", "num_samples"),
    ("inspect", "num_particles"),
]


@pytest.fixture(scope="module")
def data() -> SequenceDataset:
    x = np.random.default_rng(0).normal(size=(12, 6, 1))
    x[0, 2] = np.nan
    return SequenceDataset.from_arrays(x)


@pytest.fixture(scope="module")
def model(data):
    return sl.Latent(hidden_dim=4, latent_dim=2).fit(data, max_steps=1, progress=False)


@pytest.mark.parametrize(("method", "name"), COUNTS)
def test_what_is_no_count_is_refused(method, name, model, data):
    for value in NO_COUNTS:
        with pytest.raises(sl.InputError, match=name) as refusal:
            CALLS[method](model, data, {name: value})
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("method", CALLS)
def test_what_is_no_seed_is_refused(method, model, data):
    for seed in NO_SEEDS:
        with pytest.raises(sl.InputError, match="seed"):
            CALLS[method](model, data, {"seed": seed})


@pytest.mark.parametrize("seed", NO_SEEDS)
def test_fit_refuses_them_too(seed, data):
    with pytest.raises(sl.InputError, match="seed"):
        sl.RNN().fit(data, seed=seed)


def test_integers_of_numpy_are_counts_and_seeds(model, data):
    number = np.int64(2)
    a = model.forecast(data, number, num_samples=number, seed=np.uint8(3))
    b = model.forecast(data, 2, num_samples=2, seed=3)
    np.testing.assert_array_equal(a.samples, b.samples)
    assert len(model.sample(number, np.int32(4), seed=number).sequences[0]) == 4
    scores = model.log_prob(data, num_particles=number)
    assert scores["num_particles"].tolist() == [2] * 12


def test_integers_of_numpy_are_options_and_are_saved(tmp_path, data):
    m = sl.RNN(hidden_dim=np.int64(4), dropout=np.float32(0.5))
    assert (type(m.options.hidden_dim), type(m.options.dropout)) == (int, float)
    m.fit(data, seed=np.int64(1), max_steps=np.int16(1), run=tmp_path / "run")
    assert sl.load_model(tmp_path / "run").fitted["seed"] == 1


@pytest.mark.parametrize("error", ["a", True, 0, -0.1, float("nan")])
def test_a_target_error_is_a_positive_number(error, model, data):
    with pytest.raises(sl.InputError, match="target_error"):
        model.log_prob(data, target_error=error)


def test_arguments_that_are_easily_confused_go_by_name(model, data):
    for call in (
        lambda: model.score(data, 8),
        lambda: model.forecast(data, 2, 8),
        lambda: model.impute(data, 8),
        lambda: model.latents(data, 8),
        lambda: sl.RNN().fit(data, 0.2),
    ):
        with pytest.raises(TypeError, match="positional"):
            call()


def test_checks_return_plain_numbers():
    assert type(check_count("n", np.int8(3))) is type(check_seed(np.int8(3))) is int
    assert type(check_positive("x", np.float32(3))) is type(check_positive("x", 3)) is float
    with pytest.raises(sl.InputError, match="n=1 must be at least 2"):
        check_count("n", 1, minimum=2)
    with pytest.raises(sl.InputError, match=r"n must be a whole number, not 3\.5"):
        check_count("n", 3.5)
