"""Avro's binary encoding of what a record has in it. (Specification 1.12, "Binary Encoding".)

By hand, since it runs for every call of a portal: fastavro's writer looks at the schema for each value, and takes twice
the time. A test holds both to the same bytes.
"""

from collections.abc import Iterable, Mapping

#: Lengths below are looked up; nearly every text of a call is shorter.
_SHORT = 1024

#: The branch of a union of null and something; behind `PRESENT` comes the something.
ABSENT, PRESENT = b"\x00", b"\x02"

FALSE, TRUE = b"\x00", b"\x01"

#: Stands behind the last block of a map or an array.
_END = b"\x00"

_SIGN_BIT = 63
_SEVEN_BITS, _MORE = 0x7F, 0x80


def long(number: int) -> bytes:
    """A number of 64 bits."""
    rest = number << 1 ^ number >> _SIGN_BIT
    found = bytearray()
    while rest > _SEVEN_BITS:
        found.append(rest & _SEVEN_BITS | _MORE)
        rest >>= 7
    found.append(rest)
    return bytes(found)


class _Lengths(dict[int, bytes]):
    def __missing__(self, length: int) -> bytes:
        return long(length)


_LENGTHS = _Lengths({length: long(length) for length in range(_SHORT)})


def octets(value: bytes) -> bytes:
    """Bytes."""
    return _LENGTHS[len(value)] + value


def text(value: str) -> bytes:
    """A string."""
    encoded = value.encode()
    return _LENGTHS[len(encoded)] + encoded


def text_or_null(value: str | None) -> bytes:
    """A union of null and a string."""
    return ABSENT if value is None else PRESENT + text(value)


def texts(values: Mapping[str, str]) -> bytes:
    """A map of strings, in its order."""
    if not values:
        return _END
    parts = [_LENGTHS[len(values)]]
    for key, value in values.items():
        name, encoded = key.encode(), value.encode()
        parts += (_LENGTHS[len(name)], name, _LENGTHS[len(encoded)], encoded)
    parts.append(_END)
    return b"".join(parts)


def array(items: Iterable[bytes]) -> bytes:
    """An array of what is encoded already."""
    found = list(items)
    return b"".join((_LENGTHS[len(found)], *found, _END)) if found else _END
