"""Every bundled data set is what its card says."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from seqlatent.api import RNN
from seqlatent.data.catalog import card, dataset_names, load_anomalies, load_bundled
from seqlatent.data.description import DataDescription
from seqlatent.data.tables import read_table
from seqlatent.distributions.choice import choose_emission
from seqlatent.errors import InputError

# name: sequences, steps of each, channels, missing values, frequency
SHAPES = {
    "co2": (1, 2284, 1, 59, "W-SAT"),
    "elnino": (61, 12, 1, 0, "MS"),
    "four-voices": (48, 48, 48, 0, 1),
    "macrodata": (1, 203, 12, 0, "QS"),
    "nile": (1, 100, 1, 0, 1),
    "nyc-taxi": (1, 10320, 1, 0, "30min"),
    "seattle-temps": (364, 24, 1, 0, "h"),
    "seattle-weather": (1, 1461, 4, 0, "D"),
    "sunspots": (1, 309, 1, 0, 1),
}


@pytest.fixture(scope="module")
def bundled():
    return {name: load_bundled(name) for name in dataset_names()}


def test_names():
    assert dataset_names() == tuple(sorted(SHAPES))


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_shape(name, bundled):
    sequences, steps, channels, missing, frequency = SHAPES[name]
    data, found = bundled[name], card(name)
    assert data.name == name
    assert (len(data), set(data.lengths.tolist())) == (sequences, {steps})
    assert (found.num_sequences, found.num_steps) == (sequences, steps)
    assert data.num_channels == channels
    assert data.targets == found.targets
    assert sum(np.isnan(s.x).sum() for s in data) == missing
    # Which month's quarters the alias is anchored to differs between versions of pandas.
    assert str(data.frequency).split("-")[0] == str(frequency).split("-")[0]
    assert all(s.context == 0 for s in data)


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_card(name):
    found = card(name)
    for text in (found.title, found.description, found.source, found.licence, found.citation):
        assert text.strip()
    assert len(found.units) == len(found.targets)
    assert found.split.description and found.split.by in ("series", "time")
    assert (found.split.last > 0) != (found.split.every > 0)
    assert hashlib.sha256(found.path.read_bytes()).hexdigest() == found.sha256


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_the_parts_make_up_the_whole(name, bundled):
    whole = bundled[name]
    train, test = load_bundled(name, "train"), load_bundled(name, "test")
    assert (train.name, test.name) == (f"{name}:train", f"{name}:test")
    scored = sum(len(s) - s.context for part in (train, test) for s in part)
    assert scored == whole.lengths.sum()
    ids = {s.unique_id for s in whole}
    if card(name).split.by == "series":
        train_ids, test_ids = ({s.unique_id for s in part} for part in (train, test))
        assert train_ids | test_ids == ids and not train_ids & test_ids
        assert all(s.context == 0 for s in test)
    else:
        for full, early, late in zip(whole, train, test, strict=True):
            assert late.context == len(early)
            np.testing.assert_array_equal(early.x, full.x[: len(early)])
            np.testing.assert_array_equal(late.x, full.x)
            np.testing.assert_array_equal(late.ds, full.ds)


@pytest.mark.parametrize(
    ("name", "part", "first", "last"),
    [
        ("elnino", "test", "1999-01-01", "2010-12-01"),
        ("seattle-temps", "test", "2010-01-05", "2010-12-27T23:00"),
        ("seattle-weather", "train", "2012-01-01", "2014-12-31"),
        ("macrodata", "train", "1959-01-01", "1999-07-01"),
        ("nyc-taxi", "train", "2014-07-01", "2014-10-27T23:30"),
        ("sunspots", "train", 1700, 1948),
        ("nile", "train", 1871, 1950),
    ],
)
def test_where_the_parts_begin_and_end(name, part, first, last):
    data = load_bundled(name, part)
    steps = np.concatenate([s.ds for s in data])
    kind = steps.dtype.type
    assert (steps[0], steps[-1]) == (kind(first), kind(last))


@pytest.mark.parametrize(
    ("name", "series", "step", "values"),
    [
        ("co2", 0, 0, [316.1]),
        ("elnino", 0, 0, [23.11]),
        ("macrodata", 0, 1, [2778.801, 1733.7, 310.859, 481.301, 1919.7, 29.15] + [
            141.7, 3.08, 5.1, 177.83, 2.34, 0.74,
        ]),
        ("nile", 0, 99, [740]),
        ("nyc-taxi", 0, 0, [10844]),
        ("seattle-temps", 0, 1, [39.2]),
        ("seattle-weather", 0, 1, [10.9, 10.6, 2.8, 4.5]),
        ("sunspots", 0, 1, [11]),
    ],
)  # fmt: skip
def test_values_are_the_sources(name, series, step, values, bundled):
    assert bundled[name].sequences[series].x[step].tolist() == values


def test_four_voices_are_what_their_script_makes(tmp_path):
    made = tmp_path / "four-voices.csv.gz"
    script = Path(__file__).parent.parent / "scripts" / "make_four_voices.py"
    subprocess.run([sys.executable, str(script), "--out", str(made)], check=True)
    whole, again = load_bundled("four-voices"), read_table(made, text_columns=("unique_id",))
    np.testing.assert_array_equal(np.concatenate([s.x for s in whole]), again.iloc[:, 2:])
    assert all((s.x.sum(1) == 4).all() for s in whole)


@pytest.mark.slow
def test_four_voices_are_read_as_sets_of_keys():
    train, test = (load_bundled("four-voices", part) for part in ("train", "test"))
    assert choose_emission(DataDescription.of(train))[0] == "subset"
    model = RNN(hidden_dim=32, channel_dim=48).fit(
        train, max_steps=40, seed=0, learning_rate=0.01, batch_size=16, shift_channels=3
    )
    # Four keys of 48, all alike, would be 12.2 nats.
    assert model.log_prob(test)["nats_per_step"].mean() > -11


def test_columns_can_be_chosen():
    data = load_bundled("seattle-weather", targets=["temp_max"], covariates=["wind"])
    assert (data.targets, data.covariate_names) == (("temp_max",), ("wind",))


def test_anomalies_lie_in_the_test_part():
    labels = load_anomalies("nyc-taxi")
    assert labels.columns.tolist() == ["start", "end", "point"]
    assert len(labels) == 5
    start, end, point = (labels[column].to_numpy() for column in ("start", "end", "point"))
    assert (start < point).all() and (point < end).all() and (end[:-1] < start[1:]).all()
    test = load_bundled("nyc-taxi", "test").sequences[0]
    assert start[0] >= test.ds[test.context]
    assert set(labels.to_numpy().ravel()) <= set(pd.DatetimeIndex(test.ds))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: card("sunspot"), "no data set 'sunspot' is bundled; did you mean 'sunspots'"),
        (lambda: card("../datasets"), "no data set"),
        (lambda: load_bundled("nile", "valid"), "nile has no part 'valid'"),
        (lambda: load_anomalies("nile"), "nile has no labelled anomalies"),
    ],
)
def test_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_listing_imports_neither_pandas_nor_torch():
    code = (
        "import sys; from seqlatent.data import catalog;"
        "[catalog.card(name) for name in catalog.dataset_names()];"
        "sys.exit(bool({'numpy', 'pandas', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
