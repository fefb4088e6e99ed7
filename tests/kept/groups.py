"""What workers and operators tell each other: parked portals, orders, dead letters, notes, groups, what was handled."""

import orjson
from confluent_kafka import TopicPartition

from forebay.processors.dead_letters import Circumstances, dead_letter, place_of, without_death
from forebay.processors.dedup.keys import key_of
from forebay.processors.handlers import Handlers
from forebay.processors.notes import Note, Place, decode_note, encode_note
from forebay.processors.parking import entries, orders
from forebay.processors.parking.state import PortalState, Reason, Replaying
from forebay.queues.contract import Commit
from forebay.queues.kafka.notes import Notes
from forebay.queues.moves.marker import Marker, Return, read_marker
from forebay.queues.rabbitmq import group
from forebay.schemas.event import PortalEvent

from .sample import AT_MS, PORTAL, RECORD, Format, event, packed, same, stands

_WHOSE = ("billing", 3)
_KAFKA = Notes("VGvNxRcAS7G-gwkPF6T6Jw")
_STATE = PortalState(
    reason=Reason.HELD,
    next=4,
    after=12,
    last=90,
    after_lap=1,
    last_lap=2,
    lap=3,
    lap_ends=[(2, 90)],
    records=7,
    since_ms=AT_MS,
    attempts=3,
    due_ms=AT_MS + 5,
    error="it said no",
    error_class="shop.Refused",
    is_held=True,
    discard_to=11,
    discard_lap=1,
    discard_orders=2,
    discarded="by hand",
    replays=[Replaying(order=3, done=1, at_ms=AT_MS - 1)],
    done=[33, 34],
    done_later=[(1, 20), (2, 21)],
    orders=5,
    again_from=95,
)
_ORDER = orders.Order(
    portal=PORTAL,
    what=orders.What.REPLAY,
    stream="events.dead",
    group="billing",
    who="a person",
    why="mended",
    at_ms=AT_MS,
    spans=((1, 4), (9, 10)),
    offset=17,
)
_MARKER = Marker(
    group="billing",
    target="kafka://new:9092/events",
    target_ends={"events": {0: 4}},
    source_ends={"events": {0: 9}},
    since={"events": {0: 1}},
    who="a person",
    at_ms=AT_MS,
    is_done=True,
)
_RETURN = Return(source="kafka://new:9092/events", who="a person", at_ms=AT_MS)
_DIED = Circumstances(group="billing", handler="shop.deal", attempts=5, error=ValueError("no"), at_ms=AT_MS)


_COMMITTED, _NOTE = (
    1000,
    Note(runs=[(1003, 1010), (1200, 1201)], place=Place(generation=3, position=9, in_force=2, orders=4, end=30)),
)


def _noted() -> bytes:
    return encode_note(_COMMITTED, _NOTE.runs, 4096, _NOTE.place)


handlers = Handlers()


@handlers.on("ONCRMDEALADD")
async def by_id(event: PortalEvent) -> None: ...


@handlers.on("ONCRMDEALUPDATE", dedup=lambda one: "deal 7")
async def by_deal(event: PortalEvent) -> None: ...


def _dedup() -> bytes:
    made = [key_of(handler, event(), "events", "billing") for handler in handlers]
    return b"".join(key.reader + key.digest for key in made if key)


_GROUP = group.Group(
    members={"a": group.Sign(9, 10_000, AT_MS)},
    owners={0: group.Owner("a", 4, 2)},
    commits={0: Commit(offset=1000, note=b"\0note")},
)
_TOLD = (
    group.beat("a", 10_000, AT_MS, 1),
    group.ask("b"),
    group.leave("c"),
    group.miss("d", 5),
    group.claim("a", [1]),
    group.release("a", {1: 3}),
    group.commit("a", 3, {0: 4}, {0: Commit(offset=1001, note=b"n")}),
)


def _group_after(octets: bytes) -> object:
    state, *told = octets.split(b"\n")
    found = group.Group.unpacked(orjson.loads(state))
    changed = [found.apply(10 + number, orjson.loads(one)) for number, one in enumerate(told)]
    return found, changed


_SPILLED = entries.spill(RECORD, _WHOSE, 12, AT_MS + 1, folded=2)
_SPILLED_AGAIN = entries.spill(RECORD, _WHOSE, 17, AT_MS + 1, lap=3)

GROUPS: dict[str, Format] = {
    "a commit's note": Format(
        write=_noted, read=lambda found: decode_note(_COMMITTED, found), means=_NOTE, varies=True
    ),
    "a commit's metadata in Kafka": Format(
        write=lambda: _KAFKA.encode(b"\0note").encode(),
        read=lambda found: _KAFKA.of(TopicPartition("events", 5, _COMMITTED, found.decode())),
        means=b"\0note",
    ),
    "a parked record": Format(
        write=lambda: packed(_SPILLED),
        read=lambda found: (
            entries.read(stands(found), "billing"),
            entries.original(stands(found)),
            entries.folded_into(stands(found)),
        ),
        means=(
            entries.Spilled(portal=PORTAL, position=17, generation=3, offset=17, after=12, at_ms=AT_MS + 1),
            (AT_MS, (*RECORD.headers, ("forebay_parked_folded", b"2"))),
            2,
        ),
    ),
    "a parked record that came again": Format(
        write=lambda: packed(_SPILLED_AGAIN),
        read=lambda found: (entries.read(stands(found), "billing"), entries.original(stands(found))),
        means=(
            entries.Spilled(portal=PORTAL, position=17, generation=3, offset=17, after=17, at_ms=AT_MS + 1, lap=3),
            (AT_MS, RECORD.headers),
        ),
    ),
    "a parked portal": Format(
        write=lambda: packed(entries.statement(PORTAL, _STATE, _WHOSE, AT_MS)),
        read=lambda found: entries.read(stands(found), "billing"),
        means=entries.Stated(portal=PORTAL, position=17, generation=3, state=_STATE),
    ),
    "a claim of parked portals": Format(
        write=lambda: packed(entries.claim(PORTAL, _WHOSE, 6, AT_MS)),
        read=lambda found: entries.read(stands(found), "billing"),
        means=entries.Claimed(position=17, generation=3, orders=6),
    ),
    "an operator's order": Format(
        write=lambda: packed(orders.written(_ORDER)), read=lambda found: orders.read(stands(found)), means=_ORDER
    ),
    "a move": Format(
        write=lambda: packed(_MARKER.record()), read=lambda found: read_marker(stands(found)), means=_MARKER
    ),
    "a move back": Format(
        write=lambda: packed(_RETURN.record()), read=lambda found: read_marker(stands(found)), means=_RETURN
    ),
    "a dead letter": Format(
        write=lambda: packed(dead_letter(RECORD, _DIED)),
        read=lambda found: (place_of(stands(found)), without_death(stands(found).headers)),
        means=(("events", 5, 17), RECORD.headers),
    ),
    "a RabbitMQ group": Format(
        write=lambda: b"\n".join((_GROUP.packed(8), *_TOLD)),
        read=_group_after,
        means=_group_after(b"\n".join((_GROUP.packed(8), *_TOLD))),
    ),
    "the hash of what was handled": same(_dedup),
}
