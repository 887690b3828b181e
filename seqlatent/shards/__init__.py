"""Tasks over data that do not fit into memory: shards of a folder, done by one process or many."""

from seqlatent.shards.jobs import Job
from seqlatent.shards.running import work

__all__ = ["Job", "work"]
