"""Labels keep the codes that they had in training, and are not mistaken for numbers."""

import numpy as np
import pandas as pd
import pytest

import seqlatent as sl
from seqlatent.cli.app import run_command
from seqlatent.data.dataset import SequenceDataset
from seqlatent.data.readers import load
from seqlatent.errors import InputError

LABELS = ["a", "b", "x", "b", "a", "x", "x", "b"] * 4
CODES = [{"a": 0, "b": 1, "x": 2}[label] for label in LABELS]


def fit(values: list, emission: str = "categorical", **options):
    model = sl.RNN(hidden_dim=4, emission=emission, **options)
    return model.fit(pd.DataFrame({"y": values}), max_steps=2, progress=False)


@pytest.fixture(scope="module")
def labelled():
    return fit(LABELS)


@pytest.fixture(scope="module")
def coded():
    return fit(CODES)


NUMBERS = {
    "frame": pd.DataFrame({"y": CODES}),
    "series": pd.Series(CODES),
    "array": np.array([CODES]),
    "list": [CODES, CODES],
    "data set": SequenceDataset.from_list([np.array(CODES)]),
}


@pytest.mark.parametrize("source", NUMBERS.values(), ids=NUMBERS)
def test_numbers_are_not_labels(source, labelled):
    for task in (labelled.log_prob, lambda data: labelled.forecast(data, 1, num_samples=2)):
        with pytest.raises(InputError, match=r"'y' holds numbers, .*labels a, b, x there; give"):
            task(source)


@pytest.mark.parametrize("source", [pd.DataFrame({"y": LABELS}), pd.Series(LABELS)])
def test_labels_are_not_numbers(source, coded):
    with pytest.raises(InputError, match=r"'y' holds labels such as 'a', .*fitted to numbers"):
        coded.log_prob(source)
    mixed = fit(CODES, "mixed")
    with pytest.raises(InputError, match=r"'y' holds labels such as 'a'"):
        mixed.log_prob(source)


@pytest.mark.parametrize("valid", [LABELS, CODES])
def test_validation_data_too(valid):
    model = sl.RNN(hidden_dim=4, emission="categorical")
    data = pd.DataFrame({"y": CODES if valid is LABELS else LABELS})
    with pytest.raises(InputError, match=r"holds (labels|numbers)"):
        model.fit(data, valid=pd.DataFrame({"y": valid}), max_steps=2, progress=False)


def test_what_is_like_training_is_read(labelled, coded):
    assert np.isfinite(coded.log_prob(np.array(CODES))["log_prob"][0])
    # Alone these labels would have the codes 0 and 1, as "a" and "b" had in training.
    some, shifted = (load(pd.Series(list(v))) for v in ("xb", "ab"))
    assert some.categories["y"] == ("b", "x")
    whole = labelled.log_prob(pd.DataFrame({"y": ["x", "b", "a"]}))["log_prob"][0]
    part = labelled.log_prob(some)["log_prob"][0]
    assert part != pytest.approx(labelled.log_prob(shifted)["log_prob"][0])
    steps = labelled.score(pd.DataFrame({"y": ["x", "b", "a"]}))[1]["log_prob"]
    assert part == pytest.approx(steps[:2].sum()) and part > whole
    sampled = labelled.sample(2, 5)
    assert np.isfinite(labelled.log_prob(sampled)["log_prob"]).all()


def test_a_channel_without_a_value_has_no_kind(labelled):
    nothing = SequenceDataset.from_list([np.full(3, np.nan)])
    assert labelled.log_prob(nothing)["log_prob"].tolist() == [0]


def test_on_the_command_line(tmp_path, label_run, capsys):
    path = tmp_path / "numbers.csv"
    path.write_text("weather\n0\n1\n")
    assert run_command(["score", str(label_run), str(path)]) == 2
    assert "'weather' holds numbers" in capsys.readouterr().err
