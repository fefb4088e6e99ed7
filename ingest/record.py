"""A call → the record that goes into the queue, with CloudEvents' headers (1.0, Kafka binding, binary mode)."""

from datetime import UTC, datetime
from functools import lru_cache

from forebay.queues.contract import Record
from forebay.schemas.codec import Codec
from forebay.schemas.event import Sealed
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
from .uuid7 import uuid7

_NS_PER_US = 1000
_US_PER_MS = 1000
_US_PER_S = 1_000_000

#: The same for every event.
_SPECVERSION = (CE_SPECVERSION, b"1.0")
CONTENT = (CONTENT_TYPE, b"application/avro")

#: Bitrix24 has a few hundred events; names come from outside, and no more are kept than that.
_TYPES_REMEMBERED = 1024
_ENDPOINTS_REMEMBERED = 64

Header = tuple[str, bytes]

#: How the event came: the portal called.
_ONLINE = "online"


@quick_value
class Receipt:
    """That a call was received: its id, when, where, and in which trace."""

    id: str
    #: Microseconds since the epoch, as the event has it.
    at_us: int
    endpoint: str
    traceparent: str | None

    @property
    def time(self) -> bytes:
        """The moment as RFC 3339 has it, to the microsecond, in UTC."""
        seconds, us = divmod(self.at_us, _US_PER_S)
        return b"%b.%06d+00:00" % (_second(seconds), us)

    @property
    def at_ms(self) -> int:
        """The moment as a record has it."""
        return self.at_us // _US_PER_MS


def received(now_ns: int, endpoint: str, traceparent: str | None = None) -> Receipt:
    """The receipt of what comes now, with a new id."""
    return Receipt(uuid7(now_ns), now_ns // _NS_PER_US, endpoint, traceparent)


def record_of(
    receipt: Receipt,
    sender: Sender,
    portal: str,
    call: Call,
    body: bytes,
    sealed: Sealed | None,
    codec: Codec,
    *,
    source: str = _ONLINE,
) -> Record:
    """The record, keyed by the portal, from what the steps found."""
    value = codec.pack(
        receipt.id,
        portal,
        sender.member_id,
        call.kind,
        call.name,
        call.occurred_at_ms,
        receipt.at_us,
        source,
        call.subscription_id,
        receipt.endpoint,
        sender.verified,
        sender.address.path,
        sender.address.query,
        receipt.traceparent,
        sealed,
        body,
    )
    return Record(portal, value, receipt.at_ms, _headers(receipt, sender, portal, call))


def _headers(receipt: Receipt, sender: Sender, portal: str, call: Call) -> tuple[Header, ...]:
    headers = [
        _SPECVERSION,
        (CE_ID, receipt.id.encode()),
        (CE_SOURCE, b"//" + portal.encode()),
        _type(call.kind, call.name),
        (CE_TIME, receipt.time),
        CONTENT,
        _endpoint(receipt.endpoint),
    ]
    if call.subject:
        headers.append((CE_SUBJECT, call.subject.encode()))
    if sender.member_id:
        headers.append((MEMBER_ID, sender.member_id.encode()))
    if sender.pin and not sender.verified:
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
