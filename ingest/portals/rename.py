"""A portal that came under another domain → the record by which its handlers learn of it."""

from forebay.ingest.address import NOTHING
from forebay.ingest.authenticate import Sender
from forebay.ingest.call import Call
from forebay.ingest.record import received, record_of
from forebay.queues.contract import Record
from forebay.schemas.binary import Names
from forebay.schemas.codec import Codec, packed
from forebay.schemas.names import BY_FOREBAY, RENAMED

_NS_PER_S = 1_000_000_000
_MS_PER_S = 1000


def rename_record(sender: Sender, old: str, new: str, endpoint: str, codec: Codec, now_ns: int) -> Record:
    """The record, as a call of the portal would give it; only its `source` is another. It stands under the old key."""
    receipt = received(now_ns, endpoint)
    sender = Sender(portal=sender.portal, member_id=sender.member_id, verified=sender.verified, address=NOTHING)
    seconds = now_ns // _NS_PER_S
    call = Call(kind="event", name=RENAMED, subscription_id=None, occurred_at_ms=seconds * _MS_PER_S)
    fields = {
        "event": RENAMED,
        "data[FROM]": old,
        "data[TO]": new,
        "ts": str(seconds),
        "auth[domain]": new,
        "auth[member_id]": sender.member_id or "",
    }
    body = packed(Names(fields), tuple(fields.values()))
    return record_of(receipt, sender, sender.portal or new, call, body, None, codec, source=BY_FOREBAY)
