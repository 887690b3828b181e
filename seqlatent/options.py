"""Options as frozen dataclasses: read from `key=value` words and TOML, checked in one place.

A field's metadata holds its `help` and its limits: `choices`, `min`, `max`, `below`. A number or a
word (`int | str`) has the `words` that it may be in their place.
"""

import dataclasses
import numbers
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard, get_args, get_type_hints

from seqlatent.errors import InputError, did_you_mean

MAX_CONFIG = 2**14  # bytes of a file of options


def make(cls: type, values: Mapping[str, Any]) -> Any:
    """An options object from named values, each checked.

    Raises:
        InputError: for an unknown name, or a value of the wrong type or out of its limits.
    """
    known = {f.name: f for f in dataclasses.fields(cls)}
    for name in values:
        if name not in known:
            raise InputError(f"unknown option '{name}'{did_you_mean(name, known)}")
    types = get_type_hints(cls)
    checked = {name: _check(known[name], types[name], value) for name, value in values.items()}
    return cls(**checked)


def _check(option: dataclasses.Field, kind: Any, value: Any) -> Any:
    kinds = get_args(kind) or (kind,)
    if value is None and type(None) in kinds:
        return None
    words = option.metadata.get("words", ())
    if value in words:
        return value
    kind = next(k for k in kinds if k is not type(None))
    given: Any = value
    if kind is int and is_whole(value):
        value = int(given)  # NumPy's integers cannot be saved as JSON
    if kind is float and is_number(value):
        value = float(given)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        wanted = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
        wanted_text = " or ".join([wanted[kind], *words])
        raise InputError(f"option {option.name} must be {wanted_text}, not {value!r}")
    limits = option.metadata
    choices = choices_of(option)
    if choices and value not in choices:
        raise InputError(f"option {option.name}={value} is not one of {', '.join(choices)}")
    if kind in (int, float):
        low, high, below = (limits.get(k) for k in ("min", "max", "below"))
        if value != value or value in (float("inf"), float("-inf")):
            raise InputError(f"option {option.name} must be a finite number, not {value}")
        if low is not None and value < low:
            raise InputError(f"option {option.name}={value} must be at least {low}")
        if "above" in limits and value <= limits["above"]:
            raise InputError(f"option {option.name}={value} must be above {limits['above']}")
        if high is not None and value > high:
            raise InputError(f"option {option.name}={value} must be at most {high}")
        if below is not None and value >= below:
            raise InputError(f"option {option.name}={value} must be below {below}")
    return value


def choices_of(option: dataclasses.Field) -> tuple[str, ...]:
    """What an option may be; some are tables that other packages extend, asked for when needed."""
    choices = option.metadata.get("choices", ())
    return tuple(choices()) if callable(choices) else tuple(choices)  # type: ignore[arg-type]


def is_whole(value: Any) -> TypeGuard[int]:
    """Whether a value is an integer, NumPy's included; a bool is none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a real number, NumPy's included; a bool is none."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def check_count(name: str, value: Any, minimum: int = 1) -> int:
    """The argument `name` as a plain integer.

    Raises:
        InputError: when it is no integer, or less than the minimum.
    """
    if not is_whole(value):
        raise InputError(f"{name} must be a whole number, not {value!r}")
    if value < minimum:
        raise InputError(f"{name}={value} must be at least {minimum}")
    return int(value)


def check_positive(name: str, value: Any) -> float:
    """The argument `name` as a plain number.

    Raises:
        InputError: when it is no number, or not above 0.
    """
    if not is_number(value):
        raise InputError(f"{name} must be a number, not {value!r}")
    if not value > 0:
        raise InputError(f"{name}={value:g} must be above 0")
    return float(value)


def check_seed(seed: Any) -> int:
    """A seed of random numbers as a plain integer.

    Raises:
        InputError: when it is no integer from 0 to 2^63 - 1, which the generators take.
    """
    if not is_whole(seed):
        raise InputError(f"seed must be a whole number, not {seed!r}")
    if not 0 <= seed < 2**63:
        raise InputError(f"seed={seed} must lie between 0 and 2^63 - 1")
    return int(seed)


def parse_assignments(words: list[str], classes: list[type]) -> dict[str, Any]:
    """`["hidden_dim=32", "cell=lstm"]` as values of the types that the classes' fields have.

    Raises:
        InputError: for a word without '=', or a value that is not of its option's type.
    """
    types = {name: hint for cls in classes for name, hint in get_type_hints(cls).items()}
    values: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        name, text = name.strip().replace("-", "_"), text.strip()
        if not equals or not name:
            raise InputError(f"'{word}' is not of the form key=value")
        if name not in types:
            raise InputError(f"unknown option '{name}'{did_you_mean(name, types)}")
        values[name] = _parse(name, text, types[name])
    return values


def _parse(name: str, text: str, hint: Any) -> Any:
    kinds = get_args(hint) or (hint,)
    if type(None) in kinds and text.lower() in ("none", ""):
        return None
    kind = next(k for k in kinds if k is not type(None))
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() not in words:
            raise InputError(f"option {name} must be true or false, not '{text}'")
        return words[text.lower()]
    try:
        return kind(text)
    except ValueError:
        if str in kinds:  # a word, which `make` checks
            return text
        wanted = {int: "a whole number", float: "a number"}[kind]
        raise InputError(f"option {name} must be {wanted}, not '{text}'") from None


def read_config(path: str | Path, classes: list[type]) -> dict[str, Any]:
    """Options from a TOML file; tables such as [model] and [training] are for the reader's eye.

    Raises:
        InputError: when the file is missing or not TOML, or names an option that no class has.
    """
    path = Path(path)
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"{path}: a pipe or device, not a file (--config)")
    try:
        if path.stat().st_size > MAX_CONFIG:
            raise InputError(f"{path}: larger than {MAX_CONFIG} bytes (--config)")
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file (--config)") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}) (--config)") from None
    except RecursionError:
        raise InputError(f"{path}: nested too deeply for options (--config)") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a TOML file: {error}") from None
    values: dict[str, Any] = {}
    for name, value in content.items():
        inner = value if isinstance(value, dict) else {name: value}
        values.update({key.replace("-", "_"): v for key, v in inner.items()})
    known = [f.name for cls in classes for f in dataclasses.fields(cls)]
    for name in values:
        if name not in known:
            raise InputError(f"{path}: unknown option '{name}'{did_you_mean(name, known)}")
    return values


def help_table(cls: type) -> list[tuple[str, Any, str]]:
    """(name, default, help) of every option; the help names all choices."""
    table = []
    for f in dataclasses.fields(cls):
        text, choices = str(f.metadata.get("help", "")), choices_of(f)
        if not all(choice in text for choice in choices):
            text += f": {', '.join(choices)}"
        table.append((f.name, f.default, text))
    return table
