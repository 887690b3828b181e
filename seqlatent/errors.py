"""The one exception that a user is meant to read.

Everything that a user can get wrong (a file, a column, an option) raises `InputError` with one
sentence that names the culprit and says what to do. The command line prints it and exits with
status 2; Python users catch it as a `ValueError`.
"""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Bad input from the user: one clear sentence, no traceback needed."""


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
