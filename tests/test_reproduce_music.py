"""The table of piano rolls, on a folder of very little music."""

import importlib
import json
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

from seqlatent.data.dataset import SequenceDataset
from seqlatent.errors import InputError

SCRIPTS = Path(__file__).parent.parent / "scripts"


@pytest.fixture
def music(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.delitem(sys.modules, "reproduce_music", raising=False)
    return importlib.import_module("reproduce_music")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three parts of four sequences of five steps, with no, one and two keys in turn."""
    arrays = {}
    for part in ("train", "valid", "test"):
        arrays[f"{part}_lengths"] = np.full(4, 5, dtype=np.int32)
        arrays[f"{part}_note_counts"] = np.tile([0, 1, 2, 1, 2], 4).astype(np.uint8)
        arrays[f"{part}_notes"] = np.tile([60, 60, 64, 62, 60, 67], 4).astype(np.uint8)
    np.savez(tmp_path / "jsb_chorales.npz", **arrays)
    return tmp_path


def test_rolls_are_read_through_tables(music, folder, tmp_path):
    parts = music.read_rolls(folder, "jsb", tmp_path / "out")
    assert (tmp_path / "out" / "jsb-train.parquet").is_file()
    x = parts["train"].sequences[1].x
    assert parts["train"].targets[60 - 21] == "k60"
    assert [list(np.flatnonzero(step) + 21) for step in x] == [[], [60], [60, 64], [62], [60, 67]]


def test_the_table_is_made_once_and_kept(music, folder, tmp_path, monkeypatch, capsys):
    small = {"emission": "subset", "hidden_dim": 4, "channel_dim": 4}
    recipe = {"rnn": (small, {"max_steps": 4, "eval_every": 2, "shift_channels": 6})}
    monkeypatch.setattr(music, "RECIPES", {"jsb": recipe})
    args = Namespace(data=folder, out=tmp_path / "out", max_steps=None, threads=1)
    music.measure("jsb", "rnn", 0, args)
    rows = json.loads((args.out / "music.json").read_text())
    assert len(rows) == 1
    row = rows[0]
    assert (row["kind"], row["num_steps"], row["steps"]) == ("exact", 20, 4)
    assert 0 < row["nats_per_step"] < 60
    # The mean of 13 laws is one of them at the least, less log 13.
    assert row["nats_per_step_mean_over_keys"] < row["nats_per_step"] + np.log(13)
    other = music.measure("jsb", "rnn", 1, args)
    monkeypatch.setattr(music, "fit", None)  # from here on there is nothing to fit
    assert music.measure("jsb", "rnn", 0, args) == row
    for _ in range(2):
        music.put_together("jsb", "rnn", [row, other], args)
    again = importlib.reload(music)  # whose `fit` is its own again
    for changed in ({**small, "hidden_dim": 5}, {**small, "dropout": 0.1}):
        with pytest.raises(InputError, match="holds another fit"):
            again.fit("rnn", changed, recipe["rnn"][1], {}, args.out / "jsb-rnn-0", 0)
    rows = json.loads((args.out / "music.json").read_text())
    assert [r.get("seeds") for r in rows] == [None, None, [0, 1]]
    both = rows[2]["nats_per_step_mean_over_keys"]
    # By Jensen's inequality a mean of laws is at least as good as the mean of their scores.
    each = [r["nats_per_step_mean_over_keys"] for r in rows[:2]]
    assert min(each) - np.log(2) < both < np.mean(each)
    music.show_table(args.out)
    shown = capsys.readouterr().out
    assert "RNN-NADE" in shown and f"{row['nats_per_step']:.2f} (" in shown
    assert "rnn on jsb: 2 fits, " in shown
    assert "mean over 13 keys and 2 fits, weighed" in shown


def test_standard_errors_are_those_of_pieces_drawn_anew(music):
    rng = np.random.default_rng(0)
    found, errors = [], []
    for _ in range(500):
        lengths = rng.integers(5, 40, 60)
        own = np.repeat(rng.normal(size=60), lengths)
        figures = music.average("nats", own + rng.normal(3, 1, len(own)), lengths)
        found.append(figures["nats"])
        errors.append(figures["nats_std_error"])
    assert np.mean(found) == pytest.approx(-3, abs=4 * np.std(found) / np.sqrt(500))
    assert np.mean(errors) == pytest.approx(np.std(found), rel=0.15)  # of 500: 3 %


def test_weighed_means(music):
    """Weights of eta = gamma = 1 are Bayes' rule, for each sequence anew: the product of the steps'
    means is the mean of the sequences' probabilities. With eta = 0 all answers count alike."""
    rng = np.random.default_rng(0)
    answers, lengths = rng.normal(-3.0, 1.0, (4, 12)), np.array([5, 7])
    bayes = music.weighed(answers, lengths, 1.0, 1.0)
    for part in (slice(0, 5), slice(5, 12)):
        of_sequence = np.logaddexp.reduce(answers[:, part].sum(1)) - np.log(4)
        np.testing.assert_allclose(bayes[part].sum(), of_sequence)
    plain = music.weighed(answers, lengths, 0.0, 0.5)
    np.testing.assert_allclose(plain, np.log(np.exp(answers).mean(0)))
    # The equation by hand, at the fourth step of the second sequence.
    at, eta, gamma = 8, 0.2, 0.9
    of_past = eta * sum(gamma ** (at - 1 - t) * answers[:, t] for t in range(5, at))
    shares = np.exp(of_past) / np.exp(of_past).sum()
    expected = np.log(shares @ np.exp(answers[:, at]))
    np.testing.assert_allclose(music.weighed(answers, lengths, eta, gamma)[at], expected)
    # What weighs an answer is the past alone.
    later = answers.copy()
    later[:, 8:] = rng.normal(-3.0, 1.0, (4, 4))
    once, again = (music.weighed(a, lengths, 0.2, 0.9)[:8] for a in (answers, later))
    np.testing.assert_array_equal(once, again)


def test_music_is_moved_as_a_whole_or_not_at_all(music):
    x = np.zeros((2, 88))
    x[0, 3], x[1, 86] = 1, 1
    data = SequenceDataset.from_list([x], [f"k{21 + d}" for d in range(88)])
    up = music.moved(data, 1).sequences[0].x
    assert (up[0, 4], up[1, 87]) == (1, 1)
    for far in (2, -4):
        with pytest.raises(InputError, match="a note leaves the keyboard"):
            music.moved(data, far)


def test_a_folder_without_the_files_is_refused(music, tmp_path):
    with pytest.raises(InputError, match=r"jsb_chorales.npz: no such file \(--data\)"):
        music.read_rolls(tmp_path, "jsb", tmp_path)
