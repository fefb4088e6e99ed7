"""A record of the spool that the queue never takes → a record of the quarantine, with the reason."""

from forebay.queues.contract import Record
from forebay.schemas import names

from .kept import Kept

#: The reason of a record that the disk has changed.
DAMAGED = "damaged_in_spool"

#: A queue's own words are long at times.
_DETAIL_CHARS = 1000


def quarantine_of(kept: Kept, reason: str, detail: str) -> Record:
    """The record as it is, its secrets still sealed, under the id that its portal was told."""
    headers = dict(kept.record.headers)
    id_ = headers.get(names.CE_ID) or headers.get(names.QUARANTINE_ID) or f"spool-{kept.seq}".encode()
    added = (
        (names.QUARANTINE_ID, id_),
        (names.QUARANTINE_REASON, reason.encode()),
        (names.QUARANTINE_DETAIL, detail[:_DETAIL_CHARS].encode(errors="replace")),
    )
    own = tuple((name, value) for name, value in kept.record.headers if name not in dict(added))
    record = kept.record
    return Record(key=record.key, value=record.value, timestamp_ms=record.timestamp_ms, headers=(*own, *added))
