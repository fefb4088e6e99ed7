"""What a record's headers tell of its event, so that most of the event need not be read to find its handler.

They are CloudEvents' attributes in the binary mode of its Kafka binding, as the ingest writes them. The record's value
is what counts: headers that are not of this form tell nothing, and the value is asked; when both speak, and differ, the
record is no event (see `Codec.decode`).
"""

from collections.abc import Sequence
from functools import lru_cache

from forebay.schemas.event import KINDS
from forebay.schemas.names import CE_ID, CE_SOURCE, CE_TYPE

Headers = Sequence[tuple[str, bytes]]

#: Id, portal, kind and name of an event.
Told = tuple[str, str, str, str]

#: Where the ingest writes them; elsewhere they are looked for.
_ID_AT, _SOURCE_AT, _TYPE_AT = 1, 2, 3

_SOURCE = b"//"
_TYPE = "com.bitrix24."

#: Types come from outside: so many are remembered, and none that is longer.
_REMEMBERED = 4096
_LONGEST_TYPE = 200


def told(headers: Headers) -> Told | None:
    """Which event a record is, of which portal, kind and name; None unless its headers are like ours."""
    if (
        len(headers) > _TYPE_AT
        and headers[_ID_AT][0] == CE_ID
        and headers[_SOURCE_AT][0] == CE_SOURCE
        and headers[_TYPE_AT][0] == CE_TYPE
    ):
        event_id, source, type_ = headers[_ID_AT][1], headers[_SOURCE_AT][1], headers[_TYPE_AT][1]
    else:
        found = dict(headers)
        event_id, source, type_ = found.get(CE_ID, b""), found.get(CE_SOURCE, b""), found.get(CE_TYPE, b"")
    if source[:2] != _SOURCE or len(type_) > _LONGEST_TYPE or (kind_and_name := _kind_and_name(type_)) is None:
        return None
    try:
        portal, text = source[2:].decode(), event_id.decode()
    except UnicodeDecodeError:
        return None
    return (text, portal, *kind_and_name) if portal and text else None


@lru_cache(_REMEMBERED)
def _kind_and_name(type_: bytes) -> tuple[str, str] | None:
    """`com.bitrix24.event.ONCRMDEALADD` → `("event", "ONCRMDEALADD")`; without a name the last part is missing."""
    try:
        text = type_.decode()
    except UnicodeDecodeError:
        return None
    kind, _, name = text.removeprefix(_TYPE).partition(".")
    return (kind, name) if text.startswith(_TYPE) and kind in KINDS else None
