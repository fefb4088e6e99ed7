"""A gap → the record by which the handlers of its portal learn of it."""

from datetime import UTC, datetime

from forebay.ingest.address import NOTHING
from forebay.ingest.authenticate import Sender
from forebay.ingest.call import Call
from forebay.ingest.record import received, record_of
from forebay.queues.contract import Record
from forebay.schemas.binary import Names
from forebay.schemas.codec import Codec, packed
from forebay.schemas.names import BY_FOREBAY, GAP

from .gap import NOT_KEPT, Gap

_MS = 1000


def marker(gap: Gap, codec: Codec, now_ns: int) -> Record:
    """The record, as a call of the portal would give it; only its `source` is another."""
    receipt = received(now_ns, gap.endpoint)
    sender = Sender(portal=gap.portal, member_id=gap.member_id, verified=gap.verified, address=NOTHING)
    call = Call(kind="event", name=GAP, subscription_id=None, occurred_at_ms=gap.to_ms // _MS * _MS)
    fields = _fields(gap)
    body = packed(Names(fields), tuple(fields.values()))
    return record_of(receipt, sender, gap.portal, call, body, None, codec, source=BY_FOREBAY)


def _fields(gap: Gap) -> dict[str, str]:
    fields = {
        "event": GAP,
        "data[FROM]": _time(gap.from_ms),
        "data[TO]": _time(gap.to_ms),
        "data[REASON]": NOT_KEPT,
        "data[COUNT]": str(gap.calls),
        "ts": str(gap.to_ms // _MS),
    }
    # By the setting `key` the portal's name may be its member_id.
    if gap.portal != gap.member_id:
        fields["auth[domain]"] = gap.portal
    if gap.member_id:
        fields["auth[member_id]"] = gap.member_id
    return fields


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / _MS, UTC).isoformat(timespec="milliseconds")
