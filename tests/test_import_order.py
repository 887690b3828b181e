"""The order of the package: imports go one way and in no circle; folders and files stay small."""

import ast
import graphlib
from pathlib import Path

import pytest

import seqlatent

PACKAGE = Path(seqlatent.__file__).parent
REPOSITORY = Path(__file__).parents[1]
# From the bottom to the top. A folder stands for all modules in it; a new module must be placed.
LAYERS = (
    ("errors", "options", "text", "registry"),
    ("data",),
    ("processes",),
    ("measures",),
    ("nn",),
    ("distributions",),
    ("inference",),
    ("models",),
    ("plots", "reports"),
    ("tasks",),
    ("training",),
    ("choosing",),
    ("online_model",),
    ("fitted_model",),
    ("api",),
    ("several", "shards"),
    ("comparing",),
    ("cli",),
    ("__main__",),
)
LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names}
# The package's own `__init__` names modules of every layer, and imports them when first used; any
# module may read its version.
OUTSIDE = ("__init__",)
# Plots know no models: they are given frames, arrays and data sets.
DRAWN = {"errors", "options", "text", "data", "plots"}
MODULES = sorted(p.relative_to(PACKAGE) for p in PACKAGE.rglob("*.py"))
MAX_FILES, MAX_LINES, MIN_WORDS = 9, 400, 5


def source(module: Path) -> str:
    return (PACKAGE / module).read_text(encoding="utf-8")


# -- imports --------------------------------------------------------------------------------------


def imported(source: str) -> set[str]:
    """Everything of seqlatent that is imported anywhere in a source, inside functions and for type
    checkers too, with the names of the modules that it comes from: `seqlatent.text.counted`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide what they import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] == "seqlatent"}


def place(name: str) -> str:
    """The name in `LEVELS` of what a dotted name lies in."""
    return name.split(".")[1] if "." in name else ""


def violations(here: str, source: str) -> list[str]:
    """What a module at `here`, a name of `LEVELS`, imports from above."""
    names = sorted(imported(source) - {"seqlatent.__version__"})
    return [name for name in names if LEVELS.get(place(name), len(LAYERS)) > LEVELS[here]]


def circle(sources: dict[str, str]) -> list[str]:
    """Modules that import one another in a circle, by their dotted names; none where there is an
    order in which each comes after all that it imports."""

    def home(name: str) -> str:
        while name not in sources and "." in name:
            name = name.rpartition(".")[0]
        return name

    graph = {m: {home(name) for name in imported(text)} & set(sources) for m, text in
             sources.items()}  # fmt: skip
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_import_goes_up(module):
    here = module.parts[0].removesuffix(".py")
    if here in OUTSIDE:
        return
    assert here in LEVELS, f"{module} has no place in LAYERS"
    assert violations(here, source(module)) == []


def test_an_import_that_goes_up_is_found():
    source = "def f():\n    from seqlatent.cli.app import main\n"
    assert violations("data", source) == ["seqlatent.cli.app.main"]
    assert violations("__main__", source) == []
    assert violations("data", "import seqlatent.unplaced") == ["seqlatent.unplaced"]
    assert violations("cli", "from seqlatent import api, __version__") == []
    assert violations("nn", "from seqlatent import api, __version__") == ["seqlatent.api"]


def test_every_place_is_taken():
    """A name in LAYERS that no module has any more would let its successor go unplaced."""
    there = {module.parts[0].removesuffix(".py") for module in MODULES}
    assert set(LEVELS) <= there


def test_no_imports_go_in_a_circle():
    """Inside a folder too, and not for type checkers alone either: two modules that name each
    other's types are one module."""
    names = {
        ".".join(("seqlatent", *module.with_suffix("").parts)).removesuffix(".__init__"): module
        for module in MODULES
        if module.parts[0] != "__init__.py"
    }
    assert len(names) == len(MODULES) - 1
    assert circle({name: source(module) for name, module in names.items()}) == []


@pytest.mark.parametrize(
    ("back", "found"),
    [
        ("from seqlatent.data.a import f", True),
        ("from seqlatent.data import a", True),
        ("import seqlatent.data.a", True),
        ("def g():\n    from seqlatent.data import a", True),
        ("if TYPE_CHECKING:\n    from seqlatent.data.a import f", True),
        ("from seqlatent.data import f", True),  # through the folder's `__init__`
        ("from seqlatent.data import c", False),
        ("from seqlatent import __version__", False),
    ],
)
def test_a_circle_is_found(back: str, found: bool):
    sources = {
        "seqlatent.data": "from seqlatent.data.a import f",
        "seqlatent.data.a": "from seqlatent.data.b import g",
        "seqlatent.data.b": back,
        "seqlatent.data.c": "import numpy",
    }
    assert ("seqlatent.data.b" in circle(sources)) == found


def strangers(source: str) -> list[str]:
    """What a plot imports that is neither data nor a plot."""
    return sorted(name for name in imported(source) if place(name) not in DRAWN)


@pytest.mark.parametrize("module", [m for m in MODULES if m.parts[0] == "plots"], ids=str)
def test_plots_know_no_models(module):
    assert strangers(source(module)) == []


def test_a_plot_that_knows_a_model_is_found():
    source = "def f():\n    from seqlatent.models.base import SequenceModel"
    assert strangers(source) == ["seqlatent.models.base.SequenceModel"]
    assert strangers("from seqlatent.data.dataset import SequenceDataset") == []


# -- folders and files ----------------------------------------------------------------------------


def long_files(root: Path) -> dict[str, int]:
    """Python files under a folder that have too many lines."""
    lengths = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in root.rglob("*.py")}
    return {str(p.relative_to(root)): n for p, n in lengths.items() if n > MAX_LINES}


def crowd(root: Path) -> list[str]:
    """The Python files that lie in a folder itself, where they are too many; else none."""
    files = sorted(p.name for p in root.glob("*.py"))
    return files if len(files) > MAX_FILES else []


def undescribed(root: Path) -> list[str]:
    """Folders with Python files whose `__init__` is absent or does not say what lives there."""

    def described(folder: Path) -> bool:
        init = folder / "__init__.py"
        text = init.read_text(encoding="utf-8") if init.is_file() else ""
        return len((ast.get_docstring(ast.parse(text)) or "").split()) >= MIN_WORDS

    folders = {p.parent for p in root.rglob("*.py")}
    return sorted(str(f.relative_to(root)) for f in folders if not described(f))


def test_the_package_itself_has_few_files():
    assert crowd(PACKAGE) == [], "put modules into the folders of their layer"


def test_a_crowd_is_found(tmp_path):
    (tmp_path / "inner").mkdir()
    for name in ("a.txt", "inner/b.py", "__init__.py", *(f"m{i}.py" for i in range(8))):
        (tmp_path / name).touch()
    assert crowd(tmp_path) == []
    (tmp_path / "__main__.py").touch()
    assert len(crowd(tmp_path)) == 10


@pytest.mark.parametrize("folder", ["seqlatent", "tests", "scripts"])
def test_no_file_is_long(folder):
    assert long_files(REPOSITORY / folder) == {}


def test_a_long_file_is_found(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "long.py").write_text("\n" * (MAX_LINES + 1))
    (tmp_path / "short.py").write_text("\n" * MAX_LINES)
    assert long_files(tmp_path) == {"inner/long.py": MAX_LINES + 1}


def test_every_folder_says_what_lives_there():
    assert undescribed(PACKAGE) == []


def test_a_folder_that_says_nothing_is_found(tmp_path):
    contents = {
        "good": '"""Tables, and the frames made of them."""',
        "bare": "",
        "late": 'x = 1\n"""Tables, and the frames made of them."""',
        "terse": '"""Tables."""',
    }
    (tmp_path / "__init__.py").write_text('"""All that is known of tables."""')
    for name, text in contents.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(text)
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.py").write_text("")
    assert undescribed(tmp_path) == ["bare", "late", "none", "terse"]
