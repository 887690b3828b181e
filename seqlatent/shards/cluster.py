"""Shards on a Ray cluster: every actor loads the model once (`pip install seqlatent[ray]`).

The folders of the run, the data and the tables must be on a file system that all nodes share. Ray
does the shards of an actor or node that is lost again, and a shard that was finished twice is the
same table.
"""

import json
import logging
import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from seqlatent.data.folders import Shard
from seqlatent.errors import InputError
from seqlatent.shards.jobs import Job
from seqlatent.shards.worker import Done, Worker
from seqlatent.text import counted


class Actor:
    """A `Worker` as Ray Data calls it: a batch of one shard in, what became of it out.

    The job is the class's, not an argument: arguments are kept on a node, which may be lost.
    """

    job: Job

    def __init__(self) -> None:
        self.worker = Worker(self.job, threads=1)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, list[Any]]:
        shard = Shard(int(batch["number"][0]), np.asarray(batch["starts"][0], dtype=np.int64))
        done = self.worker(shard)
        return {
            "number": [done.number],
            "facts": [json.dumps(done.facts)],
            "notices": [json.dumps(done.notices)],
        }


def on_cluster(job: Job, shards: list[Shard], workers: int) -> Iterator[Done]:
    """Shards by actors of the cluster that `RAY_ADDRESS` names, or of one on this machine.

    Args:
        job: with paths that mean the same on all nodes.
        shards: to be done.
        workers: actors, each of one processor and, where the job's device is `cuda`, of one GPU.

    Raises:
        InputError: when Ray is not installed, its cluster cannot be reached or has fewer GPUs.
    """
    try:
        import ray
        import ray.data
    except ImportError:
        raise InputError(
            "--engine ray needs Ray: pip install 'seqlatent[ray]' on every node"
        ) from None
    if not ray.is_initialized():
        try:
            ray.init(
                os.environ.get("RAY_ADDRESS"), log_to_driver=False, logging_level=logging.ERROR
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise InputError(f"the Ray cluster cannot be reached: {error}") from None
    size, gpus = min(workers, len(shards)), int(job.device == "cuda")
    if (there := int(ray.cluster_resources().get("GPU", 0))) < gpus * size:
        raise InputError(
            f"--device cuda needs a GPU for each of {counted(size, 'worker')}, and the Ray cluster "
            f"has {there}; use fewer workers, or --device cpu"
        )
    logging.getLogger("ray.data").setLevel(logging.ERROR)  # it tells every step
    ray.data.DataContext.get_current().enable_progress_bars = False
    items = [{"number": s.number, "starts": s.starts.tolist()} for s in shards]
    data = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        type("Actor", (Actor,), {"job": job}),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=size),
        num_cpus=1,
        num_gpus=gpus,
    )
    for row in data.iter_rows():
        facts = json.loads(row["facts"])
        notices = [(str(k), str(t), int(n)) for k, t, n in json.loads(row["notices"])]
        yield Done(int(row["number"]), facts, tuple(notices))
