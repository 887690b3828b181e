"""Data that do not fit into memory: tables made shard by shard, by processes or on a cluster.

The data
--------
A folder of Parquet files, or a pattern such as `'sales/*.parquet'`, in which the rows of a series
follow each other. `seqlatent partition DATA --out FOLDER` sorts any table so, in bounded memory;
other commands say so where rows are not sorted. Folders named as Hive does (`unique_id=A/`) are
columns.

`fit` reads such a folder as any data. If it has more than four million cells, one pass writes the
series to a temporary folder (TMPDIR), from which training reads what each step needs. Scales and
spreads are then worked out from a million steps, scaling is chosen by fits to half a million, and
validation scores 262,144 held-out steps at about the most: series spread evenly over the data.

The tables
----------
`score`, `forecast`, `impute`, `encode` and `detect` write their tables to folders where `--out` is
one, a Parquet file for each *shard*, a run of whole series about as long as a row group:

    seqlatent score RUN sales --out scores --steps-out steps --workers 4

Memory holds a block of each worker's shard, some 65,000 rows. The numbers are those of one process
that reads the whole table: a sequence's score does not depend on the others, and its noise is
seeded by its name. A table that was interrupted goes on where it stopped when the same command is
given again; a worker that is killed costs the shard that it was at. A folder holds tables of one
model, data and options; for others name another, or `--overwrite` it.

In Python:

    from seqlatent.shards import Job, work

    work(Job("score", "run", "sales", {"scores": "scores", "steps": "steps"}), workers=4)

A cluster
---------
`--engine ray` gives the shards to a Ray cluster (`pip install 'seqlatent[ray]'` on every node).
Each of the `--workers` is an actor with one processor (and, with `--device cuda`, one GPU) and a
model of its own. RUN, DATA and the folders of tables must lie on a file system that all nodes
share.

    ray start --head --port 6379                      # on the first machine
    ray start --address FIRST:6379                    # on every other one
    RAY_ADDRESS=FIRST:6379 seqlatent score RUN sales --out scores --engine ray --workers 64

Without RAY_ADDRESS it is a cluster of this machine alone. The shards of a node that is lost are
done again by others.
"""

from seqlatent.shards.jobs import Job
from seqlatent.shards.running import work

__all__ = ["Job", "work"]
