"""What stands in the parked stream, as records and as values.

A spilled record is the portal's own, with where it stood. It names the portal's spilled record before it, so that of
two copies one counts, and none behind a gap; where what the topic has comes again, its lap tells it from a copy. A
state is the newest that is known of a portal. A claim is what a new owner of the partition begins with: entries of
earlier owners that come behind it don't count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson

from forebay.queues.contract import Record, StoredRecord
from forebay.schemas import names
from forebay.schemas.quick_value import quick_value

from .state import Mark, PortalState

_SPILL, _STATE, _CLAIM = b"spill", b"state", b"claim"

#: Several groups share the stream; a generation counts the owners that a group's partition has had.
Whose: TypeAlias = tuple[str, int]


@quick_value
class Spilled:
    """A record of a portal, which stood at an offset of the topic behind the spilled one at `after`."""

    portal: str
    position: int
    generation: int
    offset: int
    after: int
    at_ms: int
    lap: int = 0

    @property
    def mark(self) -> Mark:
        """What it is among those of its portal."""
        return self.lap, self.offset

    def comes_behind(self, before: Mark, state: PortalState) -> bool:
        """Whether it is the next one behind that spilled record, by what is known of its portal."""
        return self.after == before[1] and state.may_follow(before, self.mark)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """How it stands with a portal."""

    portal: str
    position: int
    generation: int
    state: PortalState


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """The partition has a new owner, which knows the orders up to an offset of the audit stream."""

    position: int
    generation: int
    orders: int


Entry: TypeAlias = Spilled | Stated | Claimed


def spill(record: StoredRecord, whose: Whose, after: int, at_ms: int, folded: int = 0, lap: int = 0) -> Record:
    """The record as it is parked; its time is now, or retention might take it too early.

    Of those that are finished with it only the number is parked, among its own headers.
    """
    said = (
        *(((names.PARKED_FOLDED, b"%d" % folded),) if folded else ()),
        *(((names.PARKED_LAP, b"%d" % lap),) if lap else ()),
        *_said(whose, _SPILL),
        (names.PARKED_OFFSET, b"%d" % record.offset),
        (names.PARKED_AFTER, b"%d" % after),
        (names.PARKED_TIMESTAMP, b"%d" % record.timestamp_ms),
    )
    return Record(key=record.key, value=record.value, timestamp_ms=at_ms, headers=(*record.headers, *said))


def statement(portal: str, state: PortalState, whose: Whose, at_ms: int) -> Record:
    """What is known of the portal."""
    return Record(key=portal, value=state.to_bytes(), timestamp_ms=at_ms, headers=_said(whose, _STATE))


def claim(key: str, whose: Whose, orders: int, at_ms: int) -> Record:
    """That the group's partition, in which the key's records stand, has a new owner."""
    return Record(key=key, value=orjson.dumps({"orders": orders}), timestamp_ms=at_ms, headers=_said(whose, _CLAIM))


def read(record: StoredRecord, group: str) -> Entry | None:
    """What the record of the parked stream says; None when it isn't the group's, or nothing of ours."""
    # With the one that stands before them in a lap behind the first.
    headers = dict(record.headers[-len(_SPILL_HEADERS) - 1 :])
    if headers.get(names.PARKED_GROUP) != group.encode():
        return None
    try:
        return _entry(record, headers)
    except (KeyError, ValueError, TypeError):
        return None


def original(record: StoredRecord) -> tuple[int, Sequence[tuple[str, bytes]]]:
    """The time of a spilled record, and its own headers."""
    own = record.headers[: -len(_SPILL_HEADERS)]
    own = own[:-1] if own and own[-1][0] == names.PARKED_LAP else own
    return int(dict(record.headers[-len(_SPILL_HEADERS) :])[names.PARKED_TIMESTAMP]), own


def folded_into(record: StoredRecord) -> int:
    """How many were finished with the record when it was parked."""
    return next((int(value) for name, value in record.headers if name == names.PARKED_FOLDED), 0)


_SPILL_HEADERS = (
    names.PARKED_GROUP,
    names.PARKED_GENERATION,
    names.PARKED_KIND,
    names.PARKED_OFFSET,
    names.PARKED_AFTER,
    names.PARKED_TIMESTAMP,
)


def _said(whose: Whose, kind: bytes) -> tuple[tuple[str, bytes], ...]:
    group, generation = whose
    return (
        (names.PARKED_GROUP, group.encode()),
        (names.PARKED_GENERATION, b"%d" % generation),
        (names.PARKED_KIND, kind),
    )


def _entry(record: StoredRecord, headers: dict[str, bytes]) -> Entry | None:
    generation, kind = int(headers[names.PARKED_GENERATION]), headers[names.PARKED_KIND]
    if kind == _SPILL:
        return Spilled(
            portal=record.key,
            position=record.offset,
            generation=generation,
            offset=int(headers[names.PARKED_OFFSET]),
            after=int(headers[names.PARKED_AFTER]),
            at_ms=record.timestamp_ms,
            lap=int(headers.get(names.PARKED_LAP, 0)),
        )
    if kind == _STATE:
        state = PortalState.from_bytes(record.value)
        return Stated(portal=record.key, position=record.offset, generation=generation, state=state)
    if kind == _CLAIM:
        told: dict[str, Any] = orjson.loads(record.value)
        return Claimed(position=record.offset, generation=generation, orders=int(told["orders"]))
    return None
