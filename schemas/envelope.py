"""What a record's headers tell of its event, so that most of the event need not be read to find its handler.

They are CloudEvents' attributes in the binary mode of its Kafka binding, as the ingest writes them. The record's value
is what counts: headers that are not of this form tell nothing, and the value is asked; when both speak, and differ, the
record is no event (see `Codec.decode`).
"""

from collections.abc import Sequence
from functools import lru_cache

from forebay.schemas import names
from forebay.schemas.event import KINDS

Headers = Sequence[tuple[str, bytes]]

#: Portal, kind and name of an event.
Told = tuple[str, str, str]

#: How the ingest begins a record's headers, after the version of CloudEvents: then none of them has to be looked for.
_AS_WRITTEN = (names.CE_ID, names.CE_SOURCE, names.CE_TYPE)

_SOURCE = b"//"
_TYPE = "com.bitrix24."

#: Types come from outside: so many are remembered, and none that is longer.
_REMEMBERED = 4096
_LONGEST_TYPE = 200


def told(headers: Headers) -> Told | None:
    """Which portal's event a record is, of which kind and name; None unless its headers are like ours."""
    event_id, source, type_ = _attributes(headers)
    if not event_id or not event_id.isascii() or source[:2] != _SOURCE:
        return None
    kind_and_name = _kind_and_name(type_) if len(type_) <= _LONGEST_TYPE else None
    try:
        portal = source[2:].decode()
    except UnicodeDecodeError:
        return None
    return (portal, *kind_and_name) if portal and kind_and_name else None


def event_id(headers: Headers) -> str:
    """The event's id, of headers that told an event."""
    return _attributes(headers)[0].decode()


def _attributes(headers: Headers) -> tuple[bytes, bytes, bytes]:
    """Id, source and type, each empty when it is missing."""
    if len(headers) > len(_AS_WRITTEN):
        _, (first, event_id), (second, source), (third, type_) = headers[:4]
        if (first, second, third) == _AS_WRITTEN:
            return event_id, source, type_
    found = dict(headers)
    return found.get(names.CE_ID, b""), found.get(names.CE_SOURCE, b""), found.get(names.CE_TYPE, b"")


@lru_cache(_REMEMBERED)
def _kind_and_name(type_: bytes) -> tuple[str, str] | None:
    """`com.bitrix24.event.ONCRMDEALADD` → `("event", "ONCRMDEALADD")`; without a name the last part is missing."""
    try:
        text = type_.decode()
    except UnicodeDecodeError:
        return None
    kind, _, name = text.removeprefix(_TYPE).partition(".")
    return (kind, name) if text.startswith(_TYPE) and kind in KINDS else None
