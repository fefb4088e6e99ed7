"""A call → the record that goes into the queue, with CloudEvents' headers (1.0, Kafka binding, binary mode)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from forebay.queues.contract import Record
from forebay.schemas import names
from forebay.schemas.codec import Codec
from forebay.schemas.event import Body, Sealed

from .authenticate import Sender
from .call import Call

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NS_PER_US = 1000
_NS_PER_MS = 1_000_000

#: How the event came: the portal called.
_SOURCE = "online"

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
        return _EPOCH + timedelta(microseconds=self.at_us)

    @property
    def at_us(self) -> int:
        """The moment as the event has it: microseconds since the epoch."""
        return self.at_ns // _NS_PER_US

    @property
    def at_ms(self) -> int:
        """The moment as a record has it."""
        return self.at_ns // _NS_PER_MS


def record_of(
    receipt: Receipt, sender: Sender, portal: str, call: Call, body: Body, sealed: Sealed | None, codec: Codec
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
        source=_SOURCE,
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
    return Record(
        key=portal, value=value, timestamp_ms=receipt.at_ms, headers=_headers(receipt, sender, portal, call, body)
    )


def _headers(receipt: Receipt, sender: Sender, portal: str, call: Call, body: Body) -> tuple[tuple[str, bytes], ...]:
    kind = f"com.bitrix24.{call.kind}.{call.name}" if call.name else f"com.bitrix24.{call.kind}"
    headers = [
        (names.CE_SPECVERSION, b"1.0"),
        (names.CE_ID, receipt.id.encode()),
        (names.CE_SOURCE, b"//" + portal.encode()),
        (names.CE_TYPE, kind.encode()),
        (names.CE_TIME, receipt.at.isoformat().encode()),
        (names.CONTENT_TYPE, b"application/avro"),
        (names.ENDPOINT, receipt.endpoint.encode()),
    ]
    subject = _subject(body.fields)
    if subject:
        headers.append((names.CE_SUBJECT, subject.encode()))
    if sender.member_id:
        headers.append((names.MEMBER_ID, sender.member_id.encode()))
    if receipt.traceparent:
        headers.append((names.TRACEPARENT, receipt.traceparent.encode()))
    return tuple(headers)


def _subject(fields: Mapping[str, str]) -> str:
    for path in _SUBJECTS:
        if path in fields:
            return fields[path][:_SUBJECT_CHARS]
    return ""
