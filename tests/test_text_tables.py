"""Tables that Arrow reads are those that pandas would make of the same text, to their types."""

import random
from pathlib import Path

import pandas as pd
import pytest

from seqlatent.data import text_tables
from seqlatent.errors import InputError

ODD = (
    "", "NA", "nan", "NAN", "n/a", "null", "None", "inf", "-Infinity", "+4", "007", "-0", "1e400",
    "1e-400", "9223372036854775808", "12345678901234567890", "0x1F", "1_000", "1,5", "True",
    "false", "x", "é", " 1", "1 ", "a b", "'q", "#c", "1\t2", "\u00a01", "\u20281", "1e", "--1",
    "2024-01-31", "13:00", "123456789.123456789", "3.0000000000000000000000001", '"q"', '"',
)  # fmt: skip
USUAL = (
    ("1", "2", "-3", "0"), ("1.5", "2", "-0.25", "", "NA", "1e5", ".5", "5."), ("1", "2", ""),
    ("s1", "s2", "NA", ""), ("2024-01-01", "2024-01-02 13:00"), ("0.1", "2.25", "1e-7"),
)  # fmt: skip


def read(path: Path, text: str) -> pd.DataFrame | str:
    try:
        return text_tables.parse(path, text, ("unique_id",))
    except InputError as error:
        return str(error)
    except ValueError as error:  # of pandas, which `read_table` makes a sentence of
        return type(error).__name__


def agree(path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Check that both readers make the same of a text; whether Arrow read it."""
    made = []
    by_arrow = text_tables._by_arrow

    def kept(*arguments):
        made.append(by_arrow(*arguments))
        return made[-1]

    with monkeypatch.context() as patch:
        patch.setattr(text_tables, "_by_arrow", kept)
        found = read(path, text)
        patch.setattr(text_tables, "_by_arrow", lambda *_: None)
        expected = read(path, text)
    if isinstance(found, str) or isinstance(expected, str):
        assert isinstance(found, str) and found == expected, text
    else:
        pd.testing.assert_frame_equal(found, expected, check_exact=True, obj=repr(text))
    return made[0] is not None


def test_tables_of_all_kinds_of_cells(tmp_path, monkeypatch):
    path, rng = tmp_path / "d.csv", random.Random(0)
    path.write_bytes(b" " * 2**20)  # for its size, which limits cells
    count = 0
    for _ in range(400):
        separator = rng.choice(",;\t")
        columns = [rng.choice(USUAL) for _ in range(rng.randint(1, 4))]
        odd = rng.choice((0, 0, 0.02, 0.5))
        rows = [rng.sample(("unique_id", "ds", "y", "z"), len(columns))]
        for _ in range(rng.choice((1, 2, 30, 150))):
            rows.append([rng.choice(ODD if rng.random() < odd else cells) for cells in columns])
        if rng.random() < 0.05:
            rows[-1] = rows[-1][:-1]
        text = "\n".join(separator.join(row) for row in rows).strip("\n") + "\n"
        count += agree(path, text, monkeypatch)
    assert 120 < count < 380  # both readers had their share


@pytest.mark.parametrize("late", ODD)
def test_an_odd_cell_far_down_the_table(tmp_path, monkeypatch, late):
    """It is met when the kinds of columns are settled."""
    path = tmp_path / "d.csv"
    path.write_bytes(b" " * 2**20)
    rows = [f"s{i % 2},{i},{i / 8},w{i}" for i in range(200)]
    assert agree(path, "\n".join(["unique_id,ds,y,z", *rows, ""]), monkeypatch)
    for place in range(4):
        cells = ["s", "1", "0.5", "w"]
        cells[place] = late
        agree(path, "\n".join(["unique_id,ds,y,z", *rows, ",".join(cells), ""]), monkeypatch)
