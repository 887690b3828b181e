"""CONTRIBUTING's table of where things are is true: every file, name and test in it exists."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
SECTION = TEXT.partition("### Where things are")[2].partition("Names are the field's")[0]
ROWS = [line.split("|")[1:-1] for line in SECTION.splitlines() if line.startswith("| ")][1:]


def quoted(cell: str) -> tuple[list[Path], list[str]]:
    """The files that a cell names, from the package or the repository, and the other names."""
    words = re.findall(r"`([^`]+)`", cell)
    patterns = [word for word in words if word.endswith((".py", "/"))]
    files = []
    for pattern in patterns:
        found = [*REPOSITORY.glob(pattern), *(REPOSITORY / "seqlatent").glob(pattern)]
        assert found, f"{pattern} does not exist"
        files += [f for path in found for f in (path.rglob("*.py") if path.is_dir() else [path])]
    return files, [word for word in words if word not in patterns]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip())
def test_every_file_and_name_of_the_table_exists(row: list[str]):
    for cell in row[1:]:
        files, names = quoted(cell)
        text = "\n".join(file.read_text(encoding="utf-8") for file in files)
        for name in names:
            assert re.search(rf"^\s*(def|class) {name}\b", text, re.M), f"{name} is not in {cell}"


def test_the_table_was_read():
    assert len(ROWS) > 10
    assert any("Kalman" in row[0] for row in ROWS)
