"""`scripts/benchmark scale`: time and memory of commands on data larger than memory should hold.

Folders of Parquet files are generated, of `--rows` rows in series of `--length` steps: a level of
the series' own, a week and an autoregression. A model is fitted to the largest of them; `score` and
`forecast` then read each, by one process and by several. Each command is a process of its own, as a
user would start it. Printed are the seconds that passed, the processor's seconds, rows per second,
and the peak of its memory, children included and pages that are shared counted once, by the
operating system (Linux).

The plan: for each task, processor's seconds = a + b rows, from the two smallest sizes, foretells
what the largest takes, beside what it took, and what a thousand million rows would take on 1, 8 and
64 workers with a processor each. What one process does by itself, however many there are, is
measured apart: finding where series begin. Reading is not limited by the disk in this sum, and
workers do not wait for each other.
"""

import argparse
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_tools import commit, say, show

from seqlatent.data.folders import ParquetFolder

BILLION, WORKERS = 10**9, (1, 8, 64)
WHOLE = "_whole"  # a file that says that a folder is
FILE_ROWS, GROUP_ROWS = 2**20, 2**17
POLL = 0.1  # seconds between two looks at the memory


def run_scale(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure, print and yield a row for each command."""
    args.folder.mkdir(parents=True, exist_ok=True)
    sizes = sorted(args.rows)
    folders = {rows: generate(args.folder, rows, args.length, args.seed) for rows in sizes}
    identity = {"commit": commit(), "length": args.length, "paths": args.paths, "steps": args.steps}
    run = args.folder / "run"
    found: list[dict[str, Any]] = []

    def measured(task: str, rows: int, workers: int, command: list[str]) -> dict[str, Any]:
        say(f"{task}, {rows:,} rows, {workers} at work")
        row = {"task": task, "rows": rows, "workers": workers, **measure(command, args.threads)}
        found.append(row)
        return {**identity, **row}

    yield measured(
        "fit", sizes[-1], 1,
        ["fit", str(folders[sizes[-1]]), "--model", args.model, "--max-steps",
         str(args.fit_steps), "--out", str(run), "--overwrite", "--seed", str(args.seed)],
    )  # fmt: skip
    for rows in sizes:
        start, spent = time.perf_counter(), time.process_time()
        ParquetFolder(folders[rows], "unique_id").shards()
        seconds, spent = time.perf_counter() - start, time.process_time() - spent
        found.append({"task": "find series", "rows": rows, "workers": 1, "seconds": seconds,
                      "processor": spent})  # fmt: skip
        for workers in args.workers:
            for task in args.tasks:
                out = args.folder / f"out-{task}-{rows}-{workers}"
                command = [task, str(run), str(folders[rows]), "--out", str(out), "--workers",
                           str(workers), "--overwrite"]  # fmt: skip
                if task == "forecast":
                    command += ["--num-samples", str(args.paths), "--prediction-length",
                                str(args.steps)]  # fmt: skip
                yield measured(task, rows, workers, command)
    show(
        ["task", "rows", "workers", "seconds", "processor", "rows/s", "peak MiB"],
        [
            [r["task"], f"{r['rows']:,}", str(r["workers"]), f"{r['seconds']:.1f}",
             f"{r.get('processor', 0.0):.1f}", f"{r['rows'] / r['seconds']:,.0f}",
             f"{r.get('peak_mib', 0.0):.0f}"]
            for r in found
        ],
    )  # fmt: skip
    if len(sizes) > 2:
        plan(found, sizes, args.tasks)


def generate(folder: Path, rows: int, length: int, seed: int) -> Path:
    """A folder of about so many rows, unless it is there already."""
    import pyarrow as pa
    from pyarrow import parquet

    place = folder / f"data-{rows}-{length}-{seed}"
    if (place / WHOLE).exists():
        return place
    place.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    steps = np.datetime64("2020-01-01", "ns") + np.arange(length) * np.timedelta64(1, "D")
    week = 2 * np.sin(2 * np.pi * np.arange(length) / 7)
    each = max(1, FILE_ROWS // length)
    for number, first in enumerate(range(0, rows // length, each)):
        count = min(each, rows // length - first)
        y, noise = np.zeros((count, length)), rng.normal(size=(count, length))
        for t in range(1, length):
            y[:, t] = 0.8 * y[:, t - 1] + noise[:, t]
        y += week + 3 * rng.normal(size=(count, 1))
        names = np.repeat([f"s{i:09d}" for i in range(first, first + count)], length)
        table = pa.table({"unique_id": names, "ds": np.tile(steps, count), "y": y.ravel()})
        path = place / f"part-{number:05d}.parquet"
        parquet.write_table(table, path, row_group_size=GROUP_ROWS)
    (place / WHOLE).touch()
    return place


def measure(command: list[str], threads: int) -> dict[str, float]:
    """Run a command of seqlatent; its seconds, the processor's and the peak of its memory."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "seqlatent", *command, "--threads", str(threads), "--quiet"],
        stdout=subprocess.DEVNULL,
    )
    peak, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(POLL):
            peak[0] = max(peak[0], sum(map(memory, family(process.pid))))

    watcher = threading.Thread(target=watch)
    watcher.start()
    status = process.wait()
    over.set()
    watcher.join()
    if status:
        raise SystemExit(f"'seqlatent {' '.join(command)}' ended with status {status}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": time.perf_counter() - start, "processor": spent, "peak_mib": peak[0]}


def family(pid: int) -> list[int]:
    """A process and those that it has started, and these."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    return [pid, *(p for child in children for p in family(int(child)))]


def memory(pid: int) -> float:
    """MiB of a process, a page shared by n processes counted as a n-th."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").split("\n")
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def plan(found: list[dict[str, Any]], sizes: list[int], tasks: list[str]) -> None:
    """Print what the smaller sizes foretell of the largest, and of a thousand million rows."""

    def seconds(task: str, rows: int) -> float:
        return next(r["processor"] for r in found
                    if (r["task"], r["rows"], r["workers"]) == (task, rows, 1))  # fmt: skip

    def law(task: str) -> tuple[float, float]:
        first, second = sizes[:2]
        slope = (seconds(task, second) - seconds(task, first)) / (second - first)
        return seconds(task, first) - slope * first, slope

    serial = seconds("find series", sizes[-1]) / sizes[-1]
    rows = []
    for task in tasks:
        start, each = law(task)
        told = start + each * sizes[-1]
        # The pass over the ids is a part of each command, and only that part is not shared.
        hours = [(start + BILLION * ((each - serial) / m + serial)) / 3600 for m in WORKERS]
        rows.append([task, f"{start:.0f}", f"{1e6 * each:.2f}", f"{told:.0f}",
                     f"{seconds(task, sizes[-1]):.0f}", *(f"{h:.2f}" for h in hours)])  # fmt: skip
    show(
        ["task", "start s", "s per million rows", f"{sizes[-1]:,} rows foretold", "measured",
         *(f"{BILLION:,} rows, hours on {m}" for m in WORKERS)],
        rows,
    )  # fmt: skip
    print(f"finding series alone: {BILLION * serial:.0f} s of a thousand million rows", flush=True)
