"""An event that its handler doesn't want unverified → a quarantined call, as the ingest would have made it.

Its form is what the event has of it: without secrets, which are not given back to who could not be verified.
"""

from urllib.parse import quote_plus

from forebay.queues.contract import Record, StoredRecord
from forebay.schemas import names
from forebay.schemas.event import PortalEvent

from .error_texts import error_text

_FORM = b"application/x-www-form-urlencoded"

#: The reason that stands in the record and in the metrics.
UNVERIFIED = "unverified"


def quarantined(event: PortalEvent, record: StoredRecord, error: BaseException, at_ms: int) -> Record:
    """The record."""
    own = dict(record.headers)
    headers = [
        (names.CONTENT_TYPE, _FORM),
        (names.QUARANTINE_ID, event.id.encode()),
        (names.QUARANTINE_REASON, UNVERIFIED.encode()),
        (names.QUARANTINE_DETAIL, error_text(error).encode()),
        (names.QUARANTINE_PATH, event.path.encode()),
        (names.QUARANTINE_QUERY, event.query.encode()),
        (names.QUARANTINE_AT, event.received_at.isoformat(timespec="microseconds").encode()),
        (names.ENDPOINT, event.subscription.endpoint.encode()),
    ]
    headers += [(names.QUARANTINE_NAME, event.name.encode())] if event.name else []
    headers += [(name, own[name]) for name in (names.MEMBER_ID, names.PIN, names.TRACEPARENT) if name in own]
    body = "&".join(f"{quote_plus(path)}={quote_plus(value)}" for path, value in event.pairs)
    return Record(key=record.key, value=body.encode(), timestamp_ms=at_ms, headers=tuple(headers))
