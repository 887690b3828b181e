"""Imports go one way: no module imports one of a layer above its own."""

import ast
from pathlib import Path

import pytest

import seqlatent

PACKAGE = Path(seqlatent.__file__).parent
# From the bottom to the top. A folder stands for all modules in it; a new module must be placed.
LAYERS = (
    ("errors", "options", "text"),
    ("data",),
    ("processes",),
    ("nn",),
    ("distributions",),
    ("inference",),
    ("models",),
    ("plots",),
    ("tasks",),
    ("training",),
    ("fitted_model",),
    ("api",),
    ("cli",),
    ("__main__",),
)
LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names}
# Its lazy imports may name any module; others may read its version.
OUTSIDE = ("__init__",)
MODULES = sorted(p.relative_to(PACKAGE) for p in PACKAGE.rglob("*.py"))


def imported(source: str) -> set[str]:
    """Every seqlatent module that is imported anywhere in a source, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide what they import"
            module = node.module or ""
            # `from seqlatent import x` may name a module or something of the package itself.
            names = (
                [f"{module}.{a.name}" for a in node.names] if module == "seqlatent" else [module]
            )
            found |= set(names)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] == "seqlatent"}


def violations(place: str, source: str) -> list[str]:
    """What a module at `place`, a name of `LEVELS`, imports from above."""
    above = []
    for name in sorted(imported(source) - {"seqlatent.__version__"}):
        target = name.split(".")[1] if "." in name else ""
        if LEVELS.get(target, len(LAYERS)) > LEVELS[place]:
            above.append(name)
    return above


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_import_goes_up(module):
    place = module.parts[0].removesuffix(".py")
    if place in OUTSIDE:
        return
    assert place in LEVELS, f"{module} has no place in LAYERS"
    assert violations(place, (PACKAGE / module).read_text(encoding="utf-8")) == []


def test_an_import_that_goes_up_is_found():
    source = "def f():\n    from seqlatent.cli.app import main\n"
    assert violations("data", source) == ["seqlatent.cli.app"]
    assert violations("__main__", source) == []
    assert violations("data", "import seqlatent.unplaced") == ["seqlatent.unplaced"]
    assert violations("cli", "from seqlatent import api, __version__") == []
    assert violations("nn", "from seqlatent import api, __version__") == ["seqlatent.api"]


def test_every_place_is_taken():
    """A name in LAYERS that no module has any more would let its successor go unplaced."""
    there = {module.parts[0].removesuffix(".py") for module in MODULES}
    assert set(LEVELS) <= there
