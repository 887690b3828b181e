"""Options as parameters, as scikit-learn has them."""

import dataclasses

import numpy as np
import pytest

import seqlatent as sl
from seqlatent.api import CLASSES
from seqlatent.data.dataset import SequenceDataset


@pytest.fixture
def fitted():
    data = SequenceDataset.from_arrays(np.random.default_rng(0).normal(size=(12, 6, 1)))
    return sl.RNN(hidden_dim=4).fit(data, max_steps=1, progress=False)


@pytest.mark.parametrize("name", CLASSES)
def test_parameters_are_the_options_of_the_constructor(name: str):
    model = CLASSES[name]()
    params = model.get_params()
    assert params == dataclasses.asdict(model.options)
    assert params == model.get_params(deep=False)
    assert CLASSES[name](**params).options == model.options


def test_set_params():
    model = sl.RNN(hidden_dim=4)
    assert model.set_params(num_layers=2, cell="lstm") is model
    assert model.options == sl.RNN(hidden_dim=4, num_layers=2, cell="lstm").options
    assert model.set_params() is model


def test_names_and_values_are_checked_before_anything_changes(fitted):
    before, module = fitted.options, fitted.module
    with pytest.raises(sl.InputError, match="'hiden_dim'; did you mean 'hidden_dim'"):
        fitted.set_params(num_layers=2, hiden_dim=8)
    with pytest.raises(sl.InputError, match="hidden_dim=0 must be at least 1"):
        fitted.set_params(num_layers=2, hidden_dim=0)
    assert fitted.options == before
    assert fitted.module is module


def test_a_model_whose_options_change_is_no_longer_fitted(fitted):
    module = fitted.module
    assert fitted.set_params(hidden_dim=4).module is module  # nothing has changed
    fitted.set_params(hidden_dim=5)
    assert fitted.result is None
    assert fitted.fitted == {}
    assert repr(fitted) == "RNN(hidden_dim=5)"
    with pytest.raises(sl.InputError, match="has not been fitted"):
        fitted.module  # noqa: B018


def test_clone(fitted, tmp_path):
    fitted.save(tmp_path / "run")
    for model in (fitted, sl.load_model(tmp_path / "run")):
        again = model.clone()
        assert type(again) is sl.RNN
        assert again.options == model.options
        assert again._module is again.result is None
        again.set_params(hidden_dim=9)
        assert model.options.hidden_dim == 4


@pytest.mark.parametrize("name", CLASSES)
def test_scikit_learn_clones_them(name: str, fitted):
    base = pytest.importorskip("sklearn.base")
    for model in (CLASSES[name](context_length=np.int64(2)), fitted):
        again = base.clone(model)
        assert type(again) is type(model)
        assert again.options == model.options
        assert again._module is None
