"""A task over all shards of a table, by one process or several, or on a cluster.

A sequence's numbers do not depend on the others in the data, and its noise has a generator of its
own, seeded by its name. Every table is therefore the same, whatever the shards and however many
processes make them.

    work(Job("score", "run", "sales", {"scores": "scores"}), workers=2)

Shards that are finished are not made again: after an interruption, the same call goes on.
"""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from hashlib import blake2b
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from seqlatent.data.folders import SHARD_ROWS, ParquetFolder, Shard
from seqlatent.data.notices import Notices
from seqlatent.data.writing import clear_unfinished, replacing
from seqlatent.errors import InputError
from seqlatent.shards.jobs import Facts, Job, check_job
from seqlatent.shards.worker import Done, Worker, facts_of_part, part_of
from seqlatent.tasks.progress import counting
from seqlatent.text import counted
from seqlatent.training.checkpoint import CONFIG, make_folder

logger = logging.getLogger("seqlatent")

MANIFEST = "_shards.json"
# What a folder may hold the tables of, where that part of its manifest differs.
OTHERS = {
    "task": "another task",
    "model": "another model",
    "options": "other options",
    "data": "other data",
    "rows": "other shards",
    "table": "another kind",
}
ENGINES = ("processes", "ray")
MOST_DEATHS = 3  # of workers without a shard finished between them


def work(
    job: Job,
    *,
    workers: int = 1,
    engine: str = "processes",
    overwrite: bool = False,
    rows: int = SHARD_ROWS,
    progress: bool = False,
) -> Facts:
    """Write the tables of a task, a Parquet file for each shard.

    Args:
        job: the task, the model, the data and where the tables go.
        workers: processes, each with one thread and a model of its own; 1 is this process. On a
            cluster, actors.
        engine: `processes` of this machine, or `ray`, a cluster (`seqlatent[ray]`).
        overwrite: make all shards anew.
        rows: of a shard, at the least. The same for all runs into one folder.
        progress: show a bar that counts series.

    Returns:
        numbers over all shards, those that were finished before among them.

    Raises:
        InputError: when the job is not possible, a folder holds the tables of another one, or
            workers die again and again.
    """
    check_job(job)
    if engine not in ENGINES:
        raise InputError(f"engine '{engine}' is not one of {', '.join(ENGINES)}")
    if workers < 1:
        raise InputError(f"workers={workers} must be at least 1")
    table = ParquetFolder(job.source, job.id_column)
    shards = table.shards(rows)
    _claim(job, table, rows, overwrite)
    with counting(job.task, len(table.starts) - 1, progress) as told:
        return _work(job, shards, workers, engine, overwrite, told)


def _work(
    job: Job,
    shards: list[Shard],
    workers: int,
    engine: str,
    overwrite: bool,
    told: Callable[[int], None],
) -> Facts:
    total: Counter[str] = Counter()
    left = []
    for shard in shards:
        facts = None if overwrite else facts_of_part(job, shard.number)
        if facts is None:
            left.append(shard)
        else:
            total.update(facts)
            told(len(shard))
    if len(left) < len(shards):
        logger.info(
            "%d of %d shards had been finished before", len(shards) - len(left), len(shards)
        )
    sizes = {shard.number: len(shard) for shard in shards}
    notices = Notices()
    if not left:
        made: Iterator[Done] = iter(())
    elif engine == "ray":
        from seqlatent.shards.cluster import on_cluster

        made = on_cluster(job, left, workers)
    else:
        made = _alone(job, left) if workers == 1 else _in_pool(job, left, workers)
    try:
        for done in made:
            total.update(done.facts)
            notices.add(done.notices)
            told(sizes[done.number])
    finally:
        notices.tell()
    return dict(total)


def _claim(job: Job, table: ParquetFolder, rows: int, overwrite: bool) -> None:
    """Make the folders, and write into each what its tables are of.

    Raises:
        InputError: when a folder holds something else.
    """
    config = Path(job.run) / CONFIG
    try:
        run = json.loads(config.read_text(encoding="utf-8")).get("digest")
    except (OSError, ValueError):
        run = None  # loading the model will say why
    mine = {
        "task": job.task,
        "model": run,
        "options": {key: _plain(value) for key, value in job.options.items()},
        "data": table.identity(),
        "rows": rows,
    }
    for name, folder in job.folders.items():
        path, own = Path(folder), {**mine, "table": name}
        if path.is_file():
            raise InputError(f"{path} is a file; the tables of a folder go to a folder")
        make_folder(path)
        clear_unfinished(path)
        manifest = path / MANIFEST
        theirs = None
        if manifest.is_file():
            try:
                theirs = json.loads(manifest.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                theirs = {}
        elif any(path.glob("*.parquet")):
            theirs = {}
        if theirs == own:
            continue
        if theirs is not None and not overwrite:
            what = next((OTHERS[k] for k in own if theirs.get(k) != own[k]), "something else")
            raise InputError(
                f"{path} holds tables of {what}; name another folder, or --overwrite it"
            )
        for old in path.glob(part_of("", 0).name.replace("00000", "*")):
            old.unlink()
        with replacing(manifest) as unfinished:
            unfinished.write_text(json.dumps(own), encoding="utf-8")


def _plain(value: Any) -> Any:
    """An option as JSON may have it; of a calibration what tells it from others."""
    if value is None or isinstance(value, int | float | str):
        return value
    return blake2b(repr(value).encode(), digest_size=16).hexdigest()


def _alone(job: Job, shards: list[Shard]) -> Iterator[Done]:
    worker = Worker(job)
    for shard in shards:
        yield worker(shard)


# -- several processes ----------------------------------------------------------------------------

# Of a process of the pool: its worker, or why there is none. An error when a process starts would
# break the pool without saying what was wrong.
_worker: Worker | InputError | None = None


def _start(job: Job) -> None:
    global _worker
    try:
        _worker = Worker(job, threads=1)
    except InputError as error:
        _worker = error


def _do(shard: Shard) -> Done:
    assert _worker is not None
    if isinstance(_worker, InputError):
        raise _worker
    return _worker(shard)


def _in_pool(job: Job, shards: list[Shard], workers: int) -> Iterator[Done]:
    """Shards by a pool of processes. Where one of them dies, others do its shards again."""
    left, deaths = {shard.number: shard for shard in shards}, 0
    while left:
        pool = ProcessPoolExecutor(min(workers, len(left)), get_context("spawn"), _start, (job,))
        try:
            futures: list[Any] = [pool.submit(_do, shard) for shard in left.values()]
            for future in as_completed(futures):
                done = future.result()
                del left[done.number]
                deaths = 0
                yield done
        except BrokenProcessPool:
            deaths += 1
            if deaths == MOST_DEATHS:
                raise InputError(
                    f"workers died {deaths} times without finishing a shard, perhaps for want of "
                    "memory; use fewer of them (--workers), and run the same command again"
                ) from None
            logger.warning(
                "a worker died; %s left, which others go on with", counted(len(left), "shard")
            )
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
