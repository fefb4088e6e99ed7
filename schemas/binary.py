"""Avro's binary encoding of what a record has in it. (Specification 1.12, "Binary Encoding".)

By hand, since it runs for every call of a portal: fastavro's writer looks at the schema for each value, and takes twice
the time. A test holds both to the same bytes.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from struct import Struct

#: Lengths below are looked up; nearly every text of a call is shorter.
_SHORT = 1024

#: So many words, none longer, are kept as they are encoded.
_WORDS_KEPT = 4096
_WORD_CHARS = 64

#: The lower bits of a number make three bytes; of a time in microseconds, the upper ones change every second.
_LOWER_BITS = 21
_LOWER_MASK = 2**21 - 1
_UPPER_REMEMBERED = 64

_lower = Struct("3B").pack

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
    if upper := rest >> _LOWER_BITS:
        low = rest & _LOWER_MASK
        return _lower(low & _SEVEN_BITS | _MORE, low >> 7 & _SEVEN_BITS | _MORE, low >> 14 | _MORE) + _upper(upper)
    return _sevens(rest)


def _sevens(rest: int) -> bytes:
    found = bytearray()
    while rest > _SEVEN_BITS:
        found.append(rest & _SEVEN_BITS | _MORE)
        rest >>= 7
    found.append(rest)
    return bytes(found)


_upper = lru_cache(_UPPER_REMEMBERED)(_sevens)


class _Lengths(dict[int, bytes]):
    def __missing__(self, length: int) -> bytes:
        return long(length)


_LENGTHS = _Lengths({length: long(length) for length in range(_SHORT)})

#: The same, each byte as a character. A list: from a dict it takes half as long again.
_LENGTH_TEXTS = [long(length).decode("latin-1") for length in range(_SHORT)]


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


class _Words(dict[str, bytes]):
    def __missing__(self, word: str) -> bytes:
        encoded = text(word)
        if len(word) <= _WORD_CHARS:
            # Whatever filled it, the usual words are back soon.
            if len(self) >= _WORDS_KEPT:
                self.clear()
            self[word] = encoded
        return encoded


_WORDS = _Words()

#: The same as `text`, for what comes again and again: names of fields and events.
word: Callable[[str], bytes] = _WORDS.__getitem__


#: An entry of a map: its name, the length of its value, its value.
_PARTS = 3


class Names:
    """The names of a map of strings, encoded once for all maps that have the same ones in the same order."""

    def __init__(self, names: Collection[str]) -> None:
        #: Each byte as a character, with room for the values and their lengths.
        self._parts = [""] * (_PARTS * len(names)) + [_END.decode("latin-1")]
        self._parts[0:-1:_PARTS] = [_WORDS[name].decode("latin-1") for name in names]
        if names:
            self._parts[0] = _LENGTHS[len(names)].decode("latin-1") + self._parts[0]

    def texts(self, values: Sequence[str]) -> bytes:
        """The map with these values."""
        if not "".join(values).isascii():
            values = [value.encode().decode("latin-1") for value in values]
        parts = self._parts.copy()
        try:
            parts[1::_PARTS] = [_LENGTH_TEXTS[len(value)] for value in values]
        except IndexError:
            parts[1::_PARTS] = [_LENGTHS[len(value)].decode("latin-1") for value in values]
        parts[2::_PARTS] = values
        return "".join(parts).encode("latin-1")


def array(items: Iterable[bytes]) -> bytes:
    """An array of what is encoded already."""
    found = list(items)
    return b"".join((_LENGTHS[len(found)], *found, _END)) if found else _END
