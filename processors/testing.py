"""For tests of handlers: events made by hand, and one try at them, without a queue.

>>> from forebay import Handlers
>>> from forebay.processors.outcome import Done
>>> handlers = Handlers()
>>> @handlers.on("ONCRMDEALADD")
... async def deal_added(event):
...     assert event.data["FIELDS"]["ID"] == "7"
>>> run_now(handlers, event("ONCRMDEALADD", data={"FIELDS": {"ID": "7"}}))
Done(late=False)
"""

import asyncio
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import md5
from uuid import uuid4

from forebay.schemas.codec import codec
from forebay.schemas.data_keys import raw
from forebay.schemas.event import Body, PortalEvent, Sealed, Subscription
from forebay.schemas.form import Pair, as_text, pairs_of
from forebay.schemas.secrecy import Secrecy, secrecy_of

from .calls import Calls
from .cpu.in_place import InPlace
from .handlers import Handlers
from .outcome import UNHANDLED, Outcome
from .rehearsal import Dead, Rehearsal

__all__ = ["Dead", "Rehearsal", "event", "event_of", "run", "run_now"]

#: What `data` may be made of; numbers become text, as they are in a form.
Tree = str | int | Mapping[str, "Tree"] | Sequence["Tree"]

#: As in the setting `seal_keys`: key id → 32 bytes, or their base64.
Keys = Mapping[str, str | bytes]

#: A test that hangs is no help; a handler's own `deadline_s` goes before.
_DEADLINE_S = 30.0


def event(
    name: str,
    *,
    data: Tree | None = None,
    portal: str = "example.bitrix24.com",
    kind: str = "event",
    fields: Mapping[str, str] | None = None,
    occurred_at: datetime | None = None,
    received_at: datetime | None = None,
    id: str | None = None,
    member_id: str | None = None,
    verified: bool = True,
    seal_keys: Keys | None = None,
) -> PortalEvent:
    """An event as a handler gets it: encoded and decoded, every value text.

    `data` is what stands under `data`, or for another kind than `event` beside `auth`. `fields` adds to the body, or
    changes, pairs as a portal sends them: `{"auth[user_id]": "5"}`. What is secret of them is sealed by the first of
    `seal_keys`, as in the setting, for `event.secrets`; without a key it is left out. Each portal has a `member_id`.
    """
    at, id = received_at or datetime.now(UTC), id or str(uuid4())
    member_id = member_id or md5(portal.encode(), usedforsecurity=False).hexdigest()
    sent = dict(_pairs(name, data, portal, member_id, kind, occurred_at or at)) | dict(fields or {})
    body, sealed = _divided([(path.encode(), value.encode()) for path, value in sent.items()], id, seal_keys)
    made = PortalEvent(
        id=id,
        portal=portal,
        member_id=member_id,
        kind=kind,
        name=name.upper() if kind == "event" else name,
        occurred_at=(occurred_at or at).replace(microsecond=0),
        received_at=at,
        subscription=Subscription(id="1", endpoint="/bitrix24", verified=verified),
        sealed=sealed,
        body=lambda: body,
    )
    return codec().decode(codec().encode(made))


def event_of(
    body: str | bytes,
    *,
    kind: str = "event",
    name: str = "",
    received_at: datetime | None = None,
    verified: bool = True,
    seal_keys: Keys | None = None,
) -> PortalEvent:
    """The event of a body as a portal sent it, percent-encoded, as a handler gets it: what is secret is as in `event`.

    A call that has no `event` (a robot's, an SMS) needs its kind and name. When no `received_at` is given it came now.
    """
    sent, id = pairs_of((body.encode() if isinstance(body, str) else body).strip()), str(uuid4())
    kept, sealed = _divided(sent, id, seal_keys)
    fields = kept.fields
    at, ts = received_at or datetime.now(UTC), fields.get("ts", "")
    made = PortalEvent(
        id=id,
        portal=fields.get("auth[domain]", "example.bitrix24.com"),
        member_id=fields.get("auth[member_id]"),
        kind=kind,
        name=name or fields["event"].upper(),
        occurred_at=datetime.fromtimestamp(int(ts), UTC) if ts.isdecimal() else None,
        received_at=at,
        subscription=Subscription(id=fields.get("event_handler_id"), endpoint="/bitrix24", verified=verified),
        sealed=sealed,
        body=lambda: kept,
    )
    return codec().decode(codec().encode(made))


async def run(handlers: Handlers, event: PortalEvent, *, group: str | None = None) -> Outcome:
    """One try at the event, as the worker makes it: the handler that would get it, with its deadline.

    A handler with `batch` gets a batch of one; one with `cpu` runs in this process. What only shows over several events
    (a limit, dedup, coalescing, another try) is for a `Rehearsal`.
    """
    handler = handlers.of(group).find(event.kind, event.name)
    if handler is None:
        return UNHANDLED
    calls = Calls(threads=1, deadline_s=_DEADLINE_S, processes=InPlace(), clock=time.monotonic)
    try:
        return await calls.call(handler, [event] if handler.options.batch else event)
    finally:
        calls.close()


def run_now(handlers: Handlers, event: PortalEvent, *, group: str | None = None) -> Outcome:
    """The same, for tests that are not `async`."""
    return asyncio.run(run(handlers, event, group=group))


def _divided(sent: Sequence[Pair], event_id: str, keys: Keys | None) -> tuple[Body, Sealed | None]:
    """The body without what is secret, and of that what a handler may open."""
    rules = [secrecy_of(as_text(path)) for path, _ in sent]
    body = Body.of(tuple(pair for pair, rule in zip(sent, rules, strict=True) if rule is Secrecy.OPEN))
    secrets = [
        (as_text(path), as_text(value))
        for (path, value), rule in zip(sent, rules, strict=True)
        if rule is Secrecy.SEALED
    ]
    if not secrets or not keys:
        return body, None
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key_id, key = next(iter(keys.items()))
    return body, Sealed.by(AESGCM(raw(key)), key_id, json.dumps(secrets).encode(), event_id)


def _pairs(
    name: str, data: Tree | None, portal: str, member_id: str, kind: str, at: datetime
) -> Iterator[tuple[str, str]]:
    if kind == "event":
        yield "event", name.upper()
        yield "event_handler_id", "1"
    if data is not None:
        yield from _flat("data" if kind == "event" else "", data)
    yield "ts", str(int(at.timestamp()))
    yield "auth[domain]", portal
    yield "auth[client_endpoint]", f"https://{portal}/rest/"
    yield "auth[server_endpoint]", "https://oauth.bitrix.info/rest/"
    yield "auth[member_id]", member_id


def _flat(path: str, node: Tree) -> Iterator[tuple[str, str]]:
    """The pairs that PHP's `http_build_query` would send."""
    if isinstance(node, str | int):
        yield path, str(node)
        return
    children = node.items() if isinstance(node, Mapping) else ((str(index), child) for index, child in enumerate(node))
    for key, child in children:
        yield from _flat(f"{path}[{key}]" if path else key, child)
