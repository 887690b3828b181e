"""Warnings about data that are read in parts: each kind is told once, not once for every part."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

logger = logging.getLogger("seqlatent")


class Notices(logging.Handler):
    """Warnings that were collected, the first of each kind and how many there were.

    Attributes:
        found: the first text and the number, by the text that it was made of.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: dict[str, tuple[str, int]] = {}

    def emit(self, record: logging.LogRecord) -> None:
        self.add([(str(record.msg), record.getMessage(), 1)])

    def add(self, others: Iterable[tuple[str, str, int]]) -> None:
        """Add those that were collected elsewhere, as `rows` gives them."""
        for kind, text, count in others:
            first, number = self.found.get(kind, (text, 0))
            self.found[kind] = (first, number + count)

    def rows(self) -> list[tuple[str, str, int]]:
        return [(kind, text, count) for kind, (text, count) in self.found.items()]

    def tell(self) -> None:
        """Log each kind once."""
        for text, count in self.found.values():
            more = f" (and {count - 1} more of this kind)" if count > 1 else ""
            logger.warning("%s%s", text, more)


@contextmanager
def notices() -> Iterator[Notices]:
    """Collect the package's warnings in place of logging them."""
    before = logger.handlers, logger.propagate
    found = Notices()
    logger.handlers, logger.propagate = [found], False
    try:
        yield found
    finally:
        logger.handlers, logger.propagate = before
