"""The fields of a record, taken straight from its bytes, where it looks as nearly all of ours do.

fastavro reads from a stream, byte by byte, which takes twice the time of all else that a worker does for a record. It
stays the judge: whatever is unusual, or wrong, is left to it.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from .binary import ABSENT
from .errors import ForebayError

#: The fingerprint of the schema that this is written for, as it stands in records; a test holds it to the newest one.
FINGERPRINT = bytes.fromhex("3b2062786813984d")

#: A length takes more than one byte, or is below zero.
_NOT_SHORT = 0x81
_SIGN, _SEVEN_BITS, _MORE = 0x01, 0x7F, 0x80

#: Stands behind the last pair of a map.
END = 0

#: The bytes of a union of null and something that say which it is.
_NOTHING, _PRESENT = 0, 2

#: Id, portal, kind and name of an event, and where in its record the next field starts.
Head = tuple[str, str, str, str, int]

#: Fields of the head, in their order: whether one may be absent, and whether it is a text, else a number.
_SOURCE_AND_SUBSCRIPTION = ((False, True), (True, True), (False, True))
_VERIFIED_PATH_QUERY_AND_TRACE = ((False, False), (False, True), (False, True), (True, True))
_SEALED = ((False, True), (False, True), (False, True))

#: `occurred_at`, which may be absent, and `received_at`: a number ends with the first byte that has no upper bit.
_TIMES = re.compile(rb"(?:\x00|\x02[\x80-\xff]*[\x00-\x7f])[\x80-\xff]*[\x00-\x7f]").match

#: What the fields from `verified` on nearly always are: yes, two empty texts, and none.
_USUALLY = b"\1\0\0\0"

#: So many names of fields are kept as texts: the same few hundred come again and again.
_NAMES_KEPT = 4096
_NAME_BYTES = 64

#: No more is kept of a record for the next one: it stays in memory when that record is gone.
_SEEN_BYTES = 4096

#: Sealed is nothing, and the map can give all pairs back.
_NEITHER = ABSENT * 2


class _Unusual(ForebayError):
    """Nothing is said about such a record here."""


class _Layout(NamedTuple):
    """Where the fields under a top name stand: before the length of each value comes its part."""

    paths: tuple[str, ...]
    parts: tuple[bytes, ...]


class Seen:
    """What was seen of a record's fields: the next one of the portal mostly has the same, and other values.

    What begins with the same bytes at the place of the same field is read alike. Threads may share it.
    """

    __slots__ = ("between", "layouts")

    def __init__(self) -> None:
        #: From `source` to `traceparent`.
        self.between = b""
        #: By the top name.
        self.layouts: dict[bytes, _Layout] = {}


def head_of(value: bytes, at: int) -> Head | None:
    """What the record that starts there says first; None where in doubt."""
    try:
        id_size = value[at]
        id_ends = at + 1 + (id_size >> 1)
        portal_size = value[id_ends]
        portal_ends = id_ends + 1 + (portal_size >> 1)
        words = portal_ends + 1
        if has_member := value[portal_ends]:
            member_size = value[words]
            words += 1 + (member_size >> 1)
            if has_member != _PRESENT or member_size & _NOT_SHORT:
                return None
        name_at = words + 1 + (value[words] >> 1)
        rest = name_at + 1 + (value[name_at] >> 1)
        # Nothing of it was cut off, as behind it there is a byte. Of the fields more may be missing than anybody who
        # looks for some of them would notice: what does not end as a map does is left to fastavro.
        if (id_size | portal_size) & _NOT_SHORT or rest >= len(value) or value[-1] != END:
            return None
        kind, name = _KINDS_AND_NAMES[value[words:rest]]
        return value[at + 1 : id_ends].decode(), value[id_ends + 1 : portal_ends].decode(), kind, name, rest
    except (_Unusual, IndexError, UnicodeDecodeError):
        return None


def fields_of(value: bytes, rest: int) -> dict[str, str] | None:
    """The fields of the record whose head goes on there, behind the name of its event; None where in doubt."""
    try:
        return _texts(value, _body_at(value, rest, None), b"", None)
    except (_Unusual, IndexError, UnicodeDecodeError):
        return None


def fields_under(
    value: bytes, rest: int, top: bytes, seen: Seen | None = None
) -> tuple[tuple[str, ...], Sequence[str]] | None:
    """The paths and values of at least those that PHP would put under the name of a `top`, a plain word.

    More is not looked at then. None where in doubt. `seen` is of the record before, and takes note of this one.
    """
    try:
        at = _body_at(value, rest, seen)
        layout = seen.layouts.get(top) if seen is not None else None
        if layout is not None and (values := _texts_of(value, at, top, layout.parts)) is not None:
            return layout.paths, values
        parts: list[bytes] = []
        found = _texts(value, at, top, parts)
    except (_Unusual, IndexError, UnicodeDecodeError):
        return None
    paths = tuple(found)
    if seen is not None and len(parts) == len(paths) and sum(map(len, parts)) <= _SEEN_BYTES:
        seen.layouts[top] = _Layout(paths, tuple(parts))
    return paths, tuple(found.values())


def _body_at(value: bytes, at: int, seen: Seen | None) -> int:
    times = _TIMES(value, at)
    if times is None:
        raise _Unusual
    at = times.end()
    between = seen.between if seen is not None else b""
    if between and value.startswith(between, at):
        at += len(between)
    else:
        at = _past_between(value, start := at)
        if seen is not None and at - start <= _SEEN_BYTES:
            seen.between = value[start:at]
    if value.startswith(_NEITHER, at):
        return at + len(_NEITHER)
    at = _past_fields(value, at + 1, _SEALED) if value[at] == _PRESENT else _past(value, at, ABSENT)
    # Pairs as they were sent are there only when the map can't give them back.
    return _past(value, at, ABSENT)


def _past_between(value: bytes, at: int) -> int:
    at = _past_fields(value, at, _SOURCE_AND_SUBSCRIPTION)
    if value.startswith(_USUALLY, at):
        return at + len(_USUALLY)
    return _past_fields(value, at, _VERIFIED_PATH_QUERY_AND_TRACE)


def _past(value: bytes, at: int, expected: bytes) -> int:
    if not value.startswith(expected, at):
        raise _Unusual
    return at + len(expected)


def _past_fields(value: bytes, at: int, fields: tuple[tuple[bool, bool], ...]) -> int:
    """Where the next field starts. What ends beyond the value is noticed by the next look at a byte."""
    for is_optional, is_text in fields:
        size = value[at]
        at += 1
        if is_optional:
            if size == _NOTHING:
                continue
            if size != _PRESENT:
                raise _Unusual
            size = value[at]
            at += 1
        if is_text:
            if size & _NOT_SHORT:
                size, at = _two_bytes(value, at, size)
            at += size >> 1
        else:
            while value[at - 1] & _MORE:
                at += 1
    return at


def _texts_of(value: bytes, at: int, top: bytes, parts: Sequence[bytes]) -> list[str] | None:
    """The values of a record that has these parts; None where it has others."""
    values = []
    for part in parts:
        if not value.startswith(part, at):
            return None
        at += len(part)
        size = value[at]
        at += 1
        if size & _NOT_SHORT:
            size, at = _two_bytes(value, at, size)
        end = at + (size >> 1)
        values.append(value[at:end].decode())
        at = end
    # As in `_texts`: it goes on behind the last, and there is nothing more of that name.
    return values if at < len(value) and value.find(top, at) < 0 else None


def _texts(value: bytes, at: int, top: bytes, parts: list[bytes] | None) -> dict[str, str]:
    """The fields; the parts, if anybody wants them, are as in a `_Layout`."""
    found: dict[str, str] = {}
    read = at
    # A path under the top has its name in it, perhaps behind spaces; behind the last of them is nothing to be found.
    first, last = top[:1] + b" ", value.rfind(top)
    while pairs := value[at]:
        at += 1
        if pairs & _NOT_SHORT:
            pairs, at = _two_bytes(value, at, pairs)
        for _ in range(pairs >> 1):
            if top and at > last:
                return found
            size = value[at]
            path = at = at + 1
            if size & _NOT_SHORT:
                size, path = _two_bytes(value, at, size)
            end = path + (size >> 1)
            size = value[end]
            at = end + 1
            if size & _NOT_SHORT:
                size, at = _two_bytes(value, at, size)
            start, at = at, at + (size >> 1)
            if not top or value[path] in first:
                if at >= len(value):
                    raise _Unusual
                found[_NAMES[value[path:end]]] = value[start:at].decode()
                if parts is not None:
                    parts.append(value[read:end])
                    read = at
    return found


def _two_bytes(value: bytes, at: int, first: int) -> tuple[int, int]:
    """The number that goes on at that place, and where it ends."""
    second = value[at]
    if first & _SIGN or second & _MORE:
        raise _Unusual
    return first & _SEVEN_BITS | second << 7, at + 1


class _Names(dict[bytes, str]):
    def __missing__(self, encoded: bytes) -> str:
        name = encoded.decode()
        if len(encoded) <= _NAME_BYTES:
            # Whatever filled it, the usual names are back soon.
            if len(self) >= _NAMES_KEPT:
                self.clear()
            self[encoded] = name
        return name


class _KindsAndNames(dict[bytes, tuple[str, str]]):
    """Of two short texts behind each other."""

    def __missing__(self, encoded: bytes) -> tuple[str, str]:
        name_at = 1 + (encoded[0] >> 1)
        if (encoded[0] | encoded[name_at]) & _NOT_SHORT:
            raise _Unusual
        found = encoded[1:name_at].decode(), encoded[name_at + 1 :].decode()
        if len(self) >= _NAMES_KEPT:
            self.clear()
        self[encoded] = found
        return found


_NAMES = _Names()
_KINDS_AND_NAMES = _KindsAndNames()
