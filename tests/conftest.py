"""What several files of tests share: data and fitted models, which nobody writes to, and a place to
run commands in."""

import gc
import logging
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from cases import H, dataset, model
from command_line import TINY
from folders import N, T, write
from hypothesis import HealthCheck, settings

from seqlatent.cli.app import run_command
from seqlatent.data.dataset import SequenceDataset
from seqlatent.models.base import SequenceModel
from seqlatent.tasks.evaluating import evaluate
from seqlatent.tasks.evaluation import Evaluation

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell leaves it in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Of `test_properties*.py`: few examples, the same every time; or many, chosen anew.
SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much]
settings.register_profile(
    "few",
    max_examples=25,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=SLOW,
)
settings.register_profile("many", max_examples=2000, deadline=None, suppress_health_check=SLOW)
settings.load_profile("few")


def pytest_collection_finish() -> None:
    """Modules and collected tests stay until the end: the garbage collector, which walks what it
    has not freed again and again, leaves them out."""
    gc.collect()
    gc.freeze()


def fitted(folder: Path, data: str, *options: str) -> Path:
    """A model fitted through the command line in two steps of training."""
    assert run_command(["fit", data, "--out", str(folder), *TINY, *options]) == 0
    return folder


@pytest.fixture
def precise(request: pytest.FixtureRequest) -> Iterator[None]:
    """Double precision for models whose random maps are so wide that the seventh digit decides: it
    makes a filter resample another particle, or moves an outlying value by more than 1e-4."""
    usual = torch.get_default_dtype()
    if request.getfixturevalue("name") in ("flow", "vrnn-bent"):
        torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(usual)


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="session")
def rnn_run(shared) -> Path:
    """An rnn of the twelve months of elnino; as those below without a calendar, for it reads
    steps that are numbers too."""
    return fitted(shared / "rnn", "elnino:train", "--calendar", "none")


@pytest.fixture(scope="session")
def latent_run(shared) -> Path:
    options = ("--model", "latent", "--set", "latent_dim=2", "--calendar", "none")
    return fitted(shared / "latent", "elnino:train", *options)


@pytest.fixture(scope="session")
def independent_run(shared) -> Path:
    """A model whose latents do not depend on each other, so that all estimators apply."""
    options = ("--model", "latent", "--set", "latent_dim=2", "--set", "prior=independent")
    return fitted(shared / "independent", "elnino:train", *options, "--calendar", "none")


@pytest.fixture(scope="session")
def covariate_table(shared) -> Path:
    """Two series of 40 days, counts, with a covariate and a label."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "unique_id": np.repeat(["north", "south"], 40),
            "ds": np.tile(pd.date_range("2024-01-01", periods=40), 2),
            "y": rng.poisson(3, 80),
            "promo": rng.integers(0, 2, 80),
            "weather": rng.choice(["rain", "sun"], 80),
        }
    )
    path = shared / "shop.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="session")
def covariate_run(shared, covariate_table) -> Path:
    options = ("--covariates", "promo", "--calendar", "week")
    return fitted(shared / "promo", str(covariate_table), *options)


@pytest.fixture(scope="session")
def label_run(shared, covariate_table) -> Path:
    return fitted(shared / "labels", str(covariate_table), "--targets", "weather")


@pytest.fixture(scope="session")
def pairs() -> SequenceDataset:
    """Five series of up to 20 steps of two channels."""
    return dataset(channels=2, num=5, steps=20)


@pytest.fixture(scope="session")
def pairs_rnn(pairs) -> SequenceModel:
    return model("rnn", data=pairs)


@pytest.fixture(scope="session")
def evaluation(pairs_rnn, pairs) -> Evaluation:
    """Three windows of three steps of each of the five series."""
    return evaluate(pairs_rnn, pairs, H, windows=3, num_samples=50, season=2)


@pytest.fixture(scope="session")
def series_folder(shared) -> Path:
    """A folder `d` of data with gaps, the same as `d.parquet`, and models fitted to it."""
    place = shared / "folders"
    place.mkdir()
    rng = np.random.default_rng(0)
    y = rng.normal(size=(N, T)).cumsum(1)
    y[rng.random(y.shape) < 0.05] = np.nan
    table = pd.DataFrame(
        {
            "unique_id": np.repeat([f"s{i:02d}" for i in range(N)], T),
            "ds": np.tile(pd.date_range("2024-01-01", periods=T), N),
            "y": y.ravel(),
        }
    )
    write(table, place / "d", [4 * T + 11, 13 * T], group=3 * T)
    table.to_parquet(place / "d.parquet")
    for family in ("rnn", "latent"):
        options = ("--model", family, "--set", "scaling=running")
        fitted(place / family, str(place / "d.parquet"), *options)
    return place


@pytest.fixture
def place(tmp_path, monkeypatch) -> Iterator[Path]:
    """An empty working folder. The command line sets the package's logger up, and other tests
    capture what it says: it is put back afterwards."""
    monkeypatch.chdir(tmp_path)
    logger = logging.getLogger("seqlatent")
    before = logger.handlers, logger.level, logger.propagate
    yield tmp_path
    logger.handlers, logger.level, logger.propagate = before


@pytest.fixture
def run(capsys) -> Callable[..., tuple[str, str]]:
    """Run a command that must succeed; what it printed, to stdout and to stderr."""

    def run_it(*arguments: object) -> tuple[str, str]:
        capsys.readouterr()
        status = run_command([str(a) for a in arguments])
        captured = capsys.readouterr()
        assert status == 0, captured.err
        return captured.out, captured.err

    return run_it
