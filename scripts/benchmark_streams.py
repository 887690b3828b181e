"""`scripts/benchmark streams`: rows that come one by one, and of many series at a time; see
benchmark.py."""

import argparse
import logging
import statistics
import time
from collections.abc import Iterator
from typing import Any

from benchmark_tools import show

import seqlatent as sl
from seqlatent.api import CLASSES
from seqlatent.fitted_model import Fitted

WARM = 20  # rows that are not counted


def run_streams(args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Fit the models by defaults for a few steps, and let them read the rows of the data again."""
    logging.getLogger("seqlatent").setLevel(logging.ERROR)  # fits of so few steps are poor ones
    table = []
    for name in args.data:
        data = sl.load(name)
        for family in args.models:
            model = CLASSES[family]().fit(data, max_steps=args.steps, seed=args.seed)
            for many in (1, args.many):
                count = args.rows if many == 1 else max(WARM + 5, args.rows // many)
                times = _times(model, data, many, count)
                row = {
                    "data": name,
                    "model": family,
                    "series": many,
                    "least": min(times),
                    "median": statistics.median(times),
                }
                cells = [name, family, str(many)]
                table.append([*cells, f"{row['median']:.3f}", f"{row['least']:.3f}"])
                yield row
    show(["data", "model", "series", "a row: median, ms", "least, ms"], table)


def _times(model: Fitted, data: sl.SequenceDataset, many: int, count: int) -> list[float]:
    """Processor time of a row, ms: of `many` series that all have the rows of the first one."""
    series, target = data.sequences[0], data.targets[0]
    stream, times = model.stream(many=many), []
    for ds, x in zip(series.ds[: WARM + count], series.x, strict=False):
        rows = {str(i): {"ds": ds, target: x[0]} for i in range(many)}
        begun = time.process_time()
        stream.update(rows)
        times.append((time.process_time() - begun) * 1e3 / many)
    return times[WARM:]
