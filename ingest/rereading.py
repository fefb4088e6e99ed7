"""A quarantined call → the record of its event, by the present parser and settings.

The event says that its portal is not verified: the proof was not kept, only the mark of its token, by which a handler
that wants verified events gets it. It keeps the id that the caller was told, and the moment of its receipt.

What the queue refused when it came out of the spool is an event already, and goes as it is. What the disk has changed
there stays in quarantine.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from forebay.queues.contract import Record, StoredRecord
from forebay.schemas import names
from forebay.schemas.codec import Codec

from .address import Address
from .authenticate import Gate, Proofs
from .errors import Unreadable
from .form import auth_of, parse
from .reader import FormLimits, Reader
from .record import CONTENT, Receipt
from .seal import Sealer
from .settings import IngestSettings
from .spool.refusals import DAMAGED
from .uuid7 import uuid7

_EPOCH = datetime.fromtimestamp(0, UTC)
_NS_PER_US = 1000
_US_PER_MS = 1000

#: What a record of the spool got when the queue refused it.
_ADDED = (names.QUARANTINE_ID, names.QUARANTINE_REASON, names.QUARANTINE_DETAIL)


class Rereader:
    """Reads quarantined calls again. Holds no state."""

    def __init__(self, settings: IngestSettings, codec: Codec) -> None:
        limits = FormLimits(max_fields=settings.max_fields, max_depth=settings.max_depth)
        self._reader = Reader(limits, Sealer(settings.seal_key_bytes()), codec)
        # It was authentic when it came: that is why it was kept.
        self._gate = Gate(Proofs(anyone=True, tokens={}, secrets=()), key_is_member_id=settings.key == "member_id")

    def record(self, call: StoredRecord, body: bytes, now_ms: int) -> Record:
        """The event of the call with this body, to be kept from now on. Raises `Unreadable`."""
        headers = {name: value.decode(errors="replace") for name, value in call.headers}
        if headers.get(names.QUARANTINE_REASON) == DAMAGED:
            raise Unreadable(DAMAGED, headers.get(names.QUARANTINE_DETAIL, ""))
        if CONTENT in call.headers:
            own = tuple(header for header in call.headers if header[0] not in _ADDED)
            return Record(call.key, call.value, now_ms, own)
        address = Address(path=headers.get(names.QUARANTINE_PATH, ""), query=headers.get(names.QUARANTINE_QUERY, ""))
        form = parse(body, self._reader.limits.max_fields)
        sender = self._gate.admit(auth_of(form), address)
        # It stands under what was its portal's key when it came: of a renamed one that is another domain than it sends.
        portal = call.key if sender.portal and not call.key.startswith("/") else sender.portal
        # A worker's handler may want it once its token is proved.
        sender = replace(sender, portal=portal, pin=headers.get(names.PIN, ""))
        # With the old time, retention could take the record before it is handled.
        return replace(self._reader.record(form, sender, _receipt(headers, call)), timestamp_ms=now_ms)


def _receipt(headers: dict[str, str], call: StoredRecord) -> Receipt:
    at_us = _moment_us(headers.get(names.QUARANTINE_AT, ""), call.timestamp_ms)
    id = headers.get(names.QUARANTINE_ID) or uuid7(at_us * _NS_PER_US)
    traceparent = headers.get(names.TRACEPARENT)
    return Receipt(id=id, at_us=at_us, endpoint=headers.get(names.ENDPOINT, ""), traceparent=traceparent)


def _moment_us(text: str, otherwise_ms: int) -> int:
    try:
        return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)
    except (ValueError, TypeError):
        return otherwise_ms * _US_PER_MS
