"""Data at the prompt: a few lines, whatever they hold."""

import dataclasses
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import seqlatent.data
from seqlatent.data import Sequence, SequenceDataset, collate, load


def many() -> SequenceDataset:
    """10,000 series of 2 to 4 steps, of 40 channels with long names."""
    x = np.random.default_rng(0).normal(size=(10_000, 4, 40))
    names = [f"a channel with a name that is much too long to be shown, {d}" for d in range(40)]
    return SequenceDataset.from_list([x[i, : 2 + i % 3] for i in range(10_000)], names)


def small() -> SequenceDataset:
    ds = pd.date_range("2024-01-01", periods=5, freq="h")
    frame = pd.DataFrame({"unique_id": list("aaabb"), "ds": ds, "y": [1, 2, None, 3, 4], "p": 1.0})
    return SequenceDataset.from_frame(frame, covariates=["p"], name="<power>.csv")


def test_what_is_shown():
    data = small()
    assert repr(data).splitlines() == [
        "SequenceDataset '<power>.csv'",
        "  sequences   2",
        "  steps       2 to 3",
        "  channels    1 (y)",
        "  covariates  1 (p)",
        "  frequency   h",
        "  span        2024-01-01 to 2024-01-01 04:00:00",
        "  missing     1 of 5 values (20.0%)",
    ]
    assert repr(data.sequences[1].slice(0, 2, 1)).splitlines() == [
        "Sequence 'b'",
        "  steps       2, 1 of them context",
        "  channels    1",
        "  covariates  1",
        "  span        2024-01-01 03:00:00 to 2024-01-01 04:00:00",
        "  missing     none",
    ]
    assert repr(collate(data.sequences)).splitlines() == [
        "SequenceBatch",
        "  sequences   2",
        "  steps       2 to 3, padded to 3",
        "  channels    1",
        "  covariates  1",
        "  missing     1 of 5 values (20.0%)",
        "  device      cpu",
    ]


@pytest.mark.parametrize("what", ["data", "sequence", "batch"])
def test_many_series_take_no_more_room(what):
    data = many()
    shown = {"data": data, "sequence": data.sequences[0], "batch": collate(data.sequences)}[what]
    text, html = repr(shown), shown._repr_html_()
    assert len(text.splitlines()) < 15 and max(map(len, text.splitlines())) < 260
    assert len(html) < 2000 and html.count("<tr>") < 15
    assert "10,000" in text or what == "sequence"


def test_html_escapes_names():
    html = small()._repr_html_()
    assert "&lt;power&gt;.csv" in html and "<power>" not in html


def test_what_has_nothing_to_show():
    empty = dataclasses.replace(small(), sequences=())
    assert "sequences   0" in repr(empty)
    mixed = dataclasses.replace(small(), sequences=(*small().sequences, load([1, 2]).sequences[0]))
    assert "span" not in repr(mixed)
    none = Sequence("a", np.arange(0), np.zeros((0, 1)), np.zeros((0, 0)))
    assert "steps       0" in repr(none)


# --- the names of seqlatent.data --------------------------------------------------------------


def test_every_name_is_there():
    for name in seqlatent.data.__all__:
        assert getattr(seqlatent.data, name) is not None
    assert set(seqlatent.data.__all__) == set(seqlatent.data._HOMES) <= set(dir(seqlatent.data))
    with pytest.raises(AttributeError, match="has no attribute 'laod'"):
        seqlatent.data.laod  # noqa: B018


def test_names_of_bundled_sets_need_no_pandas():
    code = (
        "import sys; from seqlatent.data import dataset_names; dataset_names();"
        "sys.exit(bool({'numpy', 'pandas', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
