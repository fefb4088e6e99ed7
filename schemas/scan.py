"""The fields of a record, taken straight from its bytes, where it looks as nearly all of ours do.

fastavro reads from a stream, byte by byte, which takes twice the time of all else that a worker does for a record. It
stays the judge: whatever is unusual, or wrong, is left to it.
"""

from forebay.schemas.binary import text
from forebay.schemas.errors import ForebayError

#: The fingerprint of the schema that this is written for, as it stands in records; a test holds it to the newest one.
FINGERPRINT = bytes.fromhex("3b2062786813984d")

#: A length takes more than one byte, or is below zero.
_NOT_SHORT = 0x81
_SIGN, _SEVEN_BITS, _MORE = 0x01, 0x7F, 0x80

#: The bytes of a union of null and something that say which it is.
_ABSENT, _PRESENT = 0, 2

#: Whether a field of the head may be absent, and whether it is a text, else a number: from the one behind the name on…
_BEHIND_THE_NAME = (
    (True, False),  # occurred_at
    (False, False),  # received_at
    (False, True),  # source
    (True, True),  # subscription.id
    (False, True),  # subscription.endpoint
    (False, False),  # subscription.verified
    (False, True),  # path
    (False, True),  # query
    (True, True),  # traceparent
)
_MEMBER_ID = ((True, True),)
#: …and what is in `sealed`, where there is one.
_SEALED = ((False, True), (False, True), (False, True))

#: So many names of fields are kept as texts: the same few hundred come again and again.
_NAMES_KEPT = 4096
_NAME_BYTES = 64


class _Unusual(ForebayError):
    """Nothing is said about such a record here."""


def fields_of(value: bytes, at: int, told: tuple[str, str, str, str], first: bytes = b"") -> dict[str, str] | None:
    """The fields of the record that starts there, if its id, portal, kind and name are these; None where in doubt.

    With `first` only, and at least, those whose path begins with one of these bytes.
    """
    event_id, portal, kind, name = told
    try:
        at = _past(value, at, text(event_id) + text(portal))
        at = _past_fields(value, at, _MEMBER_ID)
        at = _past(value, at, text(kind) + text(name))
        at = _past_fields(value, at, _BEHIND_THE_NAME)
        at = _past_fields(value, at + 1, _SEALED) if value[at] == _PRESENT else _past(value, at, b"\0")
        # Pairs as they were sent are there only when the map can't give them back.
        return _texts(value, _past(value, at, b"\0"), first)
    except (_Unusual, IndexError, UnicodeDecodeError):
        return None


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
            if size == _ABSENT:
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


def _texts(value: bytes, at: int, first: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    while pairs := value[at]:
        at += 1
        if pairs & _NOT_SHORT:
            pairs, at = _two_bytes(value, at, pairs)
        for _ in range(pairs >> 1):
            size = value[at]
            at += 1
            if size & _NOT_SHORT:
                size, at = _two_bytes(value, at, size)
            name, end = at, at + (size >> 1)
            size = value[end]
            at = end + 1
            if size & _NOT_SHORT:
                size, at = _two_bytes(value, at, size)
            if not first or value[name] in first:
                found[_NAMES[value[name:end]]] = value[at : at + (size >> 1)].decode()
            at += size >> 1
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


_NAMES = _Names()
