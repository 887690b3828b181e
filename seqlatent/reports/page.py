"""The content of a page, and how it becomes HTML.

Everything is inside the file: pictures as data URIs, light and dark ones side by side in a
`<picture>`, of which the browser shows the one that suits its colours. Text from data is escaped.
"""

import math
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATE = "page.html.jinja"


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: as shown.
        value: what it is sorted by: a number, or None where there is none, which sorts last.
        best: whether it is among the best of its column.
        link: id of the part of the page that says more.
    """

    text: str
    value: float | str | None = None
    best: bool = False
    link: str = ""

    @property
    def key(self) -> str:
        """The value for the page's script; "" where there is none."""
        if isinstance(self.value, str):
            return self.value
        return "" if self.value is None or math.isnan(self.value) else repr(float(self.value))


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        name: its header.
        meaning: a sentence.
        better: `higher`, `lower`, or "" where neither is better.
        numeric: whether it is aligned to the right and sorted by number.
    """

    name: str
    meaning: str
    better: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """A table whose rows can be sorted.

    Attributes:
        name: an id, unique on the page.
        caption: what it shows.
        columns: the first one names the rows.
        rows: a cell for each column.
        notes: sentences below it.
    """

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Image:
    """A picture.

    Attributes:
        title, caption: beside it.
        text: in its place, for who cannot see it.
        light, dark: PNG bytes.
    """

    title: str
    caption: str
    text: str
    light: bytes
    dark: bytes

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, as the PNG says."""
        return int.from_bytes(self.light[16:20], "big"), int.from_bytes(self.light[20:24], "big")

    @property
    def light_uri(self) -> str:
        return _uri(self.light)

    @property
    def dark_uri(self) -> str:
        return _uri(self.dark)


@dataclass(frozen=True, eq=False)
class Section:
    """A part of the page.

    Attributes:
        name: an id, unique on the page.
        title: its heading.
        paragraphs: of text.
        facts: names and values.
        tables, images: in this order below it.
        parts: sections inside it, which open on request.
    """

    name: str
    title: str
    paragraphs: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    tables: Sequence[Table] = ()
    images: Sequence[Image] = ()
    parts: Sequence["Section"] = field(default=())


@dataclass(frozen=True, eq=False)
class Page:
    """A page.

    Attributes:
        title: of the page and of the window.
        headline: the answer, in a sentence or two.
        answers: further questions and answers.
        sections: the rest.
        made_by: a line at the end.
    """

    title: str
    headline: str
    answers: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    made_by: str


def render(page: Page) -> str:
    """The page as HTML."""
    return _template().render(page=page)


@cache
def _template() -> "Template":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("seqlatent.reports", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE)


def _uri(png: bytes) -> str:
    return f"data:image/png;base64,{b64encode(png).decode('ascii')}"
