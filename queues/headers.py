"""The headers of a record as one value: for each, two lengths (4 bytes, big endian), the name, the value."""

from collections.abc import Iterable
from struct import Struct

_LENGTHS = Struct(">II")

Headers = tuple[tuple[str, bytes], ...]


def pack(headers: Iterable[tuple[str, bytes]]) -> bytes:
    """The headers in their order. A name that UTF-8 can't express raises `UnicodeEncodeError`."""
    parts: list[bytes] = []
    for name, value in headers:
        encoded = name.encode()
        parts += (_LENGTHS.pack(len(encoded), len(value)), encoded, value)
    return b"".join(parts)


def unpack(packed: bytes) -> Headers:
    """What was packed."""
    headers, at = [], 0
    while at < len(packed):
        name, value = _LENGTHS.unpack_from(packed, at)
        at += _LENGTHS.size
        headers.append((packed[at : at + name].decode(), packed[at + name : at + name + value]))
        at += name + value
    return tuple(headers)
