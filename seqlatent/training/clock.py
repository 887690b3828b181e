"""The clock that budgets of time are measured by: the one on the wall, or that of the processor.

A fit for a person ends when the minutes are over. Fits that are compared need equal work, which on
a machine with other work to do is equal processor time.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_CLOCK: ContextVar[Callable[[], float]] = ContextVar("clock", default=time.perf_counter)


def seconds() -> float:
    """Seconds since some moment, by the clock that is in use."""
    return _CLOCK.get()()


@contextmanager
def processor_time() -> Iterator[None]:
    """Meanwhile minutes are those of the processor: of all threads of this process together."""
    token = _CLOCK.set(time.process_time)
    try:
        yield
    finally:
        _CLOCK.reset(token)
