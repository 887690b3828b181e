"""The example of CONTRIBUTING.md: a package that is installed beside this one, not inside.

All laws are tested over its model, network and emission too (`cases.py`). Here it is found by its
entry points alone, in processes that never imported it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from foreign import example

from seqlatent.errors import InputError
from seqlatent.registry import Registry

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder into which pip has installed the example, and nothing else."""
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name, text in example().items():
        (source / name).write_text(text, encoding="utf-8")
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target", str(site)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(source)], check=True)
    return site


def python(site: Path | None, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python in a fresh process, with the example installed or (None) not."""
    path = os.pathsep.join(str(p) for p in (site, ROOT) if p is not None)
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def seqlatent(site, tmp_path_factory):
    """A command that must succeed, in one folder; what it printed."""
    folder = tmp_path_factory.mktemp("work")

    def run(*arguments: str) -> str:
        done = python(site, folder, "-m", "seqlatent", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run.folder = folder  # pyright: ignore[reportFunctionMemberAccess]
    return run


@pytest.mark.slow
def test_every_command_works_on_its_model(seqlatent, site):
    folder = seqlatent.folder
    assert "smoother         Exponential smoothing with learned rates" in seqlatent("models")
    assert "h_t = moving averages of x_1" in seqlatent("models", "smoother")
    gaps = pd.DataFrame({"ds": range(40), "y": np.sin(np.arange(40.0))})
    gaps.loc[10:12, "y"] = np.nan
    gaps.to_csv(folder / "gaps.csv", index=False)
    fit = ("fit", "gaps.csv", "--max-steps", "3", "--json")
    summary = json.loads(
        seqlatent(*fit, "--model", "smoother", "--emission", "laplace", "--out", "run")
    )
    assert (summary["family"], summary["valid_kind"]) == ("smoother", "exact")
    seqlatent("score", "run", "gaps.csv", "--out", "s.csv", "--plot", "s.png")
    assert pd.read_csv(folder / "s.csv")["kind"][0] == "exact"
    seqlatent("forecast", "run", "gaps.csv", "--prediction-length", "3", "--out", "f.csv")
    assert np.isfinite(pd.read_csv(folder / "f.csv")["mean"]).all()
    seqlatent("sample", "run", "--num-samples", "2", "--length", "5", "--out", "x.csv")
    seqlatent("impute", "run", "gaps.csv", "--num-samples", "20", "--filled-out", "filled.csv")
    assert not pd.read_csv(folder / "filled.csv")["y"].isna().any()
    for command in ("encode", "inspect"):  # what it does not declare it does not have
        out = ("--out", "z.csv") if command == "encode" else ()
        done = python(site, folder, "-m", "seqlatent", command, "run", "gaps.csv", *out)
        assert done.returncode == 2
        assert "model 'smoother' has no latent" in done.stderr


@pytest.mark.slow
def test_its_network_serves_our_models(seqlatent):
    fit = ("fit", "elnino:train", "--max-steps", "2", "--set", "hidden_dim=4")
    seqlatent(*fit, "--model", "flow", "--set", "network=ema", "--out", "flow")
    seqlatent(*fit, "--model", "latent", "--set", "guide=ema",
              "--set", "prior=independent", "--out", "latent")  # fmt: skip
    assert "exact" in seqlatent("score", "flow", "elnino:test")
    assert "iwae" in seqlatent("score", "latent", "elnino:test", "--num-particles", "4")


def test_python_finds_its_class_by_name(seqlatent, site):
    text = (
        "import seqlatent as sl\n"
        "model = sl.Smoother(hidden_dim=3).fit('elnino:train', max_steps=2)\n"
        "assert type(model).__name__ in dir(sl)\n"
        "model.save('again')\n"
        "print(sl.load_model('again'))\n"
    )
    done = python(site, seqlatent.folder, "-W", "error", "-c", text)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Smoother(")
    assert "hidden_dim=3" in done.stdout.splitlines()[0]


@pytest.mark.slow
def test_without_the_package_its_run_is_refused_in_one_sentence(seqlatent):
    seqlatent("fit", "nile", "--model", "smoother", "--max-steps", "2", "--out", "alone", "-q")
    done = python(None, seqlatent.folder, "-m", "seqlatent", "score", "alone", "nile")
    assert done.returncode == 2
    assert "model 'smoother' is defined in the module smoother" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_name_belongs_to_one_thing():
    table: Registry[type] = Registry("model", "seqlatent.tests.none")
    table.add("one", int)
    table.add("one", int)
    with pytest.raises(InputError, match="there are two models named 'one'"):
        table.add("one", float)
    with pytest.raises(InputError, match="unknown model 'on'; did you mean 'one'"):
        table["on"]


def test_a_package_that_cannot_be_loaded_is_named(site, tmp_path):
    """Its own entries are refused; nothing else suffers."""
    broken = tmp_path / "broken"
    info = broken / "broken_models-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-models\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[seqlatent.models]\nbroken = broken_module:Model\n")
    text = (
        "from seqlatent.cli.app import run_command\n"
        "fit = ['fit', 'nile', '--max-steps', '1', '--model', 'broken', '--out', 'run']\n"
        "assert run_command(fit) == 2\n"
        "assert run_command(['models']) == 0\n"
    )
    done = python(broken, tmp_path, "-c", text)
    assert done.returncode == 0, done.stderr
    assert "model 'broken' of package 'broken-models' cannot be loaded" in done.stderr
    assert "rnn" in done.stdout
    assert "broken" in done.stdout
