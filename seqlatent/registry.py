"""Tables of what users choose by name: open to classes of other packages.

A class joins a table by a decorator, when its module is imported, or by an entry point, which finds
the module by itself:

    [project.entry-points."seqlatent.models"]
    smoother = "mypackage.smoother:SmootherModel"
"""

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from seqlatent.errors import InputError, did_you_mean

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Names and what they stand for, in the order in which they joined.

    Args:
        what: what messages call an entry, such as `model`.
        group: of the entry points, such as `seqlatent.models`.
    """

    def __init__(self, what: str, group: str):
        self.what, self.group = what, group
        self._known: dict[str, T] = {}
        self._points: dict[str, EntryPoint] | None = None

    def add(self, name: str, value: T) -> T:
        """Put an entry into the table.

        Raises:
            InputError: for a name that stands for something else. (A class that is defined anew, as
                when a notebook's cell runs again, replaces itself.)
        """
        old = self._known.get(name)
        if old is not None and _origin(old) != _origin(value):
            raise InputError(
                f"there are two {self.what}s named '{name}' ({_origin(old)} and {_origin(value)}); "
                "rename one of them"
            )
        self._known[name] = value
        return value

    def decorator(self, name: str) -> Callable[[T], T]:
        """`add` as a decorator."""
        return lambda value: self.add(name, value)

    def __getitem__(self, name: str) -> T:
        """
        Raises:
            InputError: for an unknown name, or an entry point that cannot be loaded.
        """
        if name not in self._known:
            point = self._entry_points().get(name)
            if point is None:
                raise InputError(f"unknown {self.what} '{name}'{did_you_mean(name, self)}")
            self._load(point)
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        return name in self._known or name in self._entry_points()

    def __iter__(self) -> Iterator[str]:
        yield from dict.fromkeys([*self._known, *self._entry_points()])

    def loaded(self) -> dict[str, T]:
        """The entries that are here without loading another package."""
        return dict(self._known)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _entry_points(self) -> dict[str, EntryPoint]:
        if self._points is None:
            self._points = {point.name: point for point in entry_points(group=self.group)}
        return self._points

    def _load(self, point: EntryPoint) -> None:
        package = "a package" if point.dist is None else f"package '{point.dist.name}'"
        try:
            value = point.load()
        except Exception as error:
            raise InputError(
                f"{self.what} '{point.name}' of {package} cannot be loaded "
                f"({type(error).__name__}: {error}); mend or uninstall that package"
            ) from error
        if point.name not in self._known:  # without a decorator
            self.add(point.name, value)


def _origin(value: object) -> str:
    """Where a class, function or object comes from, to tell whether two are the same."""
    kind = value if hasattr(value, "__qualname__") else type(value)
    name = getattr(value, "name", "")
    return f"{kind.__module__}.{getattr(kind, '__qualname__', '')}{f'({name})' if name else ''}"
