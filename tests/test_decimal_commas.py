"""Decimal commas: read where a table shows that they are that, else left for the refusal."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import seqlatent as sl
from seqlatent.data.tables import read_table

ROWS = [
    ["ds", "unique_id", "temperature", "rain", "place"],
    ["2024-01-01", "1,5", "1,5", "0", "a,b"],
    ["2024-01-02", "1,5", "-12,25", "1,200", "c"],
    ["2024-01-03", "1,5", "", "7", "c"],
    ["2024-01-04", "1,5", "3e-1", "2", "c"],
]


def written(folder: Path, rows: list[list[str]], separator: str, quoted: bool = False) -> Path:
    path = folder / "table.csv"
    mark = '"' if quoted else ""
    lines = [separator.join(f"{mark}{cell}{mark}" for cell in row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("quoted", [False, True])  # read by Arrow, and by pandas
def test_one_cell_speaks_for_the_table(
    tmp_path: Path, separator: str, quoted: bool, caplog: pytest.LogCaptureFixture
):
    path = written(tmp_path, ROWS, separator, quoted)
    with caplog.at_level(logging.INFO, "seqlatent"):
        frame = read_table(path, ["unique_id"])
    assert caplog.messages == [f"{path}: the commas of temperature, rain are decimal"]
    np.testing.assert_array_equal(frame["temperature"], [1.5, -12.25, np.nan, 0.3])
    np.testing.assert_array_equal(frame["rain"], [0.0, 1.2, 7.0, 2.0])
    assert list(frame["unique_id"]) == ["1,5"] * 4 and list(frame["place"]) == [
        "a,b",
        "c",
        "c",
        "c",
    ]


def test_a_table_is_the_one_with_points(tmp_path: Path):
    rng = np.random.default_rng(0)
    values = rng.normal(size=300)
    rows = [["day", "level"], *([str(i), repr(v)] for i, v in enumerate(values))]
    with_points = sl.load(written(tmp_path, rows, ";"))
    rows = [[cell.replace(".", ",") for cell in row] for row in rows]
    assert with_points.to_frame().equals(sl.load(written(tmp_path, rows, ";")).to_frame())


@pytest.mark.parametrize(
    "cells",
    [["1,200", "3,500"], ["950", "1,200"], ["1,5", "x"], ["1,5", "1.5"], ["1.200,5", "2,5"]],
    ids=["thousands", "below and above a thousand", "word", "both", "thousands and decimals"],
)
def test_in_doubt_they_stay_as_they_are(tmp_path: Path, cells: list[str]):
    frame = read_table(
        written(tmp_path, [["ds", "y"], *([str(i), c] for i, c in enumerate(cells))], ";")
    )
    assert list(frame["y"]) == cells and not pd.api.types.is_numeric_dtype(frame["y"])
