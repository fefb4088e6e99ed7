"""A call → the record that goes into the queue, with CloudEvents' headers (1.0, Kafka binding, binary mode)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

from forebay.queues.contract import Record
from forebay.schemas.codec import Codec
from forebay.schemas.event import Body, Sealed
from forebay.schemas.names import (
    CE_ID,
    CE_SOURCE,
    CE_SPECVERSION,
    CE_SUBJECT,
    CE_TIME,
    CE_TYPE,
    CE_TYPE_PREFIX,
    CONTENT_TYPE,
    ENDPOINT,
    MEMBER_ID,
    PIN,
    TRACEPARENT,
)
from forebay.schemas.quick_value import quick_value

from .authenticate import Sender
from .call import Call

_NS_PER_US = 1000
_NS_PER_MS = 1_000_000
_US_PER_S = 1_000_000

#: The same for every event.
_SPECVERSION = (CE_SPECVERSION, b"1.0")
_CONTENT_TYPE = (CONTENT_TYPE, b"application/avro")

#: Bitrix24 has a few hundred events; names come from outside, and no more are kept than that.
_TYPES_REMEMBERED = 1024
_ENDPOINTS_REMEMBERED = 64

Header = tuple[str, bytes]

#: How the event came: the portal called.
_ONLINE = "online"

#: Where calls name the thing they are about; the first that is there is the CloudEvents subject.
_SUBJECTS = ("data[FIELDS][ID]", "document_id[2]", "data[FIELDS_AFTER][ID]", "data[ID]", "data[id]", "data[CALL_ID]")

#: A subject is a label, no place for a text.
_SUBJECT_CHARS = 255


@quick_value
class Receipt:
    """That a call was received: its id, when, where, and in which trace."""

    id: str
    at_ns: int
    endpoint: str
    traceparent: str | None

    @property
    def time(self) -> bytes:
        """The moment as RFC 3339 has it, to the microsecond, in UTC."""
        seconds, us = divmod(self.at_us, _US_PER_S)
        return b"%b.%06d+00:00" % (_second(seconds), us)

    @property
    def at_us(self) -> int:
        """The moment as the event has it: microseconds since the epoch."""
        return self.at_ns // _NS_PER_US

    @property
    def at_ms(self) -> int:
        """The moment as a record has it."""
        return self.at_ns // _NS_PER_MS


def record_of(
    receipt: Receipt,
    sender: Sender,
    portal: str,
    call: Call,
    body: Body,
    sealed: Sealed | None,
    codec: Codec,
    *,
    source: str = _ONLINE,
) -> Record:
    """The record, keyed by the portal, from what the steps found."""
    value = codec.pack(
        id=receipt.id,
        portal=portal,
        member_id=sender.member_id,
        kind=call.kind,
        name=call.name,
        occurred_at_ms=call.occurred_at_ms,
        received_at_us=receipt.at_us,
        source=source,
        subscription_id=call.subscription_id,
        endpoint=receipt.endpoint,
        verified=sender.verified,
        path=sender.address.path,
        query=sender.address.query,
        traceparent=receipt.traceparent,
        sealed=sealed,
        as_sent=body.as_sent,
        fields=body.fields,
    )
    return Record(portal, value, receipt.at_ms, _headers(receipt, sender, portal, call, body))


def _headers(receipt: Receipt, sender: Sender, portal: str, call: Call, body: Body) -> tuple[Header, ...]:
    headers = [
        _SPECVERSION,
        (CE_ID, receipt.id.encode()),
        (CE_SOURCE, b"//" + portal.encode()),
        _type(call.kind, call.name),
        (CE_TIME, receipt.time),
        _CONTENT_TYPE,
        _endpoint(receipt.endpoint),
    ]
    subject = _subject(body.fields)
    if subject:
        headers.append((CE_SUBJECT, subject.encode()))
    if sender.member_id:
        headers.append((MEMBER_ID, sender.member_id.encode()))
    if sender.pin:
        headers.append((PIN, sender.pin.encode()))
    if receipt.traceparent:
        headers.append((TRACEPARENT, receipt.traceparent.encode()))
    return tuple(headers)


@lru_cache(_TYPES_REMEMBERED)
def _type(kind: str, name: str) -> Header:
    return CE_TYPE, f"{CE_TYPE_PREFIX}{kind}{'.' if name else ''}{name}".encode()


@lru_cache(_ENDPOINTS_REMEMBERED)
def _endpoint(path: str) -> Header:
    return ENDPOINT, path.encode()


@lru_cache(1)
def _second(seconds: int) -> bytes:
    """`2026-11-25T12:30:00`: many events come in one second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()


def _subject(fields: Mapping[str, str]) -> str:
    for path in _SUBJECTS:
        if path in fields:
            return fields[path][:_SUBJECT_CHARS]
    return ""
