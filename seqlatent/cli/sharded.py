"""Tables of a folder of data, shard by shard, and `seqlatent partition`."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from seqlatent.cli.common import IdColumn, Json, Quiet, TimeColumn, say, set_up, show
from seqlatent.errors import InputError

Workers = Annotated[
    int,
    typer.Option(
        help="Processes that share the work, each with one thread, where --out is a folder."
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        help="Where the workers run: processes, of this machine; or ray, a cluster "
        "(pip install 'seqlatent[ray]')."
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Make all tables of a folder anew.")]


@dataclass(frozen=True)
class Sharding:
    """The options of tables that go to folders."""

    workers: int = 1
    engine: str = "processes"
    overwrite: bool = False


def writes_folders(
    task: str,
    run: Path,
    data: str,
    outs: Mapping[str, Path | None],
    options: Callable[[Any], Mapping[str, Any]],
    sharding: Sharding,
    *,
    others: Mapping[str, Any],
    device: str,
    columns: tuple[str | None, str | None],
    bar: bool,
    as_json: bool = False,
) -> bool:
    """Do a command shard by shard, if its tables go to folders: if what is given as their names has
    no ending of a table.

    Args:
        task: the command.
        run, data: as they were given.
        outs: the tables' names.
        options: those of the task, for a fitted model.
        sharding: options of tables that go to folders.
        others: options that need all of the data in memory, by name.
        device: of every worker.
        columns: of ids and times; by default those of the model.
        bar: show a bar.
        as_json: print the result as JSON.

    Returns:
        whether it is done.

    Raises:
        InputError: when options contradict each other, or as the task does.
    """
    if not _go_to_folders(data, outs, sharding, others):
        return False
    from seqlatent.api import load_model
    from seqlatent.shards import Job, work

    # Of a cluster, this machine may be the only one without a GPU.
    model = load_model(run, device="cpu" if sharding.engine == "ray" else device)
    described = model.module.description
    job = Job(
        task=task,
        run=os.path.abspath(run),
        source=data if sharding.engine == "processes" else os.path.abspath(data),
        folders={name: os.path.abspath(path) for name, path in outs.items() if path},
        options=options(model),
        id_column=columns[0] or described.id_column,
        time_column=columns[1] or described.time_column,
        device=device,
    )
    facts = work(
        job,
        workers=sharding.workers,
        engine=sharding.engine,
        overwrite=sharding.overwrite,
        progress=bar,
    )
    places = ", ".join(str(path) for path in outs.values() if path)
    print(json.dumps(facts)) if as_json else say(f"{_in_words(task, facts)}; in {places}")
    return True


def _go_to_folders(
    data: str, outs: Mapping[str, Path | None], sharding: Sharding, others: Mapping[str, Any]
) -> bool:
    from seqlatent.data.folders import ENDING, is_folder
    from seqlatent.data.tables import WRITE_ENDINGS, ending

    given = [path for path in outs.values() if path]
    folders = [path for path in given if ending(path, WRITE_ENDINGS) is None]
    readable = is_folder(data) or (os.path.isfile(data) and data.lower().endswith(ENDING))
    if not readable or not folders:
        if sharding != Sharding():
            raise InputError(
                "--workers, --engine and --overwrite are for tables that go to a folder: give "
                "Parquet data, and a folder as --out"
            )
        return False
    if len(folders) < len(given):
        raise InputError(
            f"{folders[0]} is a folder and {next(p for p in given if p not in folders)} a file; "
            "let all tables go to folders"
        )
    if len({os.path.abspath(path) for path in folders}) < len(folders):
        raise InputError(f"{folders[0]}: two tables have the same folder; rename one")
    for option, value in others.items():
        if value:
            raise InputError(
                f"{option} needs all of the data in memory, and tables that go to a folder are "
                "made in parts; leave it out, or give files as --out"
            )
    return True


def _in_words(task: str, facts: Mapping[str, float]) -> str:
    numbers = {key: int(value) for key, value in facts.items() if key not in ("nats", "variance")}
    words = f"{numbers['series']} series"
    if task == "score":
        steps = max(1, numbers["steps"])
        error = facts["variance"] ** 0.5 / steps
        words += (
            f", {numbers['steps']} steps: {facts['nats']:.3f} nats in all, "
            f"{facts['nats'] / steps:.4f} nats per step"
        )
        return words + (f" (standard error of the estimates {error:.5f})" if error else "")
    if task == "impute":
        return f"{words}: imputed {numbers['values']} values"
    if task == "detect":
        words += f": {numbers['alarms']} alarms, {numbers['alarmed']} of {numbers['steps']} steps"
    return words


def partition(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA", help="A folder of Parquet files, a pattern in quotes, or a table."
        ),
    ],
    *,
    out: Annotated[Path, typer.Option(help="A new folder.")],
    rows: Annotated[int, typer.Option(help="Rows of a file, about.", min=1)] = 2**20,
    id_column: IdColumn = None,
    time_column: TimeColumn = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Sort a table of any size by series, into a folder of Parquet files.

    The other commands read such a folder in parts. Memory holds one file's rows at a time.
    """
    from seqlatent.data.frames import DEFAULT_ID
    from seqlatent.data.partition import partition as write
    from seqlatent.tasks.progress import counting
    from seqlatent.text import counted

    set_up(quiet, None, as_json)
    with counting("rows, twice", 0, show(quiet or as_json)) as count:
        files = write(
            data,
            out,
            id_column=id_column or DEFAULT_ID,
            time_column=time_column,
            rows=rows,
            progress=count,
        )
    if as_json:
        print(json.dumps({"files": [str(path) for path in files]}))
    elif not quiet:
        say(f"wrote {counted(len(files), 'file')} to {out}")
