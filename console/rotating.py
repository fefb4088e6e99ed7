"""Which seal keys are in use, and how portals' keys come to be wrapped by the first of them."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forebay.queues.contract import Inspector, StoredRecord
from forebay.queues.portals.members import DataKey
from forebay.queues.reading import between
from forebay.schemas import names
from forebay.schemas.codec import Codec, new_codec
from forebay.schemas.data_keys import CannotUnwrap, Named, named, unwrap, wrap, wrapped_with
from forebay.schemas.errors import UndecodableEvent

from .decoding import decodable
from .portal_keys import known_portals
from .reading import opened
from .terminal.output import Row, note
from .terminal.progress import progress

if TYPE_CHECKING:
    from forebay.console.settings import Settings
    from forebay.queues.portals.registry import PortalRegistry

_NONCE_BYTES = 12

#: Keys that are written at once.
_AT_ONCE = 32

#: In the place of a key's id: no seal key is needed; nobody knows.
_BY_NONE, _UNREAD = "", "?"

#: As docs/record.md has it: what stands beside it in the parked stream is no event.
_SPILL = b"spill"


@dataclass(slots=True, kw_only=True)
class Rotated:
    """What became of portals' keys."""

    key: str
    portals: int = 0
    wrapped: int = 0
    #: Their seal key is missing, or is another one.
    stuck: int = 0

    def row(self) -> Row:
        """As it is shown."""
        return {"key": self.key, "portals": self.portals, "wrapped": self.wrapped, "stuck": self.stuck}


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What needs a seal key."""

    key: str
    #: `seals` (the first), `opens`, or `missing` from the settings.
    role: str
    portals: int
    tokens: int
    #: None when nobody has looked.
    records: int | None
    #: In which streams they stand: a dead letter goes by no retention.
    streams: Sequence[str] = ()

    @property
    def can_go(self) -> bool:
        """Whether nothing needs it any more; without a look at the records nobody knows."""
        return self.role == "opens" and not (self.portals or self.tokens) and self.records == 0

    def row(self) -> Row:
        """As it is shown."""
        told = {"portals": self.portals, "tokens": self.tokens, "records": self.records}
        return {"key": self.key, "role": self.role, **told, "in": ", ".join(self.streams), "can_go": self.can_go}


async def rotated(settings: "Settings") -> Rotated:
    """Wrap each key anew that is not wrapped by the first seal key."""
    seal_keys = settings.seal_key_bytes()
    done = Rotated(key=next(iter(seal_keys)))
    async with opened(settings) as queue, known_portals(queue, settings) as registry:
        members = registry.following.book.members.values()
        todo = [(member, key) for member in members for key in member.data_keys if _wrapper(key) != done.key]
        done.portals = sum(bool(member.data_keys) for member in members)
        with progress("keys", len(todo), sys.stderr) as told:
            for first in range(0, len(todo), _AT_ONCE):
                some = todo[first : first + _AT_ONCE]
                await asyncio.gather(*(_wrap_anew(registry, one.id, key, seal_keys, done) for one, key in some))
                told(first + len(some))
    return done


async def _wrap_anew(
    registry: "PortalRegistry", member_id: str, key: DataKey, seal_keys: Mapping[str, bytes], done: Rotated
) -> None:
    whose = Named(member_id, key.id)
    try:
        data_key = unwrap(key.wrapped, whose, seal_keys)
    except CannotUnwrap as error:
        done.stuck += 1
        return note(str(error))
    wrapped = wrap(data_key, whose, seal_keys, os.urandom(_NONCE_BYTES))
    if await registry.data_keys.rewrap(member_id, key._replace(wrapped=wrapped)):
        done.wrapped += 1


def _wrapper(key: DataKey) -> str:
    try:
        return wrapped_with(key.wrapped)
    except CannotUnwrap:
        return _UNREAD


async def usage(settings: "Settings", *, looks_at_records: bool) -> list[Usage]:
    """Of each key of the settings, first the one that seals; then of those that are needed and missing."""
    codec = new_codec()
    async with opened(settings) as queue, known_portals(queue, settings) as registry:
        members = registry.following.book.members.values()
        async with decodable(settings, queue, codec) as inspector:
            by_stream = await _sealed(inspector, settings.topic, codec) if looks_at_records else {}
    portals = Counter(_wrapper(key) for member in members for key in member.data_keys)
    tokens = Counter(
        known.key_id for member in members for pin in member.pins for known in (pin.proof, pin.seen) if known
    )
    sealed = sum(by_stream.values(), Counter[str]()) if looks_at_records else None
    if sealed and sealed[_UNREAD]:
        note(f"{sealed[_UNREAD]:,} records can't be read, and so nobody knows which key they need")
        sealed = None
    missing = sorted((set(portals) | set(tokens) | set(sealed or ())) - set(settings.seal_keys))
    return [
        Usage(
            key=key_id,
            role="missing" if key_id in missing else "opens" if number else "seals",
            portals=portals[key_id],
            tokens=tokens[key_id],
            records=None if sealed is None else sealed[key_id],
            streams=[stream for stream, counted in by_stream.items() if counted[key_id]],
        )
        for number, key_id in enumerate([*settings.seal_keys, *missing])
    ]


async def _sealed(inspector: Inspector, topic: str, codec: Codec) -> "dict[str, Counter[str]]":
    """Of each stream, seal keys by how many of its records they have sealed themselves."""
    bounds = {stream: await inspector.bounds(stream) for stream in _sealed_streams(topic)}
    total = sum(at.end - at.start for found in bounds.values() for at in found.values())
    by_stream, number = {stream: Counter[str]() for stream in bounds}, 0
    with progress("records", total, sys.stderr) as told:
        for stream, found in bounds.items():
            for partition, at in found.items():
                async for record in between(inspector, stream, partition, at.start, at.end):
                    by_stream[stream][_sealed_with(record, codec)] += 1
                    number += 1
                    told(number)
            del by_stream[stream][_BY_NONE]
    return by_stream


def _sealed_streams(topic: str) -> tuple[str, ...]:
    return (topic, names.parked(topic), names.dead(topic), names.quarantine(topic))


def _sealed_with(record: StoredRecord, codec: Codec) -> str:
    """The seal key that opens the record; a portal's own key needs the one that wraps it, which is counted there."""
    headers = dict(record.headers)
    key_id = headers[names.QUARANTINE_KEY_ID].decode() if names.QUARANTINE_KEY_ID in headers else ""
    is_event = names.QUARANTINE_ID not in headers and headers.get(names.PARKED_KIND, _SPILL) == _SPILL
    if not key_id and is_event:
        try:
            sealed = codec.decode(record.value).sealed
        except UndecodableEvent:
            return _BY_NONE if names.DEAD_TOPIC in headers else _UNREAD
        key_id = sealed.key_id if sealed else ""
    return _BY_NONE if not key_id or named(key_id) else key_id
