"""What the compressed columns of an Arrow IPC (Feather) file claim to unfold to, before they do.

A file is a list of messages, whose places stand in a footer at its end. A message has a header, in
FlatBuffers, and a body of buffers. A compressed buffer begins with the number of bytes that it
unfolds to, and Arrow takes that much memory before it looks at what follows. The claims are read
here as Arrow reads them (https://arrow.apache.org/docs/format/Columnar.html), from metadata that
it has verified.
"""

import struct
from collections.abc import Iterator

MAGIC = b"ARROW1"
# The places of fields in their tables of Schema.fbs, Message.fbs and File.fbs.
DICTIONARIES, RECORD_BATCHES = 2, 3  # of Footer
HEADER_TYPE, HEADER = 1, 2  # of Message
DICTIONARY = 2  # the type of a message with one, whose field DATA has the values
DATA = 1
BUFFERS, COMPRESSION = 2, 3  # of RecordBatch


def claimed_bytes(content: memoryview) -> Iterator[int]:
    """What each compressed buffer of a file claims to unfold to, in bytes.

    Args:
        content: of the file, which Arrow has opened without an error.

    Raises:
        ValueError, struct.error, IndexError, pyarrow.ArrowException: for a damaged file.
    """
    import pyarrow

    size = len(content)
    length = _number("<i", content, size - len(MAGIC) - 4)
    footer = content[size - len(MAGIC) - 4 - length :]
    root = _number("<I", footer, 0)
    for field in (DICTIONARIES, RECORD_BATCHES):
        for place in _vector(footer, root, field, 24):
            start, head, rest = struct.unpack_from("<qi4xq", footer, place)
            if min(start, head, rest) < 0 or start + head + rest > size:
                raise ValueError("a part of it lies outside of it")
            piece = pyarrow.py_buffer(content[start : start + head + rest])
            message = pyarrow.ipc.read_message(piece)
            yield from _claims(memoryview(message.metadata), memoryview(message.body))


def _claims(metadata: memoryview, body: memoryview) -> Iterator[int]:
    root = _number("<I", metadata, 0)
    batch = _table(metadata, root, HEADER)
    kind = metadata[_field(metadata, root, HEADER_TYPE)]
    if kind == DICTIONARY:
        batch = _table(metadata, batch, DATA)
    if not _field(metadata, batch, COMPRESSION):
        return
    for place in _vector(metadata, batch, BUFFERS, 16):
        start, length = struct.unpack_from("<qq", metadata, place)
        if length:
            yield max(0, _number("<q", body, start))  # -1: the buffer is not compressed


# -- FlatBuffers: tables whose fields are found by offsets (https://flatbuffers.dev/internals) -----


def _number(form: str, data: memoryview, place: int) -> int:
    if place < 0:
        raise ValueError("a place in it is negative")
    return struct.unpack_from(form, data, place)[0]


def _field(data: memoryview, table: int, number: int) -> int:
    """Where a field of a table is; 0 if the table leaves it out."""
    names = table - _number("<i", data, table)
    if 4 + 2 * number >= _number("<H", data, names):
        return 0
    offset = _number("<H", data, names + 4 + 2 * number)
    return table + offset if offset else 0


def _table(data: memoryview, table: int, number: int) -> int:
    """Where the table or vector that a field refers to is."""
    place = _field(data, table, number)
    if not place:
        raise ValueError("its metadata lack a part")
    return place + _number("<I", data, place)


def _vector(data: memoryview, table: int, number: int, size: int) -> Iterator[int]:
    """Where each element of a vector of structs of this size is; none if the table has no such
    field."""
    if _field(data, table, number):
        start = _table(data, table, number)
        for i in range(_number("<I", data, start)):
            yield start + 4 + i * size
