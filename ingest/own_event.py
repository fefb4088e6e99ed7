"""An event of Forebay's own, by which the handlers of a portal learn something in the portal's order."""

from collections.abc import Mapping

from forebay.queues.contract import Record
from forebay.schemas.codec import Codec, packed_body
from forebay.schemas.event import Body
from forebay.schemas.names import BY_FOREBAY

from .authenticate import Sender
from .call import Call
from .record import Receipt, record_of

_MS_PER_S = 1000


def own_record(
    name: str, data: Mapping[str, str], at_s: int, sender: Sender, domain: str, receipt: Receipt, codec: Codec
) -> Record:
    """The record, as a call of the sender would give it; only its `source` is another. It stands under the sender's
    key, whatever the domain that it names.
    """
    call = Call(kind="event", name=name, subscription_id=None, occurred_at_ms=at_s * _MS_PER_S)
    fields = {"event": name, **{f"data[{key}]": value for key, value in data.items()}, "ts": str(at_s)}
    about = {"auth[domain]": domain, "auth[member_id]": sender.member_id or ""}
    fields |= {path: value for path, value in about.items() if value}
    body = packed_body(Body(fields))
    return record_of(receipt, sender, sender.portal or domain, call, body, None, codec, source=BY_FOREBAY)
