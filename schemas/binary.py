"""Avro's binary encoding of what a record has in it. (Specification 1.12, "Binary Encoding".)

By hand, since it runs for every call of a portal: fastavro's writer looks at the schema for each value, and takes twice
the time. A test holds both to the same bytes.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from struct import Struct

#: Lengths below are looked up; nearly every text of a call is shorter.
_SHORT = 1024

#: So many words, none longer, are kept as they are encoded.
_WORDS_KEPT = 4096
_WORD_CHARS = 64

#: So many combinations of names, none with more characters: Bitrix24 has a few hundred events, and the same one nearly
#: always comes with the same fields. At most 10 MB.
_NAMES_KEPT = 1024
_NAMES_CHARS = 8192

#: The lower bits of a number make three bytes; of a time in microseconds, the upper ones change every second.
_LOWER_BITS = 21
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
        first, second, third = rest & _SEVEN_BITS, rest >> 7 & _SEVEN_BITS, rest >> 14 & _SEVEN_BITS
        return _lower(first | _MORE, second | _MORE, third | _MORE) + _upper(upper)
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


class _LengthTexts(dict[int, str]):
    def __missing__(self, length: int) -> str:
        return long(length).decode("latin-1")


#: The same, each byte as a character.
_LENGTH_TEXTS = _LengthTexts({length: encoded.decode("latin-1") for length, encoded in _LENGTHS.items()})


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


class _Names(dict[tuple[str, ...], tuple[str, ...]]):
    def __missing__(self, names: tuple[str, ...]) -> tuple[str, ...]:
        encoded = tuple(_WORDS[name].decode("latin-1") for name in names)
        if sum(map(len, encoded)) <= _NAMES_CHARS:
            if len(self) >= _NAMES_KEPT:
                self.clear()
            self[names] = encoded
        return encoded


#: The names of a form, each as it is encoded, its bytes as characters.
_NAMES = _Names()

#: An entry of a map: its name, the length of its value, its value.
_PARTS = 3


def texts(values: Mapping[str, str]) -> bytes:
    """A map of strings, in its order."""
    if not values:
        return _END
    if "".join(values.values()).isascii():
        return _ascii_texts(values)
    parts = [_LENGTHS[len(values)]]
    for key, value in values.items():
        encoded = value.encode()
        parts += (_WORDS[key], _LENGTHS[len(encoded)], encoded)
    parts.append(_END)
    return b"".join(parts)


def _ascii_texts(values: Mapping[str, str]) -> bytes:
    """The same in half the time: as Latin-1, each character is one byte, also of what stands between the values."""
    parts = [""] * (_PARTS * len(values))
    parts[0::_PARTS] = _NAMES[tuple(values)]
    parts[1::_PARTS] = map(_LENGTH_TEXTS.__getitem__, map(len, values.values()))
    parts[2::_PARTS] = values.values()
    return b"".join((_LENGTHS[len(values)], "".join(parts).encode("latin-1"), _END))


def array(items: Iterable[bytes]) -> bytes:
    """An array of what is encoded already."""
    found = list(items)
    return b"".join((_LENGTHS[len(found)], *found, _END)) if found else _END
