"""Shards on a real Ray cluster of two nodes on this machine."""

import signal
import sys
import threading
import time
from pathlib import Path

import pandas as pd
import pytest
from folders import T, job, read

from seqlatent.errors import InputError
from seqlatent.shards import cluster, work

ray = pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # Ray's own
]


@pytest.fixture
def nodes(tmp_path, monkeypatch):
    """A cluster, its second node, and this process connected to it."""
    from ray.cluster_utils import Cluster

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setenv("PYTHONPATH", str(Path(cluster.__file__).parents[2]))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    found = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    second = found.add_node(num_cpus=1)
    monkeypatch.setenv("RAY_ADDRESS", found.address)
    yield found, second
    ray.shutdown()
    found.shutdown()
    signal.signal(signal.SIGTERM, before)  # Ray leaves its own, which ends the process


def test_tables_are_those_of_one_process_though_a_node_is_lost(nodes, series_folder, tmp_path):
    whole, second = nodes
    one = work(job(series_folder, tmp_path / "one"), rows=T)

    def lose() -> None:
        while not list((tmp_path / "ray").glob("part-*")):
            time.sleep(0.02)
        whole.remove_node(second)

    thread = threading.Thread(target=lose)
    thread.start()
    facts = work(job(series_folder, tmp_path / "ray"), rows=T, workers=2, engine="ray")
    thread.join()
    assert facts == pytest.approx(one)
    pd.testing.assert_frame_equal(read(tmp_path / "ray"), read(tmp_path / "one"))


def test_without_ray_the_extra_is_named(series_folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'seqlatent\[ray\]'"):
        work(job(series_folder, tmp_path / "s"), rows=T, engine="ray")
