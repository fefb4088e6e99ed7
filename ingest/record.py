"""An event → the record that goes into the queue, with CloudEvents' headers (1.0, Kafka binding, binary mode)."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from forebay.queues.contract import Record
from forebay.schemas import names
from forebay.schemas.codec import Codec
from forebay.schemas.event import Body, PortalEvent, Sealed, Subscription

from .authenticate import Sender
from .call import Call

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NS_PER_US = 1000
_NS_PER_MS = 1_000_000

#: Where calls name the thing they are about; the first that is there is the CloudEvents subject.
_SUBJECTS = ("data[FIELDS][ID]", "document_id[2]", "data[FIELDS_AFTER][ID]", "data[ID]", "data[id]", "data[CALL_ID]")

#: A subject is a label, no place for a text.
_SUBJECT_CHARS = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """That a call was received: its id, when, where, and in which trace."""

    id: str
    at_ns: int
    endpoint: str
    traceparent: str | None

    @property
    def at(self) -> datetime:
        """The moment, to the microsecond."""
        return _EPOCH + timedelta(microseconds=self.at_ns // _NS_PER_US)

    @property
    def at_ms(self) -> int:
        """The moment as a record has it."""
        return self.at_ns // _NS_PER_MS


def event_of(
    receipt: Receipt, sender: Sender, portal: str, call: Call, body: Body, sealed: Sealed | None
) -> PortalEvent:
    """The event, from what the steps found."""
    subscription = Subscription(id=call.subscription_id, endpoint=receipt.endpoint, verified=sender.verified)
    return PortalEvent(
        id=receipt.id,
        portal=portal,
        member_id=sender.member_id,
        kind=call.kind,
        name=call.name,
        occurred_at=call.occurred_at,
        received_at=receipt.at,
        subscription=subscription,
        path=sender.address.path,
        query=sender.address.query,
        traceparent=receipt.traceparent,
        sealed=sealed,
        body=lambda: body,
    )


def record_of(event: PortalEvent, at_ms: int, codec: Codec) -> Record:
    """The event as a record, keyed by its portal."""
    return Record(key=event.portal, value=codec.encode(event), timestamp_ms=at_ms, headers=_headers(event))


def _headers(event: PortalEvent) -> tuple[tuple[str, bytes], ...]:
    kind = f"com.bitrix24.{event.kind}.{event.name}" if event.name else f"com.bitrix24.{event.kind}"
    headers = [
        (names.CE_SPECVERSION, b"1.0"),
        (names.CE_ID, event.id.encode()),
        (names.CE_SOURCE, b"//" + event.portal.encode()),
        (names.CE_TYPE, kind.encode()),
        (names.CE_TIME, event.received_at.isoformat().encode()),
        (names.CONTENT_TYPE, b"application/avro"),
        (names.ENDPOINT, event.subscription.endpoint.encode()),
    ]
    subject = _subject(event)
    if subject:
        headers.append((names.CE_SUBJECT, subject.encode()))
    if event.member_id:
        headers.append((names.MEMBER_ID, event.member_id.encode()))
    if event.traceparent:
        headers.append((names.TRACEPARENT, event.traceparent.encode()))
    return tuple(headers)


def _subject(event: PortalEvent) -> str:
    fields = event.fields
    for path in _SUBJECTS:
        if path in fields:
            return fields[path][:_SUBJECT_CHARS]
    return ""
