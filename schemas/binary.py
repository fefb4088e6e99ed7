"""Avro's binary encoding of what a record has in it. (Specification 1.12, "Binary Encoding".)

By hand, since it runs for every call of a portal: fastavro's writer looks at the schema for each value, and takes twice
the time. A test holds both to the same bytes.
"""

from collections.abc import Iterable, Mapping

#: Lengths below are looked up; nearly every text of a call is shorter.
_SHORT = 1024

#: So many names of fields, none longer, are kept as they are encoded: the same few hundred come again and again.
_NAMES_KEPT = 4096
_NAME_CHARS = 64

#: As bytes of seven bits each, a number from the first of these to before the second has eight of them: it is a time in
#: microseconds.
_EIGHT_SEVENS = range(1 << 49, 1 << 56)

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
    if rest in _EIGHT_SEVENS:
        return _eight_sevens(rest)
    found = bytearray()
    while rest > _SEVEN_BITS:
        found.append(rest & _SEVEN_BITS | _MORE)
        rest >>= 7
    found.append(rest)
    return bytes(found)


def _eight_sevens(rest: int) -> bytes:
    """What the loop does, for the one length that every event has."""
    return bytes(
        (
            rest & 0x7F | 0x80,
            rest >> 7 & 0x7F | 0x80,
            rest >> 14 & 0x7F | 0x80,
            rest >> 21 & 0x7F | 0x80,
            rest >> 28 & 0x7F | 0x80,
            rest >> 35 & 0x7F | 0x80,
            rest >> 42 & 0x7F | 0x80,
            rest >> 49,
        )
    )


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


class _Names(dict[str, bytes]):
    def __missing__(self, name: str) -> bytes:
        encoded = text(name)
        if len(name) <= _NAME_CHARS:
            # Whatever filled it, the usual names are back soon.
            if len(self) >= _NAMES_KEPT:
                self.clear()
            self[name] = encoded
        return encoded


_NAMES = _Names()


def texts(values: Mapping[str, str]) -> bytes:
    """A map of strings, in its order."""
    if not values:
        return _END
    parts = [_LENGTHS[len(values)]]
    for key, value in values.items():
        encoded = value.encode()
        parts += (_NAMES[key], _LENGTHS[len(encoded)], encoded)
    parts.append(_END)
    return b"".join(parts)


def array(items: Iterable[bytes]) -> bytes:
    """An array of what is encoded already."""
    found = list(items)
    return b"".join((_LENGTHS[len(found)], *found, _END)) if found else _END
