"""Tables in files: every kind that is read and written, and every kind of broken one."""

import gzip
import json
import os

import numpy as np
import pandas as pd
import pytest

from seqlatent.data.readers import load, read_table, write_table
from seqlatent.errors import InputError

ROWS = "unique_id,ds,y\n007,2024-01-01,1.5\n007,2024-01-02,\n8,2024-01-01,0.1\n"


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "unique_id": ["a", "a", "b, c"],
            "ds": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-01"]),
            "y": [0.1 + 0.2, np.nan, 1e-300],
            "label": ["x", 'say "y"', "é"],
        }
    )


def encoded(text: str, name: str) -> bytes:
    text = text.replace(",", "\t") if ".tsv" in name else text
    return gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()


@pytest.mark.parametrize("name", ["d.csv", "d.CSV", "d.csv.gz", "d.tsv", "d.tsv.gz", "d.txt"])
def test_text_files(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(encoded(ROWS, name))
    data = load(str(path))
    assert [s.unique_id for s in data] == ["007", "8"]
    np.testing.assert_array_equal(data.sequences[0].x, [[1.5], [np.nan]])
    assert data.frequency == "D"
    assert data.name == name


@pytest.mark.parametrize(
    "content",
    [
        ROWS.replace(",", ";"),
        ROWS.replace(",", "\t"),
        ROWS.replace(",", ", "),
        ROWS.replace("\n", "\r\n"),
        ROWS.replace("\n", "\r"),
        "\ufeff" + ROWS,
        ROWS.rstrip("\n"),
        "\n" + ROWS + "\n\n",
        ROWS.replace("\n8", "\n\n8"),
        '"unique_id","ds","y"\n' + ROWS.split("\n", 1)[1].replace("007", '"007"'),
        ROWS.replace("02,", "02,NA"),
        ROWS.replace("02,", "02,null"),
    ],
)
def test_dialects(tmp_path, content):
    path = tmp_path / "d.csv"
    path.write_bytes(content.encode())
    frame = read_table(path, text_columns=["unique_id"])
    assert frame.columns.tolist() == ["unique_id", "ds", "y"]
    assert frame["unique_id"].tolist() == ["007", "007", "8"]
    assert frame["ds"].tolist() == ["2024-01-01", "2024-01-02", "2024-01-01"]
    np.testing.assert_array_equal(frame["y"], [1.5, np.nan, 0.1])


def test_only_the_words_for_missing_are_missing(tmp_path):
    path = tmp_path / "d.csv"
    cells = ["", "NA", "NaN", "nan", "null", "None", "N/A", "-", "n/a", "nil", "#N/A", "NULL"]
    path.write_text("t,label\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells)))
    assert read_table(path)["label"].isna().tolist() == [True] * 6 + [False] * 6


def test_an_id_may_be_any_word(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("country,ds,y\nNA,1,2\nNaN,1,3\n")
    assert [s.unique_id for s in load(path, id_column="country")] == ["NA", "NaN"]


def test_empty_lines_of_a_single_column_are_missing_values(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("y\n1\n\n3\n")
    np.testing.assert_array_equal(load(path).sequences[0].x[:, 0], [1, np.nan, 3])


def test_numbers_are_read_to_the_last_digit(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.normal(size=500) * 10.0 ** rng.uniform(-250, 28, size=500)
    path = tmp_path / "d.csv"
    path.write_text("y\n" + "".join(f"{value!r}\n" for value in values.tolist()))
    np.testing.assert_array_equal(load(path).sequences[0].x[:, 0], values)


def test_a_bad_cell_is_named_by_its_file(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text(ROWS.replace("0.1", "0.1a"))
    with pytest.raises(InputError, match=r"^d\.csv: series '8', column 'y', row 3: '0.1a' is not"):
        load(path)


RECORDS = [
    {"unique_id": "007", "ds": "2024-01-01", "y": 1.5, "date": "Monday"},
    {"unique_id": "007", "ds": "2024-01-02", "y": None, "date": None},
    {"unique_id": "8", "ds": "2024-01-01", "y": 0.1 + 0.2, "date": "Monday"},
]


def as_json(kind: str) -> str:
    columns = pd.DataFrame(RECORDS).astype(object)
    return {
        "rows": json.dumps(RECORDS),
        "columns": json.dumps(columns.where(columns.notna(), None).to_dict(orient="list")),
        "columns with an index": pd.DataFrame(RECORDS).to_json(double_precision=15),
        "lines": "".join(json.dumps(row) + "\n" for row in RECORDS),
    }[kind]


@pytest.mark.parametrize("kind", ["rows", "columns", "columns with an index", "lines"])
def test_json(tmp_path, kind):
    path = tmp_path / ("d.jsonl" if kind == "lines" else "d.JSON")
    path.write_text(as_json(kind))
    data = load(path)
    assert [s.unique_id for s in data] == ["007", "8"]
    np.testing.assert_array_equal(data.sequences[0].x, [[1.5], [np.nan]])
    if "index" not in kind:  # pandas writes 15 digits
        assert data.sequences[1].x[0, 0] == 0.1 + 0.2
    assert data.frequency == "D"


def test_json_that_pandas_writes(tmp_path):
    path = tmp_path / "d.json"
    ds = pd.date_range("2024-01-01", periods=3)
    pd.DataFrame({"ds": ds, "y": [1, 2, 3]}).to_json(path, orient="records", date_format="iso")
    np.testing.assert_array_equal(load(path).sequences[0].ds, ds.to_numpy())


@pytest.mark.parametrize("name", ["d.feather", "d.arrow"])
def test_feather(tmp_path, name):
    path = tmp_path / name
    pd.DataFrame(RECORDS).assign(ds=pd.to_datetime([r["ds"] for r in RECORDS])).to_feather(path)
    data = load(path)
    assert [s.unique_id for s in data] == ["007", "8"]
    np.testing.assert_array_equal(data.sequences[0].x, [[1.5], [np.nan]])
    assert (data.name, data.frequency) == (name, "D")


BROKEN: dict[str, tuple[str, bytes, str]] = {
    "empty": ("d.csv", b"", "is empty"),
    "blank": ("d.csv", b" \n\n", "is empty"),
    "empty gzip": ("d.csv.gz", gzip.compress(b""), "is empty"),
    "header only": ("d.csv", b"ds,y\n", "has a header but no rows"),
    "binary": ("d.csv", bytes(range(256)), "is a binary file"),
    "latin-1": ("d.csv", "ds,y\n1,2\n2,é\n".encode("latin-1"), r"not UTF-8 text \(line 3\)"),
    "utf-16": ("d.csv", "ds,y\n1,2\n".encode("utf-16"), "not UTF-8"),
    "no gzip": ("d.csv.gz", b"ds,y\n1,2\n", "not a whole gzip file"),
    "cut gzip": ("d.csv.gz", gzip.compress(os.urandom(999))[:-40], "not a whole gzip file"),
    "damaged gzip": ("d.txt.gz", gzip.compress(b"y\n1\n" * 99)[:20] + b"x" * 40, "whole gzip"),
    "long row": ("d.csv", b"ds,y\n1,2\n2,3,4\n", "line 3 has 3 cells where the header has 2"),
    "long first row": ("d.csv", b"ds,y\n1,2,3\n", "line 2 has 3 cells where the header has 2"),
    "short row": ("d.csv", b"ds,y\n1,2\n2\n", "line 3 has 1 cell where the header has 2"),
    "long quoted row": ("d.csv", b'ds,y\n"1","2"\n2,"3",4\n', "line 3 has 3 cells"),
    "open quote": ("d.csv", b'ds,y\n1,"2\n2,3\n', "cannot be read"),
    "nameless column": ("d.csv", b",y\n0,1\n", "column 1 of the header has no name"),
    "repeated column": ("d.csv", b"ds,y, y\n0,1,2\n", "two columns are named 'y'"),
    "no header": ("d.csv", b"1,2\n3,4\n", "first line holds numbers"),
    "no parquet": ("d.parquet", b"ds,y\n1,2\n", "cannot be read"),
    "empty parquet": ("d.parquet", b"", "cannot be read"),
    "unknown ending": ("d.doc", b"ds,y\n1,2\n", "unknown kind of file; use one of .csv"),
    "excel": (
        "d.xlsx",
        b"PK",
        r'save .* as \.csv, or .* sl\.load\(pd\.read_excel\("[^"]*d\.xlsx"\)\)$',
    ),
    "no feather": ("d.feather", b"ds,y\n1,2\n", "cannot be read"),
    "no json": ("d.json", b"ds,y\n1,2\n", "cannot be read: Expecting value"),
    "number as json": ("d.json", b"7", "neither a list of rows nor an object of columns"),
    "numbers as json": ("d.json", b"[1, 2]", "neither a list of rows nor an object of columns"),
    "json of one row": ("d.json", b'{"ds": 1, "y": 2}', "neither a list of rows nor an object"),
    "ragged json": ("d.json", b'{"ds": [1, 2], "y": [2]}', "cannot be read"),
    "empty json": ("d.json", b"[]", "has no columns"),
    "bad json line": ("d.jsonl", b'{"y": 1}\n\n{"y": 2,}\n', "line 3 is not JSON"),
    "no ending": ("data", b"ds,y\n1,2\n", "unknown kind of file"),
    "no npy": ("d.npy", b"ds,y\n1,2\n", "not an .npy file"),
    "empty npy": ("d.npy", b"", "not an .npy file"),
}


@pytest.mark.parametrize(("name", "content", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_files(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_and_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(InputError, match="there is no file"):
        read_table(tmp_path / "none.csv")


@pytest.mark.parametrize("rows", [0, 1])
def test_parquet_without_rows_or_columns(tmp_path, rows):
    path = tmp_path / "d.parquet"
    pd.DataFrame({"y": [1.0]}).iloc[: 1 - rows, :rows].to_parquet(path)
    with pytest.raises(InputError, match="no columns" if rows == 0 else "no rows"):
        read_table(path)


# --- writing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["d.csv", "d.csv.gz", "d.parquet"])
def test_written_tables_come_back(tmp_path, name, frame):
    path = tmp_path / name
    path.write_text("something older")
    write_table(frame, path)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    again = read_table(path)
    assert again["unique_id"].tolist() == frame["unique_id"].tolist()
    assert again["label"].tolist() == frame["label"].tolist()
    np.testing.assert_array_equal(again["y"], frame["y"])
    assert pd.to_datetime(again["ds"]).tolist() == frame["ds"].tolist()
    first = path.read_bytes()
    write_table(frame, path)
    assert path.read_bytes() == first


@pytest.mark.parametrize("name", ["d.csv", "d.csv.gz", "d.parquet"])
def test_parts_are_written_one_by_one_and_are_the_whole(tmp_path, name, frame):
    made = []

    def parts():
        for start in range(0, len(frame), 2):
            made.append(start)
            yield frame[start : start + 2]

    write_table(parts(), tmp_path / name)
    assert len(made) > 1
    write_table(frame, tmp_path / f"whole.{name}")
    if name == "d.parquet":  # whose parts are groups of rows
        pd.testing.assert_frame_equal(*(pd.read_parquet(p) for p in tmp_path.iterdir()))
    else:
        one, other = (p.read_bytes() for p in tmp_path.iterdir())
        assert one == other


def test_a_part_that_cannot_be_made_leaves_the_older_table(tmp_path, frame):
    def parts():
        yield frame
        raise InputError("no more")

    for name in ("d.csv", "d.parquet"):
        (tmp_path / name).write_text("older")
        with pytest.raises(InputError, match="no more"):
            write_table(parts(), tmp_path / name)
        assert (tmp_path / name).read_text() == "older"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d.csv", "d.parquet"]


def test_an_unfinished_table_leaves_nothing(tmp_path, frame, monkeypatch):
    path = tmp_path / "d.csv"
    path.write_text("older")

    def full_disk(self, target, **kwargs):
        target.write("half a ta")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full_disk)
    with pytest.raises(InputError, match="cannot be written: No space left"):
        write_table(frame, path)
    assert [p.name for p in tmp_path.iterdir()] == ["d.csv"]
    assert path.read_text() == "older"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("d.xlsx", "unknown kind of file"),
        ("none/d.csv", "there is no folder"),
        ("file.csv/d.csv", "there is no folder"),
        ("folder.csv", "is a folder"),
    ],
)
def test_places_that_cannot_be_written_to(tmp_path, frame, name, message):
    (tmp_path / "file.csv").write_text("")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match=message):
        write_table(frame, tmp_path / name)
