"""The installed package: what a user has after `pip install`, outside the source tree."""

import ast
import re
import site
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DISTRIBUTIONS = {"pyro": "pyro-ppl"}  # where a module's name is not its distribution's


def test_every_import_is_a_declared_dependency():
    """An undeclared one would work here, by another package's grace, and fail elsewhere."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {re.split(r"[<>=\[ ]", d)[0] for d in project["dependencies"]}
    imported = set()
    for path in (ROOT / "seqlatent").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            imported |= {name.split(".")[0] for name in names}
    third_party = {DISTRIBUTIONS.get(n, n) for n in imported - set(sys.stdlib_module_names)}
    extras = {name for name in project["optional-dependencies"] if name != "dev"}
    assert extras == {"ray"}  # each is called as the library that it brings
    assert third_party - {"seqlatent"} == declared | extras


@pytest.mark.slow
def test_the_wheel_works_with_every_bundled_data_set(tmp_path: Path):
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("seqlatent-*.whl")
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, wheel], check=True, cwd=tmp_path)
    # The dependencies are declared (above) and large: borrow those that are installed here, but
    # not this checkout, which is installed by a path file.
    (own,) = (environment / "lib").glob("python*/site-packages")
    (own / "borrowed.pth").write_text("\n".join(borrowed_packages(tmp_path)))

    def run(*words: str) -> str:
        command = [str(environment / "bin" / "seqlatent"), *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = subprocess.run(
        [python, "-c", "import seqlatent; print(seqlatent.__file__)"],
        check=True, cwd=tmp_path, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert where.startswith(str(environment))
    names = [line.split()[0] for line in run("datasets").split("\n\n")[0].splitlines()]
    assert len(names) == 9
    for name in names:
        assert str(environment) in run("datasets", name)
        words = [
            "--max-steps",
            "2",
            "--set",
            "batch_size=4",
            "--out",
            f"{name}-run",
            "--threads",
            "1",
        ]
        run("fit", name, *words)
        assert "nats per step" in run("score", f"{name}-run", f"{name}:test")
        run("forecast", f"{name}-run", f"{name}:train", "--prediction-length", "2",
            "--num-samples", "2", "--out", f"{name}.csv")  # fmt: skip
        assert (tmp_path / f"{name}.csv").is_file()
    run("compare", "nile", "--models", "linear-gaussian", "--max-steps", "2", "--out", "compared")
    assert (tmp_path / "compared" / "index.html").is_file()  # its template is in the wheel


def borrowed_packages(folder: Path) -> list[str]:
    """A folder of links to all that is installed here but seqlatent itself."""
    links = folder / "borrowed"
    links.mkdir()
    for packages in site.getsitepackages():
        for entry in Path(packages).iterdir():
            if "seqlatent" not in entry.name and entry.suffix != ".pth":
                (links / entry.name).symlink_to(entry)
    return [str(links)]
