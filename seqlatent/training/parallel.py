"""Several processes that train one model together, as `accelerate launch` or `torchrun` start them.

A fit by several processes is that of one process with the same batches, but for rounding. Each
takes a share of the sequences of a batch (`seqlatent.data.share`), losses are parts of the loss of
the whole batch, and gradients are summed. What is measured by a clock, or decided by numbers that
were rounded, is taken from the first process, which alone writes files and messages.
"""

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

from seqlatent.data.batch import SequenceBatch
from seqlatent.data.share import Share, total
from seqlatent.nn.devices import find_device

logger = logging.getLogger("seqlatent")

Item = TypeVar("Item")
Value = TypeVar("Value")


def join(device: str) -> None:
    """Connect this process with the others that were launched with it, if there are any; all but
    the first then keep quiet, but for errors.

    Raises:
        InputError: when the device is unknown or not there.
    """
    found = find_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from accelerate import PartialState  # slow to import

        PartialState(cpu=found.type == "cpu")
        if not is_main_process():
            logger.addFilter(_is_error)


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def num_processes() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_main_process() -> bool:
    """Whether this is the process that writes files, if several train together."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def from_main(value: Value) -> Value:
    """What the first process has, in all of them."""
    if num_processes() == 1:
        return value
    held = [value]
    distributed.broadcast_object_list(held)
    return held[0]


def own_part(items: Sequence[Item]) -> Sequence[Item]:
    """Every n-th item, for one of n processes."""
    return items if num_processes() == 1 else items[distributed.get_rank() :: num_processes()]


def summed(numbers: Sequence[float], device: torch.device) -> list[float]:
    """Sums of numbers over all processes."""
    if num_processes() == 1:
        return list(numbers)
    sums = torch.tensor(numbers, dtype=torch.float64, device=device)
    distributed.all_reduce(sums)
    return sums.tolist()


def same_everywhere(model: nn.Module) -> None:
    """Give all processes the parameters and buffers of the first."""
    if num_processes() > 1:
        for value in model.state_dict().values():
            distributed.broadcast(value, 0)


def share_of(size: int) -> Share | None:
    """This process's share of the sequences of a batch: neighbours, so that shares one after
    another are the batch. None where it is alone."""
    num = num_processes()
    if num == 1:
        return None
    rank = distributed.get_rank()
    return Share(torch.arange(size * rank // num, size * (rank + 1) // num), size)


def taken(batch: SequenceBatch, share: Share | None) -> tuple[SequenceBatch, Share | None]:
    """The sequences of a share, with the padding of the whole batch. A process that is left without
    any takes the first one, without its steps."""
    if share is None:
        return batch, None
    if len(share.rows):
        return batch.rows(share.rows), share
    share = Share(torch.zeros(1, dtype=torch.int64), share.size)
    part = batch.rows(share.rows)
    none = {name: torch.zeros_like(getattr(part, name)) for name in ("x", "observed", "lengths")}
    return replace(part, **none), share


def sum_gradients(parameters: Iterable[Tensor]) -> None:
    """Sum the gradients of parameters over all processes, in one message; a parameter that has none
    in any of them stays without."""
    if num_processes() == 1:
        return
    parameters = list(parameters)
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    there = torch.tensor([p.grad is not None for p in parameters]).to(grads[0])
    parts = total(torch.cat([there, *(g.flatten() for g in grads)]))
    there, *parts = parts.split([len(there), *(g.numel() for g in grads)])
    for p, grad, known in zip(parameters, parts, (there > 0).tolist(), strict=True):
        p.grad = grad.view_as(p).to(p) if known else None
