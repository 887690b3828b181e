"""Ctrl-C and requests to end, which wait until a training step is whole."""

import logging
import signal
import threading
from types import FrameType
from typing import Any

logger = logging.getLogger("seqlatent")

USUAL = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


class Interruption:
    """While it lasts, the first SIGINT or SIGTERM is noted in place of its usual effect; a second
    one has that effect at once.

    Signals that a program handles in its own way, or ignores, stay as they are; so do all of them
    outside the main thread.

    Attributes:
        received: the signal, if there was one.
    """

    def __init__(self, enabled: bool = True):
        self.received: int | None = None
        self._enabled = enabled and threading.current_thread() is threading.main_thread()
        self._taken: list[int] = []

    def __enter__(self) -> "Interruption":
        if self._enabled:
            for number, usual in USUAL.items():
                if signal.getsignal(number) == usual:
                    signal.signal(number, self._note)
                    self._taken.append(number)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self._give_back()
        logger.info("stopping after this step; once more to stop at once")

    def _give_back(self) -> None:
        for number in self._taken:
            signal.signal(number, USUAL[signal.Signals(number)])
        self._taken = []

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._give_back()
        if self.received is not None and kind is None:
            self.stop()

    def stop(self) -> None:
        """Have the signal's effect: KeyboardInterrupt, or the end of the program with its usual
        status, but with all clearing up on the way."""
        if self.received == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + int(self.received or 0))
