"""What an event is in a record, its secrets, and a call that could not be read."""

from typing import Any

from forebay.ingest.address import Address
from forebay.ingest.authenticate import Sender
from forebay.ingest.form import parse
from forebay.ingest.quarantine import quarantine_record
from forebay.ingest.record import Receipt
from forebay.ingest.seal import Sealer
from forebay.queues import headers
from forebay.queues.contract import Record
from forebay.schemas.codec import codec, new_codec
from forebay.schemas.event import Body, PortalEvent, Sealed
from forebay.schemas.portal import partition_of
from forebay.schemas.versions import schema_texts

from .sample import AT_MS, ID, MEMBER, NONCE, PORTAL, RECORD, SEAL_KEYS, Format, event, packed, same, stands

_REGISTRY_ID = 7
_SECRETS = [("auth[access_token]", "s6p6eclrvim6da22ft9ch94ekreb52lv")]
_AS_SENT = ((b"event", b"ONCRMDEALADD"), (b"data[FIELDS][TITLE]", b"\xd1\x81\xff"))
_ODD = event(
    member_id=None,
    occurred_at=None,
    traceparent=None,
    kind="other",
    name="",
    sealed=Sealed(key_id="2026", nonce=NONCE, ciphertext=b"sealed"),
    body=lambda: Body(fields={"event": "ONCRMDEALADD", "data[FIELDS][TITLE]": "с\ufffd"}, as_sent=_AS_SENT),
)


def _all_of(event: PortalEvent) -> object:
    return event, dict(event.fields), event.pairs


def _with_registry() -> Any:
    made = new_codec()
    made.learn(_REGISTRY_ID, schema_texts()[-1])
    made.write_with(_REGISTRY_ID)
    return made


def _sealed(event_id: str) -> bytes:
    made = Sealer(SEAL_KEYS).seal(_SECRETS, event_id)
    assert made is not None
    return codec().encode(event(sealed=made))


def _call() -> Record:
    receipt = Receipt(ID, AT_MS * 1000 + 456, "/bitrix24", None)
    form = parse(b"event=%FF&auth[access_token]=x", max_fields=16)
    sender = Sender(PORTAL, MEMBER, False, Address(path="shop", query="a=1"), pin="f00d")
    return quarantine_record(receipt, sender, form, "bad_body", "no text", Sealer({}))


EVENTS: dict[str, Format] = {
    "the event of a record": Format(
        write=lambda: codec().encode(event()),
        read=lambda found: _all_of(codec().decode(found)),
        means=_all_of(event()),
    ),
    "one with pairs as they were sent, and without what may be missing": Format(
        write=lambda: codec().encode(_ODD), read=lambda found: _all_of(codec().decode(found)), means=_all_of(_ODD)
    ),
    "the same with a schema registry's id": Format(
        write=lambda: bytes(_with_registry().encode(_ODD)),
        read=lambda found: _all_of(_with_registry().decode(found)),
        means=_all_of(_ODD),
    ),
    "sealed secrets": Format(
        write=lambda: _sealed(ID),
        read=lambda found: codec().decode(found).secrets(SEAL_KEYS),
        means=dict(_SECRETS),
        varies=True,
    ),
    "headers in SQL, Redis, Memcached and the spool": Format(
        write=lambda: headers.pack(RECORD.headers), read=headers.unpack, means=RECORD.headers
    ),
    "a quarantined call": Format(
        write=lambda: packed(_call()),
        read=lambda found: (dict(stands(found).headers), stands(found).value),
        means=(dict(_call().headers), b"event=%FF&auth[access_token]="),
    ),
    "the partitions of portals": same(lambda: bytes(partition_of(f"portal-{number}.ru", 12) for number in range(24))),
}
