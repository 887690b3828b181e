"""The one exception that a user is meant to read.

Everything that a user can get wrong (a file, a column, an option) raises `InputError` with one
sentence that names the culprit and says what to do. The command line prints it and exits with
status 2; Python users catch it as a `ValueError`.
"""

import difflib
import re
from collections.abc import Iterable

# Control characters, and those that turn the direction of text or end a line in some terminals.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class InputError(ValueError):
    """Bad input from the user: one clear sentence, no traceback needed."""


def one_line(text: str) -> str:
    """A text as a terminal may be shown it: a name in data cannot move the cursor or hide words,
    for control characters appear as they would in a Python string."""
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` or the list of what is known, to end an error's sentence with."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(names)}" if names else ""


class TrainingError(RuntimeError):
    """Training cannot go on: a loss or gradient is not finite."""


class Interrupted(RuntimeError):
    """A command was stopped from outside.

    Attributes:
        status: of the process.
    """

    def __init__(self, sentence: str, status: int):
        super().__init__(sentence)
        self.status = status
