"""A gap → the record by which the handlers of its portal learn of it."""

from datetime import UTC, datetime

from forebay.ingest.address import NOTHING
from forebay.ingest.authenticate import Sender
from forebay.ingest.own_event import own_record
from forebay.ingest.record import received
from forebay.queues.contract import Record
from forebay.schemas.codec import Codec
from forebay.schemas.names import GAP

from .gap import NOT_KEPT, Gap

_MS = 1000


def marker(gap: Gap, codec: Codec, now_ns: int) -> Record:
    """The record."""
    data = {"FROM": _time(gap.from_ms), "TO": _time(gap.to_ms), "REASON": NOT_KEPT, "COUNT": str(gap.calls)}
    sender = Sender(portal=gap.portal, member_id=gap.member_id, verified=gap.verified, address=NOTHING)
    # By the setting `key` the portal's name may be its member_id.
    domain = gap.portal if gap.portal != gap.member_id else ""
    return own_record(GAP, data, gap.to_ms // _MS, sender, domain, received(now_ns, gap.endpoint), codec)


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / _MS, UTC).isoformat(timespec="milliseconds")
