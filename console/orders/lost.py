"""An order stands behind all that workers have read of the audit stream, also where that has lost its end.

Who deleted it and made it anew, or had it restored from an older copy, has workers that look for orders further behind:
what is put before that is obeyed by nobody, and looks as if it had been.
"""

import asyncio
from dataclasses import dataclass

import orjson

from forebay.console.planning import counted
from forebay.console.reading import note_of, stream_ends
from forebay.console.terminal.output import note
from forebay.processors.parking.stream import key_in
from forebay.queues.contract import Inspector, Producer, Record
from forebay.schemas import names

#: Stands where an order has been, and says nothing else.
_LOST = orjson.dumps({"what": "lost"})

#: Enough for a group commit of the queue.
_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The end of one of the audit stream's partitions, and the end up to which a worker has read orders there."""

    partition: int
    end: int
    known: int


async def lost_orders(inspector: Inspector, topic: str) -> list[Lost]:
    """Where the audit stream ends before what any group has noted to have read of it."""
    # The notes first: what is ordered meanwhile is read by nobody before it is there.
    known: dict[int, int] = {}
    for states in (await inspector.groups(topic)).values():
        for partition, state in states.items():
            known[partition] = max(known.get(partition, 0), note_of(state).place.orders)
    ends, partitions = await stream_ends(inspector, names.audit(topic)), await inspector.partitions(topic)
    return [
        Lost(partition=partition, end=end, known=known[partition])
        for partition, end in sorted(ends.items())
        # Partitions that somebody has added to the audit stream alone are used by nobody.
        if partition < partitions and end < known.get(partition, 0)
    ]


async def make_up_for_lost(inspector: Inspector, producer: Producer, topic: str, now_ms: int) -> None:
    """Before anything is ordered: put so much into the audit stream that what comes next is read. Says where it did."""
    lost = await lost_orders(inspector, topic)
    if not lost:
        return
    stream, partitions = names.audit(topic), await inspector.partitions(topic)
    for one in lost:
        note(
            f"partition {one.partition} of {stream} ends at {one.end:,}, and workers have read orders up to "
            f"{one.known:,}: it was made anew, or has lost its end. {counted(one.known - one.end, 'empty record')} "
            "put there, so that what is ordered now is obeyed"
        )
        record = Record(key=key_in(one.partition, partitions), value=_LOST, timestamp_ms=now_ms)
        # Others may do the same meanwhile: it is only to be long enough.
        end = one.end
        while end < one.known:
            sent = [producer.send(stream, record) for _ in range(min(one.known - end, _AT_ONCE))]
            end = max(place.offset for place in await asyncio.gather(*sent)) + 1
