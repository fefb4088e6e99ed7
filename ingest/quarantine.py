"""An authentic call that is no readable event → a record of the quarantine: the body as it came, and the reason.

With a seal key the body is encrypted whole (AES-256-GCM, the call's id as associated data), and the headers say with
which key and nonce. Without one, the values of the secret pairs are cut out of it.
"""

import re

from forebay.queues.contract import Record
from forebay.schemas import names

from .authenticate import Sender
from .call import recognise
from .form import Form
from .record import Receipt
from .seal import Sealer, cut

_FORM = b"application/x-www-form-urlencoded"
_SEALED = b"application/octet-stream"

#: A queue's own words are long at times.
_DETAIL_CHARS = 1000

#: In a form that was not read whole.
_EVENT = re.compile(rb"(?:^|&)event=([^&%]{1,255})(?:&|$)")


def quarantine_record(receipt: Receipt, sender: Sender, form: Form, reason: str, detail: str, sealer: Sealer) -> Record:
    """The record. Its key is the portal, or the endpoint where the call names no portal."""
    sealed = sealer.seal_whole(form.body, receipt.id, sender.proved_member)
    headers = [
        (names.CONTENT_TYPE, _SEALED if sealed else _FORM),
        (names.QUARANTINE_ID, receipt.id.encode()),
        (names.QUARANTINE_REASON, reason.encode()),
        (names.QUARANTINE_DETAIL, detail[:_DETAIL_CHARS].encode(errors="replace")),
        (names.QUARANTINE_PATH, sender.address.path.encode()),
        (names.QUARANTINE_QUERY, sender.address.query.encode()),
        (names.QUARANTINE_AT, receipt.time),
        (names.ENDPOINT, receipt.endpoint.encode()),
    ]
    if name := _name(form):
        headers.append((names.QUARANTINE_NAME, name.encode()))
    if sender.member_id:
        headers.append((names.MEMBER_ID, sender.member_id.encode()))
    if sender.pin:
        # Read again, its event is not verified: this is what can prove it to a handler that wants that.
        headers.append((names.PIN, sender.pin.encode()))
    if receipt.traceparent:
        headers.append((names.TRACEPARENT, receipt.traceparent.encode()))
    if sealed:
        headers += [(names.QUARANTINE_KEY_ID, sealed.key_id.encode()), (names.QUARANTINE_NONCE, sealed.nonce)]
    return Record(
        key=sender.portal or receipt.endpoint,
        value=sealed.ciphertext if sealed else cut(form.body),
        timestamp_ms=receipt.at_ms,
        headers=tuple(headers),
    )


def _name(form: Form) -> str:
    """As an event of it would be called, if that can be told."""
    if form.whole:
        return recognise(form.fields).name
    found = _EVENT.search(form.body)
    return recognise({"event": found[1].decode("ascii", "replace")}).name if found else ""
